"""Reads predictions: this project's JSON lines, and the tables of the published code.

Knows the shapes of the files and what may be wrong in them; knows nothing of scoring. What had
to be mended or left out is told in words (`PredictionFile.notes`), never in silence.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from kb_builder.errors import LongbelError
from longbel_cli.corpora import stored
from longbel_cli.corpora.records import UnreadableError
from longbel_cli.corpora.stored import Line
from longbel_cli.types import Candidate, Prediction, Span


@dataclass(frozen=True)
class PredictionFile:
    """The predictions of one file, a mention at most once, in the file's order.

    `has_documents` is False where the file does not say which document a mention is of (each
    mention then stands as a document of its own); `has_ids` where it has no mention ids, and
    `nameless` mentions got a made-up one.
    `sha256` is of the content, unpacked.
    """

    path: Path
    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...] = ()
    has_documents: bool = True
    has_ids: bool = True
    nameless: int = 0
    sha256: str = ""

    @property
    def name(self) -> str:
        return self.path.name


def normalized_code(code: str) -> str:
    """A concept code, of a composite one the parts sorted, each once: ` B + A` is `A+B`."""
    return "+".join(sorted({part for text in code.split("+") if (part := text.strip())}))


def read_predictions(path: Path | str) -> PredictionFile:
    """Read a predictions file, JSON lines or a table by what its first line looks like."""
    path = Path(path)
    digest = hashlib.sha256()
    try:
        lines = [line for line in stored.lines(str(path), hear=digest.update) if line.data.strip()]
    except UnreadableError as error:
        raise unreadable(path, error) from error
    if not lines:
        raise LongbelError(f"{path}: holds no predictions", "Was the run stopped at its start?")
    read = _read_jsonl if lines[0].data.lstrip().startswith(b"{") else _read_table
    return replace(read(path, lines), sha256=digest.hexdigest())


def unreadable(path: Path, error: UnreadableError) -> LongbelError:
    """That a predictions file cannot be read to its end."""
    place = path if error.line is None else f"{path}:{error.line}"
    part = Path(f"{path}.part")
    return LongbelError(
        f"{place}: {error.reason}",
        f"There is an unfinished run of that name: see `longbel status {path}`."
        if part.exists()
        else "Give the file that `longbel link --out` wrote, or a table of the published code.",
    )


# JSON lines -----------------------------------------------------------------------------------


def _read_jsonl(path: Path, lines: Sequence[Line]) -> PredictionFile:
    predictions: dict[tuple[str, str], Prediction] = {}
    duplicates, differing = 0, 0
    for line in lines:
        prediction = prediction_of_line(line.data, f"{path}:{line.number}")
        key = (prediction.document_id, prediction.mention_id)
        if key in predictions:
            duplicates += 1
            differing += predictions[key] != prediction
        else:
            predictions[key] = prediction
    notes = _duplicate_notes(path, "line", duplicates, differing)
    return PredictionFile(path, tuple(predictions.values()), notes)


def _duplicate_notes(path: Path, what: str, duplicates: int, differing: int) -> tuple[str, ...]:
    if not duplicates:
        return ()
    note = f"{path}: {duplicates} duplicate {what}{'s' * (duplicates != 1)} left out"
    if differing:
        note += f"; {differing} said something else than the first, which was kept"
    return (note,)


def prediction_of_line(line: bytes, place: str) -> Prediction:
    """The record of one line of preds.jsonl; raises LongbelError that begins with `place`."""
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise LongbelError(f"{place}: not UTF-8 (byte {error.start + 1} of the line)") from error
    except RecursionError as error:
        raise LongbelError(f"{place}: nested too deeply to be a prediction") from error
    except json.JSONDecodeError as error:
        raise LongbelError(
            f"{place}: not a whole JSON object (column {error.colno}: {error.msg})",
            "The line is torn or edited: run `longbel link` again, it goes on where it stopped.",
        ) from error
    except ValueError as error:
        raise LongbelError(f"{place}: a number has too many digits") from error
    if b"\\ud" in line.lower() and not _is_unicode(record):
        raise LongbelError(f"{place}: half of a surrogate pair, which is no character")
    if not isinstance(record, dict):
        raise LongbelError(f"{place}: a prediction must be a JSON object")
    try:
        return _prediction(record)
    except KeyError as error:
        raise LongbelError(
            f"{place}: key {error.args[0]!r} is missing",
            "A line needs document_id, mention_id, semantic_group and beams.",
        ) from error
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        message = f"{place}: a value of the wrong type or range ({type(error).__name__})"
        raise LongbelError(message) from error


def _is_unicode(record: Any) -> bool:
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _prediction(record: dict[str, Any]) -> Prediction:
    gold = record.get("gold_concept_code")
    candidates = [
        Candidate(
            _json_rank(beam.get("rank", position)),
            code,
            _text(beam.get("pred_concept_name") or ""),
            _number(beam.get("beam_score")),
        )
        for position, beam in enumerate(_beams(record), start=1)
        if (code := _json_code(beam["pred_concept_code"]))
    ]
    candidates.sort(key=_rank)
    if len({candidate.rank for candidate in candidates}) < len(candidates):
        raise ValueError("two candidates have the same rank")
    return Prediction(
        document_id=_text(record["document_id"]),
        mention_id=_text(record["mention_id"]),
        mention=_text(record.get("mention") or ""),
        semantic_group=_text(record["semantic_group"]),
        spans=tuple(Span(int(start), int(end)) for start, end in record.get("spans") or ()),
        candidates=tuple(candidates),
        # Separators alone are no code, as in a table: nothing could ever be right there.
        gold_concept_code=None if gold is None else normalized_code(_text(gold)) or None,
        review=record.get("review"),
    )


def _beams(record: dict[str, Any]) -> list[dict[str, Any]]:
    if record.get("beams") is not None:
        return list(record["beams"])
    # Other tools write the best answer alone.
    return [record] if _json_code(record["pred_concept_code"]) else []


def _json_code(value: Any) -> str:
    """A concept code; empty where there is none, which is no candidate."""
    return "" if value is None else normalized_code(_text(value))


def _text(value: Any) -> str:
    """A text; a whole number stands for its digits, as in codes of SNOMED CT."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(type(value).__name__)


