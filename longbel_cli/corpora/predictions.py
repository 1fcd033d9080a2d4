"""Reads predictions: this project's JSON lines, and the tables of the published code.

Knows the shapes of the files and what may be wrong in them; knows nothing of scoring. What had
to be mended or left out is told in words (`PredictionFile.notes`), never in silence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kb_builder.codes import DamagedCodeError, joined_code, refuse_damaged
from kb_builder.errors import LongbelError
from kb_builder.files import new_sha256
from longbel_cli.corpora import stored
from longbel_cli.corpora.attributes import attributes_of
from longbel_cli.corpora.prediction_file import (
    PredictionFile,
    damaged,
    duplicate_notes,
    predicted_code,
    score_of,
    with_plain_codes,
)
from longbel_cli.corpora.prediction_tables import read_table
from longbel_cli.corpora.records import UnreadableError
from longbel_cli.corpora.stored import Line
from longbel_cli.types import Candidate, Concept, Prediction, Span


def read_predictions(path: Path | str) -> PredictionFile:
    """Read a predictions file, JSON lines or a table by what its first line looks like."""
    path = Path(path)
    digest = new_sha256()
    try:
        lines = [
            line for line in stored.lines(str(path), on_bytes=digest.update) if line.data.strip()
        ]
    except UnreadableError as error:
        raise unreadable(path, error) from error
    if not lines:
        raise LongbelError(f"{path}: holds no predictions", "Was the run stopped at its start?")
    read = _read_jsonl if lines[0].data.lstrip().startswith(b"{") else read_table
    return replace(with_plain_codes(read(path, lines)), sha256=digest.hexdigest())


def unreadable(path: Path, error: UnreadableError) -> LongbelError:
    """That a predictions file cannot be read to its end."""
    location = path if error.line is None else f"{path}:{error.line}"
    part = Path(f"{path}.part")
    return LongbelError(
        f"{location}: {error.reason}",
        f"There is an unfinished run of that name: see `longbel status {path}`."
        if part.exists()
        else "Give the file that `longbel link --out` wrote, or a table of the published code.",
    )


def _read_jsonl(path: Path, lines: Sequence[Line]) -> PredictionFile:
    predictions: dict[tuple[str, str], Prediction] = {}
    duplicates, differing = 0, 0
    for line in lines:
        prediction = prediction_of_line(line.data, f"{path}:{line.line_number}")
        key = (prediction.document_id, prediction.mention_id)
        if key in predictions:
            duplicates += 1
            differing += predictions[key] != prediction
        else:
            predictions[key] = prediction
    notes = duplicate_notes(path, "line", duplicates, differing)
    return PredictionFile(path, tuple(predictions.values()), notes)


def prediction_of_line(line: bytes, location: str) -> Prediction:
    """The record of one line of preds.jsonl; raises LongbelError that begins with `place`."""
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise LongbelError(f"{location}: not UTF-8 (byte {error.start + 1} of the line)") from error
    except RecursionError as error:
        raise LongbelError(f"{location}: nested too deeply to be a prediction") from error
    except json.JSONDecodeError as error:
        raise LongbelError(
            f"{location}: not a whole JSON object (column {error.colno}: {error.msg})",
            "The line is torn or edited: run `longbel link` again, it resumes where it stopped.",
        ) from error
    except ValueError as error:
        raise LongbelError(f"{location}: a number has too many digits") from error
    if b"\\ud" in line.lower() and not _is_unicode(record):
        raise LongbelError(f"{location}: half of a surrogate pair, which is no character")
    if not isinstance(record, dict):
        raise LongbelError(f"{location}: a prediction must be a JSON object")
    try:
        return _prediction(record)
    except KeyError as error:
        raise LongbelError(
            f"{location}: key {error.args[0]!r} is missing",
            "A line needs document_id, mention_id, semantic_group and beams.",
        ) from error
    except DamagedCodeError as error:
        raise damaged(location, error) from error
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        message = f"{location}: a value of the wrong type or range ({type(error).__name__})"
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
            score_of(beam.get("beam_score")),
            tuple(map(_concept, beam.get("concepts") or ())),
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
        gold_concept_code=None
        if gold is None
        else joined_code(refuse_damaged(_text(gold))) or None,
        review=record.get("review"),
        nil=record.get("nil"),
        expanded_from=record.get("expanded_from"),
        attributes=attributes_of(record.get("attributes")),
    )


def _concept(value: dict[str, Any]) -> Concept:
    return Concept(predicted_code(_text(value["code"])), _text(value["name"]))


def _beams(record: dict[str, Any]) -> list[dict[str, Any]]:
    if record.get("beams") is not None:
        return list(record["beams"])
    # Other tools write the best answer alone.
    return [record] if _json_code(record["pred_concept_code"]) else []


def _gold_code(value: Any) -> str | None:
    return joined_code(refuse_damaged(_text(value))) or None


def _json_code(value: Any) -> str:
    """A concept code; empty where there is none, which is no candidate."""
    return "" if value is None else predicted_code(_text(value))


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
