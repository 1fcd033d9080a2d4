"""BRAT stand-off: `.txt` and `.ann` pairs, read and written.

Texts are decoded from bytes with no newline translation, since offsets count the characters as
stored. Lines other than T, N and AnnotatorNotes are kept by the writer and not interpreted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from longbel_cli.corpora import stored
from longbel_cli.corpora.brat_lines import Annotations
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
from longbel_cli.corpora.stated_text import fits
from longbel_cli.corpora.unknown import any_case
from longbel_cli.corpora.writing import (
    Answers,
    Changes,
    one_line,
    safe_path,
    unbroken,
    warn_of,
    write_new,
)
from longbel_cli.types import Document, Mention, Passage, Span


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
    """The pair of an .ann file."""
    annotations = Path(path)
    return Pair(any_case(annotations.with_suffix(".txt")), annotations)


def _build(pair: Pair) -> Draft:
    text = stored.decoded(_bytes(pair.text), str(pair.text.name))
    lines = stored.decoded(_bytes(pair.annotations), str(pair.annotations.name))
    annotations = Annotations.of(lines)
    draft = Draft(
        [], annotations.mentions(), annotations.faults, annotations.warnings, annotations.unread
    )
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
        with path.open("rb") as file:
            return stored.whole(file, f"its {path.suffix} file")
    except FileNotFoundError:
        raise UnreadableError(f"its {path.suffix} file is missing") from None
    except OSError as error:
        raise UnreadableError(f"its {path.suffix} file cannot be read ({error.strerror})") from None


class Writer:
    """One .txt and .ann a document, each below the folder by the document's id.

    A document that came from BRAT keeps both files byte for byte; N lines are added at the end.
    """

    def __init__(self, folder: Path, database: str, replace_gold: bool = False) -> None:
        self._folder, self._changes = folder, Changes()
        self._database = _word(database).replace(":", "_")

    def keeps_gold(self, read: Read) -> bool:
        return isinstance(read.item.raw, Pair)

    def write(self, read: Read, answers: Answers) -> None:
        if isinstance(read.item.raw, Pair):
            path = Path(read.document.id)
            text = read.item.raw.text.read_bytes()
            lines = read.item.raw.annotations.read_bytes()
            ids = {mention.id: mention.id for mention in read.document.mentions}
            if any(mention.gold and mention.id in answers for mention in read.document.mentions):
                self._changes["documents: their own codes stay beside the added ones"] += 1
        else:
            path = safe_path(read.document.id)
            text = read.document.text.encode("utf-8")
            ids = _named_by_number(read.document)
            lines = self._mention_lines(read, ids)
        write_new(self._folder, path.with_name(f"{path.name}.txt"), text)
        lines = _with_references(lines, read, ids, answers, self._database)
        write_new(self._folder, path.with_name(f"{path.name}.ann"), lines)

    def close(self) -> None:
        self._changes.log(".ann files")

    def _mention_lines(self, read: Read, ids: dict[str, str]) -> bytes:
        made: list[str] = []
        said: list[str] = []
        for mention in read.document.mentions:
            entity_type = _word(mention.entity_type)
            if entity_type != mention.entity_type:
                warn_of(read, mention, "blanks in its type became `_`")
            fragments = _fragments(mention, read.document.text)
            spans = ";".join(f"{start} {end}" for start, end in fragments)
            text = one_line(" ".join(read.document.text[start:end] for start, end in fragments))
            made.append(f"{ids[mention.id]}\t{entity_type} {spans}\t{text}\n")
            for name, value in mention.attributes:
                if value is not False:  # BRAT has flags that are set, and no others
                    words = (_word(name), ids[mention.id], "" if value is True else one_line(value))
                    said.append(" ".join(filter(None, words)))
        made += [f"A{index}\t{words}\n" for index, words in enumerate(said, start=1)]
        return "".join(made).encode("utf-8")


def _fragments(mention: Mention, text: str) -> list[Span]:
    """The spans without the line ends and tabs in them, which a T line cannot hold."""
    parts = [
        Span(span.start + start, span.start + end)
        for span in mention.spans
        for start, end in unbroken(text[span.start : span.end])
    ]
    return [part for part in parts if text[part.start : part.end].strip()] or list(mention.spans)


def _named_by_number(document: Document) -> dict[str, str]:
    """A BRAT id for each mention: the `T3` its id ends in where that is clear, else counted."""
    endings = {
        mention.id: match[0] if (match := re.search(r"T[0-9]+$", mention.id)) else ""
        for mention in document.mentions
    }
    if "" not in endings.values() and len(set(endings.values())) == len(endings):
        return endings
    return {mention_id: f"T{ordinal}" for ordinal, mention_id in enumerate(endings, start=1)}


def _with_references(
    lines: bytes, read: Read, ids: dict[str, str], answers: Answers, database: str
) -> bytes:
    """The lines of an .ann file with an N line for each answer after them."""
    last_note = max(map(int, re.findall(rb"(?:^|[\r\n])N([0-9]{1,18})\t", lines)), default=0)
    end = _line_end(lines)
    added = []
    for mention in read.document.mentions:
        for code, name in answers.get(mention.id, ()):
            last_note += 1
            if _word(code) != code:
                warn_of(read, mention, "blanks in its code became `_`")
            reference = f"Reference {ids[mention.id]} {database}:{_word(code)}"
            added.append(f"N{last_note}\t{reference}\t{one_line(name)}{end}")
    if added and lines and not lines.endswith((b"\n", b"\r")):
        added.insert(0, end)
    return lines + "".join(added).encode("utf-8")


def _word(text: str) -> str:
    """The text with blanks as `_`: brat parts a line's fields at blanks."""
    return re.sub(r"\s", "_", text)


def _line_end(lines: bytes) -> str:
    if b"\r\n" in lines:
        return "\r\n"
    return "\r" if b"\r" in lines and b"\n" not in lines else "\n"
