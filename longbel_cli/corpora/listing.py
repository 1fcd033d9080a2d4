"""Which files make up a corpus, in a fixed order, and the format of each.

Goes by file names; looks into a file only where its name leaves the format open.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from kb_builder.errors import LongbelError, listed
from kb_builder.files import real_path
from longbel_cli.corpora import mention_table
from longbel_cli.corpora.formats import (
    AUTO,
    CORPUS_FORMATS,
    STDIN_FORMAT,
    check_format,
    format_by_content,
    format_by_name,
)
from longbel_cli.corpora.records import STDIN, CorpusFile, OnProblem, Problem
from longbel_cli.corpora.unknown import any_case, described, kind_of

# Configuration of BRAT and of a terminal's file manager: no documents, and nothing odd.
_BRAT_EXTRAS = (".conf", ".config")
_RUN_FOLDER = re.compile(r".\.run(?:\.[0-9]+)?\Z")
# A text of such a name is no document that lost its annotations.
_ABOUT = re.compile(r"read.?me|licen[cs]e|copying|notice|change.?log|authors", re.IGNORECASE)
# How columns of texts and ids are named: as asked for, None where they are to be guessed.
Columns = tuple[str | None, str | None]
GUESSED: Columns = (None, None)


def corpus_files(
    paths: Sequence[Path | str],
    form: str,
    on_remark: OnProblem,
    not_corpus: Collection[Path] = (),
    columns: Columns = GUESSED,
) -> list[CorpusFile]:
    """Every file of the corpus, in the order it is read. `columns` are those of tables of texts;
    where they are named, a table is one of texts.

    Paths in the order given; below a folder by name, folders among files. Hidden files are left
    out, and so are the files of a run and `not_corpus` (real paths) in a folder. Raises
    LongbelError where a path does not exist or its format cannot be told.
    """
    check_format(form)
    if columns != GUESSED and form == AUTO:
        form = "texts"
    if not paths:
        raise LongbelError("no corpus was given", exit_code=2)
    files: dict[CorpusFile, None] = {}
    kept: list[CorpusFile] = []
    passed_over: list[Path] = []

    def remark(problem: Problem) -> None:
        passed_over.append(Path(problem.source))
        on_remark(problem)

    for path in paths:
        for file in _files_of(str(path), form, remark, not_corpus):
            # `folder/*` names both files of a BRAT pair: that is one document, given once.
            if file.format == "brat" and file in files:
                continue
            files[file] = None
            kept.append(file._replace(columns=columns))
    kept = mention_table.each_once(kept)
    if not kept:
        raise _nothing_found(paths, form, passed_over)
    return kept


def _is_of_run(path: Path) -> bool:
    """Whether what a folder holds was written by a run: `preds.jsonl` with its `.part` and its
    folder `preds.jsonl.run`, or what was fused, with its record."""
    if _RUN_FOLDER.search(path.name) and path.is_dir():
        return True
    whole = path.with_name(path.name.removesuffix(".part"))
    ours = whole.with_name(f"{whole.name}.run").is_dir()
    fused = whole.with_name(f"{whole.name}.fusion.json").exists()
    return ours or fused or path.name.endswith(".fusion.json")


def _nothing_found(paths: Sequence[Path | str], form: str, files: Sequence[Path]) -> LongbelError:
    names = ", ".join(str(path) for path in paths)
    of_format = "" if form == AUTO else f" of format {form}"
    what, advice = described(files)
    return LongbelError(f"{names}: no corpus file found{of_format}: {what}", advice or _kinds(form))


def _kinds(form: str) -> str:
    if form != AUTO:
        return f"Such a corpus is a folder or files of {CORPUS_FORMATS[form].help}."
    kinds = listed(row.help for row in CORPUS_FORMATS.values())
    return f"A corpus is a folder or files of {kinds}."


def _files_of(
    path: str, form: str, on_remark: OnProblem, not_corpus: Collection[Path]
) -> Iterator[CorpusFile]:
    if path == STDIN:
        if form != AUTO and CORPUS_FORMATS[form].pairs:
            raise LongbelError(f"{form} cannot be read from standard input", exit_code=2)
        yield CorpusFile(STDIN, STDIN_FORMAT if form == AUTO else form)
        return
    location = Path(path)
    if location.is_dir():
        for file in _walk(location, location, form, on_remark, ()):
            if real_path(Path(file.path)) not in not_corpus:
                yield file
        return
    if not location.exists():
        raise LongbelError(f"{path}: no such file or folder", "Check the corpus path.")
    if not location.is_file():
        raise LongbelError(f"{path}: no regular file", "Pipe JSONL to `-` instead.")
    file_format = _format_of_named(location, form)
    if file_format is None:
        kind = kind_of(location)
        raise LongbelError(
            f"{path}: the format cannot be told from the file's name or first bytes"
            + ("" if kind is None else f": it is {kind.what}"),
            _kinds(form) if kind is None else kind.advice,
        )
    if file_format == "table":
        yield from mention_table.beside(location, location.parent, on_remark)
    elif file_format == "brat":
        yield CorpusFile(str(any_case(location.with_suffix(".ann"))), "brat", location.stem)
    else:
        named = CORPUS_FORMATS[file_format].named_by_file
        yield CorpusFile(str(location), file_format, location.stem if named else None)


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
    annotated = {entry.stem for entry in entries if _suffix(entry) == ".ann"}
    is_dataset = any(_suffix(entry) == ".arrow" for entry in entries)
    for entry in entries:
        if entry.name.startswith(".") or _is_of_dataset(entry.name, is_dataset):
            continue
        if _is_of_run(entry):
            continue
        if entry.is_dir():
            yield from _walk(entry, root, form, on_remark, (*above, here))
            continue
        if entry.exists() and not entry.is_file():
            on_remark(Problem.of_file(str(entry), "it is no regular file; it is left out"))
            continue
        file_format = _format_in_folder(entry, form, annotated)
        if file_format == "brat":
            if _suffix(entry) == ".txt" and entry.stem in annotated:
                continue  # the .ann stands for the pair
            document_id = entry.relative_to(root).with_suffix("").as_posix()
            lines = entry if _suffix(entry) == ".ann" else entry.with_suffix(".ann")
            yield CorpusFile(str(lines), "brat", document_id)
        elif file_format == "table":
            yield from mention_table.beside(entry, root, on_remark)
        elif file_format is not None and CORPUS_FORMATS[file_format].named_by_file:
            document_id = entry.relative_to(root).with_suffix("").as_posix()
            yield CorpusFile(str(entry), file_format, document_id)
        elif file_format is not None:
            yield CorpusFile(str(entry), file_format)
        elif entry.suffix not in _BRAT_EXTRAS and form == AUTO:
            kind = kind_of(entry)
            what = "no corpus file by its name" if kind is None else kind.what
            on_remark(Problem.of_file(str(entry), f"it is {what}; it is left out"))


def _format_in_folder(path: Path, form: str, annotated: set[str]) -> str | None:
    """The format of a file that a folder holds; None if it is no part of the corpus."""
    suffix = _suffix(path)
    if suffix == ".ann" or (suffix == ".txt" and path.stem in annotated):
        file_format: str | None = "brat"
    elif suffix == ".txt" and _ABOUT.fullmatch(path.stem):
        return None
    elif suffix == ".txt" and form in (AUTO, "brat") and annotated:
        # Among pairs, a text without its annotations is a document that lost them.
        file_format = format_by_name(path) or "brat"
    else:
        file_format = _texts_or(path, format_by_name(path))
    if form == AUTO or file_format == form:
        return file_format
    if form == "brat" and suffix == ".txt":
        return "brat"
    if form == "text" and suffix == ".txt":
        return "text"
    # Formats share suffixes: one that was named decides.
    return form if CORPUS_FORMATS[form].has_name(path) else None


def _format_of_named(path: Path, form: str) -> str | None:
    """The format of a file that was named itself: looked into where its name says nothing."""
    suffix = _suffix(path)
    if suffix == ".ann":
        file_format: str | None = "brat"
    elif suffix == ".txt" and any_case(path.with_suffix(".ann")).exists():
        file_format = "brat"
    else:
        file_format = format_by_name(path)
    if form != AUTO:
        if form == "brat" and suffix not in (".txt", ".ann"):
            return None
        return form
    return _texts_or(path, file_format) or format_by_content(path)


def _texts_or(path: Path, file_format: str | None) -> str | None:
    """The format of a file without annotations beside it: plain text, where `.txt` is all that is
    known of it; none, where what is known as another tool's file has the name of a table."""
    known = file_format in (None, "texts") and kind_of(path) is not None
    if file_format is None and _suffix(path) == ".txt" and not known:
        return "text"
    return None if known else file_format


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _is_of_dataset(name: str, beside_arrow: bool) -> bool:
    """Whether a file is no document but one of those that `save_to_disk` of datasets adds."""
    return name == "dataset_dict.json" or (
        beside_arrow and (name in ("dataset_info.json", "state.json") or name.startswith("cache-"))
    )
