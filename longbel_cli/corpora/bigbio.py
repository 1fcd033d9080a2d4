"""BigBio's KB schema as JSON, JSON Lines (either gzipped) or Parquet, read and written.

Offsets are trusted as they stand: whether they fit the text is checked elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from longbel_cli.corpora import stored
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

ARRAYS = ("documents",)


def read(file: CorpusFile, start: Position) -> Iterator[Item]:
    """The documents of one file from `start` on."""
    if is_parquet(file.path):
        yield from _read_parquet(file.path, start.offset)
    elif is_whole_json(file.path):
        for found in stored.json_documents(file.path, ARRAYS, start.offset):
            yield item(found.value, found.offset, found.line)
    else:
        yield from json_lines(file.path, start, item)


def is_parquet(path: str) -> bool:
    return path.lower().endswith((".parquet", ".pq"))


def is_whole_json(path: str) -> bool:
    """Whether the name says JSON rather than JSON Lines."""
    return path.lower().removesuffix(".gz").endswith(".json")


def json_lines(path: str, start: Position, to_item: Any) -> Iterator[Item]:
    """One document a line; blank lines are none."""
    for line in stored.lines(path, start.offset, start.line or 1):
        if not line.data.strip():
            continue
        try:
            text = stored.decoded(line.data, "the line", line.offset)
            value = stored.json_value(text, line.number)
        except UnreadableError as error:
            yield unreadable(line.offset, line.number, error.reason)
            continue
        yield to_item(value, line.offset, line.number)


def _read_parquet(path: str, start: int) -> Iterator[Item]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
        row = 0
        for group in range(table.num_row_groups):
            size = table.metadata.row_group(group).num_rows
            if row + size <= start:
                row += size
                continue
            for batch in table.iter_batches(batch_size=64, row_groups=[group]):
                for value in batch.to_pylist():
                    if row >= start:
                        yield item(value, row, None)
                    row += 1
    except OSError as error:
        reason = error.strerror or "it is no Parquet file or is damaged"
        raise UnreadableError(f"the file cannot be read ({reason})") from None
    except pa.ArrowException:
        raise UnreadableError("the file cannot be read (no Parquet file, or damaged)") from None
    except UnicodeDecodeError:
        raise UnreadableError(
            "a text of the Parquet file is not UTF-8; the rest of the file is left out"
        ) from None


def item(value: Any, offset: int, line: int | None) -> Item:
    """A BigBio document that was read as JSON."""
    if not isinstance(value, dict):
        reason = f"a document must be a JSON object, not {_kind(value)}"
        return unreadable(offset, line, reason)
    document_id = identifier(value.get("document_id"))
    if document_id is None:
        document_id = identifier(value.get("id"))
    if document_id is None:
        return unreadable(offset, line, "the document has neither document_id nor id")
    return Item(offset, line, document_id, partial(_build, value), raw=value)


def identifier(value: Any) -> str | None:
    """An id as text; numbers are taken, nothing or something else is None."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _build(value: dict[str, Any]) -> Draft:
    draft = Draft([])
    if identifier(value.get("document_id")) is None:
        draft.warnings.append(Remark("it has no document_id; its id stands in"))
    for number, passage in enumerate(_list(value, "passages"), start=1):
        draft.passages.extend(_passages(passage, number, draft))
    if not draft.passages:
        raise UnreadableError("it has no passage")
    for number, entity in enumerate(_list(value, "entities"), start=1):
        fault = _add_mention(entity, draft)
        if fault is not None:
            mention_id = identifier(entity.get("id")) if isinstance(entity, dict) else None
            draft.faults.append(Remark(f"entity {number}: {fault}", mention_id))
    return draft


def _list(value: dict[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    if found is None:
        if key in value:
            return []
        raise UnreadableError(f"it has no {key!r}: not a document of the BigBio KB schema")
    if not isinstance(found, list):
        raise UnreadableError(f"its {key!r} must be a list, not {_kind(found)}")
    return found


def _passages(passage: Any, number: int, draft: Draft) -> list[Passage]:
    if not isinstance(passage, dict):
        raise UnreadableError(f"passage {number} must be an object, not {_kind(passage)}")
    texts = _texts(passage.get("text"))
    spans = _spans(passage.get("offsets"))
    if texts is None or spans is None:
        raise UnreadableError(f"passage {number} needs 'text' (strings) and 'offsets' ([[s, e]])")
    if len(texts) != len(spans):
        raise UnreadableError(
            f"passage {number} has {len(texts)} texts and {len(spans)} pairs of offsets"
        )
    for text, span in zip(texts, spans, strict=True):
        if len(text) != span.end - span.start:
            draft.warnings.append(
                Remark(
                    f"passage {number} has {len(text)} characters and offsets "
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
        Mention(mention_id, spans, " ".join(texts), entity_type, entity_type, gold or None)
    )
    return None


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
    """The codes, sorted, each once; empty where the corpus says nothing; None if malformed."""
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
        codes.update(part.strip() for part in name.split("+"))
    return tuple(sorted(code for code in codes if code))


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return names.get(type(value), "a number or truth value")
