"""What readers, checks and writers pass to each other. Standard library only.

Nothing here knows a format.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kb_builder.errors import LongbelError
from kb_builder.text import writable
from longbel_cli.types import Document, Mention, Passage

log = logging.getLogger(__name__)

STDIN = "-"


class Position(NamedTuple):
    """Where a document begins, to read on from there later.

    `file` counts the corpus's files from 0. `offset` is a byte offset of the (unpacked) file for
    JSON, JSONL and PubTator, and a document number for Parquet and BioC XML; a BRAT document is a
    file of its own and has offset 0. `line` counts lines (of Parquet, rows) from 1 and is 0 for
    BRAT. As JSON it is a list of three integers.
    """

    file: int
    offset: int = 0
    line: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was left out (or, given to `on_remark`, is merely odd), and where.

    `whole_document`: the document is left out; otherwise one of its mentions. `reason` names
    offsets and numbers, never text of the document. `gold_not_read` counts what looked like gold
    and was not taken.
    """

    source: str
    line: int | None
    document_id: str | None
    mention_id: str | None
    reason: str
    whole_document: bool
    gold_not_read: int = 0

    @classmethod
    def of_file(cls, path: str, reason: str) -> Problem:
        """What there is to say of a whole file."""
        return cls(path, None, None, None, reason, whole_document=False)

    @property
    def message(self) -> str:
        """One line: file, line, document, mention and reason."""
        location = self.source if self.line is None else f"{self.source}:{self.line}"
        parts = [location]
        if self.document_id is not None:
            parts.append(f"document {self.document_id}")
        if self.mention_id is not None:
            parts.append(f"mention {self.mention_id}")
        return ": ".join(map(writable, [*parts, self.reason]))

    def to_json(self) -> dict[str, Any]:
        """The JSON object of one line of errors.jsonl."""
        counted = {"gold_not_read": self.gold_not_read} if self.gold_not_read else {}
        return {
            "source": writable(self.source),
            "line": self.line,
            "document_id": None if self.document_id is None else writable(self.document_id),
            "mention_id": None if self.mention_id is None else writable(self.mention_id),
            "reason": writable(self.reason),
            "whole_document": self.whole_document,
            **counted,
        }


ON_ERROR = {
    "quarantine": "leave them out and list them",
    "fail": "stop at the first",
}

OnProblem = Callable[[Problem], None]


def fail(problem: Problem) -> None:
    """An `on_problem` that stops at the first problem (`--on-error fail`)."""
    raise LongbelError(
        problem.message, "Mend the corpus, or use --on-error quarantine to leave it out."
    )


def log_remark(problem: Problem) -> None:
    """An `on_remark` that logs what is odd as a note."""
    log.info("note: %s", problem.message)


class UnreadableError(Exception):
    """A document, or the rest of a file, cannot be read; becomes a Problem before any user sees it.

    `document_id` and `line` where they are known.
    """

    def __init__(
        self, reason: str, line: int | None = None, document_id: str | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.document_id = document_id


class CorpusFile(NamedTuple):
    """One file of a corpus (BRAT: one pair, named by its .ann). `document_id` where documents are
    named by their file; `columns` of texts and of ids in tables of texts, as asked for
    (None: guessed); `text` of a document whose mentions are in a table, which is the path."""

    path: str
    format: str
    document_id: str | None = None
    columns: tuple[str | None, str | None] = (None, None)
    text: str | None = None


class Remark(NamedTuple):
    """A fault of one mention, or (mention_id and line may be None) a remark on the document."""

    reason: str
    mention_id: str | None = None
    line: int | None = None


@dataclass
class Draft:
    """A document as the file states it, before any check.

    A mention's `text` is what the file states, None-free; `faults` are mentions that could not
    even be read; `warnings` concern what is kept or is no mention; `unread` is what looked like
    gold and was not taken.
    """

    passages: list[Passage]
    mentions: list[Mention] = field(default_factory=list)
    faults: list[Remark] = field(default_factory=list)
    warnings: list[Remark] = field(default_factory=list)
    unread: list[Remark] = field(default_factory=list)


@dataclass(frozen=True)
class Item:
    """One document of a file, found but not yet taken apart.

    `build` makes the draft and raises UnreadableError where that cannot be done. `raw` is what a
    writer of the same format starts from.
    """

    offset: int
    line: int | None
    document_id: str | None
    build: Callable[[], Draft]
    raw: Any = None


class Read(NamedTuple):
    """A document, where it stands, and what it was made from (for writers of its format)."""

    position: Position
    document: Document
    item: Item
    file: CorpusFile


def unreadable(offset: int, line: int | None, reason: str, document_id: str | None = None) -> Item:
    """An item that is known to be broken before it is taken apart."""

    def build() -> Draft:
        raise UnreadableError(reason, line)

    return Item(offset, line, document_id, build)
