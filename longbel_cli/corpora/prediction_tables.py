"""Reads prediction tables, of the published code and of shared tasks: a header, then a line a
candidate. A shared task's table has its answers under `code` or `prediction`, and no gold."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kb_builder.codes import DamagedCodeError, joined_code, refuse_damaged
from kb_builder.errors import LongbelError
from kb_builder.headers import delimiter_of, shown_columns
from longbel_cli.corpora.prediction_file import (
    PredictionFile,
    damaged,
    duplicate_notes,
    predicted_code,
    score_of,
)
from longbel_cli.corpora.stored import Line
from longbel_cli.types import Candidate, Prediction, Span

# column of ours -> its names in the published tables, the first present one counts
COLUMNS = {
    "document": ("doc_id", "document_id", "filename", "pmid"),
    "mention_id": ("mention_id", "ann_id", "mark"),
    "group": ("semantic_group", "label"),
    "gold": ("gold_concept_code", "code"),
    "predicted": ("pred_concept_code", "Predicted_code", "Predicted_CUI", "prediction"),
    "name": ("pred_concept_name", "Prediction"),
    "text": ("mention", "span", "text"),
    "start": ("start_span", "off0"),
    "end": ("end_span", "off1"),
    "spans": ("spans",),
    "rank": ("rank",),
    "beam_score": ("beam_score", "Prediction_beam_score"),
    "score": ("score", "Prediction_score"),
}
_SPAN = re.compile(r"([0-9]{1,12})-([0-9]{1,12})")


class _Row(NamedTuple):
    document: str
    mention_id: str
    group: str
    gold: str
    predicted: str
    name: str
    text: str
    spans: tuple[Span, ...]
    rank: int
    score: float


def read_table(path: Path, lines: Sequence[Line]) -> PredictionFile:
    """The predictions of a table, from its lines."""
    rows = _fields(path, lines)
    _, header = next(rows)
    columns = _columns(path, header)
    has_documents, has_ids = "document" in columns, "mention_id" in columns
    mentions: dict[tuple[object, ...], list[_Row]] = {}
    ranks: dict[tuple[object, ...], _Row] = {}
    duplicates, differing = 0, 0
    for line_number, fields in rows:
        if len(fields) != len(header):
            raise LongbelError(
                f"{path}:{line_number}: {len(fields)} fields where the header has {len(header)}",
                "A field cannot hold a line break, nor what parts fields unless it is quoted.",
            )
        row = _row(fields, columns, f"{path}:{line_number}")
        mention: tuple[object, ...]
        if row.mention_id:
            mention = (row.document, row.mention_id)
        elif row.spans:
            mention = (row.document, row.spans, row.group)
        elif row.rank > 1:
            raise LongbelError(
                f"{path}:{line_number}: rank {row.rank} of an unknown mention",
                "A table of several candidates a mention needs mention ids "
                f"({', '.join(COLUMNS['mention_id'])}) or spans "
                "(start_span and end_span, or spans).",
            )
        else:
            mention = (row.document, line_number)
        if (*mention, row.rank) in ranks:
            duplicates += 1
            differing += ranks[(*mention, row.rank)] != row
            continue
        ranks[(*mention, row.rank)] = row
        mentions.setdefault(mention, []).append(row)
    if not mentions:
        raise LongbelError(f"{path}: a header and no rows", "Was the run stopped at its start?")
    notes = list(duplicate_notes(path, "row", duplicates, differing))
    nameless = sum(not group[0].mention_id for group in mentions.values())
    if has_ids and nameless:
        notes.append(
            f"{path}: {nameless} mention(s) without an id: told apart by spans, or row by row"
        )
    if not has_documents:
        notes.append(
            f"{path}: has no document column ({', '.join(COLUMNS['document'])}): each mention is "
            "resampled on its own, and the interval is narrower than one over documents"
        )
    prefix = _free_prefix({group[0].mention_id for group in mentions.values()})
    predictions = tuple(
        _table_prediction(group, f"{prefix}{line_number}", has_documents)
        for line_number, group in enumerate(mentions.values(), start=1)
    )
    return PredictionFile(path, predictions, tuple(notes), has_documents, has_ids, nameless)


def _free_prefix(ids: set[str]) -> str:
    """How made-up mention ids begin, so that none is one of the table's own."""
    prefix = "row"
    while any(own.startswith(prefix) for own in ids):
        prefix += "_"
    return prefix


