"""What a predictions file holds, whatever its form, and how its codes and scores are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kb_builder.codes import (
    DamagedCodeError,
    is_no_code,
    joined_code,
    plain,
    plain_numbers_meet,
    refuse_damaged,
)
from kb_builder.errors import LongbelError
from kb_builder.text import writable
from longbel_cli.types import Concept, Prediction


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


def damaged(location: str, error: DamagedCodeError) -> LongbelError:
    """That a spreadsheet has changed a code of a predictions file."""
    return LongbelError(
        f"{location}: {error} was a code before a spreadsheet changed it",
        "Export the table again with its codes as text.",
    )


def predicted_code(text: str) -> str:
    """The code of a candidate; empty where the text names no concept. ValueError where a
    spreadsheet has changed it."""
    code = joined_code(refuse_damaged(text.strip()))
    return "" if is_no_code(code) else code


def with_plain_codes(file: PredictionFile) -> PredictionFile:
    """The file with codes of plain numbers as they stand in knowledge bases (`SNOMEDCT:22298006` is
    `22298006`), but where it has codes of two such databases, whose numbers could meet."""
    codes = {code for prediction in file.predictions for code in _codes_of(prediction)}
    changed = {code: plain(code) for code in codes if plain(code) != code}
    if not changed or plain_numbers_meet(codes):
        return file
    made = (
        recoded(prediction, lambda code: changed.get(code, code), plain)
        for prediction in file.predictions
    )
    return replace(file, predictions=tuple(made))


def _codes_of(prediction: Prediction) -> Iterator[str]:
    if prediction.gold_concept_code is not None:
        yield prediction.gold_concept_code
    yield from (candidate.concept_code for candidate in prediction.candidates)


def recoded(
    prediction: Prediction,
    change: Callable[[str], str],
    change_part: Callable[[str], str] | None = None,
) -> Prediction:
    """The prediction with its codes, the gold among them, changed; `change_part` for those of
    composite answers' concepts, where it is another."""
    gold = prediction.gold_concept_code
    change_part = change_part or change
    candidates = (
        candidate._replace(
            concept_code=change(candidate.concept_code),
            parts=tuple(Concept(change_part(code), name) for code, name in candidate.parts),
        )
        for candidate in prediction.candidates
    )
    return replace(
        prediction,
        candidates=tuple(candidates),
        gold_concept_code=None if gold is None else change(gold),
    )


def score_of(value: Any) -> float:
    """A score; NaN where it is unknown."""
    score = math.nan if value is None or value == "" else float(value)
    # Tables say NaN where a score is unknown; JSON says null.
    if math.isinf(score) or (math.isnan(score) and isinstance(value, float)):
        raise ValueError("a score is finite")
    return score


def duplicate_notes(path: Path, what: str, duplicates: int, differing: int) -> tuple[str, ...]:
    """Notes on what is there more than once, and differs."""
    if not duplicates:
        return ()
    note = f"{path}: {duplicates} duplicate {what}{'s' * (duplicates != 1)} left out"
    if differing:
        note += f"; {differing} said something else than the first, which was kept"
    return (note,)


def distinct_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """A short name for each file: its own, or its path where two files share a name. Results hold
    it, so of a name that is not UTF-8 the bytes are written out."""
    names = [path.name for path in paths]
    return tuple(writable(str(path) if names.count(path.name) > 1 else path.name) for path in paths)
