"""The input of a run as its run.json knows it: enough to see that it is still the same.

At each start a file is known by size, time, and a hash of its head and tail; its whole content is
hashed when the run begins, when it ends, and where only its time has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from longbel_cli.runs.files import read_range, sha256_of

_EDGE_BYTES = 1 << 16


@dataclass(frozen=True)
class InputFile:
    """One file: `name` is its path below the input that was given (its own name for a file)."""

    name: str
    bytes: int
    modified_ns: int
    edges_sha256: str


@dataclass(frozen=True)
class InputRecord:
    """All files of one given path, folded into one record.

    `sha256` covers names and whole contents, `edges_sha256` names, sizes and file edges,
    `modified` names and times.
    """

    path: str
    files: int
    bytes: int
    modified: str
    edges_sha256: str
    sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> InputRecord:
        return cls(**content)


def quick_record(path: Path) -> InputRecord:
    """What can be known of an input without reading all of it."""
    files = [_known(file, name) for name, file in _files_of(path)]
    edges, times = hashlib.sha256(), hashlib.sha256()
    for file in files:
        edges.update(f"{file.name}\0{file.bytes}\0{file.edges_sha256}\n".encode())
        times.update(f"{file.name}\0{file.modified_ns}\n".encode())
    return InputRecord(
        path=str(path),
        files=len(files),
        bytes=sum(file.bytes for file in files),
        modified=times.hexdigest()[:16],
        edges_sha256=edges.hexdigest(),
    )


def whole_hash(path: Path) -> str:
    """One SHA-256 over the names and contents of every file of an input."""
    digest = hashlib.sha256()
    for name, file in _files_of(path):
        digest.update(f"{name}\0{_read(file)}\n".encode())
    return digest.hexdigest()


def unchanged(
    known: Sequence[InputRecord], paths: Sequence[Path], whole: bool = False
) -> list[str]:
    """What differs between the inputs as a run knows them and as they are; empty if nothing."""
    if len(known) != len(paths):
        return [f"the run was started with {len(known)} inputs, not {len(paths)}"]
    found = (_difference(record, path, whole) for record, path in zip(known, paths, strict=True))
    return [difference for difference in found if difference]


def _difference(known: InputRecord, path: Path, whole: bool) -> str:
    now = quick_record(path)
    if (now.files, now.bytes) != (known.files, known.bytes):
        return (
            f"{path}: {known.files} files of {known.bytes} bytes when the run began, "
            f"now {now.files} of {now.bytes}"
        )
    if now.edges_sha256 != known.edges_sha256:
        return f"{path}: another content than when the run began"
    touched = now.modified != known.modified
    if (whole or touched) and known.sha256 is not None and whole_hash(path) != known.sha256:
        return f"{path}: another content than when the run began"
    return ""


def _files_of(path: Path) -> list[tuple[str, Path]]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return [(file.relative_to(path).as_posix(), file) for file in files]
    if not path.exists():
        raise _gone(path)
    return [("", path)]


def _known(path: Path, name: str) -> InputFile:
    try:
        status = path.stat()
        edges = hashlib.sha256()
        for start in (0, max(0, status.st_size - _EDGE_BYTES)):
            for block in read_range(path, start, start + _EDGE_BYTES):
                edges.update(block)
    except OSError as error:
        raise _gone(path) from error
    return InputFile(name, status.st_size, status.st_mtime_ns, edges.hexdigest())


def _read(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise _gone(path) from error


def _gone(path: Path) -> LongbelError:
    return LongbelError(
        f"cannot read the input {path}",
        "Check the path; a run that was begun stays as it is until the input is back.",
    )
