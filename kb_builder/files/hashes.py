"""SHA-256 of files, streams and bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

_READ_BYTES = 1 << 20


def new_sha256(start: bytes = b"") -> hashlib._Hash:
    """SHA-256 of a stream: what it begins with, and what `update` is given block by block."""
    return hashlib.sha256(start)


def sha256_of(*pieces: bytes) -> str:
    """Hex SHA-256 of bytes that follow one another."""
    digest = new_sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def sha256_of_file(path: Path, start: int = 0, end: int | None = None) -> str:
    """Hex SHA-256 of a file's bytes from `start` to `end` (the file's end)."""
    digest = new_sha256()
    for block in blocks_of(path, start, end):
        digest.update(block)
    return digest.hexdigest()


def blocks_of(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes]:
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
