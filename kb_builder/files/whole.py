"""Files and folders that appear whole, whatever ends the process.

What is to appear is written as a draft beside its name, flushed and renamed. The draft's own name
says which process writes it: whoever writes to the same folder next removes what dead processes
left there, and never what a living one is at. Knows nothing of what is written.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kb_builder.files.hashes import sha256_of
from kb_builder.files.locks import is_running, process_start, this_machine


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


_AT_FDCWD, _RENAME_NOREPLACE, _RENAME_EXCHANGE = -100, 1, 2
# Before Linux 5.8 it says nothing of data that could not be written.
_SYNCFS = sys.platform == "linux" and _kernel() >= (5, 8)
# Files of a folder, beyond which they are flushed at once: 4,000 of 2 kB took 0.3 s in place of 22.
_MANY = 100
_LONGEST_STEM = 180  # bytes: a file name may have 255, and the writer comes after it
# A process of another machine cannot be asked; what it has not touched for so long is left.
_ABANDONED_SECONDS = 24 * 3600
_DRAFT = re.compile(
    r"(?P<stem>\..*)\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,7})-(?P<start>\d{0,20})-\d+\.(?:draft|old)",
    re.DOTALL,
)
_NO_SYNC_OF_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)  # FAT and some network file systems
_count = itertools.count()


class Disk:
    """The operations that change a disk, a method each, so that tests can make any of them fail."""

    def write(self, handle: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]

    def sync(self, handle: int) -> None:
        os.fsync(handle)

    def sync_all(self, handle: int) -> bool:
        """Flush the whole file system of an open file; whether the kernel can, and tells errors."""
        return _SYNCFS and ctypes.CDLL(None).syncfs(handle) == 0

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        target.hardlink_to(source)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def exchange(self, new: Path, old: Path) -> None:
        """Swap two names: in one step where the system can, else in three."""
        if not _renamed(new, old, _RENAME_EXCHANGE):
            aside = _named_after(old, "old")
            self.replace(old, aside)
            try:
                self.replace(new, old)
            except OSError:
                self.replace(aside, old)
                raise
            self.replace(aside, new)


DISK = Disk()


# What appears whole ---------------------------------------------------------------------------


@contextmanager
def whole_file(path: Path, disk: Disk = DISK) -> Iterator[Path]:
    """Where to write what the file `path` is to hold: renamed to it when the block ends well, else
    removed. Of a link the target is replaced; a pipe or a device is written to as it is."""
    if path.exists() and not path.is_file():
        yield path
        return
    final = real_path(path)
    with drafted(final, disk) as draft:
        yield draft
        put_in_place(draft, final, disk)


def write_whole(path: Path, data: bytes, disk: Disk = DISK) -> None:
    """The whole file at once: a reader finds the old content or the new, never a part."""
    with whole_file(path, disk) as draft:
        _write(draft, data, disk)


def create_whole(path: Path, data: bytes, disk: Disk = DISK) -> bool:
    """As `write_whole`, but only where there is no such file; whether this call made it."""
    with drafted(path, disk) as draft:
        _write(draft, data, disk)
        flush(draft, disk)
        try:
            disk.link(draft, path)
            made = True
        except FileExistsError:
            # A network file system may report failure for a link that it made after all.
            made = draft.stat().st_nlink == 2
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            made = _renamed_to_new(draft, path, disk)
    if made:
        flush_folder(path.parent, disk)
    return made


@contextmanager
def whole_folder(path: Path, *, overwrite: bool = False, disk: Disk = DISK) -> Iterator[Path]:
    """A new folder to fill: renamed to `path` when the block ends well, else removed.

    With `overwrite` it takes the place of what is there, which is deleted; else that must be
    nothing or an empty folder (OSError).
    """
    final = real_path(path)
    _put_back(final, disk)
    with drafted(final, disk) as draft:
        draft.mkdir(parents=True)
        yield draft
        if overwrite and final.exists():
            flush(draft, disk)
            disk.exchange(draft, final)  # the old one is deleted as the draft
            flush_folder(final.parent, disk)
        else:
            put_in_place(draft, final, disk)


def put_in_place(draft: Path, final: Path, disk: Disk = DISK) -> None:
    """Give a file or folder the name `final`, once all of it is on the disk."""
    flush(draft, disk)
    disk.replace(draft, final)
    flush_folder(final.parent, disk)


def flush(path: Path, disk: Disk = DISK) -> None:
    """Bring a file, or a folder with all that is in it, onto the disk."""
    if not path.is_dir():
        _sync(path, disk.sync)
        return
    below = list(path.rglob("*"))
    if len(below) > _MANY and _sync(path, disk.sync_all):
        return
    for entry in below:
        if entry.is_dir():
            flush_folder(entry, disk)
        elif entry.is_file():
            _sync(entry, disk.sync)
    flush_folder(path, disk)


def flush_folder(folder: Path, disk: Disk = DISK) -> None:
    """Make the names in a folder durable; file systems that cannot sync folders are let be."""
    try:
        _sync(folder, disk.sync)
    except OSError as error:
        if error.errno not in _NO_SYNC_OF_FOLDERS:
            raise


def _sync(path: Path, sync: Callable[[int], bool | None]) -> bool | None:
    handle = os.open(path, os.O_RDONLY)
    try:
        return sync(handle)
    finally:
        os.close(handle)


def _write(path: Path, data: bytes, disk: Disk) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        disk.write(handle, data)
    finally:
        os.close(handle)


def real_path(path: Path) -> Path:
    """Where a link leads to; of `.` and `..` the name, beside which a draft can lie."""
    return Path(os.path.realpath(path))


def _renamed_to_new(draft: Path, path: Path, disk: Disk) -> bool:
    """Without hard links: in one step where the kernel can, else one process at a time should."""
    if not _renamed(draft, path, _RENAME_NOREPLACE):
        if path.exists():
            return False
        disk.replace(draft, path)
    return True


def _renamed(new: Path, old: Path, how: int) -> bool:
    """Whether the kernel and the file system could rename so in one step."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    paths = os.fsencode(new), os.fsencode(old)
    done = libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], how)
    return bool(done == 0)


