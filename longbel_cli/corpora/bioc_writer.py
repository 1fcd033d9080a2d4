"""`convert --to bioc`: a BioC collection as JSON or XML.

Of an annotation the infons `type` and `identifier` (several codes joined by `|`), the concept's
`name`, and the mention's attributes. Offsets are code points of the document.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from longbel_cli.corpora.file_writing import FileWriter, OutputOptions, Predictions
from longbel_cli.corpora.records import Read
from longbel_cli.corpora.writing import Changes, answers_of
from longbel_cli.types import Document, Mention, Passage, Prediction

# What XML 1.0 has no character for.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OWN = ("type", "identifier", "name")


def as_bioc(document: Document, predictions: Predictions) -> dict[str, Any]:
    """A document with its answers as BioC JSON has it; each mention stands in the passage in which
    it begins."""
    return {
        "id": document.id,
        "infons": {},
        "passages": [
            {
                "offset": passage.start,
                "infons": {"type": passage.type} if passage.type else {},
                "text": passage.text,
                "sentences": [],
                "annotations": [
                    _annotation(mention, document, predictions.get(mention.id))
                    for mention in document.mentions
                    if _begins_in(mention, passage)
                ],
                "relations": [],
            }
            for passage in document.passages
        ],
        "annotations": [],
        "relations": [],
    }


def _begins_in(mention: Mention, passage: Passage) -> bool:
    return passage.start <= mention.start < passage.end


def _annotation(
    mention: Mention, document: Document, prediction: Prediction | None
) -> dict[str, Any]:
    infons = {"type": mention.entity_type}
    answers = () if prediction is None else answers_of(prediction)
    if answers:
        infons["identifier"] = "|".join(answer.code for answer in answers)
        infons["name"] = "|".join(dict.fromkeys(answer.name for answer in answers))
    for name, value in mention.attributes:
        infons[f"{name}_" if name in _OWN else name] = _said(value)
    return {
        "id": mention.id,
        "infons": infons,
        "text": " ".join(document.text[start:end] for start, end in mention.spans),
        "locations": [{"offset": start, "length": end - start} for start, end in mention.spans],
    }


def _said(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()


class JsonWriter:
    """A collection as JSON, a line a document."""

    def __init__(self, path: Path) -> None:
        self._handle = path.open("w", encoding="utf-8", newline="\n")
        self._handle.write(
            '{"source": "longbel", "date": "", "key": "", "infons": {}, "documents": ['
        )
        self._separator = "\n"

    def write(self, read: Read, predictions: Predictions) -> None:
        text = json.dumps(as_bioc(read.document, predictions), ensure_ascii=False, allow_nan=False)
        self._handle.write(self._separator + text)
        self._separator = ",\n"

    def close(self) -> None:
        self._handle.write("\n]}\n")
        self._handle.close()


class XmlWriter:
    """A collection as XML, a line a document."""

    def __init__(self, path: Path) -> None:
        self._changes = Changes()
        self._handle = path.open("w", encoding="utf-8", newline="\n")
        self._handle.write(
            '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE collection SYSTEM "BioC.dtd">\n'
            "<collection><source>longbel</source><date></date><key></key>\n"
        )

    def write(self, read: Read, predictions: Predictions) -> None:
        root = ElementTree.Element("document")
        value = as_bioc(read.document, predictions)
        self._add(root, "id", value["id"])
        for passage in value["passages"]:
            within = ElementTree.SubElement(root, "passage")
            self._infons(within, passage["infons"])
            self._add(within, "offset", str(passage["offset"]))
            self._add(within, "text", passage["text"])
            for annotation in passage["annotations"]:
                self._annotate(within, annotation)
        # Carriage returns would be read as line ends.
        text = ElementTree.tostring(root, "unicode").replace("\r", "&#13;")
        self._handle.write(text + "\n")

    def close(self) -> None:
        self._handle.write("</collection>\n")
        self._handle.close()
        self._changes.log("BioC XML")

    def _annotate(self, within: ElementTree.Element, annotation: dict[str, Any]) -> None:
        element = ElementTree.SubElement(within, "annotation", id=self._legal(annotation["id"]))
        self._infons(element, annotation["infons"])
        for location in annotation["locations"]:
            numbers = {key: str(value) for key, value in location.items()}
            ElementTree.SubElement(element, "location", numbers)
        self._add(element, "text", annotation["text"])

    def _infons(self, element: ElementTree.Element, infons: dict[str, str]) -> None:
        for key, value in infons.items():
            infon = ElementTree.SubElement(element, "infon", key=self._legal(key))
            infon.text = self._legal(value)

    def _add(self, element: ElementTree.Element, tag: str, text: str) -> None:
        ElementTree.SubElement(element, tag).text = self._legal(text)

    def _legal(self, text: str) -> str:
        """The text with U+FFFD for each character that XML cannot hold: offsets stay."""
        legal, count = _NO_XML.subn("\ufffd", text)
        self._changes["control characters became U+FFFD, which XML can hold"] += count
        return legal


def open_writer(path: Path, suffix: str, options: OutputOptions) -> FileWriter:
    """As the table of outputs opens it."""
    return XmlWriter(path) if suffix == ".xml" else JsonWriter(path)
