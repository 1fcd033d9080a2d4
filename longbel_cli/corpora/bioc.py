"""BioC as XML and JSON, read only.

XML is parsed as a stream; entity declarations are refused, external files never fetched. Relations
are passed over. Offsets are trusted as they stand.
"""

from __future__ import annotations

import xml.parsers.expat as expat
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from xml.etree import ElementTree

from kb_builder.codes import NO_CODE, codes_of, gold_codes, is_database, looks_like_code, plain
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
from longbel_cli.types import Mention, Passage, Span

ARRAYS = ("documents", "PubTator3")
# Under which infon a code is found, lower-cased; after these, infons that name a database.
_CODE_INFONS = ("identifier", "concept_id", "conceptid", "code")
# What PubTator 3 writes of a concept beside its code.
_OF_CONCEPT = ("name", "accession", "database", "valid", "normalized", "normalized_id", "biotype")
_CHUNK = 1 << 16


def read(file: CorpusFile, start: Position) -> Iterator[Item]:
    """The documents of one file from `start` on."""
    if is_json(file.path):
        yield from json_items(file.path, start, ARRAYS, item)
        return
    for index, (line, value) in enumerate(_xml_documents(file.path)):
        if index >= start.offset:
            yield item(value, index, line)


def sniff(head: bytes) -> bool:
    """Whether a file that begins like this is BioC: XML, or JSON with a key of BioC's."""
    # Inside a text the quotes would be escaped, so these are keys.
    is_xml = head.removeprefix(stored.BOM).lstrip().startswith(b"<")
    return is_xml or b'"infons"' in head or b'"PubTator3"' in head


def is_json(path: str) -> bool:
    """Whether a BioC file is JSON rather than XML."""
    if path == STDIN:
        return True
    start = stored.head(path, 4096).removeprefix(stored.BOM).lstrip()
    return not start.startswith(b"<") and not path.lower().removesuffix(".gz").endswith(".xml")


def item(value: Any, offset: int, line: int | None) -> Item:
    """A BioC document that was read as JSON (or put into that form)."""
    if not isinstance(value, dict):
        return unreadable(offset, line, "a document must be an object")
    document_id = identifier(value.get("id"))
    if document_id is None:
        return unreadable(offset, line, "the document has no id")
    return Item(offset, line, document_id, partial(_build, value))


def _build(value: dict[str, Any]) -> Draft:
    if value.get("misplaced"):
        raise UnreadableError(str(value["misplaced"]))
    draft = Draft([])
    for ordinal, passage in enumerate(_objects(value, "passages"), start=1):
        offset = _integer(passage.get("offset"))
        if offset is None:
            raise UnreadableError(f"passage {ordinal} has no offset")
        draft.passages.extend(_texts(passage, offset, ordinal))
        _add_annotations(passage, draft)
        for sentence in _objects(passage, "sentences"):
            _add_annotations(sentence, draft)
    _add_annotations(value, draft)
    if not draft.passages:
        raise UnreadableError("it has no passage")
    return draft


def _texts(passage: dict[str, Any], offset: int, ordinal: int) -> list[Passage]:
    """The passage's text, or where it is only in sentences, each of these at its offset."""
    kind = _infons(passage).get("type", "")
    text = passage.get("text")
    if isinstance(text, str) and text:
        return [Passage(text, offset, f"p{ordinal}", kind)]
    made = []
    for sentence in _objects(passage, "sentences"):
        start, text = _integer(sentence.get("offset")), sentence.get("text")
        if start is None or not isinstance(text, str):
            raise UnreadableError(f"a sentence of passage {ordinal} has no offset or no text")
        made.append(Passage(text, start, f"p{ordinal}", kind))
    return made or [Passage("", offset, f"p{ordinal}", kind)]


