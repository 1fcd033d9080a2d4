"""Who may read what is written: its owner alone, or whom the umask lets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def owner_only() -> Iterator[None]:
    """Files and folders that this process creates while the block runs are readable by their owner
    alone (0600, 0700), whichever library creates them."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def share_like(path: Path, other: Path) -> None:
    """Let those read and write `path` who may `other`: for what is added to a shared folder."""
    with suppress(OSError):
        shutil.copymode(other, path)


def share_like_folder(handle: int, folder: Path) -> None:
    """Let those open a file that may enter its folder; for a lock, which holds nothing."""
    with suppress(OSError):
        os.fchmod(handle, folder.stat().st_mode & 0o666)
