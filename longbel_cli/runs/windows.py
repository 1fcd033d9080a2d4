"""Windows: whole documents in corpus order, closed at a number of documents or of mentions.

Which documents make a window depends on the corpus and the bounds alone: never on time, on
shards, or on what was done before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from longbel_cli.types import Document

Position = Any
"""Where reading resumes: any JSON value that the reader understands; None is the beginning."""

Quarantine = Callable[[Mapping[str, Any]], None]


class Source(Protocol):
    """Reads a corpus from `start`, a position it gave earlier: what follows that document.

    Each document comes with the position from which reading resumes after it; what had to be
    quarantined on the way goes to `quarantine` as a JSON object.
    """

    def __call__(
        self, start: Position, quarantine: Quarantine
    ) -> Iterator[tuple[Position, Document]]: ...


@dataclass(frozen=True)
class Bounds:
    """A window closes at so many documents or mentions, a run at `limit` documents."""

    documents: int = 64
    mentions: int = 1000
    limit: int | None = None


@dataclass(frozen=True)
class Window:
    """One unit of work. `problems` are the quarantine records met while reading it; `last` says
    that the corpus (or the limit) ends with it."""

    index: int
    documents: tuple[Document, ...]
    problems: tuple[dict[str, Any], ...]
    following: Position
    last: bool = False

    @property
    def mentions(self) -> int:
        return sum(len(document.mentions) for document in self.documents)


@dataclass(frozen=True)
class Start:
    """Where cutting begins: a window's number, the reader's position, and what came before."""

    window: int = 0
    position: Position = None
    documents: int = 0
    document_ids: frozenset[str] = field(default_factory=frozenset)


def windows(source: Source, bounds: Bounds, start: Start) -> Iterator[Window]:
    """The windows from `start` to the end of the corpus or the limit.

    A second document with the id of an earlier one is quarantined, wherever reading began.
    """
    index, read = start.window, start.documents
    position = start.position
    seen = set(start.document_ids)
    documents: list[Document] = []
    problems: list[dict[str, Any]] = []
    mentions = 0
    if bounds.limit is not None and read >= bounds.limit:
        return

    def quarantine(problem: Mapping[str, Any]) -> None:
        problems.append(dict(problem))
        if problem.get("whole_document") and problem.get("document_id") is not None:
            seen.add(problem["document_id"])

    for position, document in source(start.position, quarantine):
        if document.id in seen:
            problems.append(repeated_document(document))
            continue
        seen.add(document.id)
        documents.append(document)
        read += 1
        mentions += len(document.mentions)
        full = len(documents) >= bounds.documents or mentions >= bounds.mentions
        last = bounds.limit is not None and read >= bounds.limit
        if full or last:
            yield Window(index, tuple(documents), tuple(problems), position, last)
            index, mentions = index + 1, 0
            documents, problems[:] = [], []
        if last:
            return
    if documents or problems:
        yield Window(index, tuple(documents), tuple(problems), position, last=True)


def repeated_document(document: Document) -> dict[str, Any]:
    """The quarantine record of a document whose id was read before."""
    source, _, line = document.source.rpartition(":")
    numbered = bool(source) and line.isdigit()
    return {
        "source": source if numbered else document.source,
        "line": int(line) if numbered else None,
        "document_id": document.id,
        "mention_id": None,
        "reason": "a document with this id was read before",
        "whole_document": True,
    }
