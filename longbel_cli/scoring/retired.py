"""Retired codes and what stands for them now, for gold and predictions alike.

Corpora outlive releases of their terminology: a code that was merged away can be met by no answer
from a newer knowledge base. Successors come from a table of two columns or from a knowledge base.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from kb_builder.codes import DamagedCodeError, is_no_code, joined_code, plain, refuse_damaged
from kb_builder.errors import LongbelError
from kb_builder.files import sha256_of
from kb_builder.headers import delimiter_of
from kb_builder.store.successors import Successors
from longbel_cli.corpora.prediction_file import PredictionFile, recoded
from longbel_cli.types import Document

_HEADERS = {"old", "retired", "old_code", "retired_code", "cui1"}


class Retired:
    """The successor of each retired code. `counts`: mentions of `gold`, and of `predicted` first
    answers, whose code was replaced."""

    def __init__(self, successors: Mapping[str, str]) -> None:
        self.successors = dict(successors)
        self.counts: Counter[str] = Counter()

    @cached_property
    def sha256(self) -> str:
        """Of all successors, however their file was written."""
        lines = sorted(f"{old}\t{new}" for old, new in self.successors.items())
        return sha256_of("\n".join(lines).encode("utf-8", "surrogatepass"))

    def documents(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Documents whose gold codes are the successors of what they were."""
        for document in documents:
            yield self.document(document)

    def document(self, document: Document) -> Document:
        """One document."""
        mentions = []
        for mention in document.mentions:
            gold = mention.gold
            if gold is not None and not self.successors.keys().isdisjoint(gold):
                gold = tuple(sorted({self.successors.get(code, code) for code in gold}))
                mention = replace(mention, gold=gold)
                self.counts["gold"] += 1
            mentions.append(mention)
        made = replace(document, mentions=tuple(mentions))
        made.__dict__["text"] = document.text  # already joined: not a second time
        return made

    def predictions(self, file: PredictionFile) -> PredictionFile:
        """A file whose codes, the gold among them, are the successors of what they were."""
        made = []
        for prediction in file.predictions:
            changed = recoded(prediction, self.code)
            self.counts["gold"] += changed.gold_concept_code != prediction.gold_concept_code
            self.counts["predicted"] += [c.concept_code for c in changed.candidates[:1]] != [
                c.concept_code for c in prediction.candidates[:1]
            ]
            made.append(changed)
        return replace(file, predictions=tuple(made))

    def code(self, code: str) -> str:
        """The successor of a code, of a composite one of each part."""
        if code in self.successors:
            return self.successors[code]
        if "+" not in code:
            return code
        return joined_code("+".join(self.successors.get(part, part) for part in code.split("+")))


def read_retired(path: Path) -> Retired:
    """Successors from a table (`old,new`; CSV or TSV, with or without a header), or from what a
    knowledge base keeps. Those of successors are followed to the last."""
    if path.is_dir():
        return _of_knowledge_base(path)
    pairs: dict[str, str | None] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for line, old, new in _rows(stream, path):
                if pairs.setdefault(old, new) != new:
                    raise LongbelError(
                        f"{path}:{line}: {old} has two successors, {pairs[old]} and {new}",
                        "A code that was split has none: delete its rows.",
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is no table in UTF-8"
        raise LongbelError(f"{path}: cannot be read ({reason})") from error
    successors = Successors((old, new, "table") for old, new in pairs.items())
    around = [old for old in pairs if _goes_round(old, pairs)]
    if around:
        raise LongbelError(
            f"{path}: {around[0]} is its own successor in the end", "Mend the table."
        )
    return Retired(successors.final(lambda code: code not in pairs or pairs[code] is None))


def _of_knowledge_base(path: Path) -> Retired:
    from kb_builder.store.knowledge_base import KnowledgeBase

    base = KnowledgeBase.open(path)
    successors = Successors.of_knowledge_base(path)
    if successors is None:
        raise LongbelError(
            f"{path}: keeps no retired codes",
            "Build it from a source that has them (UMLS with MRCUI, OBO, MeSH, OMOP, RxNorm).",
        )
    return Retired(successors.final(base.has_code))


def _rows(stream: Iterable[str], path: Path) -> Iterator[tuple[int, str, str | None]]:
    """The table's rows with their lines: a code, and its successor or None."""
    lines = iter(stream)
    first = next(lines, "")
    delimiter = delimiter_of(first, "," if path.suffix.lower() == ".csv" else "\t")
    reader = csv.reader(_chained(first, lines), delimiter=delimiter)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells) or (reader.line_num == 1 and cells[0].casefold() in _HEADERS):
            continue
        if len(cells) < 2 or not cells[0]:
            raise LongbelError(
                f"{path}:{reader.line_num}: no row of two codes",
                "Give a table `old,new`, separated by commas or tabs.",
            )
        try:
            old, new = (plain(joined_code(refuse_damaged(cell))) for cell in cells[:2])
        except DamagedCodeError as error:
            raise LongbelError(
                f"{path}:{reader.line_num}: {error} was a code before a spreadsheet changed it",
                "Export the table again with its codes as text.",
            ) from error
        yield reader.line_num, old, new if new and not is_no_code(new) else None


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _goes_round(code: str, pairs: Mapping[str, str | None]) -> bool:
    seen, at = {code}, pairs.get(code)
    while at is not None and at not in seen:
        seen.add(at)
        at = pairs.get(at)
    return at is not None
