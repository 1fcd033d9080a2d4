"""The input files of a run as it knows them: enough to see that they are still the same.

At each start a file is known by size, time, and a hash of its head and tail; its whole content is
hashed when the run begins, when it ends, and where only its time has changed. The table of files
is `inputs.jsonl` in the run's folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.files import blocks_of, sha256_of, sha256_of_file
from longbel_cli.runs.records import record_of

_EDGE_BYTES = 1 << 16
# Opening each file of a large folder takes minutes on a network file system; size and time do.
_MOST_EDGES = 1000
_MOST_TOLD = 5


@dataclass(frozen=True)
class InputFile:
    """One file. `edges_sha256` covers its first and last 64 KiB."""

    path: str
    bytes: int
    modified_ns: int
    edges_sha256: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> InputFile:
        """Read the whole file."""
        try:
            status = path.stat()
            return cls(
                # The folder resolved, the file not: a link's own name is what a document is called.
                path=str(path.parent.resolve() / path.name),
                bytes=status.st_size,
                modified_ns=status.st_mtime_ns,
                edges_sha256=_edges(path, status.st_size),
                sha256=sha256_of_file(path),
            )
        except OSError as error:
            raise _gone(path) from error

    def difference(self, path: Path, whole: bool, edges: bool) -> str:
        """How the file at `path` differs from this one; empty if it does not."""
        try:
            status = path.stat()
            if status.st_size != self.bytes:
                return f"{path}: {self.bytes} bytes when the run began, {status.st_size} now"
            touched = status.st_mtime_ns != self.modified_ns
            same = not edges or _edges(path, self.bytes) == self.edges_sha256
            if same and (whole or touched):
                same = sha256_of_file(path) == self.sha256
        except OSError:
            return f"{path}: it cannot be read any more"
        return "" if same else f"{path}: its content is not that with which the run began"

    def renamed(self, path: Path) -> str:
        """That the file has another name than this one, whatever its folder; empty if not."""
        known = Path(self.path).name
        # What an earlier version recorded of a link is the name of the file that it leads to.
        if known in (path.name, path.resolve().name):
            return ""
        return f"{path}: {known} when the run began; a BRAT document's id is its file's name"


def _edges(path: Path, size: int) -> str:
    starts = (0, max(0, size - _EDGE_BYTES))
    return sha256_of(*(b for at in starts for b in blocks_of(path, at, at + _EDGE_BYTES)))


class Inputs:
    """The input files of a run, in order."""

    def __init__(self, files: Sequence[InputFile]) -> None:
        self.files = tuple(files)
        self._states: list[tuple[int, int] | None] = []

    @classmethod
    def read(cls, paths: Sequence[Path]) -> Inputs:
        """Take in the files as they are now, each read in full."""
        return cls([InputFile.of(path) for path in paths])

    @classmethod
    def load(cls, table: Path) -> Inputs:
        """The files that a run's table names; LongbelError where there is no such table."""
        try:
            with table.open(encoding="utf-8") as lines:
                files = [record_of(json.loads(line), InputFile) for line in lines]
            sound = [file for file in files if file is not None]
        except (FileNotFoundError, ValueError):
            files, sound = [None], []
        if len(sound) < len(files):
            raise LongbelError(
                f"{table} is gone or damaged", "Put it back, or start over with --restart.", 4
            )
        return cls(sound)

    def to_lines(self) -> bytes:
        # In ASCII: the bytes of a path need not be UTF-8, and are compared at the next start.
        return "".join(f"{json.dumps(asdict(file))}\n" for file in self.files).encode()

    def summary(self) -> dict[str, Any]:
        """What run.json says: number, size, and one hash over the contents in order."""
        return {
            "files": len(self.files),
            "bytes": sum(file.bytes for file in self.files),
            "sha256": sha256_of("\n".join(file.sha256 for file in self.files).encode()),
        }

    @property
    def paths(self) -> list[Path]:
        return [Path(file.path) for file in self.files]

    def changes(self, paths: Sequence[Path], whole: bool = False) -> list[str]:
        """What differs between the inputs as known and the files at `paths`; empty if nothing."""
        if len(paths) != len(self.files):
            return [f"{len(self.files)} files when the run began, {len(paths)} now"]
        edges = len(paths) <= _MOST_EDGES
        # Elsewhere a document's id is in the file; a corpus folder may be moved in any case.
        named = any(file.path.endswith(".ann") for file in self.files)
        changes = []
        for file, path in zip(self.files, paths, strict=True):
            change = file.renamed(path) if named and path.suffix in (".ann", ".txt") else ""
            if change := change or file.difference(path, whole, edges):
                changes.append(change)
            if len(changes) == _MOST_TOLD:
                return [*changes, "…"]
        return changes

    def check_touched(self, paths: Sequence[Path]) -> None:
        """Raise LongbelError if a file was touched since the last look and is not the same."""
        states = [_state(path) for path in paths] if len(paths) <= _MOST_EDGES else []
        if self._states and states != self._states:
            self.refuse(self.changes(paths))
        self._states = states

    def check_whole(self, paths: Sequence[Path]) -> None:
        """Raise LongbelError if any byte differs from what the run began with."""
        self.refuse(self.changes(paths, whole=True))

    @staticmethod
    def refuse(changes: Sequence[str]) -> None:
        if changes:
            raise LongbelError(
                "the input has changed since the run began:",
                "What is committed stays. Put the input back and run the same command again, "
                "or start over with --restart.",
                exit_code=4,
                details=changes,
            )


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _gone(path: Path) -> LongbelError:
    return LongbelError(f"cannot read the input {path}", "Check the path and its permissions.")
