"""Where the command `coterie` starts: it says what is missing when only the client is installed."""

import os
import sys
import threading


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
    code = cli.main()
    if any(thread.daemon and thread.name.startswith("coterie-") for thread in threading.enumerate()):
        # Compiling and training cannot be stopped, and an interpreter that ends under them aborts the process. All that
        # has to be on the disk is there by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