def _json_rank(value: Any) -> int:
    # bool is an int to Python; it is no rank.
    if type(value) is not int:
        raise TypeError(type(value).__name__)
    if value < 1:
        raise ValueError("ranks start at 1")
    return value


def _rank(candidate: Candidate) -> int:
    return candidate.rank


def _number(value: Any) -> float:
    """A score; NaN where it is unknown."""
    number = math.nan if value is None or value == "" else float(value)
    if math.isinf(number):
        raise ValueError("a score is finite")
    return number


# Tables of the published code -----------------------------------------------------------------

# column of ours -> its names in the published tables, the first present one counts
COLUMNS = {
    "document": ("doc_id", "document_id", "filename", "pmid"),
    "mention_id": ("mention_id", "ann_id", "mark"),
    "group": ("semantic_group", "label"),
    "gold": ("gold_concept_code", "code"),
    "predicted": ("pred_concept_code", "Predicted_code", "Predicted_CUI"),
    "name": ("pred_concept_name", "Prediction"),
    "text": ("mention", "span", "text"),
    "start": ("start_span",),
    "end": ("end_span",),
    "rank": ("rank",),
    "beam_score": ("beam_score", "Prediction_beam_score"),
    "score": ("score", "Prediction_score"),
}
REQUIRED = ("predicted", "group")


class _Row(NamedTuple):
    document: str
    mention_id: str
    group: str
    gold: str
    predicted: str
    name: str
    text: str
    span: Span | None
    rank: int
    score: float


