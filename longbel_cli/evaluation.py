"""Scores files: predictions, gold, training corpus and KB in, scores and a signature out.

The one place that knows both the files and the metrics; `longbel score` and a caller from Python
use it alike. Says what had to be left out through `say`; prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from longbel_cli.gold import GoldMention, Joined, align, gold_inside, join
from longbel_cli.metrics import Score, ScoreOptions, score
from longbel_cli.partitions import Background
from longbel_cli.predictions import PredictionFile, read_predictions
from longbel_cli.score_tables import score_json
from longbel_cli.signature import RunFacts, gold_hash, run_facts, signature
from longbel_cli.version import package_version

Say = Callable[[str], None]
MATCHES = ("exact", "any")


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

    def __post_init__(self) -> None:
        problems = [
            (any(k < 1 for k in self.options.ks) or not self.options.ks, "--k starts at 1"),
            (self.options.n_boot < 1, "--n-boot must be at least 1"),
            (self.options.seed < 0, "--seed must not be negative"),
            (self.options.match not in MATCHES, "--gold-match is exact or any"),
            (
                self.target_precision is not None and not 0 < self.target_precision <= 1,
                "--target-precision is above 0 and at most 1",
            ),
        ]
        for wrong, message in problems:
            if wrong:
                raise LongbelError(message, exit_code=2)


@dataclass(frozen=True)
class System:
    """One scored predictions file."""

    file: PredictionFile
    joined: Joined
    score: Score
    facts: RunFacts

    @property
    def name(self) -> str:
        return self.file.name


@dataclass(frozen=True)
class Evaluation:
    """Everything that one call of `longbel score` found; the first system is the one asked for."""

    systems: tuple[System, ...]
    signature: str
    request: ScoreRequest

    @property
    def first(self) -> System:
        return self.systems[0]

    def to_json(self) -> dict[str, Any]:
        found = score_json(self.first.score)
        found["gold_match"] = self.request.options.match
        found["run"] = self.first.facts.to_json()
        found["signature"] = self.signature
        return found


def evaluate_files(request: ScoreRequest, say: Say) -> Evaluation:
    """Read, join, score. Raises LongbelError on what cannot be read or has no gold."""
    paths = (request.predictions, *request.others)
    files = [read_predictions(path) for path in paths]
    joined = _joined(files, request, say)
    for file, found in zip(files, joined, strict=True):
        for note in (*file.notes, *found.notes):
            say(note)
    background = Background()
    systems = tuple(
        System(file, found, score(found, request.options, background), run_facts(file.path))
        for file, found in zip(files, joined, strict=True)
    )
    first = systems[0]
    if first.score.n_documents == 1:
        say("one document: resampling it says nothing, the intervals have no width")
    line = signature(
        first.facts,
        gold_hash(first.joined.mentions),
        request.options.ks,
        request.options.n_boot,
        request.options.seed,
        request.options.match,
        package_version("longbel"),
    )
    return Evaluation(systems, line, request)


def _joined(files: Sequence[PredictionFile], request: ScoreRequest, say: Say) -> list[Joined]:
    if request.gold:
        gold = _read_gold(request, say)
        return [join(gold, file) for file in files]
    inside = [gold_inside(file) for file in files]
    if len(files) == 1:
        return inside
    return align([(file.name, found) for file, found in zip(files, inside, strict=True)])


def _read_gold(request: ScoreRequest, say: Say) -> tuple[GoldMention, ...]:
    raise LongbelError("--gold is not supported yet", exit_code=2)
