"""The lock on a run's folder, for what only one process at a time may do there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from longbel_cli.runs.files import Files, disk_error
from longbel_cli.runs.layout import Layout


@contextmanager
def setup_lock(layout: Layout, files: Files) -> Iterator[None]:
    """One process at a time decides what becomes of the run's folder.

    The kernel frees the lock of a dead process. Where the file system has no locks, exclusive
    creation alone keeps processes apart.
    """
    while True:
        files.make_folder(layout.folder)
        try:
            fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise disk_error(error, layout.lock, "write") from error
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        with suppress(OSError):
            if os.fstat(fd).st_ino == layout.lock.stat().st_ino:
                break
        os.close(fd)
    try:
        yield
    finally:
        os.close(fd)
