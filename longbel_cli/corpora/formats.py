"""The corpus formats: one row for each, from which readers, writers, help and messages are made.

To add a format, write a module beside this one with a `read` function (and a `Writer` class where
it can be written), and add its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kb_builder.errors import check_choice
from longbel_cli.corpora import (
    bigbio,
    bioc,
    brat,
    mention_table,
    pubtator,
    spans,
    stored,
    texts,
)
from longbel_cli.corpora.records import CorpusFile, Item, Position
from longbel_cli.corpora.writing import Writer

AUTO = "auto"

Reader = Callable[[CorpusFile, Position], Iterator[Item]]
"""Takes a file and where to start, and yields its documents in order."""
MakeWriter = type[Writer]


def _never(head: bytes) -> bool:
    return False


@dataclass(frozen=True)
class CorpusFormat:
    """How files of a format are known, read and written.

    A file has the format whose `suffixes` (lower case, without `.gz`) its name ends in. Of several
    such formats the last one of the table whose `sniff` accepts the file's first bytes is meant,
    else the first one. Where the name says nothing, `sniff` alone decides: for files that were
    named themselves, and with `any_name` for those that a folder holds. `pairs`: a document is a
    text with a file of annotations beside it, which cannot come from standard input.
    `replaces_gold`: its writer keeps the corpus's own codes unless it is told to replace them.
    `annotated`: it can hold mentions; texts alone cannot. `named_by_file`: documents without an id
    of their own have their file's path below the corpus. `knows` looks into a file whose first
    bytes say nothing.
    """

    name: str
    help: str
    read: Reader
    suffixes: tuple[str, ...] = ()
    sniff: Callable[[bytes], bool] = _never
    any_name: bool = False
    pairs: bool = False
    writer: MakeWriter | None = None
    replaces_gold: bool = False
    annotated: bool = True
    named_by_file: bool = False
    knows: Callable[[Path], bool] | None = None

    def has_name(self, path: Path) -> bool:
        """Whether the file's name is one of this format."""
        return path.name.lower().removesuffix(".gz").endswith(self.suffixes or "/")


CORPUS_FORMATS: dict[str, CorpusFormat] = {
    row.name: row
    for row in (
        CorpusFormat(
            "bigbio",
            "BigBio (.json, .jsonl, .parquet, .arrow)",
            bigbio.read,
            suffixes=(".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".arrow"),
            sniff=bigbio.sniff,
            writer=bigbio.Writer,
            replaces_gold=True,
        ),
        CorpusFormat(
            "brat",
            "BRAT (.txt with .ann)",
            brat.read,
            pairs=True,
            writer=brat.Writer,
        ),
        CorpusFormat(
            "pubtator",
            "PubTator (.pubtator)",
            pubtator.read,
            suffixes=(".pubtator",),
            sniff=pubtator.sniff,
            any_name=True,
            writer=pubtator.Writer,
        ),
        CorpusFormat(
            "bioc",
            "BioC (.xml, .json)",
            bioc.read,
            suffixes=(".xml", ".bioc", ".json", ".jsonl", ".ndjson"),
            sniff=bioc.sniff,
        ),
        CorpusFormat(
            "text",
            "plain texts (.txt)",
            texts.read_text,
            annotated=False,
            named_by_file=True,
        ),
        CorpusFormat(
            "texts",
            "tables of texts (.csv, .tsv, .jsonl, .parquet)",
            texts.read_table,
            suffixes=(*texts.TABLE_SUFFIXES, *texts.ROW_SUFFIXES, ".json"),
            sniff=texts.sniff,
            annotated=False,
            knows=texts.is_table,
        ),
        CorpusFormat(
            "spans",
            "texts with spans of other tools (.json, .jsonl)",
            spans.read,
            suffixes=(".json", ".jsonl", ".ndjson"),
            named_by_file=True,
            knows=spans.knows,
        ),
        CorpusFormat(
            "table",
            "tables of mentions (.tsv, .csv) beside texts (.txt)",
            mention_table.read,
            suffixes=mention_table.SUFFIXES,
            sniff=mention_table.sniff,
            pairs=True,
        ),
    )
}
STDIN_FORMAT = "bigbio"


def check_format(name: str) -> None:
    """Raise LongbelError (usage), listing the formats, where a name is none of them."""
    check_choice("corpus format", name, (AUTO, *CORPUS_FORMATS))


def annotated_formats() -> dict[str, CorpusFormat]:
    """The formats that can hold mentions."""
    return {name: row for name, row in CORPUS_FORMATS.items() if row.annotated}


def writers() -> dict[str, MakeWriter]:
    """The formats that can be written, with their writers."""
    return {name: row.writer for name, row in CORPUS_FORMATS.items() if row.writer is not None}


def format_by_name(path: Path) -> str | None:
    """The format of a file in a folder: by its name, with a look into it where that is not enough;
    None if it is no corpus file."""
    named = [row for row in CORPUS_FORMATS.values() if row.has_name(path)]
    if len(named) == 1:
        return named[0].name
    if named:
        return _accepted(named, path) or named[0].name
    return _accepted([row for row in CORPUS_FORMATS.values() if row.any_name], path)


def format_by_content(path: Path) -> str | None:
    """The format of a file whose name says nothing, by its first bytes."""
    return _accepted(list(CORPUS_FORMATS.values()), path)


def _accepted(rows: list[CorpusFormat], path: Path) -> str | None:
    """The last of these formats that accepts the first bytes of a file."""
    head = stored.head(str(path))
    for row in reversed(rows):
        if row.sniff(head) or (row.knows is not None and row.knows(path)):
            return row.name
    return None