def _add_annotations(holder: dict[str, Any], draft: Draft) -> None:
    annotations = holder.get("annotations")
    if annotations is None:
        return
    if not isinstance(annotations, list):
        raise UnreadableError("'annotations' must be a list")
    for annotation in annotations:
        reason = _add_mention(annotation, draft)
        if reason is not None:
            known = annotation if isinstance(annotation, dict) else {}
            draft.faults.append(
                Remark(reason, identifier(known.get("id")), _integer(known.get("line")))
            )


def _add_mention(annotation: Any, draft: Draft) -> str | None:
    """Add an annotation to the draft's mentions, or say why it cannot be read."""
    if not isinstance(annotation, dict):
        return "an annotation must be an object"
    mention_id = identifier(annotation.get("id"))
    if mention_id is None:
        return "it has no id"
    spans = _spans(annotation.get("locations"))
    if spans is None:
        return "its locations must have whole numbers as offset and length"
    text = annotation.get("text")
    if not isinstance(text, str):
        return "it states no text, so its offsets cannot be verified"
    infons = _infons(annotation)
    entity_type = infons.get("type", "")
    if not entity_type:
        return "it has no type (infon `type`)"
    gold = _gold(infons)
    line = _integer(annotation.get("line"))
    draft.unread.extend(
        Remark(f"the infon {key!r}", mention_id, line) for key in _unread_infons(infons, gold)
    )
    said = gathered((key, value) for key, value in _infons(annotation, str).items() if _says(key))
    draft.mentions.append(
        Mention(mention_id, spans, text, entity_type, entity_type, gold, line, said)
    )
    return None


def _gold(infons: dict[str, str]) -> tuple[str, ...] | None:
    """The codes under the first infon that holds one; else NO_CODE, where any says it."""
    keys = [key for key in _CODE_INFONS if key in infons]
    keys += [key for key in infons if is_database(key)]
    codes = [gold_codes(infons[key], database=key) for key in keys]
    said = [gold for gold in codes if gold is not None]
    return next((gold for gold in said if gold != (NO_CODE,)), said[0] if said else None)


def _unread_infons(infons: dict[str, str], gold: tuple[str, ...] | None) -> Iterator[str]:
    """The keys of infons that hold codes other than the gold."""
    for key, value in infons.items():
        parts = [part for part in codes_of(value) if part.strip()]
        if key != "type" and parts and all(map(looks_like_code, parts)):
            codes = gold_codes(value, database=key if is_database(key) else "") or ()
            # A code without its database, or the other way round, is the same.
            if not {*map(plain, codes)} <= {*map(plain, gold or ())}:
                yield key


def _spans(value: Any) -> tuple[Span, ...] | None:
    if not isinstance(value, list) or not value:
        return None
    spans = []
    for location in value:
        if not isinstance(location, dict):
            return None
        start, length = _integer(location.get("offset")), _integer(location.get("length"))
        if start is None or length is None:
            return None
        spans.append(Span(start, start + length))
    return tuple(spans)


