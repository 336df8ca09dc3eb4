"""Where the command `coterie` starts: it says what is missing when only the client is installed."""

import os
import sys
import threading

WARMING = "coterie-warm"
"""Name of the thread that compiles what a run needs."""


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
    if any(thread.name == WARMING for thread in threading.enumerate()):
        # Compiling cannot be stopped, and ending the interpreter under it aborts the process. All is closed by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
