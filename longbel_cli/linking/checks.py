"""Checks of single options, each refused with its flag and a sentence (exit code 2)."""

from __future__ import annotations

import math
from pathlib import Path

from kb_builder.errors import LongbelError
from kb_builder.files import real_path


def at_least_one(flag: str, value: int | None) -> None:
    """LongbelError where a count is below 1; None is no count."""
    if value is not None and value < 1:
        raise LongbelError(f"{flag} {value}: must be at least 1", exit_code=2)


def finite(flag: str, value: float | None) -> None:
    """LongbelError for infinities and NaN, which differs from itself: a run that has it on record
    could never be resumed."""
    if value is not None and not math.isfinite(value):
        raise LongbelError(f"{flag} {value}: must be a finite number", exit_code=2)


def can_be_made(flag: str, path: Path | None) -> None:
    """LongbelError where no file can have that path."""
    if path is None:
        return
    folder = real_path(path).parent  # of a link that which it leads to
    if path.is_dir() or not folder.is_dir():
        wrong = "is a folder" if path.is_dir() else f"there is no folder {folder}"
        raise LongbelError(f"{flag} {path}: {wrong}", "Name a file in a folder.", exit_code=2)
