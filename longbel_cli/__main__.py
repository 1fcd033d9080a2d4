"""`python -m longbel_cli` and the `longbel` command: what must hold before anything is imported."""

import os
import signal
import sys


def main() -> None:
    """Run the command line, interrupted without a traceback at any moment."""
    # Modules load for up to a second, and some catch an interruption amid their own start.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    _open_closed_descriptors()
    from longbel_cli.app import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter's own end prints one too


def _open_closed_descriptors() -> None:
    """Give closed standard descriptors to nothing, lest the next file that is opened becomes one
    and messages go into it: reading or writing them fails, but messages are dropped."""
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # the lowest that is free, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 - for as long as it runs
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115


if __name__ == "__main__":
    main()
