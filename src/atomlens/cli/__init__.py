"""The command line: parses, calls, prints. ``main`` turns errors into one sentence and an exit code."""

from __future__ import annotations

import sys

from atomlens.errors import InputError, Interrupted

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run ``atomlens``. Exit codes: 0 done, 2 bad input, 130 interrupted (and resumable where the message says so)."""
    from atomlens.cli.app import app

    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except Interrupted as error:
        print(f"interrupted: {error}", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)  # the reader of a pipe had enough
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: cannot be used ({error.strerror}); choose another place", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


__all__ = ["main"]