def _fields(path: Path, lines: Sequence[Line]) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each line. Where tabs part them, quotes are ordinary characters."""
    delimiter = ""
    for _, line_number, data in lines:
        try:
            text = data.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise LongbelError(
                f"{path}:{line_number}: not UTF-8 (byte {error.start + 1})"
            ) from error
        delimiter = delimiter or delimiter_of(text, "\t")
        if delimiter == "\t":
            yield line_number, [_unquoted(field) for field in text.split("\t")]
        else:
            yield line_number, next(csv.reader([text], delimiter=delimiter), [])


def _unquoted(field: str) -> str:
    # A writer that quotes where it must doubles the quotes inside; anything else is the text.
    if len(field) >= 2 and field[0] == field[-1] == '"':
        inner = field[1:-1]
        if '"' not in inner.replace('""', "") and inner:
            return inner.replace('""', '"')
    return field


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for ours, theirs in COLUMNS.items():
        header_name = next((name for name in theirs if name in header), None)
        if header_name is not None:
            columns[ours] = header.index(header_name)
    if "predicted" not in columns and "gold" in columns:
        columns["predicted"] = columns.pop("gold")
    if "predicted" not in columns:
        raise LongbelError(
            f"{path}:1: neither JSON lines nor a prediction table: no column "
            f"{' or '.join((*COLUMNS['predicted'], 'code'))} among its {len(header)} columns "
            f"({shown_columns(header)})",
            "A table starts with a header line; tabs, commas, semicolons or bars part its fields.",
        )
    return columns


def _row(fields: list[str], columns: dict[str, int], location: str) -> _Row:
    def field(name: str) -> str:
        return fields[columns[name]].strip() if name in columns else ""

    try:
        beam_score = score_of(field("beam_score"))
        start, end = field("start"), field("end")
        return _Row(
            document=field("document"),
            mention_id=field("mention_id"),
            group=field("group"),
            gold=joined_code(refuse_damaged(field("gold"))),
            predicted=predicted_code(field("predicted")),
            name=field("name"),
            text=field("text"),
            spans=_spans(field("spans"))
            or ((Span(_integer(start), _integer(end)),) if start and end else ()),
            rank=_rank_of(field("rank")),
            # One beam alone has no beam score: the table then says NaN.
            score=score_of(field("score")) if math.isnan(beam_score) else beam_score,
        )
    except DamagedCodeError as error:
        raise damaged(location, error) from error
    except ValueError as error:
        raise LongbelError(f"{location}: rank, score or span is no such number") from error


def _spans(text: str) -> tuple[Span, ...]:
    """`9-14,19-24`, in the order of their offsets."""
    if not text:
        return ()
    matches = [_SPAN.fullmatch(part.strip()) for part in text.split(",")]
    if None in matches:
        raise ValueError(text)
    return tuple(sorted(Span(int(pair[1]), int(pair[2])) for pair in matches if pair is not None))


def _rank_of(text: str) -> int:
    rank = _integer(text) if text else 1
    if rank < 1:
        raise ValueError(text)
    return rank


def _integer(text: str) -> int:
    value = float(text)
    if not value.is_integer() or value < 0:
        raise ValueError(text)
    return int(value)


def _table_prediction(rows: list[_Row], made_up_id: str, has_documents: bool) -> Prediction:
    first = rows[0]
    mention_id = first.mention_id or made_up_id
    return Prediction(
        document_id=first.document if has_documents else mention_id,
        mention_id=mention_id,
        mention=first.text,
        semantic_group=first.group,
        spans=first.spans,
        candidates=tuple(
            Candidate(row.rank, row.predicted, row.name, row.score)
            for row in sorted(rows, key=lambda row: row.rank)
            if row.predicted
        ),
        gold_concept_code=first.gold or None,
    )
