"""Finds a release's files wherever they lie, and reads them as streams of bytes.

A folder, a zip, an .nlm (a zip), one inside another, .gz, and files split in parts
(`MRCONSO.RRF.aa.gz`, `MRCONSO.RRF.gz.aa`) all give the same bytes. Knows nothing of rows.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from kb_builder.errors import LongbelError

# A file of a release has at most a few gigabytes; more is an archive made to fill the disk.
MAX_BYTES = 32 << 30
BLOCK_BYTES = 8 << 20
_ARCHIVES = (".zip", ".nlm")
_CONCEPTS = ("MRCONSO", "RXNCONSO", "CONCEPT.CSV")  # files that make a folder a release
# Among them encrypted members (RuntimeError) and unknown compression (NotImplementedError).
_UNREADABLE = (
    EOFError, OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A stored file: where it is, for messages, and how to open it."""

    location: str
    name: str
    size: int | None  # bytes as they are read, None where only decompressing tells
    open: Callable[[], IO[bytes]]


class Release:
    """The files of a release; a context manager, since archives stay open while it is read."""

    def __init__(self, source: Path, max_bytes: int = MAX_BYTES) -> None:
        self._stack = ExitStack()
        self.max_bytes = max_bytes
        self.source = source
        try:
            self.parts = self._parts_of(source)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Release:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def find(self, name: str) -> StoredFile | None:
        """The file `name` of the release, of several the one that lies least deep."""
        pattern = _pattern(name)
        folders: dict[tuple[int, str], list[Part]] = {}
        for part in self.parts:
            if pattern.match(part.name):
                folder = part.name.rpartition("/")[0]
                folders.setdefault((folder.count("/") + bool(folder), folder), []).append(part)
        if not folders:
            return None
        depth = min(folders)[0]
        nearest = sorted(folder for level, folder in folders if level == depth)
        if len(nearest) > 1:
            raise LongbelError(
                f"{self.source}: {name} in {nearest[0]} and in {nearest[1]}",
                hint="Give the folder of one release.",
            )
        parts = sorted(folders[depth, nearest[0]], key=lambda part: part.name)
        whole = [part for part in parts if _stem(part.name).lower() == name.lower()]
        if whole:  # an unsplit file beside its parts; plain rather than compressed
            parts = [min(whole, key=lambda part: (part.name.lower().endswith(".gz"), part.name))]
        else:
            self._refuse_holes(name, [_letters(pattern, part.name) for part in parts])
        return StoredFile(name, tuple(parts), self.max_bytes)

    def _refuse_holes(self, name: str, letters: list[str]) -> None:
        """Parts are `.aa`, `.ab` and so on; which one is the last is not written anywhere."""
        for index, letter in enumerate(letters):
            expected = "".join(chr(ord("a") + digit) for digit in divmod(index, 26))
            if letter != expected:
                raise LongbelError(
                    f"{self.source}: {name} is in parts, and part .{expected} is missing",
                    hint="Put all parts of the release there.",
                )

    def _parts_of(self, source: Path) -> list[Part]:
        if source.is_dir():
            return self._folder(source)
        return self._archive(source.name, source)

    def _folder(self, folder: Path) -> list[Part]:
        parts, archives = [], []
        for path in sorted(_files_below(folder)):
            if path.suffix.lower() in _ARCHIVES:
                archives.append(path)
                continue
            name = path.relative_to(folder).as_posix()
            size = None if path.suffix == ".gz" else path.stat().st_size
            parts.append(Part(name, name, size, _opener(path)))
        if not _holds_concepts(parts):
            for archive in archives:
                parts += self._archive(archive.relative_to(folder).as_posix(), archive)
        return parts

    def _archive(self, location: str, file: Path | IO[bytes], depth: int = 0) -> list[Part]:
        try:
            archive = self._stack.enter_context(zipfile.ZipFile(file))
        except (zipfile.BadZipFile, EOFError) as error:
            raise LongbelError(
                f"{location}: not a readable zip archive ({error})",
                hint="Download it again, or join its parts first.",
            ) from error
        parts, inner = [], []
        for info in archive.infolist():
            if info.is_dir():
                continue
            name = info.filename.replace("\\", "/")  # as old tools of Windows part folders
            if name.lower().endswith(_ARCHIVES):
                inner.append(info)
                continue
            size = None if name.endswith(".gz") else info.file_size
            parts.append(Part(f"{location}:{name}", name, size, _member(archive, info)))
        if depth < 2 and not _holds_concepts(parts):
            for info in inner:
                nested = self._unpacked(archive, info)
                parts += self._archive(f"{location}:{info.filename}", nested, depth + 1)
        return parts

    def _unpacked(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
        """An archive inside an archive, on disk: a zip is read from its end."""
        if info.file_size > self.max_bytes:
            raise too_big(f"{archive.filename}:{info.filename}", self.max_bytes)
        copy = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  # closed by the stack
        try:
            with archive.open(info) as packed:
                shutil.copyfileobj(packed, copy, BLOCK_BYTES)
        except _UNREADABLE as error:
            raise LongbelError(
                f"{archive.filename}:{info.filename}: cannot be unpacked ({error})",
                hint="The archive is damaged or the disk is full.",
            ) from error
        copy.seek(0)
        return copy


def _holds_concepts(parts: list[Part]) -> bool:
    """Whether archives that lie within need no look: the concepts are here already."""
    return any(word in part.name.upper() for part in parts for word in _CONCEPTS)


def names_within(path: Path) -> Iterator[str]:
    """The path's own name if it is a file; the files of a folder and of its or the archives."""
    if not path.is_dir() and path.suffix.lower() not in _ARCHIVES:
        yield path.name
        return
    with Release(path) as release:
        yield from (part.name for part in release.parts)


def stored(path: Path, max_bytes: int = MAX_BYTES) -> StoredFile:
    """A file that is no part of a release; by its name it may be compressed."""
    size = None if path.suffix.lower() == ".gz" else path.stat().st_size
    return StoredFile(path.name, (Part(path.name, path.name, size, _opener(path)),), max_bytes)


def head(path: Path, n: int = 1 << 16) -> bytes:
    """The first bytes of a file, unpacked where it is compressed; nothing if it is damaged."""
    try:
        with path.open("rb") as stream:
            if stream.read(2) != b"\x1f\x8b":
                stream.seek(0)
                return stream.read(n)
        with gzip.open(path) as unpacked:
            return unpacked.read(n)
    except _UNREADABLE:
        return b""


def is_stored_as(path: str, name: str) -> bool:
    """Whether a stored file of that path is the file `name`, or a part of it."""
    return _pattern(name).match(path) is not None


def holds(path: Path, name: str) -> bool:
    """Whether a path is the file `name` of a release, or a folder or archive in which it is."""
    return any(is_stored_as(held, name) for held in names_within(path))


def _pattern(name: str) -> re.Pattern[str]:
    """Paths of a file: it alone or in parts, compressed or not. Group 1 or 2 is the part."""
    part = r"(?:\.(?!gz)([a-z]{2}))?"
    return re.compile(rf"(?:.*/)?{re.escape(name)}{part}(?:\.gz)?{part}\Z", re.IGNORECASE)


def _letters(pattern: re.Pattern[str], path: str) -> str:
    match = pattern.match(path)
    return "" if match is None else (match[1] or match[2] or "").lower()


def _stem(name: str) -> str:
    file = name.rpartition("/")[2]
    return file[:-3] if file.lower().endswith(".gz") else file


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: archive.open(info)


def too_big(location: str, limit: int) -> LongbelError:
    """The error of a file that unpacks to more than a release can hold."""
    return LongbelError(
        f"{location}: more than {limit >> 30} GiB unpacked, no release file is that large",
        hint="Check that the archive is the one you meant.",
    )


@dataclass(frozen=True)
class StoredFile:
    """One file of a release, perhaps compressed and in parts."""

    name: str
    parts: tuple[Part, ...]
    max_bytes: int = MAX_BYTES

    @property
    def location(self) -> str:
        """Where it lies, for messages."""
        return self.parts[0].location if len(self.parts) == 1 else f"{self.parts[0].location}…"

    @property
    def size(self) -> int | None:
        """Its bytes unpacked, where that is known before reading."""
        sizes = [part.size for part in self.parts]
        return None if self._compressed or None in sizes else sum(size or 0 for size in sizes)

    @property
    def _compressed(self) -> bool:
        name = PurePosixPath(self.parts[0].name).name
        return re.search(r"\.gz(\.[a-z]{2})?\Z", name, re.IGNORECASE) is not None

    def blocks(self, hear: Callable[[bytes], object] | None = None) -> Iterator[bytes]:
        """Its bytes in blocks; `hear` is given each."""
        total = 0
        with ExitStack() as stack:
            joined = stack.enter_context(io.BufferedReader(_Joined(self.parts), BLOCK_BYTES))
            stream: io.BufferedIOBase = joined
            if self._compressed:
                stream = stack.enter_context(gzip.GzipFile(fileobj=joined))
            while True:
                try:
                    block = stream.read(BLOCK_BYTES)
                except _UNREADABLE as error:
                    raise LongbelError(
                        f"{self.location}: broken after {total} bytes ({error})",
                        hint="The file is damaged or cut short: download it again.",
                    ) from error
                if not block:
                    return
                total += len(block)
                if total > self.max_bytes:
                    raise too_big(self.location, self.max_bytes)
                if hear is not None:
                    hear(block)
                yield block


def _files_below(folder: Path) -> Iterator[Path]:
    """The files of a folder and of those within, also where a link leads to; each folder once."""
    seen: set[Path] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = Path(parent).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (path for path in map(Path(parent).joinpath, names) if path.is_file())


class _Joined(io.RawIOBase):
    """Parts read one after the other as one raw stream."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self._waiting = list(parts)
        self._current: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer
        while True:
            if self._current is None:
                if not self._waiting:
                    return 0
                self._current = self._waiting.pop(0).open()
            data = self._current.read(len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)
            self._current.close()
            self._current = None

    def close(self) -> None:
        if self._current is not None:
            self._current.close()
        super().close()
