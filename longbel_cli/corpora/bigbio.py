"""BigBio's KB schema as JSON, JSON Lines (either gzipped) or Parquet, read and written.

Offsets are trusted as they stand: whether they fit the text is checked elsewhere.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from kb_builder.codes import codes_of, database_of, gold_codes, looks_like_code
from longbel_cli.corpora import stored
from longbel_cli.corpora.attributes import attributes_of
from longbel_cli.corpora.check import settle
from longbel_cli.corpora.json_items import identifier, json_items
from longbel_cli.corpora.records import (
    CorpusFile,
    Draft,
    Item,
    OnProblem,
    Position,
    Read,
    Remark,
    UnreadableError,
    fail,
    unreadable,
)
from longbel_cli.corpora.row_files import is_row_file, rows
from longbel_cli.corpora.writing import Answers
from longbel_cli.progress import ignore
from longbel_cli.types import Document, Mention, Passage, Span

ARRAYS = ("documents",)
_LISTED_KEYS = 8
# Keys of an entity that hold no codes under this schema, whatever they look like.
_KEYS = ("id", "type", "text", "offsets", "normalized", "attributes")


def read(file: CorpusFile, start: Position) -> Iterator[Item]:
    """The documents of one file from `start` on."""
    if is_row_file(file.path):
        for row_index, value in rows(file.path, start.offset):
            yield item(value, row_index, row_index + 1)  # the row stands for the line
    else:
        yield from json_items(file.path, start, ARRAYS, item)


def sniff(head: bytes) -> bool:
    """Whether a file that begins like this may be BigBio's: JSON of any kind."""
    return head.removeprefix(stored.BOM).lstrip().startswith((b"{", b"["))


def item(value: Any, offset: int, line: int | None) -> Item:
    """A BigBio document that was read as JSON."""
    if not isinstance(value, dict):
        reason = f"a document must be a JSON object, not {_kind(value)}"
        return unreadable(offset, line, reason)
    document_id = identifier(value.get("document_id"))
    if document_id is None:
        document_id = identifier(value.get("id"))
    if document_id is None:
        reason = f"the document has neither document_id nor id{_keys_of(value)}"
        return unreadable(offset, line, reason)
    return Item(offset, line, document_id, partial(_build, value), raw=value)


def documents_of(
    pages: Iterable[dict[str, Any]], on_problem: OnProblem = fail, on_remark: OnProblem = ignore
) -> Iterator[Document]:
    """The checked documents of BigBio objects in memory (`page 1`, `page 2`, ... in messages)."""
    seen: set[str] = set()
    for ordinal, page in enumerate(pages, start=1):
        source = CorpusFile(f"page {ordinal}", "bigbio")
        entry = item(page, ordinal, None)
        repeated = entry.document_id in seen
        document = settle(source, entry, repeated, on_problem, on_remark)
        if entry.document_id is not None:
            seen.add(entry.document_id)
        if document is not None:
            yield document


def _build(value: dict[str, Any]) -> Draft:
    draft = Draft([])
    if identifier(value.get("document_id")) is None:
        draft.warnings.append(Remark("it has no document_id; its id stands in"))
    for ordinal, passage in enumerate(_list(value, "passages"), start=1):
        draft.passages.extend(_passages(passage, ordinal, draft))
    if not draft.passages:
        raise UnreadableError("it has no passage")
    for ordinal, entity in enumerate(_list(value, "entities"), start=1):
        fault = _add_mention(entity, draft)
        if fault is not None:
            mention_id = identifier(entity.get("id")) if isinstance(entity, dict) else None
            draft.faults.append(Remark(f"entity {ordinal}: {fault}", mention_id))
    return draft


def _list(value: dict[str, Any], key: str) -> list[Any]:
    entries = value.get(key)
    if entries is None:
        if key in value:
            return []
        raise UnreadableError(
            f"it has no {key!r}: not a document of the BigBio KB schema{_keys_of(value)}"
        )
    if not isinstance(entries, list):
        raise UnreadableError(f"its {key!r} must be a list, not {_kind(entries)}")
    return entries


