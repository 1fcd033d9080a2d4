"""What a corpus holds and what is wrong with it, before any model. Knows no format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kb_builder.codes import is_no_code
from longbel_cli.corpora import Corpus
from longbel_cli.corpora.abbreviations import abbreviations, expanded
from longbel_cli.corpora.records import OnProblem, Problem
from longbel_cli.corpora.resolve import TypeResolver
from longbel_cli.types import Document

HasCode = Callable[[str], bool]


@dataclass
class Survey:
    """Counts over a whole corpus. `unmapped_types` is filled where groups are known.

    A mention whose gold is NO_CODE counts as `no_code` and not as `with_gold`, as in scoring.
    """

    documents: int = 0
    mentions: int = 0
    characters: int = 0
    longest_document: int = 0
    discontinuous: int = 0
    abbreviations: int = 0
    with_gold: int = 0
    no_code: int = 0
    composite_gold: int = 0
    gold_not_read: int = 0
    without_mentions: int = 0
    codes_without_digit: Counter[str] = field(default_factory=Counter)
    left_out: list[Problem] = field(default_factory=list)
    remarks: list[Problem] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    unmapped_types: dict[str, int] | None = None
    gold_in_kb: int | None = None
    gold_retired: int | None = None
    gold_codes_lacking: Counter[str] = field(default_factory=Counter)

    @property
    def quarantined_documents(self) -> int:
        return sum(problem.whole_document for problem in self.left_out)

    @property
    def quarantined_mentions(self) -> int:
        return len(self.left_out) - self.quarantined_documents

    def to_json(self) -> dict[str, Any]:
        """`quarantined` counts documents and mentions left out, `warnings` what was only noted;
        each is listed under `problems` and `notes`."""
        value: dict[str, Any] = {
            "documents": self.documents,
            "mentions": self.mentions,
            "quarantined": len(self.left_out),
            "warnings": len(self.remarks),
            "quarantined_documents": self.quarantined_documents,
            "quarantined_mentions": self.quarantined_mentions,
            "characters": self.characters,
            "longest_document": self.longest_document,
            "discontinuous_mentions": self.discontinuous,
            "abbreviated_mentions": self.abbreviations,
            "mentions_with_gold": self.with_gold,
            "mentions_with_no_code": self.no_code,
            "mentions_with_composite_gold": self.composite_gold,
            "gold_not_read": self.gold_not_read,
            "documents_without_mentions": self.without_mentions,
            "formats": dict(self.formats.most_common()),
            "types": dict(self.types.most_common()),
            "problems": [problem.to_json() for problem in self.left_out],
            "notes": [problem.to_json() for problem in self.remarks],
        }
        if self.unmapped_types is not None:
            value["groups"] = dict(self.groups.most_common())
            value["unmapped_types"] = self.unmapped_types
        if self.gold_retired is not None:
            value["mentions_with_retired_gold"] = self.gold_retired
        if self.gold_in_kb is not None:
            value["mentions_with_gold_in_kb"] = self.gold_in_kb
            value["gold_codes_not_in_kb"] = len(self.gold_codes_lacking)
        return value

    def add(self, document: Document, form: str, has_code: HasCode | None) -> None:
        """Count one document."""
        length = len(document.text)
        self.documents += 1
        self.formats[form] += 1
        self.characters += length
        self.longest_document = max(self.longest_document, length)
        self.mentions += len(document.mentions)
        self.without_mentions += not document.mentions
        known = abbreviations(document.text) if document.mentions else {}
        for mention in document.mentions:
            self.types[mention.entity_type] += 1
            self.abbreviations += expanded(mention.text, known) is not None
            self.discontinuous += len(mention.spans) > 1
            if mention.gold is not None:
                self._add_gold(mention.gold, has_code)

    def _add_gold(self, gold: tuple[str, ...], has_code: HasCode | None) -> None:
        if any(map(is_no_code, gold)):
            self.no_code += 1
            return
        self.with_gold += 1
        self.codes_without_digit.update(code for code in gold if not _has_digit(code))
        self.composite_gold += len(gold) > 1
        if has_code is not None:
            lacking = [code for code in gold if not has_code(code)]
            self.gold_codes_lacking.update(lacking)
            self.gold_in_kb = (self.gold_in_kb or 0) + (0 if lacking else 1)


def survey(
    corpus: Corpus,
    report: Survey,
    on_problem: OnProblem,
    resolver: TypeResolver | None = None,
    has_code: HasCode | None = None,
    change: Callable[[Document], Document] | None = None,
) -> None:
    """Read the whole corpus into `report`, which holds what was seen even if this raises.

    `on_problem` is called with what is quarantined as it comes. `has_code` says whether the
    knowledge base has a concept. Documents count as `change` makes them.
    """
    if has_code is not None:
        report.gold_in_kb = 0

    def leave_out(problem: Problem) -> None:
        report.left_out.append(problem)
        on_problem(problem)

    def remark(problem: Problem) -> None:
        report.remarks.append(problem)
        report.gold_not_read += problem.gold_not_read

    for read in corpus.read_whole(leave_out, on_remark=remark):
        document = read.document if change is None else change(read.document)
        report.add(document, read.file.format, has_code)
    for code, count in sorted(report.codes_without_digit.items()):
        if count > 1:
            remark(_word_as_code(corpus, code, count))
    if resolver is None:
        return
    report.unmapped_types = resolver.unmapped(report.types)
    for entity_type, count in report.types.items():
        group = resolver.group(entity_type)
        if group is not None:
            report.groups[group] += count


def _has_digit(code: str) -> bool:
    return any(map(str.isdigit, code))


def _word_as_code(corpus: Corpus, code: str, count: int) -> Problem:
    reason = (
        f"the gold code {code!r} has no digit and is that of {count} mentions: perhaps a word for "
        "no concept, which is read as NO_CODE, CUI-less, NIL, NOMAP or UNK"
    )
    return Problem(corpus.files[0].path, None, None, None, reason, whole_document=False)
