"""`convert --to table`: one row a mention of the corpus, or one a candidate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from kb_builder.codes import parts_of
from longbel_cli.corpora.file_writing import (
    ConceptFacts,
    OutputOptions,
    Predictions,
    RowWriter,
    row_writer,
)
from longbel_cli.corpora.records import Read
from longbel_cli.types import Candidate, Mention, Prediction, score_json

_FIRST = (
    ("document_id", pa.string()), ("mention_id", pa.string()), ("start", pa.int64()),
    ("end", pa.int64()), ("spans", pa.string()), ("semantic_group", pa.string()),
)  # fmt: skip
_ANSWER = (("code", pa.string()), ("name", pa.string()), ("score", pa.float64()))
_LAST = (("review", pa.bool_()), ("gold", pa.string()), ("attributes", pa.string()))


def table_schema(options: OutputOptions) -> pa.Schema:
    """The columns and their types."""
    columns = [*_FIRST]
    if options.text:
        columns.append(("text", pa.string()))
    if options.candidates is not None:
        columns.append(("rank", pa.int32()))
    columns += [*_ANSWER, *_LAST]
    facts = options.facts
    columns += [(name, pa.string()) for name in (facts.vocabularies if facts else ())]
    if options.types:
        columns.append(("semantic_types", pa.string()))
    return pa.schema(columns)


class TableWriter:
    """The rows of each document, in the order of its mentions; mentions without an answer have a
    row without a code."""

    def __init__(self, rows: RowWriter, options: OutputOptions) -> None:
        self._rows, self._options = rows, options

    def write(self, read: Read, predictions: Predictions) -> None:
        for mention in read.document.mentions:
            prediction = predictions.get(mention.id)
            for candidate in self._candidates(prediction):
                row = self._row(read.document.id, mention, prediction, candidate)
                self._rows.write(list(row))

    def close(self) -> None:
        self._rows.close()

    def _candidates(self, prediction: Prediction | None) -> list[Candidate | None]:
        """Those that have a row; at least one row a mention."""
        if prediction is None:
            return [None]
        if self._options.candidates is None:
            return [prediction.answer]
        return [*prediction.candidates[: self._options.candidates]] or [None]

    def _row(
        self, document_id: str, mention: Mention, prediction: Prediction | None,
        candidate: Candidate | None,
    ) -> Iterator[Any]:  # fmt: skip
        group = mention.semantic_group if prediction is None else prediction.semantic_group
        yield from (document_id, mention.id, mention.start, mention.end)
        yield ";".join(f"{start}-{end}" for start, end in mention.spans)
        yield group
        if self._options.text:
            yield mention.text
        if self._options.candidates is not None:
            yield None if candidate is None else candidate.rank
        if candidate is None:
            yield from (None, None, None)
        else:
            yield from (candidate.concept_code, candidate.concept_name, score_json(candidate.score))
        yield None if prediction is None else prediction.review
        yield mention.gold_code if mention.gold else None
        said = dict(mention.attributes)
        yield json.dumps(said, ensure_ascii=False) if said else None
        yield from self._facts("" if candidate is None else candidate.concept_code)

    def _facts(self, code: str) -> Iterator[str | None]:
        """What vocabularies call a concept, of a composite one all its parts."""
        facts = self._options.facts
        if facts is None:
            return
        for vocabulary in facts.vocabularies:
            yield _joined(facts, code, vocabulary)
        if self._options.types:
            yield _joined(facts, code, None)


def _joined(facts: ConceptFacts, code: str, vocabulary: str | None) -> str | None:
    texts = [
        text
        for part in (parts_of(code) if code else ())
        for text in (
            facts.semantic_types(part) if vocabulary is None
            else facts.source_codes(part, vocabulary)
        )
    ]  # fmt: skip
    return "|".join(dict.fromkeys(texts)) or None


def open_writer(path: Path, suffix: str, options: OutputOptions) -> TableWriter:
    """As the table of outputs opens it."""
    rows = row_writer(path, suffix, table_schema(options), options.for_spreadsheet)
    return TableWriter(rows, options)
