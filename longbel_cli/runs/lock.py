"""The lock on a run's folder, for what only one process at a time may do there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kb_builder.errors import LongbelError
from kb_builder.files.locks import lock
from longbel_cli.runs.files import Files, disk_error
from longbel_cli.runs.layout import Layout


@contextmanager
def setup_lock(layout: Layout, files: Files) -> Iterator[None]:
    """One process at a time decides what becomes of the run's folder.

    Where the file system has no locks, exclusive creation alone keeps processes apart.
    """
    files.make_folder(layout.folder)
    try:
        handle = lock(layout.lock)
    except OSError as error:
        raise disk_error(error, layout.lock, "write") from error
    try:
        yield
    except LongbelError:
        drop_empty(layout)
        raise
    finally:
        os.close(handle)


def drop_empty(layout: Layout) -> None:
    """Remove a run's folder that a refused start made, so that nothing tells of a run; whoever
    waits for the lock in it looks for the folder anew."""
    with suppress(OSError):
        left = {path.name for path in layout.folder.iterdir()}
        if left <= {layout.lock.name, layout.leases.name}:
            if layout.leases.name in left:
                layout.leases.rmdir()
            layout.lock.unlink(missing_ok=True)
            layout.folder.rmdir()
