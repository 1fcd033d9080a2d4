"""Scores files: predictions, gold, training corpus and KB in, scores and a signature out.

The one place that knows both the files and the metrics; `longbel score` and a caller from Python
use it alike. Logs what had to be left out; prints nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kb_builder.codes import is_no_code
from kb_builder.errors import LongbelError
from kb_builder.store.beside import document_hash
from longbel_cli.corpora.prediction_file import PredictionFile, distinct_names
from longbel_cli.runs.facts import UNKNOWN, RunFacts, run_facts, short, tuned_documents
from longbel_cli.runs.layout import Layout
from longbel_cli.scoring.background import base_for, gold_in_kb
from longbel_cli.scoring.calibration import (
    Calibration,
    RiskCoverage,
    Triage,
    calibration,
    risk_coverage,
    top_scores,
    triage,
)
from longbel_cli.scoring.comparison import Difference, compare
from longbel_cli.scoring.end_to_end import (
    EndToEnd,
    Leads,
    compared,
    end_to_end,
    gold_marks,
    leads_json,
    marks_hash,
    predicted_marks,
)
from longbel_cli.scoring.gold import (
    Joined,
)
from longbel_cli.scoring.hierarchy import Hierarchy, HierarchyScore, codes_in, hierarchy_score
from longbel_cli.scoring.metrics import (
    Evaluated,
    Score,
    evaluate,
    intervals_json,
    score,
)
from longbel_cli.scoring.nil import NilScore, nil_score
from longbel_cli.scoring.partitions import Background
from longbel_cli.scoring.reading import (
    background_of,
    group_of,
    joined_gold,
    predictions_of,
    read_documents,
)
from longbel_cli.scoring.request import ScoreRequest
from longbel_cli.scoring.signature import gold_hash, signature
from longbel_cli.scoring.spelling import refuse_other_spelling
from longbel_cli.version import package_version

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class System:
    """One scored predictions file."""

    name: str
    file: PredictionFile
    joined: Joined
    score: Score
    facts: RunFacts
    n_tuned: int = 0
    """How many of the scored documents its weights were tuned on."""

    def to_json(self, differences: Mapping[str, Difference]) -> dict[str, Any]:
        """A compared system: its own metrics, and the first system's lead over it."""
        return {
            "system": self.name,
            "n_missing": self.score.n_missing,
            **intervals_json(self.score.overall),
            "difference": {
                metric: difference.to_json() for metric, difference in differences.items()
            },
        }


@dataclass(frozen=True)
class Evaluation:
    """Everything that one call of `longbel score` found; the first system is the one asked for.

    `differences` has one entry for each other system: the first's metrics less its own.
    """

    systems: tuple[System, ...]
    differences: tuple[dict[str, Difference], ...]
    calibration: Calibration
    risk_coverage: RiskCoverage
    triage: Triage | None
    background: Background
    signature: str
    request: ScoreRequest
    end_to_end: tuple[EndToEnd, ...] = ()
    leads: tuple[Leads, ...] = ()
    hierarchy: HierarchyScore | None = None
    nil: NilScore | None = None

    @property
    def first(self) -> System:
        return self.systems[0]

    @property
    def n_gold_in_kb(self) -> int | None:
        """How many of the scored mentions have a gold that the KB holds; None without a KB."""
        held = self.background.held
        if held is None:
            return None
        return sum(mention.gold in held for mention in self.first.joined.mentions)

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        content = self.first.score.to_json()
        if self.n_gold_in_kb is not None:
            content["n_gold_in_kb"] = self.n_gold_in_kb
        content["gold_match"] = self.request.options.match
        content["calibration"] = self.calibration.to_json()
        if self.request.successors is not None:
            counts = self.request.successors.counts
            content["retired"] = {role: counts[role] for role in ("gold", "predicted")}
        if self.hierarchy is not None:
            content["hierarchy"] = self.hierarchy.to_json()
        if self.nil is not None:
            content["nil"] = self.nil.to_json()
        content["risk_coverage"] = self.risk_coverage.to_json()
        if self.triage is not None:
            content["triage"] = self.triage.to_json()
        if self.differences:
            content["paired"] = [
                system.to_json(differences)
                for system, differences in zip(self.systems[1:], self.differences, strict=True)
            ]
        if self.end_to_end:
            content["end_to_end"] = self.end_to_end[0].to_json()
        for other, scored, leads in zip(
            content.get("paired", ()), self.end_to_end[1:], self.leads, strict=False
        ):
            other["end_to_end"] = {**scored.to_json(), "difference": leads_json(leads)}
        if self.first.n_tuned:
            content["n_tuned_documents"] = self.first.n_tuned
        content["run"] = self.first.facts.to_json()
        content["signature"] = self.signature
        return content