def _passages(passage: Any, ordinal: int, draft: Draft) -> list[Passage]:
    if not isinstance(passage, dict):
        raise UnreadableError(f"passage {ordinal} must be an object, not {_kind(passage)}")
    texts = _texts(passage.get("text"))
    spans = _spans(passage.get("offsets"))
    if texts is None or spans is None:
        raise UnreadableError(f"passage {ordinal} needs 'text' (strings) and 'offsets' ([[s, e]])")
    if len(texts) != len(spans):
        raise UnreadableError(
            f"passage {ordinal} has {len(texts)} texts and {len(spans)} pairs of offsets"
        )
    for text, span in zip(texts, spans, strict=True):
        if len(text) != span.end - span.start:
            draft.warnings.append(
                Remark(
                    f"passage {ordinal} has {len(text)} characters and offsets "
                    f"{span.start}-{span.end}; it is placed at {span.start}"
                )
            )
    name = identifier(passage.get("id")) or ""
    kind = passage.get("type")
    return [
        Passage(text, span.start, name, kind if isinstance(kind, str) else "")
        for text, span in zip(texts, spans, strict=True)
    ]


def _add_mention(entity: Any, draft: Draft) -> str | None:
    """Add an entity to the draft's mentions, or say why it cannot be read."""
    if not isinstance(entity, dict):
        return f"an entity must be an object, not {_kind(entity)}"
    mention_id = identifier(entity.get("id"))
    if mention_id is None:
        return "it has no id"
    texts, spans = _texts(entity.get("text")), _spans(entity.get("offsets"))
    if texts is None:
        return "its text must be a list of strings"
    if spans is None or not spans:
        return "its offsets must be pairs of whole numbers, [[start, end], ...]"
    entity_type = entity.get("type")
    if isinstance(entity_type, list) and all(isinstance(part, str) for part in entity_type):
        entity_type = ",".join(entity_type)
    if not isinstance(entity_type, str) or not entity_type:
        return "it has no type"
    gold = _gold(entity.get("normalized"))
    if gold is None:
        return "its normalized must be a list of objects with db_id"
    if len(texts) != len(spans):
        draft.warnings.append(
            Remark(f"it has {len(texts)} texts and {len(spans)} pairs of offsets", mention_id)
        )
    draft.mentions.append(
        Mention(
            mention_id,
            spans,
            " ".join(texts),
            entity_type,
            entity_type,
            gold or None,
            attributes=attributes_of(entity.get("attributes")),
        )
    )
    for key in _unread_keys(entity):
        draft.unread.append(Remark(f"the key {key!r}", mention_id))
    return None


def _unread_keys(entity: dict[str, Any]) -> Iterator[str]:
    """Keys that hold codes, of an entity whose `normalized` holds none."""
    entries = entity.get("normalized") or []
    if any(entry.get("db_id") for entry in entries):
        return
    for holder, known in ((entity, _KEYS), *((entry, ("db_name",)) for entry in entries)):
        for key, value in holder.items():
            text = identifier(value)
            if key not in known and text is not None and all(map(looks_like_code, codes_of(text))):
                yield key


def _texts(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return value
    return None


def _spans(value: Any) -> tuple[Span, ...] | None:
    if not isinstance(value, list):
        return None
    spans = []
    for pair in value:
        # bool is an int to Python; it is no offset.
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or type(pair[0]) is not int
            or type(pair[1]) is not int
        ):
            return None
        spans.append(Span(pair[0], pair[1]))
    return tuple(spans)


def _gold(normalized: Any) -> tuple[str, ...] | None:
    """The codes that the corpus gives, perhaps none; None if malformed."""
    if normalized is None:
        return ()
    if not isinstance(normalized, list):
        return None
    codes: set[str] = set()
    for entry in normalized:
        if not isinstance(entry, dict):
            return None
        code = entry.get("db_id")
        if code is None or code == "":
            continue
        name = identifier(code)
        if name is None:
            return None
        database = entry.get("db_name")
        database = database if isinstance(database, str) else ""
        codes.update(gold_codes(name, database=database) or ())
    return tuple(sorted(codes))


