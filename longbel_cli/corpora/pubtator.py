"""PubTator: `id|t|title`, `id|a|abstract`, and one tab-separated line a mention; read and written.

Title and abstract are joined by one character, whatever ends the title's line. Relation lines are
kept by the writer and not interpreted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from kb_builder.codes import codes_of, gold_codes, looks_like_code
from longbel_cli.corpora import stored
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
from longbel_cli.corpora.stored import Line
from longbel_cli.corpora.writing import BREAK, Answers, Changes, one_line, warn_of
from longbel_cli.types import Document, Mention, Passage, Span

_TEXT = re.compile(rb"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)
_HEAD = re.compile(rb"(?:\xef\xbb\xbf)?\s*[^\s|][^\t\n|]*\|[ta]\|")
_OFFSET = re.compile(r"-?[0-9]{1,12}")
# What stands where a mention has its start, however damaged: a relation has a word there.
_LIKE_AN_OFFSET = re.compile(rb"\s*(?:[-+. ]*[0-9]|\Z)")
_TITLE, _ABSTRACT = b"t", b"a"
_PASSAGE_TYPES = {_TITLE: "title", _ABSTRACT: "abstract"}


class Block(NamedTuple):
    """The lines of a document."""

    lines: tuple[Line, ...]

    @property
    def relations(self) -> Iterator[bytes]:
        return (line.data for line in self.lines if _is_relation(line.data))


def read(file: CorpusFile, start: Position) -> Iterator[Item]:
    """The documents of one file from `start` on.

    A document ends at a blank line or where the next title begins.
    """
    block: list[Line] = []
    size = 0
    for line in stored.lines(file.path, start.offset, start.line or 1):
        data = line.data.removesuffix(b"\r")
        line = Line(line.offset, line.line_number, data)
        match = _TEXT.match(data)
        if block and (not data.strip() or (match and _starts_anew(match, block))):
            yield _item(block)
            block, size = [], 0
        size += len(data)
        if size > stored.LARGEST_DOCUMENT:
            raise stored.too_large("a document of the file", line.line_number)
        if data.strip():
            block.append(line)
    if block:
        yield _item(block)


def sniff(head: bytes) -> bool:
    """Whether a file that begins like this is PubTator."""
    return _HEAD.match(head) is not None


def _starts_anew(match: re.Match[bytes], block: list[Line]) -> bool:
    """Whether a text line belongs to another document than the block so far."""
    first = _TEXT.match(block[0].data)
    if first is None or first[1] != match[1]:
        return True
    # The same id again: another document if it has that passage already.
    return any(
        other[2] == match[2] for other in (_TEXT.match(line.data) for line in block) if other
    )


def _item(block: list[Line]) -> Item:
    first = block[0]
    match = _TEXT.match(first.data)
    if match is None:
        reason = "a document must begin with `id|t|title`"
        return unreadable(first.offset, first.line_number, reason)
    try:
        document_id = stored.decoded(match[1], "the id", first.offset).strip()
    except UnreadableError as error:
        return unreadable(first.offset, first.line_number, error.reason)
    if not document_id:
        return unreadable(first.offset, first.line_number, "the document has an empty id")
    raw = Block(tuple(block))
    return Item(
        first.offset, first.line_number, document_id, partial(_build, document_id, block), raw
    )


def _build(document_id: str, block: list[Line]) -> Draft:
    draft = Draft([])
    texts: dict[bytes, str] = {}
    mentions = 0
    for line in block:
        match = _TEXT.match(line.data)
        if match is not None:
            # The id ends at the first bar, so offsets in the message count from there.
            offset = line.offset + match.start(3)
            try:
                texts[match[2]] = stored.decoded(match[3], "the text", offset)
            except UnreadableError as error:
                raise UnreadableError(error.reason, line.line_number) from None
            continue
        if _is_relation(line.data):
            continue
        mentions += 1
        _add_mention(document_id, line, f"T{mentions}", draft)
    title = texts.get(_TITLE, "")
    draft.passages.append(Passage(title, 0, f"{document_id}_title", _PASSAGE_TYPES[_TITLE]))
    if _ABSTRACT in texts:
        draft.passages.append(
            Passage(
                texts[_ABSTRACT],
                len(title) + 1,
                f"{document_id}_abstract",
                _PASSAGE_TYPES[_ABSTRACT],
            )
        )
    return draft


def _is_relation(data: bytes) -> bool:
    """`id<TAB>TYPE<TAB>code<TAB>code`: four or five fields, the second not begun like a number.

    The third says nothing: it may be the number of a gene.
    """
    fields = data.split(b"\t")
    return len(fields) in (4, 5) and not _TEXT.match(data) and not _LIKE_AN_OFFSET.match(fields[1])


def _add_mention(document_id: str, line: Line, mention_id: str, draft: Draft) -> None:
    def fault(reason: str) -> None:
        draft.faults.append(Remark(reason, mention_id, line.line_number))

    try:
        fields = stored.decoded(line.data, "the line", line.offset).split("\t")
    except UnreadableError as error:
        fault(error.reason)
        return
    if len(fields) < 5:
        fault(f"a mention needs id, start, end, text, type (and code); there are {len(fields)}")
        return
    if fields[0].strip() != document_id:
        fault("it has another document's id")
        return
    if not (_OFFSET.fullmatch(fields[1]) and _OFFSET.fullmatch(fields[2])):
        fault("its offsets must be whole numbers")
        return
    entity_type = fields[4].strip()
    if not entity_type:
        fault("it has no type")
        return
    gold = gold_codes(*fields[5:6])
    if _holds_other_codes(fields[6:], gold):
        reason = "codes in a column after the sixth"
        draft.unread.append(Remark(reason, mention_id, line.line_number))
    draft.mentions.append(
        Mention(
            mention_id,
            (Span(int(fields[1]), int(fields[2])),),
            fields[3],
            entity_type,
            entity_type,
            gold,
            line.line_number,
        )
    )


def _holds_other_codes(fields: list[str], gold: tuple[str, ...] | None) -> bool:
    """Whether the columns after the code's hold other codes, not names."""
    for field in fields:
        parts = [part for part in codes_of(field) if part.strip()]
        if parts and all(map(looks_like_code, parts)) and not {*parts} <= {*(gold or ())}:
            return True
    return False


