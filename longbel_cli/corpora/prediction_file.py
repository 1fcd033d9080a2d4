"""What a predictions file holds, whatever its form, and how its codes and scores are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longbel_cli.types import Prediction


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


def score_of(value: Any) -> float:
    """A score; NaN where it is unknown."""
    number = math.nan if value is None or value == "" else float(value)
    if math.isinf(number):
        raise ValueError("a score is finite")
    return number


def duplicate_notes(path: Path, what: str, duplicates: int, differing: int) -> tuple[str, ...]:
    """Notes on what is there more than once, and differs."""
    if not duplicates:
        return ()
    note = f"{path}: {duplicates} duplicate {what}{'s' * (duplicates != 1)} left out"
    if differing:
        note += f"; {differing} said something else than the first, which was kept"
    return (note,)


def distinct_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """A short name for each file: its own, or its path where two files share a name."""
    names = [path.name for path in paths]
    return tuple(str(path) if names.count(path.name) > 1 else path.name for path in paths)
