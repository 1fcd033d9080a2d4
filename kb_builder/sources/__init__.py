"""Where terms come from: one row of SOURCES for each kind of source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from kb_builder.errors import LongbelError
from kb_builder.progress import Progress
from kb_builder.sources.archives import Release, is_stored_as
from kb_builder.sources.selection import BadRows, Selection
from kb_builder.sources.tables import is_table, read_table
from kb_builder.sources.text_to_code import is_text_to_code, read_text_to_code
from kb_builder.sources.umls import UMLS, read_release
from kb_builder.terms import Terms

Reader = Callable[[Path, Selection, BadRows, Progress], Terms]


class Source(NamedTuple):
    """A kind of source: how it is known, and how it is read."""

    name: str
    matches: Callable[[Path], bool]
    read: Reader


def _read_release(path: Path, selection: Selection, bad: BadRows, progress: Progress) -> Terms:
    folder = path.parent if _is_conso(path) else path
    with Release(folder) as release:
        return read_release(release, UMLS, selection, bad, progress)


def _is_release(path: Path) -> bool:
    archive = path.suffix.lower() in (".zip", ".nlm")
    return path.is_dir() or archive or _is_conso(path)


def _is_conso(path: Path) -> bool:
    """A release's MRCONSO itself, which stands for the folder it lies in."""
    return path.is_file() and is_stored_as(path.name, "MRCONSO.RRF")


SOURCES: tuple[Source, ...] = (
    Source("text_to_code", is_text_to_code, read_text_to_code),
    Source("table", is_table, read_table),
    Source("umls", _is_release, _read_release),
)


def read_terms(path: Path, selection: Selection, bad: BadRows, progress: Progress) -> Terms:
    """The terms of the source at `path`, whatever kind it is."""
    if not path.exists():
        raise LongbelError(f"{path}: no such file or folder")
    for source in SOURCES:
        if source.matches(path):
            return source.read(path, selection, bad, progress)
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise LongbelError(
            f"{path}: pickles are never read, they run code",
            hint="A checkpoint's text_to_code.json holds the same names.",
        )
    raise LongbelError(
        f"{path}: no kind of source that is known by this name",
        hint="Give a UMLS folder, .zip or .nlm; a .tsv, .csv or .parquet; or a text_to_code.json.",
    )