class Writer:
    """`corpus.pubtator`: the first passage as title, what follows as abstract, offsets kept.

    A single passage is parted at its first line end that is no mention's edge. Line ends become
    blanks; a mention of several fragments is written from its first character to its last. A
    document that came from PubTator keeps its relation lines.
    """

    def __init__(self, folder: Path, database: str, replace_gold: bool = False) -> None:
        self._handle = (folder / "corpus.pubtator").open("xb")
        self._changes = Changes()

    def keeps_gold(self, read: Read) -> bool:
        return False

    def write(self, read: Read, answers: Answers) -> None:
        document = read.document
        document_id = re.sub(f"[|{BREAK}]", "_", document.id)
        if document_id != document.id:
            warn_of(read, None, "bars, tabs or line ends in its id became `_`")
        title, abstract = _title_and_abstract(document)
        text = one_line(document.text)
        self._changes["documents: line ends or tabs in the text became blanks"] += (
            title, abstract,
        ) != (one_line(title), one_line(abstract))  # fmt: skip
        joined = len(document.passages) > 2
        self._changes["documents: passages after the second joined the abstract"] += joined
        self._write(f"{document_id}|t|{one_line(title)}")
        self._write(f"{document_id}|a|{one_line(abstract)}")
        for mention in document.mentions:
            in_parts = len(mention.spans) > 1
            self._changes["mentions: fragments became one stretch"] += in_parts
            self._changes["mentions: attributes are not written"] += bool(mention.attributes)
            codes = "|".join(code for code, _ in answers.get(mention.id, ())) or "-1"
            fields = (
                document_id,
                str(mention.start),
                str(mention.end),
                text[mention.start : mention.end],
                one_line(mention.entity_type),
                codes,
            )
            self._write("\t".join(fields))
        if isinstance(read.item.raw, Block):
            for relation in read.item.raw.relations:
                self._handle.write(relation + b"\n")
        self._write("")

    def _write(self, line: str) -> None:
        self._handle.write(line.encode("utf-8") + b"\n")

    def close(self) -> None:
        self._handle.close()
        self._changes.log("corpus.pubtator")


def _title_and_abstract(document: Document) -> tuple[str, str]:
    """Two parts of the text with one character between them, which the format does not hold."""
    text = document.text
    if len(document.passages) > 1:
        end = document.passages[0].end
        if document.passages[1].start == end:
            return text, ""  # no character between them: parting would shift the offsets
    else:
        # The character between the parts is in neither: no mention may begin or end with it.
        edges = {offset for m in document.mentions for offset in (m.start, m.end - 1)}
        ends = (line_break.start() for line_break in re.finditer(r"[\r\n]", text))
        end = next((offset for offset in ends if offset not in edges), len(text))
    return text[:end], text[end + 1 :]