# Drafts and who writes them -------------------------------------------------------------------


@contextmanager
def drafted(path: Path, disk: Disk = DISK) -> Iterator[Path]:
    """A draft's name beside `path`, for a file or a folder; what still has it when the block ends
    is removed. What dead processes left in the folder goes first."""
    sweep(path.parent, disk)
    draft = _named_after(path, "draft")
    try:
        yield draft
    finally:
        _remove(draft, disk)


def sweep(folder: Path, disk: Disk = DISK) -> None:
    """Remove the drafts that dead processes left in a folder; never fails, being a courtesy."""
    for path in _left_in(folder, "draft"):
        _remove(path, disk)


def is_draft(path: Path) -> bool:
    """Whether a file or folder has a draft's name."""
    return _DRAFT.fullmatch(path.name) is not None


def _named_after(path: Path, suffix: str) -> Path:
    """A name beside `path` that no other thread, process or machine uses at any time."""
    pid = os.getpid()
    writer = f"{_machine()}-{pid}-{process_start(pid)}-{next(_count)}"
    return path.with_name(f"{_stem(path)}.{writer}.{suffix}")


def _stem(path: Path) -> str:
    name = os.fsencode(path.name)
    if len(name) <= _LONGEST_STEM:
        return f".{path.name}"
    return f".{name[:_LONGEST_STEM].decode('utf-8', 'ignore')}~{sha256_of(name)[:8]}"


def _machine() -> str:
    return sha256_of(this_machine().encode())[:8]


def _left_in(folder: Path, suffix: str) -> list[Path]:
    """What dead processes left in a folder under names of that suffix."""
    with suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(f".{suffix}")]
        return [folder / name for name in sorted(names) if _is_left(folder / name)]
    return []


def _is_left(path: Path) -> bool:
    match = _DRAFT.fullmatch(path.name)
    if match is None:
        return False
    if match["machine"] == _machine():
        return not is_running(int(match["pid"]), match["start"])
    with suppress(OSError):
        touched = max(entry.lstat().st_mtime for entry in (path, *path.rglob("*")))
        return time.time() - touched > _ABANDONED_SECONDS
    return False


def _put_back(final: Path, disk: Disk) -> None:
    """After a kill amid an exchange in several steps: what had the name has it again."""
    for aside in _left_in(final.parent, "old"):
        match = _DRAFT.fullmatch(aside.name)
        if match is None or match["stem"] != _stem(final):
            continue
        if final.exists():
            _remove(aside, disk)
        else:
            disk.replace(aside, final)


def _remove(path: Path, disk: Disk) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.exists() or path.is_symlink():
            disk.unlink(path)
