"""Puts fusion and scoring together, which do not know each other: weights by a tuning corpus."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kb_builder.errors import LongbelError
from longbel_cli.corpora.prediction_file import PredictionFile, distinct_names
from longbel_cli.corpora.predictions import read_predictions
from longbel_cli.linking.fusion import FusionOptions, fuse
from longbel_cli.linking.fusion_weights import FusionWeights, hashes
from longbel_cli.runs.facts import run_facts
from longbel_cli.scoring.joining import join
from longbel_cli.scoring.metrics import Evaluated, evaluate
from longbel_cli.scoring.reading import corpus_gold, same_group
from longbel_cli.scoring.signature import gold_hash
from longbel_cli.scoring.tuning import Tuned, Weights, tune

if TYPE_CHECKING:
    from longbel_cli.scoring.bootstrap import Interval

log = logging.getLogger(__name__)


def tuned_weights(
    paths: Sequence[Path], gold: Path, gold_format: str, options: FusionOptions
) -> FusionWeights:
    """The weights and threshold with which `paths` fuse best on a tuning corpus."""
    files = [read_predictions(path) for path in paths]
    mentions = corpus_gold([gold], gold_format)

    def scored(file: PredictionFile) -> Evaluated:
        return evaluate(join(mentions, file, same_group(file)).mentions)

    def fused(weights: Weights) -> Evaluated:
        by_mention = fuse(
            [file.predictions for file in files], replace(options, weights=weights, threshold=None)
        )
        predictions = tuple(each.prediction for each in by_mention)
        return scored(replace(files[0], predictions=predictions))

    alone = [scored(file) for file in files]
    if alone[0].right.sum() == 0 and all(each.right.sum() == 0 for each in alone):
        raise LongbelError(
            f"{gold}: no system has one right answer on it",
            "Is it the corpus that they linked, with codes of the same terminology?",
        )
    tuned = tune(fused, alone)
    _log(tuned, options.names)
    return FusionWeights(
        by=options.by,
        k=options.k,
        weights=tuned.setting.weights,
        threshold=tuned.setting.threshold,
        systems=tuple(run_facts(path).to_json() for path in paths),
        tuned=gold_hash(alone[0].mentions),
        documents=hashes(tuned.documents),
        measured=tuned.to_json() | {"names": list(distinct_names(paths))},
    )


def _log(tuned: Tuned, names: Sequence[str]) -> None:
    weights = ", ".join(
        f"{name} {weight:g}" for name, weight in zip(names, tuned.setting.weights, strict=True)
    )
    if tuned.setting.threshold is not None:
        weights += f"; {names[0]} answers alone from score {tuned.setting.threshold:g} on"
    log.info("weights: %s", weights)
    for name, interval in zip(names, tuned.alone, strict=True):
        log.info("Recall@1 of %s alone: %s", name, _percent(interval))
    log.info(
        "gain over %s, each document judged by weights of others: %s",
        names[tuned.best_alone],
        _percent(tuned.gain, "+"),
    )
    low = tuned.gain.low
    if low is not None and low <= 0:
        log.warning("the gain is within chance: the best system alone may do as well")


def _percent(interval: Interval, sign: str = "") -> str:
    values = [0.0 if value is None else 100 * value for value in interval]
    value, low, high = (f"{value:{sign}.1f}" for value in values)
    return f"{value} [{low}, {high}]"
