"""Texts with spans, as annotation tools and taggers write them in JSON, read only.

spaCy's `Doc.to_json`, Prodigy, doccano, Label Studio, MedCATtrainer and GLiNER: one row each in
`SHAPES`. Relations are passed over. Whatever unit offsets count is told by the stated texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kb_builder.codes import gold_codes, looks_like_code
from longbel_cli.corpora import stored
from longbel_cli.corpora.attributes import gathered
from longbel_cli.corpora.json_items import identifier, json_items
from longbel_cli.corpora.records import (
    STDIN,
    CorpusFile,
    Draft,
    Item,
    Position,
    Remark,
    UnreadableError,
    unreadable,
)
from longbel_cli.corpora.units import as_stated, in_characters
from longbel_cli.types import Attributes, Mention, Passage, Span

_SUFFIXES = (".json", ".jsonl", ".ndjson")
# Keys of a span that say nothing of the mention beside its concept.
_KNOWN = {
    "start", "end", "label", "labels", "text", "id", "kb_id", "kb_name", "cui", "code", "score",
    "token_start", "token_end", "start_offset", "end_offset", "value", "source", "input_hash",
    "validated", "correct", "deleted", "alternative", "killed", "irrelevant", "manually_created",
    "user", "last_modified", "meta_anns", "acc", "ent_id", "ent_kb_id", "color",
}  # fmt: skip


class Marked(NamedTuple):
    """A span as a tool states it; None where it states nothing, or nothing that can be one."""

    start: Any
    end: Any
    label: Any
    text: Any = None
    codes: tuple[str, ...] = ()
    id: Any = None
    attributes: Attributes = ()


@dataclass
class Page:
    """A document as a tool states it. `warnings` say what of it is not read, and why."""

    text: Any
    marked: list[Marked]
    id: Any = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Shape:
    """How one kind of tools writes a document: whether an object is of it, and its page."""

    fits: Callable[[Mapping[str, Any]], bool]
    page: Callable[[Mapping[str, Any]], Page]


def read(file: CorpusFile, start: Position) -> Iterator[Item]:
    """The documents of one file from `start` on."""
    if file.path != STDIN and _is_medcat(file.path):
        yield from _medcat_items(file, start)
        return
    yield from json_items(file.path, start, (), partial(_item, file))


def knows(path: Path) -> bool:
    """Whether the first document of a JSON file is of one of SHAPES."""
    name = path.name.lower().removesuffix(".gz")
    if not name.endswith(_SUFFIXES) or not path.is_file():
        return False
    try:
        if _is_medcat(str(path)):
            return True
        first = next(json_items(str(path), Position(0), (), _bare), None)
    except (UnreadableError, OSError):
        return False
    return first is not None and shape_of(first.raw) is not None


def _bare(value: Any, offset: int, line: int | None) -> Item:
    return Item(offset, line, None, lambda: Draft([]), raw=value)


def shape_of(value: Any) -> Shape | None:
    """How a document is written; None for an object of another format."""
    if not isinstance(value, dict) or not {"passages", "infons"}.isdisjoint(value):
        return None
    return next((shape for shape in SHAPES if shape.fits(value)), None)


def _item(file: CorpusFile, value: Any, offset: int, line: int | None) -> Item:
    shape = shape_of(value)
    if shape is None:
        return unreadable(offset, line, "it is no text with spans of a tool that is known")
    if value.get("answer") in ("reject", "ignore"):
        return unreadable(offset, line, f"its annotator did not accept it ({value['answer']})")
    page = shape.page(value)
    name = identifier(page.id) or _name_in(file, offset, line)
    return Item(offset, line, name, partial(_build, page))


def _name_in(file: CorpusFile, offset: int, line: int | None) -> str:
    """An id for a document that states none: its file's name, and unless it stands at the file's
    begin its line, or where several may share one (an array) its byte offset."""
    name = file.document_id or Path(file.path).stem
    if not offset:
        return name
    is_array = file.path.lower().removesuffix(".gz").endswith(".json")
    return f"{name}@{offset}" if is_array else f"{name}:{line}"


def _build(page: Page) -> Draft:
    if not isinstance(page.text, str):
        raise UnreadableError("its text is missing, or no text")
    draft = Draft([Passage(page.text)], warnings=[Remark(each) for each in page.warnings])
    for ordinal, marked in enumerate(page.marked, start=1):
        mention = _mention(marked, ordinal)
        if mention is None:
            reason = "its offsets are no whole numbers, or it has no label"
            draft.faults.append(Remark(reason, identifier(marked.id) or f"T{ordinal}"))
        else:
            draft.mentions.append(mention)
    stated = [mention for mention in draft.mentions if mention.text]
    converted, unit = in_characters(stated, page.text)
    if unit is not None:
        by_id = {mention.id: mention for mention in converted}
        draft.mentions = [by_id.get(mention.id, mention) for mention in draft.mentions]
        draft.warnings.append(Remark(f"its offsets count {unit}; they are converted"))
    draft.mentions = [as_stated(mention, page.text) for mention in draft.mentions]
    return draft


def _mention(marked: Marked, ordinal: int) -> Mention | None:
    start, end, label = marked.start, marked.end, marked.label
    if type(start) is not int or type(end) is not int or not isinstance(label, str) or not label:
        return None
    text = marked.text if isinstance(marked.text, str) else ""
    name = identifier(marked.id) or f"T{ordinal}"
    gold = gold_codes(*marked.codes) if marked.codes else None
    return Mention(name, (Span(start, end),), text, label, label, gold, None, marked.attributes)


# Shapes ------------------------------------------------------------------------------------------


def _objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; of a mapping of lists, as spaCy groups spans, those of all."""
    if isinstance(value, dict):
        value = [each for group in value.values() if isinstance(group, list) for each in group]
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _attributes(span: Mapping[str, Any]) -> Attributes:
    """What a span says beside its place, kind and concept: texts and truth values."""
    return gathered(
        (name, value)
        for name, value in span.items()
        if name not in _KNOWN and isinstance(value, str | bool) and value != ""
    )


