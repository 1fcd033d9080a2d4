"""BRAT stand-off: `.txt` and `.ann` pairs, read and written.

Texts are decoded from bytes with no newline translation, since offsets count the characters as
stored. Lines other than T, N and AnnotatorNotes are kept by the writer and not interpreted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from longbel_cli.corpora import stored
from longbel_cli.corpora.check import fits
from longbel_cli.corpora.records import (
    CorpusFile,
    Draft,
    Item,
    Position,
    Remark,
    UnreadableError,
    unreadable,
)
from longbel_cli.types import Mention, Passage, Span

# A note is a list of codes when every word of it looks like one: letters, then four digits or more.
_CODE = re.compile(r"(?:[A-Za-z]+[:_])*[A-Za-z]{0,4}\d{4,}[0-9A-Za-z.:_-]*")
_BETWEEN_CODES = re.compile(r"[\s+,;|]+")
_T_BODY = re.compile(r"(\S+) +(\d+ +\d+(?: *; *\d+ +\d+)*) *")
_N_BODY = re.compile(r"(\S+) +(\S+) +(\S.*)")
_OTHER_LINES = "EARM*#"


def read(file: CorpusFile, start: Position) -> Iterator[Item]:
    """The one document of a pair."""
    assert file.document_id is not None
    try:
        file.document_id.encode("utf-8")
    except UnicodeEncodeError:
        yield unreadable(0, None, "the file's name is not UTF-8, so it cannot be an id")
        return
    pair = pair_of(file.path)
    yield Item(0, None, file.document_id, partial(_build, pair), raw=pair)


@dataclass(frozen=True)
class Pair:
    """The two files of a document."""

    text: Path
    annotations: Path


def pair_of(path: str) -> Pair:
    """The pair that a .txt or .ann belongs to."""
    stem = path[: -len(".ann")]
    return Pair(Path(f"{stem}.txt"), Path(f"{stem}.ann"))


def _build(pair: Pair) -> Draft:
    text = stored.decoded(_bytes(pair.text), str(pair.text.name))
    lines = stored.decoded(_bytes(pair.annotations), str(pair.annotations.name))
    found = Annotations.of(lines)
    draft = Draft([], found.mentions(), found.faults, found.warnings)
    if text.startswith("\ufeff"):
        # BRAT counts a byte order mark as a character, other tools do not: the mentions tell.
        without = text.removeprefix("\ufeff")
        kept = sum(fits(mention, text) for mention in draft.mentions)
        if sum(fits(mention, without) for mention in draft.mentions) > kept:
            text = without
            draft.warnings.append(Remark("the byte order mark is not counted by the offsets"))
        else:
            draft.warnings.append(Remark("the byte order mark counts as the first character"))
    draft.passages.append(Passage(text))
    return draft


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UnreadableError(f"its {path.suffix} file is missing") from None
    except OSError as error:
        raise UnreadableError(f"its {path.suffix} file cannot be read ({error.strerror})") from None


@dataclass
class _Named:
    """A T line: everything of a mention but its codes."""

    id: str
    entity_type: str
    spans: tuple[Span, ...]
    text: str
    line: int


@dataclass
class Annotations:
    """The lines of an .ann file, taken apart. A note or N line may stand before its T line."""

    named: list[_Named] = field(default_factory=list)
    references: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    faults: list[Remark] = field(default_factory=list)
    warnings: list[Remark] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> Annotations:
        found = cls()
        targets: list[tuple[str, int]] = []
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
            line = line.removesuffix("\r")
            if not line.strip():
                continue
            if line[0] == "T":
                found._add_named(line, number)
            elif line[0] == "N":
                found._add_reference(line, number, targets)
            elif line[0] == "#":
                found._add_note(line)
            elif line[0] not in _OTHER_LINES:
                found.warnings.append(Remark("this is no line of BRAT's", None, number))
        found._note_strays(targets)
        return found

    def mentions(self) -> list[Mention]:
        """The mentions in file order; N lines are the gold, else notes that are codes."""
        made = []
        for named in self.named:
            codes = self.references.get(named.id) or self.notes.get(named.id)
            gold = tuple(sorted(set(codes))) if codes else None
            made.append(
                Mention(
                    named.id, named.spans, named.text, named.entity_type, named.entity_type, gold,
                    named.line,
                )
            )  # fmt: skip
        return made

    def _add_named(self, line: str, number: int) -> None:
        columns = line.split("\t", 2)
        body = _T_BODY.fullmatch(columns[1]) if len(columns) == 3 else None
        if body is None:
            reason = "a T line needs three columns: id, `TYPE start end[;start end]`, text"
            self.faults.append(Remark(reason, columns[0].split(" ", 1)[0], number))
            return
        spans = tuple(
            Span(*(int(offset) for offset in part.split())) for part in body[2].split(";")
        )
        self.named.append(_Named(columns[0], body[1], spans, columns[2], number))

    def _add_reference(self, line: str, number: int, targets: list[tuple[str, int]]) -> None:
        columns = line.split("\t", 2)
        body = _N_BODY.fullmatch(columns[1].strip()) if len(columns) > 1 else None
        if body is None:
            reason = "an N line needs `Reference TARGET DATABASE:CODE` in its second column"
            self.warnings.append(Remark(reason, None, number))
            return
        # The database ends at the first colon: HPO:HP:0001250 is the code HP:0001250.
        database, colon, code = body[3].strip().partition(":")
        code = code if colon else database
        if not code:
            self.warnings.append(Remark("this N line has an empty code", None, number))
            return
        self.references[body[2]].extend(_split_codes(code))
        targets.append((body[2], number))

    def _add_note(self, line: str) -> None:
        columns = line.split("\t", 2)
        kind, _, target = columns[1].partition(" ") if len(columns) == 3 else ("", "", "")
        if kind != "AnnotatorNotes":
            return
        codes = [word for word in _BETWEEN_CODES.split(columns[2]) if word]
        if codes and all(_CODE.fullmatch(code) for code in codes):
            self.notes[target.strip()].extend(codes)

    def _note_strays(self, targets: list[tuple[str, int]]) -> None:
        known = {named.id for named in self.named} | {fault.mention_id for fault in self.faults}
        for target, number in targets:
            if target not in known and target.startswith("T"):
                reason = f"this N line refers to {target}, which no T line defines"
                self.warnings.append(Remark(reason, None, number))


def _split_codes(code: str) -> list[str]:
    return [part.strip() for part in code.split("+") if part.strip()]
