"""The disk of a run: what appears whole stands on `kb_builder.files`, and a refusal says what the
run loses by it, which is nothing that was committed.

Knows nothing of what is written. Tests replace `Files` by one that fails or kills at each step.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.files import Disk, blocks_of, create_whole, flush_folder, whole_file, write_whole

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


def disk_error(error: OSError, path: Path, doing: str) -> LongbelError:
    """What a refused file operation means for a run: stopped, nothing committed is lost."""
    cause, remedy = _CAUSES.get(error.errno or 0, (error.strerror or "unknown error", "Mend this"))
    return LongbelError(
        f"cannot {doing} {path}: {cause}",
        f"{remedy} and run the same command again: it resumes after the last window written.",
    )


@contextmanager
def _disk_errors(path: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(error, path, doing) from error


class Files(Disk):
    """The file operations of a run; each one that changes the disk is one overridable method."""

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    # From here on: operations made of those above, whose OSErrors become LongbelErrors.

    def make_folder(self, folder: Path) -> None:
        with _disk_errors(folder, "make the directory"):
            folder.mkdir(parents=True, exist_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Make names in a folder durable."""
        with _disk_errors(folder, "write"):
            flush_folder(folder, self)

    def move(self, source: Path, target: Path) -> None:
        """Rename, durably; to another file system, where a run's folder may lie, by a copy."""
        with _disk_errors(target, "write"):
            try:
                self.replace(source, target)
            except OSError as error:
                if error.errno != errno.EXDEV or source.is_dir():
                    raise
                self._move_by_copy(source, target)
        self.sync_folder(target.parent)

    def _move_by_copy(self, source: Path, target: Path) -> None:
        with self.writing(target) as write:
            for block in blocks_of(source):
                write(block)
        self.unlink(source)
        self.sync_folder(source.parent)

    def write_file(self, path: Path, data: bytes) -> None:
        """The whole file at once: a reader finds the old content or the new, never a part."""
        with _disk_errors(path, "write"):
            write_whole(path, data, self)

    @contextmanager
    def writing(self, path: Path) -> Iterator[Callable[[bytes], None]]:
        """As `write_file`, by a function that is given block after block."""
        with (
            _disk_errors(path, "write"),
            whole_file(path, self) as draft,
            draft.open("wb") as stream,
        ):
            yield lambda block: self.write(stream.fileno(), block)

    def create_file(self, path: Path, data: bytes) -> bool:
        """As `write_file`, but only where there is no such file; whether this call made it."""
        with _disk_errors(path, "write"):
            return create_whole(path, data, self)


class AppendFile:
    """A file that grows by durable pieces; a piece that could not be written leaves no trace."""

    def __init__(self, path: Path, files: Files) -> None:
        self.path = path
        self._files = files
        with _disk_errors(path, "open"):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            self.size = os.fstat(self._fd).st_size

    def append(self, data: bytes) -> tuple[int, int]:
        """Write and flush; the byte range that the data now takes."""
        start = self.size
        with _disk_errors(self.path, "write"):
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
        with _disk_errors(self.path, "write"):
            self._files.truncate(self._fd, size)
            self._files.sync(self._fd)
        self.size = size

    def close(self) -> None:
        os.close(self._fd)


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