def evaluate_files(request: ScoreRequest) -> Evaluation:
    """Read, join, score. Raises LongbelError on what cannot be read or has no gold."""
    paths = (request.predictions, *request.others)
    files = [predictions_of(path, request.successors) for path in paths]
    joined = joined_gold(files, request)
    for file, matched in zip(files, joined, strict=True):
        for note in (*file.notes, *matched.notes):
            log.warning("%s", note)
        refuse_other_spelling(file, matched.mentions)
        _refuse_nan(file)
    background = background_of(request, joined)
    systems = tuple(
        _system(name, file, score(matched, request.options, background), matched)
        for name, file, matched in zip(distinct_names(paths), files, joined, strict=True)
    )
    if systems[0].score.n_documents == 1:
        log.warning("one document: resampling it says nothing, the intervals have no width")
    evaluated = systems[0].score.evaluated
    scores = top_scores(evaluated)
    options, target = request.options, request.target_precision
    whole, leads, whole_gold = _end_to_end(files, request)
    others = [system.score.evaluated for system in systems[1:]]
    return Evaluation(
        systems,
        tuple(compare(evaluated, others, options)),
        calibration(scores, evaluated.right),
        risk_coverage(scores, evaluated.right),
        None if target is None else triage(evaluated, scores, target, options.n_boot, options.seed),
        background,
        _signature(systems[0], background, request) + _more(request) + whole_gold,
        request,
        whole,
        leads,
        _hierarchy(evaluated, request),
        _nil(joined[0], request),
    )


def _nil(joined: Joined, request: ScoreRequest) -> NilScore | None:
    """Of all annotated mentions of the first system; with a knowledge base, gold that it does not
    hold is no concept."""
    if not request.nil:
        return None
    mentions = (*joined.mentions, *joined.no_concept)
    is_nil = np.array([is_no_code(mention.gold) for mention in mentions])
    if request.kb is not None:
        base = base_for(request.kb, request.predictions)
        assert base is not None
        held = gold_in_kb(base, joined.mentions)
        is_nil |= np.array([mention.gold not in held for mention in mentions])
    evaluated = evaluate(mentions, request.options.match)
    return nil_score(evaluated, is_nil, request.options, request.nil_score)


def _more(request: ScoreRequest) -> str:
    """What a signature says of retired codes, how many of which were met is logged, and of "no
    concept"."""
    nil = ""
    if request.nil:
        nil = f"|nil:{'none' if request.nil_score is None else f'{request.nil_score:g}'}"
    if request.successors is None:
        return nil
    counts = request.successors.counts
    log.info(
        "retired codes stand for their successors: %d of gold mentions, %d of first answers",
        counts["gold"],
        counts["predicted"],
    )
    return f"|retired:{short(request.successors.sha256)}{nil}"


def _hierarchy(evaluated: Evaluated, request: ScoreRequest) -> HierarchyScore | None:
    if not request.hierarchy:
        return None
    base = base_for(request.kb, request.predictions)
    if base is None:
        raise LongbelError(
            "--hierarchy needs the knowledge base, that of the run cannot be opened",
            "Give it with --kb.",
            exit_code=2,
        )
    hierarchy = Hierarchy.around(base, codes_in(evaluated.mentions))
    return hierarchy_score(evaluated, hierarchy, request.options)


def _system(name: str, file: PredictionFile, scored: Score, joined: Joined) -> System:
    tuned_on = tuned_documents(file.path)
    n_tuned = sum(document_hash(each) in tuned_on for each in scored.evaluated.documents)
    return System(name, file, joined, scored, run_facts(file.path), n_tuned if tuned_on else 0)


def _end_to_end(
    files: Sequence[PredictionFile], request: ScoreRequest
) -> tuple[tuple[EndToEnd, ...], tuple[Leads, ...], str]:
    """The measures of each file, the first's leads, and what a signature says of the gold."""
    if not request.end_to_end:
        return (), (), ""
    documents = list(read_documents(request.gold, request.gold_format, "gold", request.successors))
    results = []
    for file in files:
        gold = gold_marks(documents, group_of(file))
        results.append(end_to_end(gold, predicted_marks(file, gold), request.options))
    leads = tuple(compared(results[0], results[1:], request.options))
    return tuple(results), leads, f"|e2e:{marks_hash(gold_marks(documents, str))}"


def _refuse_nan(file: PredictionFile) -> None:
    """LongbelError where a run of ours has candidates without a score: they were NaN."""
    if not Layout(file.path).configuration.exists():
        return  # another tool's, which may know no scores
    for prediction in file.predictions:
        if any(math.isnan(candidate.score) for candidate in prediction.candidates):
            raise LongbelError(
                f"{file.path}: document {prediction.document_id}, mention "
                f"{prediction.mention_id}: no finite beam_score, the model's scores were NaN",
                "Link again with --restart, and with --dtype float32 or another model.",
            )


def _signature(system: System, background: Background, request: ScoreRequest) -> str:
    facts, kb = system.facts, background.kb
    if facts.kb == UNKNOWN and kb is not None:
        facts = replace(facts, kb=short(kb.signature))
    return signature(
        facts,
        gold_hash(system.joined.mentions),
        request.options.ks,
        request.options.n_boot,
        request.options.seed,
        request.options.match,
        package_version("longbel"),
    )
