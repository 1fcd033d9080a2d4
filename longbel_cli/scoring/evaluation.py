"""Scores files: predictions, gold, training corpus and KB in, scores and a signature out.

The one place that knows both the files and the metrics; `longbel score` and a caller from Python
use it alike. Logs what had to be left out; prints nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kb_builder.errors import LongbelError
from kb_builder.store.beside import document_hash
from longbel_cli.corpora.formats import check_format
from longbel_cli.corpora.prediction_file import PredictionFile, distinct_names
from longbel_cli.corpora.predictions import read_predictions
from longbel_cli.runs.facts import UNKNOWN, RunFacts, run_facts, short, tuned_documents
from longbel_cli.runs.layout import Layout
from longbel_cli.scoring.alignment import align
from longbel_cli.scoring.background import base_for, gold_in_kb, kb_facts, training_facts
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
    GoldMention,
    Joined,
    gold_inside,
    gold_of_corpus,
    gold_of_predictions,
)
from longbel_cli.scoring.hierarchy import Hierarchy, HierarchyScore, codes_in, hierarchy_score
from longbel_cli.scoring.joining import join
from longbel_cli.scoring.metrics import Evaluated, Score, ScoreOptions, intervals_json, score
from longbel_cli.scoring.partitions import Background
from longbel_cli.scoring.retired import Retired, read_retired
from longbel_cli.scoring.signature import gold_hash, signature
from longbel_cli.scoring.spelling import refuse_other_spelling
from longbel_cli.types import Document
from longbel_cli.version import package_version

if TYPE_CHECKING:
    from longbel_cli.corpora import Problem

log = logging.getLogger(__name__)


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
        check_format(self.gold_format)
        if self.target_precision is not None and not 0 < self.target_precision <= 1:
            raise LongbelError("--target-precision is above 0 and at most 1", exit_code=2)


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
    files = [_predictions(path, request.successors) for path in paths]
    joined = _joined(files, request)
    for file, matched in zip(files, joined, strict=True):
        for note in (*file.notes, *matched.notes):
            log.warning("%s", note)
        refuse_other_spelling(file, matched.mentions)
        _refuse_nan(file)
    background = _background(request, joined)
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
        _signature(systems[0], background, request) + _retired(request) + whole_gold,
        request,
        whole,
        leads,
        _hierarchy(evaluated, request),
    )


def _retired(request: ScoreRequest) -> str:
    """What a signature says of retired codes; how many were met is logged."""
    if request.successors is None:
        return ""
    counts = request.successors.counts
    log.info(
        "retired codes stand for their successors: %d of gold mentions, %d of first answers",
        counts["gold"],
        counts["predicted"],
    )
    return f"|retired:{short(request.successors.sha256)}"


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


def _predictions(path: Path, successors: Retired | None) -> PredictionFile:
    file = read_predictions(path)
    return file if successors is None else successors.predictions(file)


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
    documents = list(_read(request.gold, request.gold_format, "gold", request.successors))
    results = []
    for file in files:
        gold = gold_marks(documents, _group_of(file))
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


# Reading --------------------------------------------------------------------------------------


def _joined(files: Sequence[PredictionFile], request: ScoreRequest) -> list[Joined]:
    if request.gold:
        gold = corpus_gold(request.gold, request.gold_format, request.successors)
        return [join(gold, file, same_group(file)) for file in files]
    inside = [gold_inside(files[0])]
    for file in files[1:]:
        if any(prediction.gold_concept_code is not None for prediction in file.predictions):
            inside.append(gold_inside(file))
        else:
            log.info("%s: has no gold; that of %s is used", file.path, files[0].path)
            inside.append(join(gold_of_predictions(files[0]), file, same_group(file)))
    if len(files) == 1:
        return inside
    names = distinct_names([file.path for file in files])
    return align(list(zip(names, inside, strict=True)))


def _read(
    paths: Sequence[Path], corpus_format: str, role: str, successors: Retired | None
) -> Iterator[Document]:
    """The documents of an annotated corpus; what its reader leaves out is logged, the first of it
    in full."""
    from longbel_cli.corpora import read_corpus

    problems: list[Problem] = []
    documents = read_corpus(paths, corpus_format, problems.append)
    yield from documents if successors is None else successors.documents(documents)
    if problems:
        log.warning(
            "%d document(s) or mention(s) of the %s corpus left out, the first: %s",
            len(problems),
            role,
            problems[0].message,
        )


def corpus_gold(
    paths: Sequence[Path], corpus_format: str, successors: Retired | None = None
) -> tuple[GoldMention, ...]:
    """What an annotated corpus says of each of its mentions."""
    return gold_of_corpus(_read(paths, corpus_format, "gold", successors))


def same_group(file: PredictionFile) -> Callable[[str, str], bool]:
    """Whether a corpus's type means a predicted group, by the groups that predictions have."""
    group_of = _group_of(file)
    return lambda entity_type, group: group_of(entity_type) == group


def _group_of(file: PredictionFile) -> Callable[[str], str]:
    """From a corpus's type to a predicted group; a type that is none stays as it is."""
    from longbel_cli.corpora.resolve import TypeResolver

    groups = sorted({prediction.semantic_group for prediction in file.predictions})
    resolver = TypeResolver(groups)
    return lambda entity_type: resolver.group(entity_type) or entity_type


def _background(request: ScoreRequest, joined: Sequence[Joined]) -> Background:
    training = kb = None
    if request.train:
        training = training_facts(
            _read(request.train, request.gold_format, "training", request.successors)
        )
    if request.kb is not None:
        kb = kb_facts(request.kb, [mention for mentions in joined for mention in mentions.mentions])
    base = base_for(request.kb, request.predictions)
    held = None if base is None else gold_in_kb(base, joined[0].mentions)
    return Background(training, kb, held)
