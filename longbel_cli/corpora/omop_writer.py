"""`convert --to omop`: rows of NOTE_NLP of the OMOP Common Data Model 5.4.

One row a mention, with or without a concept (then 0). Facts of the table (columns, types, lengths,
which are required) are those of OHDSI's specification.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from kb_builder.codes import parts_of
from kb_builder.errors import LongbelError
from longbel_cli.corpora.file_writing import OutputOptions, Predictions, RowWriter, row_writer
from longbel_cli.corpora.omop_concepts import NONE, ConceptIds
from longbel_cli.corpora.omop_options import OmopOptions
from longbel_cli.corpora.records import Read
from longbel_cli.corpora.writing import Changes
from longbel_cli.types import Attributes, Mention, Prediction


class Field(NamedTuple):
    """A column; `length` of texts in characters, `kind` one of integer, text, date and
    datetime."""

    name: str
    kind: str
    length: int | None = None
    required: bool = False


NOTE_NLP = (
    Field("note_nlp_id", "integer", required=True),
    Field("note_id", "integer", required=True),
    Field("section_concept_id", "integer"),
    Field("snippet", "text", 250),
    Field("offset", "text", 50),
    Field("lexical_variant", "text", 250, required=True),
    Field("note_nlp_concept_id", "integer"),
    Field("note_nlp_source_concept_id", "integer"),
    Field("nlp_system", "text", 250),
    Field("nlp_date", "date", required=True),
    Field("nlp_datetime", "datetime"),
    Field("term_exists", "text", 1),
    Field("term_temporal", "text", 50),
    Field("term_modifiers", "text", 2000),
)
# Attributes that say whether the thing is there, and which of their values say that it is not, or
# is. A flag that is set is the first of these.
_EXISTENCE = ("negation", "negated", "neg", "polarity", "assertion", "presence")
_ABSENT = ("true", "yes", "1", "negated", "negative", "neg", "absent", "no finding")
_PRESENT = ("false", "no", "0", "affirmed", "positive", "pos", "present")
_TIME = ("temporality", "temporal", "historical", "history", "time")


class OmopWriter:
    """Rows in the order of documents and mentions, numbered from the first id on."""

    def __init__(self, rows: RowWriter, options: OmopOptions) -> None:
        self._rows, self._options = rows, options
        self._next = options.first_id
        self._changes = Changes()
        self._lengths = {field.name: field.length for field in NOTE_NLP}

    def write(self, read: Read, predictions: Predictions) -> None:
        note = self._whole(self._note(read.document.id), "note_id", read)
        for mention in read.document.mentions:
            prediction = predictions.get(mention.id)
            values = self._values(mention, prediction)
            values |= {"note_nlp_id": self._whole(self._next, "note_nlp_id", read), "note_id": note}
            self._next += 1
            self._rows.write([self._cut(field.name, values.get(field.name)) for field in NOTE_NLP])

    def close(self) -> None:
        self._rows.close()
        self._changes.log("NOTE_NLP")

    def _values(self, mention: Mention, prediction: Prediction | None) -> dict[str, Any]:
        options = self._options
        answer = None if prediction is None else prediction.answer
        ids = self._ids(None if answer is None else answer.concept_code)
        text = mention.text
        if not options.text:
            text = mention.semantic_group if answer is None else answer.concept_name
        return {
            "offset": str(mention.start),
            "lexical_variant": text,
            "note_nlp_concept_id": ids.concept,
            "note_nlp_source_concept_id": ids.source,
            "nlp_system": options.system,
            "nlp_date": options.date,
            **_terms(mention.attributes),
        }

    def _ids(self, code: str | None) -> ConceptIds:
        """Of a composite answer none: a row has one concept."""
        if code is None:
            self._changes["mentions have no answer: concept 0"] += 1
            return NONE
        if len(parts_of(code)) > 1:
            self._changes["answers have several concepts: concept 0"] += 1
            return NONE
        ids = self._options.concepts.ids_of(code)
        self._changes["answers have no OMOP concept: concept 0"] += not ids.concept
        return ids

    def _note(self, document: str) -> int:
        known = self._options.note_of
        if known is not None:
            if document in known:
                return known[document]
            raise LongbelError(f"document {document}: it has no note id", "Add it to --note-ids.")
        if re.fullmatch(r"[0-9]{1,19}", document, re.ASCII):
            return int(document)
        raise LongbelError(
            f"document {document}: its id is no whole number, as note_id must be",
            "Give --note-ids FILE, a table `document_id,note_id`.",
        )

    def _whole(self, value: int, name: str, read: Read) -> int:
        bits = 63 if self._options.bigint else 31
        if not -(1 << bits) <= value < 1 << bits:
            raise LongbelError(
                f"document {read.document.id}: {name} {value} is no {bits + 1}-bit integer",
                "Give --bigint where the database has such columns." if bits == 31 else "",
            )
        return value

    def _cut(self, name: str, value: Any) -> Any:
        length = self._lengths[name]
        if isinstance(value, str) and length is not None and len(value) > length:
            self._changes[f"values of {name} were cut to {length} characters"] += 1
            return value[:length]
        return value


def _terms(attributes: Attributes) -> dict[str, str | None]:
    """What attributes say as NOTE_NLP's term fields; NULL where nobody looked."""
    exists = time = None
    for name, value in attributes:
        key = name.casefold()
        said = str(value).casefold()
        if key in _EXISTENCE and said in (*_ABSENT, *_PRESENT):
            exists = "N" if said in _ABSENT else "Y"
        elif key in _TIME:
            time = name if value is True else str(value)
    modifiers = "; ".join(
        name if value is True else f"{name}={str(value).lower() if value is False else value}"
        for name, value in attributes
    )
    return {
        "term_exists": exists,
        "term_temporal": time,
        "term_modifiers": modifiers or None,
    }


def schema(bigint: bool) -> pa.Schema:
    """NOTE_NLP's columns as Arrow's."""
    kinds = {
        "integer": pa.int64() if bigint else pa.int32(),
        "text": pa.string(),
        "date": pa.date32(),
        "datetime": pa.timestamp("s"),
    }
    return pa.schema(
        [pa.field(field.name, kinds[field.kind], not field.required) for field in NOTE_NLP]
    )


def open_writer(path: Path, suffix: str, options: OutputOptions) -> OmopWriter:
    """As the table of outputs opens it."""
    assert options.omop is not None
    return OmopWriter(row_writer(path, suffix, schema(options.omop.bigint)), options.omop)
