"""What is asked of a score: files, and how to score."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kb_builder.errors import LongbelError
from longbel_cli.corpora.formats import check_format
from longbel_cli.scoring.metrics import ScoreOptions
from longbel_cli.scoring.retired import Retired, read_retired


@dataclass(frozen=True)
class ScoreRequest:
    """What to score, against what, and how."""

    predictions: Path
    others: tuple[Path, ...] = ()
    gold: tuple[Path, ...] = ()
    gold_format: str = "auto"
    train: tuple[Path, ...] = ()
    kb: Path | None = None
    target_precision: float | None = None
    options: ScoreOptions = field(default_factory=ScoreOptions)
    end_to_end: bool = False
    hierarchy: bool = False
    retired: Path | None = None
    nil: bool = False
    nil_score: float | None = None

    @cached_property
    def successors(self) -> Retired | None:
        """Of retired codes; what is read is counted there."""
        return None if self.retired is None else read_retired(self.retired)

    def __post_init__(self) -> None:
        if self.end_to_end and not self.gold:
            raise LongbelError(
                "--end-to-end compares mentions with those of a corpus",
                "Give it with --gold.",
                exit_code=2,
            )
        if self.nil_score is not None and not self.nil:
            raise LongbelError("--nil-score is for --nil", "Add that.", exit_code=2)
        check_format(self.gold_format)
        if self.target_precision is not None and not 0 < self.target_precision <= 1:
            raise LongbelError("--target-precision is above 0 and at most 1", exit_code=2)