def _codes(*values: Any) -> tuple[str, ...]:
    return tuple(name for value in values if (name := identifier(value)) is not None)


def _labelled(value: Mapping[str, Any]) -> Page:
    """spaCy (`ents`, `spans`), Prodigy (`spans`) and GLiNER (`entities`): start, end and label."""
    marked: dict[tuple[Any, ...], Marked] = {}
    for key in ("ents", "spans", "entities"):
        for span in _objects(value.get(key)):
            start, end = span.get("start"), span.get("end")
            made = Marked(
                start, end, span.get("label"), span.get("text"),
                _codes(span.get("kb_id"), span.get("cui"), span.get("code")),
                None, _attributes(span),
            )  # fmt: skip
            known = marked.get((start, end, made.label))
            if known is None or (made.codes and not known.codes):
                marked[start, end, made.label] = made
    meta = value.get("meta")
    names = (value, meta if isinstance(meta, dict) else {})
    ids = [each.get(key) for each in names for key in ("document_id", "id")]
    return Page(value.get("text"), [*marked.values()], next((id_ for id_ in ids if id_), None))


def _doccano(value: Mapping[str, Any]) -> Page:
    """doccano: triples under `label` or `labels`, or entities with `start_offset`."""
    triples = value.get("label") or value.get("labels") or []
    marked = [Marked(*triple[:3]) for triple in triples if isinstance(triple, list) and triple[2:]]
    marked += [
        Marked(
            span.get("start_offset"), span.get("end_offset"), span.get("label"), None, (),
            span.get("id"), _attributes(span),
        )
        for span in _objects(value.get("entities"))
    ]  # fmt: skip
    return Page(value.get("text", value.get("data")), marked, value.get("id"))