def _keys_of(value: dict[str, Any]) -> str:
    """Which keys there are, and which are needed; what is no name is not shown."""
    names = [key for key in value if re.fullmatch(r"[A-Za-z_][\w.-]{0,30}", key, re.ASCII)]
    listed = ", ".join(names[:_LISTED_KEYS]) + (", …" if len(names) > _LISTED_KEYS else "")
    return f" (keys: {listed or 'none'}; needed: document_id, passages, entities)"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return names.get(type(value), "a number or truth value")


def _said(value: Any) -> Any:
    """A value as JSON can say it: null for NaN and infinity, which Parquet may hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _said(inner) for key, inner in value.items()}
    return [_said(inner) for inner in value] if isinstance(value, list | tuple) else value


class Writer:
    """`corpus.jsonl`: one document a line. Codes of the corpus's own stay in `normalized`, with the
    answers beside them as `predicted`; where there are none, or with `replace_gold`, `normalized`
    is the answers.

    A document that came from BigBio keeps its other keys, and the entities that were left out,
    which have no answer.
    """

    def __init__(self, folder: Path, database: str, replace_gold: bool = False) -> None:
        self._handle = (folder / "corpus.jsonl").open("x", encoding="utf-8", newline="\n")
        self._database, self._replace_gold = database, replace_gold

    def keeps_gold(self, read: Read) -> bool:
        return not self._replace_gold

    def write(self, read: Read, answers: Answers) -> None:
        raw = read.item.raw
        value = dict(raw) if isinstance(raw, dict) else as_bigbio(read.document)
        waiting = {mention.id: mention for mention in read.document.mentions}
        value["entities"] = [
            self._answered(entity, _taken(entity, waiting), answers)
            if isinstance(entity, dict)
            else entity
            for entity in value["entities"] or []
        ]
        # `default`: Parquet may hold dates and the like in keys of its own.
        self._handle.write(json.dumps(_said(value), ensure_ascii=False, default=str) + "\n")

    def close(self) -> None:
        self._handle.close()

    def _answered(
        self, entity: dict[str, Any], mention: Mention | None, answers: Answers
    ) -> dict[str, Any]:
        """The entity with its answers; one that became no mention has none."""
        given = () if mention is None else answers.get(mention.id, ())
        codes = [{"db_name": self._database, "db_id": code} for code, _ in given]
        if self._replace_gold:
            return {**entity, "normalized": codes}
        if mention is None or mention.gold is not None:
            return {**entity, "predicted": codes} if codes else entity
        return {**entity, "normalized": codes or entity.get("normalized") or []}


def _taken(entity: dict[str, Any], waiting: dict[str, Mention]) -> Mention | None:
    """The mention that an entity became, taken out of `waiting`; else None.

    Where several entities have one id, the first that became a mention is it; the others were
    left out.
    """
    draft = Draft([])
    _add_mention(entity, draft)
    for made in draft.mentions:
        mention = waiting.get(made.id)
        if mention is not None and _stated(made) == _stated(mention):
            return waiting.pop(made.id)
    return None


def _stated(mention: Mention) -> tuple[object, ...]:
    """What tells a mention from others of its id; the checks change white space in its text."""
    return mention.spans, mention.entity_type, mention.text.split()


def as_bigbio(document: Document) -> dict[str, Any]:
    """A document with its mentions as an object of the BigBio KB schema."""
    return {
        "id": document.id,
        "document_id": document.id,
        "passages": [
            {
                "id": passage.id or f"{document.id}_p{index}",
                "type": passage.type or "document",
                "text": [passage.text],
                "offsets": [[passage.start, passage.end]],
            }
            for index, passage in enumerate(document.passages)
        ],
        "entities": [
            {
                "id": mention.id,
                "type": mention.entity_type,
                "text": [document.text[start:end] for start, end in mention.spans],
                "offsets": [list(span) for span in mention.spans],
                # The database of a code is known where the code needs it.
                "normalized": [
                    {"db_name": database_of(code) or "", "db_id": code}
                    for code in mention.gold or ()
                ],
                **({"attributes": dict(mention.attributes)} if mention.attributes else {}),
            }
            for mention in document.mentions
        ],
        "events": [],
        "coreferences": [],
        "relations": [],
    }
