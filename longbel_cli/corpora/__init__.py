"""Corpora: documents with mentions, read from the formats of the field.

`read_corpus(paths)` yields Documents one at a time, in a fixed order, each checked; what is left
out goes to `on_problem`, what is merely odd to `on_remark`. Nothing is left out silently.

To resume and to shard, list the files once and read from a place on:

    corpus = Corpus(paths, "auto")
    for position, document in corpus.read(on_problem):   # a first, full read
        ...                                               # remember `position` of each window
    for position, document in corpus.read(ignore, start=remembered):
        ...                                               # the same documents from there on

`Position` is three integers and goes to JSON as a list. JSONL, JSON and PubTator are entered at
their byte offset, BRAT at its file, Parquet at its row group; BioC XML is parsed up to the place.
A document whose id was seen before is left out, so reading from the middle needs to know what
came before: after one full read the Corpus does (`corpus.duplicates`, a set of Positions that may
be stored and handed to `Corpus(..., duplicates=...)`); otherwise the ids before `start` are read
first. Positions hold as long as the paths, the format and the files are the same.
`corpus.files` names every file, for hashing the input.

`-` is standard input (JSONL), which can be read once: a run copies it to a file first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from kb_builder.errors import LongbelError
from longbel_cli.corpora.check import settle
from longbel_cli.corpora.databases import databases_stay
from longbel_cli.corpora.formats import CORPUS_FORMATS
from longbel_cli.corpora.listing import GUESSED, Columns, corpus_files
from longbel_cli.corpora.records import (
    STDIN,
    CorpusFile,
    Draft,
    Item,
    OnProblem,
    Position,
    Problem,
    Read,
    UnreadableError,
    fail,
    log_remark,
)
from longbel_cli.corpora.seen import SeenIds
from longbel_cli.corpora.unknown import described
from longbel_cli.progress import ignore
from longbel_cli.types import Document

__all__ = [
    "CORPUS_FORMATS",
    "Corpus",
    "CorpusFile",
    "OnProblem",
    "Position",
    "Problem",
    "Read",
    "fail",
    "ignore",
    "log_remark",
    "read_corpus",
]


class Corpus:
    """The files of a corpus, listed once; read from the start or from a Position.

    Raises LongbelError where a path is missing or nothing in it is a corpus file.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        format: str = "auto",
        on_remark: OnProblem = ignore,
        duplicates: Collection[Position] | None = None,
        not_corpus: Collection[Path] = (),
        columns: Columns = GUESSED,
    ) -> None:
        self.paths = tuple(str(path) for path in paths)
        self.files = corpus_files(paths, format, on_remark, not_corpus, columns)
        self.duplicates: set[Position] | None = (
            None if duplicates is None else {Position(*position) for position in duplicates}
        )

    def read(
        self,
        on_problem: OnProblem = fail,
        *,
        start: Position | None = None,
        on_remark: OnProblem = ignore,
    ) -> Iterator[tuple[Position, Document]]:
        """The documents with their positions, from `start` (default: the first) on.

        A full read in which no document could be read ends in a LongbelError.
        """
        for whole in self.read_whole(on_problem, start=start, on_remark=on_remark):
            yield whole.position, whole.document

    def read_whole(
        self,
        on_problem: OnProblem = fail,
        *,
        start: Position | None = None,
        on_remark: OnProblem = ignore,
    ) -> Iterator[Read]:
        """As `read`, with the item and file of each document."""
        seen = None if start is not None and self.duplicates is not None else SeenIds()
        begin = Position(0) if start is None or seen is not None else start
        left_out: set[Position] = set()
        documents = problems = 0
        for position, file, item in self._items(begin, on_remark):
            repeated = (
                seen is not None and item.document_id is not None and not seen.add(item.document_id)
            )
            if start is not None and position[:2] < start[:2]:
                continue
            if seen is None:
                repeated = position in (self.duplicates or ())
            if repeated:
                left_out.add(position)
            document = settle(file, item, repeated, on_problem, on_remark, self.databases_stay)
            if document is None:
                problems += 1
                continue
            documents += 1
            yield Read(position, document, item, file)
        if start is None:
            self.duplicates = left_out
            self._refuse_nothing(documents, problems)

    @cached_property
    def databases_stay(self) -> bool:
        """Whether gold codes keep the databases of plain numbers (`NCBIGene:9606`)."""
        items = (item for _, _, item in self._items(Position(0), ignore))
        return databases_stay(self.files, items)

    def _items(
        self, begin: Position, on_remark: OnProblem
    ) -> Iterator[tuple[Position, CorpusFile, Item]]:
        for index in range(begin.file, len(self.files)):
            file = self.files[index]
            first = begin if index == begin.file else Position(index)
            last = first
            empty = True
            try:
                for item in CORPUS_FORMATS[file.format].read(file, first):
                    empty = False
                    last = Position(index, item.offset, item.line or 0)
                    yield last, file, item
            except UnreadableError as error:
                broken = Item(last.offset, error.line, error.document_id, _raiser(error))
                # One past the last good document, so that every position is another.
                yield Position(index, last.offset + (not empty), error.line or 0), file, broken
                empty = False
            if empty and first.offset == 0:
                on_remark(Problem.of_file(file.path, "the file holds no document"))

    def _refuse_nothing(self, documents: int, problems: int) -> None:
        if documents:
            return
        names = ", ".join(self.paths)
        if problems:
            raise LongbelError(
                f"{names}: no document can be read ({problems} left out)",
                "`longbel check` lists each one with its reason.",
            )
        files = [Path(file.path) for file in self.files if file.path != STDIN]
        what, advice = described(files) if files else ("", None)
        raise LongbelError(
            f"{names}: the corpus holds no document: {what}".rstrip(": "), advice or ""
        )


def _raiser(error: UnreadableError) -> Callable[[], Draft]:
    def build() -> Draft:
        raise error

    return build


def read_corpus(
    paths: Sequence[Path | str],
    format: str = "auto",
    on_problem: OnProblem = fail,
    *,
    start: Position | None = None,
    on_remark: OnProblem = ignore,
) -> Iterator[Document]:
    """The documents of a corpus, streaming; see the module's docstring."""
    corpus = Corpus(paths, format, on_remark)
    for _, document in corpus.read(on_problem, start=start, on_remark=on_remark):
        yield document