def _label_studio(value: Mapping[str, Any]) -> Page:
    """Label Studio: a task; of several annotators' sets the first that was not cancelled."""
    data = value["data"]
    texts = [each for each in (data.get("text"), *data.values()) if isinstance(each, str)]
    sets = [
        each for each in _objects(value.get("annotations")) if not each.get("was_cancelled")
    ]  # fmt: skip
    warnings = [] if len(sets) < 2 else [f"it has {len(sets)} annotators' sets: the first is read"]
    by_region: dict[str, list[Mapping[str, Any]]] = {}
    for ordinal, entry in enumerate(_objects(sets[0].get("result")) if sets else ()):
        region = identifier(entry.get("id")) or str(ordinal)
        inner = entry.get("value")
        by_region.setdefault(region, []).append(inner if isinstance(inner, dict) else {})
    marked = []
    for region, entries in by_region.items():
        first = next((entry for entry in entries if entry.get("labels")), None)
        if first is None:
            continue  # of the text as a whole, or a relation
        others = [_flat(entry) for entry in entries if entry is not first]
        codes = tuple(text for each in others for text in each if looks_like_code(text))
        labels = first["labels"]
        marked.append(
            Marked(
                first.get("start"), first.get("end"), labels[0] if labels else None,
                first.get("text"), codes, region,
            )
        )  # fmt: skip
    return Page(texts[0] if texts else None, marked, value.get("id"), warnings)


def _flat(entry: Mapping[str, Any]) -> list[str]:
    """What an annotator chose or wrote for a region."""
    chosen = [*_list(entry.get("choices")), *_list(entry.get("text"))]
    chosen += [path[-1] for path in _list(entry.get("taxonomy")) if isinstance(path, list) and path]
    return [text for text in chosen if isinstance(text, str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _medcat(value: Mapping[str, Any]) -> Page:
    """MedCATtrainer: annotations that a person left standing."""
    marked, left = [], 0
    for span in _objects(value.get("annotations")):
        is_out = any(span.get(key) for key in ("deleted", "killed", "irrelevant"))
        if is_out or span.get("validated") is False or span.get("correct") is False:
            left += 1
            continue
        said = [
            (str(each.get("name")), each["value"])
            for each in _objects(span.get("meta_anns"))
            if isinstance(each.get("value"), str | bool)
        ]
        marked.append(
            Marked(
                span.get("start"), span.get("end"), span.get("label") or "Concept",
                span.get("value"), _codes(span.get("cui")), span.get("id"), gathered(said),
            )
        )  # fmt: skip
    warnings = [f"{left} of its annotations were rejected or not validated"] if left else []
    return Page(value.get("text"), marked, value.get("name") or value.get("id"), warnings)


def _has_spans(value: Mapping[str, Any]) -> bool:
    return "text" in value and any(
        isinstance(value.get(key), list | dict) for key in ("ents", "spans", "entities")
    )


def _is_doccano(value: Mapping[str, Any]) -> bool:
    if not {"text", "data"} & value.keys():
        return False
    triples = value.get("label") or value.get("labels")
    entities = _objects(value.get("entities"))
    return (isinstance(triples, list) and all(isinstance(each, list) for each in triples)) or any(
        "start_offset" in each for each in entities
    )


# The first that fits is meant.
SHAPES = (
    Shape(lambda value: isinstance(value.get("data"), dict), _label_studio),
    Shape(_is_doccano, _doccano),
    Shape(_has_spans, _labelled),
)

_PROJECTS = re.compile(rb'\s*\{\s*"projects"\s*:\s*\[')


def _is_medcat(path: str) -> bool:
    return _PROJECTS.match(stored.head(path).removeprefix(stored.BOM)) is not None


def _medcat_items(file: CorpusFile, start: Position) -> Iterator[Item]:
    """The documents of all projects, in their order; the file is held as a whole."""
    with stored.opened(file.path) as handle:
        data = stored.whole(handle, "the file")
    try:
        projects = json.loads(stored.decoded(data).removeprefix("\ufeff"))["projects"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnreadableError("broken JSON") from None
    documents = (each for project in _objects(projects) for each in _objects(project["documents"]))
    for index, value in enumerate(documents):
        if index >= start.offset:
            page = _medcat(value)
            name = identifier(page.id) or f"{file.document_id or Path(file.path).stem}:{index + 1}"
            yield Item(index, None, name, partial(_build, page))
