"""Where the command `coterie` starts: it says what is missing when only the client is installed."""

import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    try:
        from coterie.server import cli
    except ModuleNotFoundError as error:
        missing = (error.name or "coterie").partition(".")[0]
        if missing == "coterie":
            raise
        sys.stderr.write(
            f"coterie: {missing} is not installed, only the client is: pip install 'coterie[server]' "
            "(and for FAISS, one of the extras cpu and gpu)\n"
        )
        return 1
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
