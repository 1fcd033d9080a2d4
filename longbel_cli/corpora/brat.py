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

from kb_builder.codes import gold_codes, is_database
from longbel_cli.corpora import stored
from longbel_cli.corpora.check import fits
from longbel_cli.corpora.records import (
    CorpusFile,
    Draft,
    Item,
    Position,
    Read,
    Remark,
    UnreadableError,
    unreadable,
)
from longbel_cli.corpora.writing import Answers, one_line, safe_path, warn_of, write_new
from longbel_cli.types import Document, Mention, Passage, Span

# A note is a list of codes when every word of it looks like one: letters and four digits or more
# (C0015967, HP:0001945), or five digits or more; a year is none.
_CODE = re.compile(
    r"(?:[A-Za-z]+[:_])*(?:[A-Za-z]{1,4}[0-9]{4}|[0-9]{5}|(?<=[:_])[0-9]{4})[0-9A-Za-z.:_-]*"
)
_BETWEEN_CODES = re.compile(r"[\s+,;|]+")
# No document has offsets of more digits; int() refuses thousands of them.
_PAIR = r"[0-9]{1,12} +[0-9]{1,12}"
_T_BODY = re.compile(rf"(\S+) +({_PAIR}(?: *; *{_PAIR})*) *")
_T_ID = re.compile(r"T[0-9]+")
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
            gold = gold_codes(*(self.references.get(named.id) or self.notes.get(named.id) or ()))
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
            # The line may be the rest of a broken one: what is no id is text.
            word = re.split(r"[ \t]", line, maxsplit=1)[0]
            self.faults.append(Remark(reason, word if _T_ID.fullmatch(word) else None, number))
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
        if not colon:
            code = database
        elif is_database(database):  # it may be part of what the code is
            code = code and f"{database}:{code}"
        if not code:
            self.warnings.append(Remark("this N line has an empty code", None, number))
            return
        self.references[body[2]].append(code)
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
            if target not in known and _T_ID.fullmatch(target):
                reason = f"this N line refers to {target}, which no T line defines"
                self.warnings.append(Remark(reason, None, number))


class Writer:
    """One .txt and .ann a document, each below the folder by the document's id.

    A document that came from BRAT keeps both files byte for byte; N lines are added at the end.
    """

    def __init__(self, folder: Path, database: str) -> None:
        self._folder = folder
        self._database = database

    def write(self, read: Read, answers: Answers) -> None:
        if isinstance(read.item.raw, Pair):
            path = Path(read.document.id)
            text = read.item.raw.text.read_bytes()
            lines = read.item.raw.annotations.read_bytes()
            numbers = {mention.id: mention.id for mention in read.document.mentions}
            if any(mention.gold and mention.id in answers for mention in read.document.mentions):
                warn_of(read, None, "its own codes stay beside the added ones")
        else:
            path = safe_path(read.document.id)
            text = read.document.text.encode("utf-8")
            numbers = _named_by_number(read.document)
            lines = self._mention_lines(read, numbers)
        write_new(self._folder, path.with_name(f"{path.name}.txt"), text)
        lines = _with_references(lines, read.document, numbers, answers, self._database)
        write_new(self._folder, path.with_name(f"{path.name}.ann"), lines)

    def close(self) -> None:
        """Nothing is held open."""

    def _mention_lines(self, read: Read, numbers: dict[str, str]) -> bytes:
        made = []
        for mention in read.document.mentions:
            entity_type = re.sub(r"\s", "_", mention.entity_type)
            if entity_type != mention.entity_type:
                warn_of(read, mention, "blanks in its type became `_`")
            spans = ";".join(f"{start} {end}" for start, end in mention.spans)
            text = one_line(mention.text)
            made.append(f"{numbers[mention.id]}\t{entity_type} {spans}\t{text}\n")
        return "".join(made).encode("utf-8")


def _named_by_number(document: Document) -> dict[str, str]:
    """A BRAT id for each mention: the `T3` its id ends in where that is clear, else counted."""
    endings = {
        mention.id: found[0] if (found := re.search(r"T[0-9]+$", mention.id)) else ""
        for mention in document.mentions
    }
    if "" not in endings.values() and len(set(endings.values())) == len(endings):
        return endings
    return {mention_id: f"T{number}" for number, mention_id in enumerate(endings, start=1)}


def _with_references(
    lines: bytes, document: Document, numbers: dict[str, str], answers: Answers, database: str
) -> bytes:
    """The lines of an .ann file with an N line for each answer after them."""
    number = max(
        (int(found) for found in re.findall(rb"^N([0-9]{1,18})\t", lines, re.M)), default=0
    )
    end = "\r\n" if b"\r\n" in lines else "\n"
    added = []
    for mention in document.mentions:
        for code, name in answers.get(mention.id, ()):
            number += 1
            target = numbers[mention.id]
            added.append(f"N{number}\tReference {target} {database}:{code}\t{one_line(name)}{end}")
    if added and lines and not lines.endswith(b"\n"):
        added.insert(0, end)
    return lines + "".join(added).encode("utf-8")
