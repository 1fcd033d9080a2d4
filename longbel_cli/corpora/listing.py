"""Which files make up a corpus, in a fixed order, and the format of each.

Goes by file names; looks into a file only where its name leaves the format open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kb_builder.errors import LongbelError, listed
from longbel_cli.corpora.formats import (
    AUTO,
    CORPUS_FORMATS,
    STDIN_FORMAT,
    check_format,
    format_by_content,
    format_by_name,
)
from longbel_cli.corpora.records import STDIN, CorpusFile, OnProblem, Problem

# Configuration of BRAT and of a terminal's file manager: no documents, and nothing odd.
_BRAT_EXTRAS = (".conf", ".config")
# A text of such a name is no document that lost its annotations.
_ABOUT = re.compile(r"read.?me|licen[cs]e|copying|notice|change.?log|authors", re.IGNORECASE)


def corpus_files(paths: Sequence[Path | str], form: str, on_remark: OnProblem) -> list[CorpusFile]:
    """Every file of the corpus, in the order it is read.

    Paths in the order given; below a folder by name, folders among files. Hidden files are left
    out. Raises LongbelError where a path does not exist or its format cannot be told.
    """
    check_format(form)
    if not paths:
        raise LongbelError("no corpus was given", exit_code=2)
    files: dict[CorpusFile, None] = {}
    kept: list[CorpusFile] = []
    for path in paths:
        for file in _files_of(str(path), form, on_remark):
            # `folder/*` names both files of a BRAT pair: that is one document, given once.
            if file.format == "brat" and file in files:
                continue
            files[file] = None
            kept.append(file)
    if not kept:
        names = ", ".join(str(path) for path in paths)
        kinds = listed(row.help for row in CORPUS_FORMATS.values())
        raise LongbelError(
            f"{names}: no corpus file found" + ("" if form == AUTO else f" of format {form}"),
            f"A corpus is a folder or files of {kinds}; name the format with --format.",
        )
    return kept


def _files_of(path: str, form: str, on_remark: OnProblem) -> Iterator[CorpusFile]:
    if path == STDIN:
        if form != AUTO and CORPUS_FORMATS[form].pairs:
            raise LongbelError(f"{form} cannot be read from standard input", exit_code=2)
        yield CorpusFile(STDIN, STDIN_FORMAT if form == AUTO else form)
        return
    place = Path(path)
    if place.is_dir():
        yield from _walk(place, place, form, on_remark, ())
        return
    if not place.exists():
        raise LongbelError(f"{path}: no such file or folder", "Check the corpus path.")
    if not place.is_file():
        raise LongbelError(f"{path}: no regular file", "Pipe JSONL to `-` instead.")
    found = _format_of_named(place, form)
    if found is None:
        raise LongbelError(
            f"{path}: the format cannot be told from the file's name or first bytes",
            f"Name it with --format ({', '.join(CORPUS_FORMATS)}).",
        )
    if found == "brat":
        yield CorpusFile(str(place.with_suffix(".ann")), "brat", place.stem)
    else:
        yield CorpusFile(str(place), found)


def _walk(
    folder: Path, root: Path, form: str, on_remark: OnProblem, above: tuple[tuple[int, int], ...]
) -> Iterator[CorpusFile]:
    """The files below a folder by name. Links to folders are followed, loops are not."""
    try:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise LongbelError(f"{folder}: the folder cannot be read ({error.strerror})") from None
    annotated = {entry.stem for entry in entries if entry.suffix == ".ann"}
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, root, form, on_remark, (*above, here))
            continue
        if entry.exists() and not entry.is_file():
            on_remark(Problem.of_file(str(entry), "it is no regular file; it is left out"))
            continue
        found = _format_in_folder(entry, form, annotated)
        if found == "brat":
            if entry.suffix == ".txt" and entry.stem in annotated:
                continue  # the .ann stands for the pair
            document_id = entry.relative_to(root).with_suffix("").as_posix()
            yield CorpusFile(str(entry.with_suffix(".ann")), "brat", document_id)
        elif found is not None:
            yield CorpusFile(str(entry), found)
        elif entry.suffix not in _BRAT_EXTRAS and form == AUTO:
            reason = "it is no corpus file by its name; it is left out"
            on_remark(Problem.of_file(str(entry), reason))


def _format_in_folder(path: Path, form: str, annotated: set[str]) -> str | None:
    """The format of a file that a folder holds; None if it is no part of the corpus."""
    if path.suffix == ".ann" or (path.suffix == ".txt" and path.stem in annotated):
        found: str | None = "brat"
    elif path.suffix == ".txt" and _ABOUT.match(path.name):
        return None
    elif path.suffix == ".txt" and form in (AUTO, "brat") and annotated:
        # Among pairs, a text without its annotations is a document that lost them.
        found = format_by_name(path) or "brat"
    else:
        found = format_by_name(path)
    if form == AUTO or found == form:
        return found
    if form == "brat" and path.suffix == ".txt":
        return "brat"
    # Formats share suffixes: one that was named decides.
    return form if CORPUS_FORMATS[form].has_name(path) else None


def _format_of_named(path: Path, form: str) -> str | None:
    """The format of a file that was named itself: looked into where its name says nothing."""
    if path.suffix == ".ann":
        found: str | None = "brat"
    elif path.suffix == ".txt" and path.with_suffix(".ann").exists():
        found = "brat"
    else:
        found = format_by_name(path)
    if form != AUTO:
        if form == "brat" and path.suffix not in (".txt", ".ann"):
            return None
        return form
    if found is None and path.suffix == ".txt":
        return "brat"
    return found or format_by_content(path)
