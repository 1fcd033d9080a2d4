"""How a command leaves that is ended from outside: by SIGTERM, or by whoever reads its output."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import typer

from kb_builder.errors import LongbelError

STOPPED = 75
CLOSED_PIPE = 128 + signal.SIGPIPE  # as a shell reports a program that SIGPIPE ended


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which tidies up as an interruption by hand does."""


@contextmanager
def sigterm_tidies_up() -> Iterator[None]:
    """SIGTERM unwinds what runs in the block, so that drafts are removed and locks released."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    raise _Terminated


@contextmanager
def endings_as_exit_codes() -> Iterator[None]:
    """What ends a command from outside becomes its exit code: LongbelError (75) for SIGTERM, a
    quiet exit for a closed pipe. Output is flushed here, where a failure can still be reported."""
    try:
        try:
            yield
        except typer.Exit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except _Terminated:
        raise LongbelError(
            "stopped: SIGTERM received",
            "Nothing is half written; run the same command again.",
            exit_code=STOPPED,
        ) from None
    except BrokenPipeError:
        _drop_output()
        raise typer.Exit(CLOSED_PIPE) from None


def _drop_output() -> None:
    """Let what is still buffered go nowhere: the interpreter flushes once more at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