def _read_table(path: Path, lines: Sequence[Line]) -> PredictionFile:
    rows = _fields(path, lines)
    _, header = next(rows)
    columns = _columns(path, header)
    has_documents, has_ids = "document" in columns, "mention_id" in columns
    mentions: dict[tuple[object, ...], list[_Row]] = {}
    ranks: dict[tuple[object, ...], _Row] = {}
    duplicates, differing = 0, 0
    for number, fields in rows:
        if len(fields) != len(header):
            raise LongbelError(
                f"{path}:{number}: {len(fields)} fields where the header has {len(header)}",
                "Fields are separated by tabs; a field cannot hold a tab or a line break.",
            )
        row = _row(fields, columns, f"{path}:{number}")
        mention: tuple[object, ...]
        if row.mention_id:
            mention = (row.document, row.mention_id)
        elif row.span is not None:
            mention = (row.document, row.span, row.group)
        elif row.rank > 1:
            raise LongbelError(
                f"{path}:{number}: rank {row.rank} of an unknown mention",
                "A table of several candidates a mention needs mention ids "
                f"({', '.join(COLUMNS['mention_id'])}) or spans (start_span, end_span).",
            )
        else:
            mention = (row.document, number)
        if (*mention, row.rank) in ranks:
            duplicates += 1
            differing += ranks[(*mention, row.rank)] != row
            continue
        ranks[(*mention, row.rank)] = row
        mentions.setdefault(mention, []).append(row)
    if not mentions:
        raise LongbelError(f"{path}: a header and no rows", "Was the run stopped at its start?")
    notes = list(_duplicate_notes(path, "row", duplicates, differing))
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
        _table_prediction(group, f"{prefix}{number}", has_documents)
        for number, group in enumerate(mentions.values(), start=1)
    )
    return PredictionFile(path, predictions, tuple(notes), has_documents, has_ids, nameless)


def _free_prefix(ids: set[str]) -> str:
    """How made-up mention ids begin, so that none is one of the table's own."""
    prefix = "row"
    while any(own.startswith(prefix) for own in ids):
        prefix += "_"
    return prefix


def _fields(path: Path, lines: Sequence[Line]) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each line; quotes are ordinary characters."""
    for _, number, data in lines:
        try:
            text = data.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise LongbelError(f"{path}:{number}: not UTF-8 (byte {error.start + 1})") from error
        yield number, [_unquoted(field) for field in text.split("\t")]


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
        found = next((name for name in theirs if name in header), None)
        if found is not None:
            columns[ours] = header.index(found)
    lacking = [name for name in REQUIRED if name not in columns]
    if lacking:
        wanted = "; ".join(" or ".join(COLUMNS[name]) for name in lacking)
        raise LongbelError(
            f"{path}:1: neither JSON lines nor a prediction table: no column {wanted}",
            "A table starts with a header line and is separated by tabs.",
        )
    return columns


def _row(fields: list[str], columns: dict[str, int], place: str) -> _Row:
    def field(name: str) -> str:
        return fields[columns[name]].strip() if name in columns else ""

    try:
        beam_score = _number(field("beam_score"))
        start, end = field("start"), field("end")
        return _Row(
            document=field("document"),
            mention_id=field("mention_id"),
            group=field("group"),
            gold=normalized_code(field("gold")),
            predicted=normalized_code(field("predicted")),
            name=field("name"),
            text=field("text"),
            span=Span(_integer(start), _integer(end)) if start and end else None,
            rank=_rank_of(field("rank")),
            # One beam alone has no beam score: the table then says NaN.
            score=_number(field("score")) if math.isnan(beam_score) else beam_score,
        )
    except ValueError as error:
        raise LongbelError(f"{place}: rank, score or span is no such number") from error


def _rank_of(text: str) -> int:
    rank = _integer(text) if text else 1
    if rank < 1:
        raise ValueError(text)
    return rank


def _integer(text: str) -> int:
    number = float(text)
    if not number.is_integer() or number < 0:
        raise ValueError(text)
    return int(number)


def _table_prediction(rows: list[_Row], made_up_id: str, has_documents: bool) -> Prediction:
    first = rows[0]
    mention_id = first.mention_id or made_up_id
    return Prediction(
        document_id=first.document if has_documents else mention_id,
        mention_id=mention_id,
        mention=first.text,
        semantic_group=first.group,
        spans=() if first.span is None else (first.span,),
        candidates=tuple(
            Candidate(row.rank, row.predicted, row.name, row.score)
            for row in sorted(rows, key=lambda row: row.rank)
            if row.predicted
        ),
        gold_concept_code=first.gold or None,
    )


def distinct_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """A short name for each file: its own, or its path where two files share a name."""
    names = [path.name for path in paths]
    return tuple(str(path) if names.count(path.name) > 1 else path.name for path in paths)