def _objects(value: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = value.get(key)
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnreadableError(f"its {key!r} must be a list of objects")
    return entries


def _says(key: str) -> bool:
    """Whether an infon says something beside the concept and its kind."""
    key = key.lower()
    return key not in (*_CODE_INFONS, *_OF_CONCEPT, "type") and not is_database(key)


def _infons(value: dict[str, Any], key_of: Callable[[str], str] = str.lower) -> dict[str, str]:
    """The infons, keys in lower case; what is no text (null, a list) is passed over."""
    infons = value.get("infons")
    if not isinstance(infons, dict):
        return {}
    return {
        key_of(key): name
        for key, entry in infons.items()
        if (name := identifier(entry)) is not None
    }


def _integer(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.strip()
        # int() takes other scripts' digits and thousands of them; an offset is neither.
        if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) < 13:
            return int(text)
    return None


def _xml_documents(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each <document> with its line, as the object that BioC JSON would have."""
    with stored.opened(path) as handle:
        parser = _XmlParser()
        while True:
            data = handle.read1(_CHUNK)
            try:
                parser.feed(data)
            except expat.ExpatError as error:
                yield from parser.taken()
                raise UnreadableError(
                    f"broken XML: {expat.ErrorString(error.code)} (column {error.offset + 1}); "
                    "the rest of the file is left out",
                    error.lineno,
                ) from None
            except UnreadableError:
                yield from parser.taken()
                raise
            except (LookupError, ValueError):
                # From expat's asking Python for the declared encoding.
                raise UnreadableError("broken XML: its declared encoding cannot be read") from None
            yield from parser.taken()
            if not data:
                return


class _XmlParser:
    """Collects whole <document> elements; nothing else of the tree is kept."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._data
        # Real BioC files have a DOCTYPE that names BioC.dtd; it is never fetched. Declared
        # entities have no use in BioC and can blow up a file of a kilobyte.
        self._parser.EntityDeclHandler = self._refuse
        self._builder: ElementTree.TreeBuilder | None = None
        self._line = 0
        self._begin = 0
        self._depth = 0
        self._found: list[tuple[int, dict[str, Any]]] = []

    def feed(self, data: bytes) -> None:
        self._parser.Parse(data, not data)

    def taken(self) -> list[tuple[int, dict[str, Any]]]:
        """The documents that are complete since the last call."""
        documents, self._found = self._found, []
        return documents

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._builder is None:
            if tag != "document":
                return
            self._builder = ElementTree.TreeBuilder()
            self._line = self._parser.CurrentLineNumber
            self._begin = self._parser.CurrentByteIndex
            self._depth = 0
        self._bound()
        if tag == "annotation":
            attributes["line"] = str(self._parser.CurrentLineNumber)
        self._builder.start(tag, attributes)
        self._depth += 1

    def _end(self, tag: str) -> None:
        if self._builder is None:
            return
        self._builder.end(tag)
        self._depth -= 1
        if self._depth == 0:
            document, self._builder = self._builder.close(), None
            try:
                value = _as_json(document)
            except RecursionError:
                raise UnreadableError("broken BioC: nested too deeply", self._line) from None
            value["misplaced"] = _misplaced(document)
            self._found.append((self._line, value))

    def _data(self, text: str) -> None:
        if self._builder is not None:
            self._bound()
            self._builder.data(text)

    def _bound(self) -> None:
        if self._parser.CurrentByteIndex - self._begin > stored.LARGEST_DOCUMENT:
            raise stored.too_large("a document of the file", self._line)

    def _refuse(self, *declaration: Any) -> None:
        raise UnreadableError(
            "it declares XML entities, which are refused; the rest of the file is left out",
            self._parser.CurrentLineNumber,
        )


# Where BioC has an element. Anywhere else it would be passed over, with what it holds.
_PLACES = {
    "passage": ("passage",),
    "sentence": ("passage/sentence",),
    "annotation": ("annotation", "passage/annotation", "passage/sentence/annotation"),
}


def _misplaced(document: ElementTree.Element) -> str | None:
    for tag, paths in _PLACES.items():
        there = sum(1 for _ in document.iter(tag))
        read = sum(len(document.findall(path)) for path in paths)
        if there != read:
            return f"{there - read} <{tag}> stand where BioC has none"
    return None


def _as_json(element: ElementTree.Element) -> dict[str, Any]:
    """A document, passage, sentence or annotation as BioC JSON writes it."""
    value: dict[str, Any] = {"infons": {}}
    if "id" in element.attrib:
        value["id"] = element.attrib["id"]
    if "line" in element.attrib:
        value["line"] = element.attrib["line"]
    for child in element:
        if child.tag in ("id", "text", "offset"):
            value[child.tag] = child.text or ""
        elif child.tag == "infon":
            value["infons"][child.attrib.get("key", "")] = child.text or ""
        elif child.tag == "location":
            value.setdefault("locations", []).append(dict(child.attrib))
        elif child.tag in ("passage", "sentence", "annotation"):
            value.setdefault(f"{child.tag}s", []).append(_as_json(child))
    return value
