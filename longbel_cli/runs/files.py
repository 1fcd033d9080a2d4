"""Every write, flush and rename of a run goes through here, and says so when the disk refuses.

Knows nothing of what is written. Tests replace `Files` by one that fails or kills at each step.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError

_READ_BYTES = 1 << 20

_CAUSES = {
    errno.ENOSPC: ("the disk is full", "Free some space"),
    errno.EDQUOT: ("the disk quota is used up", "Free some space or raise the quota"),
    errno.EROFS: ("the file system is read-only", "Choose a directory that can be written"),
    errno.EACCES: ("permission denied", "Choose a directory that can be written"),
    errno.EPERM: ("permission denied", "Choose a directory that can be written"),
    errno.EIO: ("the disk reports an error", "Check the disk"),
    errno.ENOENT: ("it is gone", "Put it back"),
    errno.ESTALE: ("the network file system lost it", "Check the mount"),
}


_count = itertools.count()


def unique_name() -> str:
    """A name that no other thread, process or machine uses at the same time."""
    return f"{os.uname().nodename}.{os.getpid()}.{next(_count)}"


def disk_error(error: OSError, path: Path, doing: str) -> LongbelError:
    """What a refused file operation means for a run: stopped, nothing committed is lost."""
    cause, remedy = _CAUSES.get(error.errno or 0, (error.strerror or "unknown error", "Mend this"))
    return LongbelError(
        f"cannot {doing} {path}: {cause}",
        f"{remedy} and run the same command again: it goes on after the last window written.",
    )


@contextmanager
def _told(path: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(error, path, doing) from error


class Files:
    """The file operations of a run; each one that changes the disk is one overridable method."""

    def write(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def sync(self, fd: int) -> None:
        os.fsync(fd)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        target.hardlink_to(source)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    # From here on: made of the operations above, with errors told.

    def make_folder(self, folder: Path) -> None:
        with _told(folder, "make the directory"):
            folder.mkdir(parents=True, exist_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Make names in a folder durable; file systems that cannot sync folders are let be."""
        with _told(folder, "write"):
            fd = os.open(folder, os.O_RDONLY)
            try:
                self.sync(fd)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
                    raise
            finally:
                os.close(fd)

    def move(self, source: Path, target: Path) -> None:
        """Rename, durably."""
        with _told(target, "write"):
            self.replace(source, target)
        self.sync_folder(target.parent)

    def write_file(self, path: Path, data: bytes) -> None:
        """The whole file at once: a reader finds the old content or the new, never a part."""
        draft = self._draft(path, data)
        self.move(draft, path)

    def create_file(self, path: Path, data: bytes) -> bool:
        """As `write_file`, but only where there is no such file; whether this call made it."""
        draft = self._draft(path, data)
        try:
            self.link(draft, path)
            made = True
        except FileExistsError:
            # A network file system may report failure for a link that it made after all.
            made = draft.stat().st_nlink == 2
        except OSError as error:
            raise disk_error(error, path, "write") from error
        finally:
            with suppress(OSError):
                self.unlink(draft)
        if made:
            self.sync_folder(path.parent)
        return made

    def _draft(self, path: Path, data: bytes) -> Path:
        draft = path.with_name(f".{path.name}.{unique_name()}.tmp")
        with _told(path, "write"):
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                self.write(fd, data)
                self.sync(fd)
            finally:
                os.close(fd)
        return draft


class AppendFile:
    """A file that grows by durable pieces; a piece that could not be written leaves no trace."""

    def __init__(self, path: Path, files: Files) -> None:
        self.path = path
        self._files = files
        with _told(path, "open"):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            self.size = os.fstat(self._fd).st_size

    def append(self, data: bytes) -> tuple[int, int]:
        """Write and flush; the byte range that the data now takes."""
        start = self.size
        with _told(self.path, "write"):
            try:
                os.lseek(self._fd, start, os.SEEK_SET)
                self._files.write(self._fd, data)
                self._files.sync(self._fd)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(self._fd, start)
                raise
        self.size = start + len(data)
        return start, self.size

    def cut(self, size: int) -> None:
        """Drop everything after `size` bytes."""
        if self.size <= size:
            return
        with _told(self.path, "write"):
            self._files.truncate(self._fd, size)
            self._files.sync(self._fd)
        self.size = size

    def close(self) -> None:
        os.close(self._fd)


def sha256_of(path: Path, start: int = 0, end: int | None = None) -> str:
    """Hex SHA-256 of a file's bytes from `start` to `end` (the file's end)."""
    digest = hashlib.sha256()
    for block in read_range(path, start, end):
        digest.update(block)
    return digest.hexdigest()


def read_range(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """A file's bytes from `start` to `end`, or to where the file ends before that, in blocks."""
    with path.open("rb") as stream:
        stream.seek(start)
        left = None if end is None else end - start
        while left is None or left > 0:
            block = stream.read(_READ_BYTES if left is None else min(left, _READ_BYTES))
            if not block:
                return
            left = None if left is None else left - len(block)
            yield block


def read_json(path: Path) -> dict[str, Any] | None:
    """The object a file holds; None where there is no file or it is not whole."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise disk_error(error, path, "read") from error
    return content if isinstance(content, dict) else None


def to_json(content: Any) -> bytes:
    """One readable JSON text with a final newline."""
    # In ASCII: it names paths, whose bytes need not be UTF-8.
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
