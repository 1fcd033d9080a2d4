"""The lines of an .ann file: T lines become mentions, N lines or notes their codes, A and M lines
their attributes.

Other lines are passed over. What looks like gold and was not taken is on record (`unread`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

from kb_builder.codes import codes_of, gold_codes, is_database, looks_like_code, says_a_state
from longbel_cli.corpora.attributes import gathered
from longbel_cli.corpora.records import Remark
from longbel_cli.types import Mention, Span

# Files of old editors have a bare carriage return where a line ends.
_LINE_END = re.compile(r"\r?\n|\r(?=[A-Z*#][0-9]*\t|\Z)")
_BETWEEN_CODES = re.compile(r"[\s+,;|]+")
# No document has offsets of more digits; int() refuses thousands of them.
_START, _END = r"([0-9]{1,12})", r"([0-9]{1,12})"
_SPAN = re.compile(rf"{_START} +{_END}")
_T_BODY = re.compile(rf"(\S+) +{_START} +{_END}((?: *; *[0-9]{{1,12}} +[0-9]{{1,12}})*) *")
_T_ID = re.compile(r"T[0-9]+")
_N_BODY = re.compile(r"(\S+) +(\S+) +(\S.*)")
# BioNLP's order of an N line is free, since both parts are named.
_NAMED_BODY = re.compile(r"(\S+) +(Annotation|Referent):(\S+) +(Annotation|Referent):(\S.*)")
# A three-character category of ICD-10 (I10), which is a code beside others of ICD-10 only.
_ICD_10, _CATEGORY = re.compile(r"[A-Z][0-9][0-9AB]\.[0-9A-Z]{1,4}"), re.compile(r"[A-Z][0-9]{2}")
_OTHER_LINES = "ER*#"


class _Note(NamedTuple):
    """A note on an annotation: its words, codes or not."""

    target: str
    codes: tuple[str, ...]
    line: int


@dataclass
class Annotations:
    """The lines of an .ann file, taken apart. A note or N line may stand before its T line, so
    `named` are the mentions without codes and attributes."""

    named: list[Mention] = field(default_factory=list)
    references: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: list[_Note] = field(default_factory=list)
    attributes: dict[str, list[tuple[str, str | bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    faults: list[Remark] = field(default_factory=list)
    warnings: list[Remark] = field(default_factory=list)
    unread: list[Remark] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> Annotations:
        annotations = cls()
        targets: list[tuple[str, int]] = []
        shared: dict[str, str] = {}
        for line_number, line in enumerate(_lines(text), start=1):
            if not line.strip():
                continue
            if line[0] == "T":
                annotations._add_named(line, line_number, shared)
            elif line[0] == "N":
                annotations._add_reference(line, line_number, targets)
            elif line[0] in "AM":
                annotations._add_attribute(line, line_number)
            elif line[0] == "#":
                annotations._add_note(line, line_number)
            elif line[0] not in _OTHER_LINES:
                annotations.warnings.append(Remark("this is no line of BRAT's", None, line_number))
        annotations._note_strays(targets)
        return annotations

    def mentions(self) -> list[Mention]:
        """The mentions in file order; N lines are the gold, else notes that are codes."""
        notes = self._codes_of_notes()
        made = []
        for mention in self.named:
            codes = self.references.get(mention.id) or notes.get(mention.id)
            attributes = self.attributes.get(mention.id)
            if codes or attributes:
                gold, said = gold_codes(*(codes or ())), gathered(attributes or ())
                mention = replace(mention, gold=gold, attributes=said)
            made.append(mention)
        return made

    def _add_named(self, line: str, line_number: int, shared: dict[str, str]) -> None:
        """`shared` holds each type and text once, however many lines have it."""
        columns = line.split("\t", 2)
        body = _T_BODY.fullmatch(columns[1]) if len(columns) == 3 else None
        if body is None:
            reason = "a T line needs three columns: id, `TYPE start end[;start end]`, text"
            # The line may be the rest of a broken one: what is no id is text.
            word = re.split(r"[ \t]", line, maxsplit=1)[0]
            self.faults.append(Remark(reason, word if _T_ID.fullmatch(word) else None, line_number))
            return
        entity_type, start, end, more = body.groups()
        spans: tuple[Span, ...] = (Span(int(start), int(end)),)
        if more:
            pairs = _SPAN.findall(more)
            spans += tuple(Span(int(start), int(end)) for start, end in pairs)
        entity_type = shared.setdefault(entity_type, entity_type)
        text = shared.setdefault(columns[2], columns[2])
        self.named.append(
            Mention(columns[0], spans, text, entity_type, entity_type, None, line_number)
        )

    def _add_reference(self, line: str, line_number: int, targets: list[tuple[str, int]]) -> None:
        columns = line.split("\t", 2)
        body = _reference(columns[1].strip()) if len(columns) > 1 else None
        if body is None:
            reason = "an N line needs `Reference TARGET DATABASE:CODE` in its second column"
            self.warnings.append(Remark(reason, None, line_number))
            return
        target, referent = body
        code = _code_of(referent)
        if not code:
            self.warnings.append(Remark("this N line has an empty code", None, line_number))
            return
        self.references[target].append(code)
        targets.append((target, line_number))

    def _add_attribute(self, line: str, line_number: int) -> None:
        """`A1<TAB>Negation T1` is a flag, `A2<TAB>Certainty T1 low` has a value. Its target may be
        an event, whose attributes are nothing to a mention."""
        _, tab, body = line.partition("\t")
        words = body.split(maxsplit=2)
        if not tab or len(words) < 2:
            reason = "an A line needs `NAME TARGET [VALUE]` in its second column"
            self.warnings.append(Remark(reason, None, line_number))
            return
        name, target, *value = words
        self.attributes[target].append((name, value[0].strip() if value else True))

    def _add_note(self, line: str, line_number: int) -> None:
        columns = line.split("\t")
        if len(columns) < 3:
            return
        kind, _, target = columns[1].partition(" ")
        text = columns[2]
        if not target.strip() and len(columns) > 3:  # the target in a column of its own
            target, text = columns[2], columns[3]
        words = _words_of_note(text)
        if kind == "AnnotatorNotes":
            self.notes.append(_Note(target.strip(), words, line_number))
        elif words and all(map(looks_like_code, words)):
            reason = "a note of another kind than AnnotatorNotes holds codes"
            self.unread.append(Remark(reason, None, line_number))

    def _codes_of_notes(self) -> dict[str, list[str]]:
        """The codes of notes by mention; other notes are told in `unread`."""
        is_code = self._test_of_codes()
        known = self._known()
        gold_of = cache(lambda target: gold_codes(*self.references[target]))
        of_mention: dict[str, list[str]] = defaultdict(list)
        for note in self.notes:
            if not note.codes:
                continue
            codes = [word for word in note.codes if not says_a_state(word)]
            if not all(map(is_code, codes)):
                self._leave_unread(note, "a note that is no code", note.target in known)
            elif note.target not in known:
                self._leave_unread(note, "codes of a note on no mention of the file", bool(codes))
            elif self.references.get(note.target):
                gold = gold_of(note.target)
                reason = "codes of a note beside the other codes of an N line"
                self._leave_unread(note, reason, gold_codes(*note.codes) != gold)
            else:
                of_mention[note.target].extend(note.codes)
        return of_mention

    def _test_of_codes(self) -> Callable[[str], bool]:
        """What tells a code in this file: `I10` is one where `E11.9` stands in another note."""
        words: Iterable[str] = (word for note in self.notes for word in note.codes)
        if any(map(_ICD_10.fullmatch, words)):
            return lambda word: looks_like_code(word) or bool(_CATEGORY.fullmatch(word))
        return looks_like_code

    def _leave_unread(self, note: _Note, reason: str, is_gold: bool) -> None:
        if is_gold:
            self.unread.append(Remark(reason, None, note.line))

    def _known(self) -> set[str | None]:
        return {mention.id for mention in self.named} | {fault.mention_id for fault in self.faults}

    def _note_strays(self, targets: list[tuple[str, int]]) -> None:
        known = self._known()
        for target, line_number in targets:
            if target not in known:
                # What is no id may be a word of the text.
                name = target if _T_ID.fullmatch(target) else "something"
                reason = f"this N line refers to {name}, which no T line defines"
                self.unread.append(Remark(reason, None, line_number))


def _lines(text: str) -> Iterator[str]:
    """One at a time: of a large file they would take more memory than the file."""
    start = len("\ufeff") if text.startswith("\ufeff") else 0
    for end in _LINE_END.finditer(text, start):
        yield text[start : end.start()]
        start = end.end()
    yield text[start:]


def _reference(body: str) -> tuple[str, str] | None:
    """Target and referent of an N line's second column, with and without their names."""
    named = _NAMED_BODY.fullmatch(body)
    if named is not None and named[2] != named[4]:
        parts = {named[2]: named[3], named[4]: named[5].strip()}
        return parts["Annotation"], parts["Referent"]
    plain = _N_BODY.fullmatch(body)
    return None if plain is None else (plain[2], plain[3].strip())


def _code_of(referent: str) -> str:
    """The code of `DATABASE:CODE`; a database that may be part of what the code is stays.

    The database ends at the first colon: HPO:HP:0001250 is the code HP:0001250. A line_number alone
    behind it is none without it: OBT:002326, DOID:162.
    """
    database, colon, code = referent.partition(":")
    if not colon or not code:
        return "" if colon else database
    return referent if is_database(database) or code.isdigit() else code


def _words_of_note(text: str) -> tuple[str, ...]:
    """What of a note may be codes: its parts, where all are codes (`SNOMED CT: 22298006`), else its
    words."""
    parts = tuple(part.strip() for part in codes_of(text) if part.strip())
    if all(looks_like_code(part) or says_a_state(part) for part in parts):
        return parts
    return tuple(word for word in _BETWEEN_CODES.split(text) if word)
