"""Recall@k and its kin over scored mentions, in all and by partition, with intervals.

Takes mentions that are already joined with their gold (`gold.py`) and gives numbers; it reads no
file and prints nothing. Every number with an interval is a ratio of two sums over documents, so
that one set of resampled documents serves all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kb_builder.codes import parts_of
from kb_builder.errors import LongbelError, check_choice
from longbel_cli.scoring.bootstrap import Floats, Interval, intervals, ratios, resampled_ratios
from longbel_cli.scoring.gold import Joined, ScoredMention
from longbel_cli.scoring.partitions import PARTITIONS, Background, repeated_concepts

Ints = npt.NDArray[np.int64]


# When a gold of several codes is met.
MATCHES = {"exact": "all of them are answered", "any": "one of them is answered"}


@dataclass(frozen=True)
class ScoreOptions:
    """How to score: the ks of Recall@k, the resampling, and when a composite gold is met."""

    ks: tuple[int, ...] = (1, 5)
    n_boot: int = 1000
    seed: int = 42
    match: str = "exact"

    def __post_init__(self) -> None:
        check_choice("--gold-match", self.match, MATCHES)
        problems = (
            (any(k < 1 for k in self.ks) or not self.ks, "--k starts at 1"),
            (self.n_boot < 1, "--n-boot must be at least 1"),
            (self.seed < 0, "--seed must not be negative"),
        )
        for wrong, message in problems:
            if wrong:
                raise LongbelError(message, exit_code=2)


@dataclass(frozen=True)
class Evaluated:
    """Mentions as arrays: their document and the rank of the gold (infinite where not found)."""

    mentions: tuple[ScoredMention, ...]
    documents: tuple[str, ...]
    document_of: Ints
    hit_rank: Floats

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether the first answer is the gold."""
        return self.hit_rank <= 1

    @cached_property
    def repeated(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the mentions of each concept that recurs in a document."""
        return repeated_concepts(self.mentions)

    def per_document(self, values: npt.NDArray[Any]) -> Floats:
        """Sum values of mentions [mentions] within documents [documents]."""
        sums = np.bincount(self.document_of, weights=values, minlength=len(self.documents))
        return sums.astype(np.float64)


def evaluate(mentions: Sequence[ScoredMention], match: str = "exact") -> Evaluated:
    """Find the gold among each mention's candidates."""
    index_of: dict[str, int] = {}
    document_of = [index_of.setdefault(m.document_id, len(index_of)) for m in mentions]
    ranks = [m.hit_rank(match) for m in mentions]
    return Evaluated(
        tuple(mentions),
        tuple(index_of),
        np.array(document_of, dtype=np.int64),
        np.array([np.inf if rank is None else rank for rank in ranks], dtype=np.float64),
    )


class Ratio(NamedTuple):
    """A number to be resampled: two sums per document, and where it goes in the results."""

    key: tuple[str, ...]
    above: Floats
    below: Floats


def mention_metrics(evaluated: Evaluated, ks: Iterable[int]) -> dict[str, Floats]:
    """What each mention adds to each metric's mean."""
    metrics = {f"recall@{k}": (evaluated.hit_rank <= k).astype(np.float64) for k in ks}
    metrics["mrr"] = 1 / evaluated.hit_rank
    return metrics


class Part(NamedTuple):
    """One part of a partition: how many mentions and documents, and the metrics there."""

    n: int
    n_documents: int
    metrics: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        return {"n": self.n, "n_documents": self.n_documents, **intervals_json(self.metrics)}


def intervals_json(metrics: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval._asdict() for name, interval in metrics.items()}


@dataclass(frozen=True)
class Coverage:
    """How many of the gold codes the knowledge base has: the ceiling of any answer from it."""

    in_kb: Interval
    in_group: Interval
    n_codes: int
    lacking: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "in_kb": self.in_kb._asdict(),
            "in_group": self.in_group._asdict(),
            "n_codes": self.n_codes,
            "n_lacking": len(self.lacking),
            "lacking": list(self.lacking),
        }


@dataclass(frozen=True)
class Score:
    """All that is known of one system on one gold."""

    n_mentions: int
    n_documents: int
    overall: dict[str, Interval]
    by: dict[str, dict[str, Part]]
    consistency: Interval
    n_pairs: int
    cascade: dict[str, Part]
    mean_candidates: float
    n_without_prediction: int
    n_missing: int
    n_no_code: int
    n_without_gold: int
    coverage: Coverage | None = None
    evaluated: Evaluated = field(repr=False, kw_only=True)

    def to_json(self) -> dict[str, Any]:
        """The score as `--json` gives it, but for what other modules add."""
        content: dict[str, Any] = {
            "n_mentions": self.n_mentions,
            "n_documents": self.n_documents,
            **intervals_json(self.overall),
            "mean_candidates": self.mean_candidates,
            "n_without_prediction": self.n_without_prediction,
            "n_missing": self.n_missing,
            "n_no_code": self.n_no_code,
            "n_without_gold": self.n_without_gold,
            "by": {
                name: {part: values.to_json() for part, values in parts.items()}
                for name, parts in self.by.items()
            },
            "consistency": {**self.consistency._asdict(), "n_pairs": self.n_pairs},
            "cascade": {name: part.to_json() for name, part in self.cascade.items()},
        }
        if self.coverage is not None:
            content["coverage"] = self.coverage.to_json()
        return content


def score(joined: Joined, options: ScoreOptions, background: Background | None = None) -> Score:
    """Score one system: metrics in all and by every partition that can be known."""
    background = background or Background()
    evaluated = evaluate(joined.mentions, options.match)
    parts = partition_labels(evaluated, background)
    intervals_of = _resample(_all_ratios(evaluated, options.ks, parts, background), options)
    mentions = evaluated.mentions
    return Score(
        n_mentions=len(mentions),
        n_documents=len(evaluated.documents),
        overall=intervals_of[("overall",)],
        by={name: _parts(evaluated, labels, intervals_of, name) for name, labels in parts.items()},
        consistency=intervals_of[("consistency",)]["value"],
        n_pairs=sum(len(group) * (len(group) - 1) // 2 for group in evaluated.repeated),
        cascade=_cascade_parts(evaluated, intervals_of),
        mean_candidates=sum(len(m.candidates) for m in mentions) / len(mentions),
        n_without_prediction=sum(not m.candidates for m in mentions),
        n_missing=sum(m.missing for m in mentions),
        n_no_code=joined.n_no_code,
        n_without_gold=joined.n_without_gold,
        coverage=_coverage(evaluated, background, intervals_of),
        evaluated=evaluated,
    )


def partition_labels(evaluated: Evaluated, background: Background) -> dict[str, list[str | None]]:
    """For each partition that can be known: the part that each mention is in."""
    all_labels = {
        name: partition.labels(evaluated.mentions, background)
        for name, partition in PARTITIONS.items()
        if partition.known(background)
    }
    return {name: labels for name, labels in all_labels.items() if any(labels)}


def _all_ratios(
    evaluated: Evaluated,
    ks: Iterable[int],
    parts: Mapping[str, Sequence[str | None]],
    background: Background,
) -> list[Ratio]:
    metrics = mention_metrics(evaluated, ks)
    everything = np.ones(len(evaluated.mentions))
    all_ratios = _metric_ratios(evaluated, metrics, everything, ("overall",))
    for name, labels in parts.items():
        for part in dict.fromkeys(label for label in labels if label is not None):
            inside = np.array([label == part for label in labels], dtype=np.float64)
            all_ratios += _metric_ratios(evaluated, metrics, inside, ("by", name, part))
    all_ratios.append(Ratio(("consistency", "value"), *consistency_sums(evaluated)))
    for name, inside in cascade_masks(evaluated).items():
        all_ratios += _metric_ratios(
            evaluated, {"recall@1": evaluated.right.astype(np.float64)}, inside, ("cascade", name)
        )
    if background.kb is not None:
        for name, covered in _covered(evaluated, background).items():
            all_ratios += _metric_ratios(evaluated, {name: covered}, everything, ("coverage",))
    return all_ratios


def _metric_ratios(
    evaluated: Evaluated,
    metrics: Mapping[str, Floats],
    inside: Floats,
    key: tuple[str, ...],
) -> list[Ratio]:
    below = evaluated.per_document(inside)
    return [
        Ratio((*key, name), evaluated.per_document(values * inside), below)
        for name, values in metrics.items()
    ]


def _resample(
    all_ratios: Sequence[Ratio], options: ScoreOptions
) -> dict[tuple[str, ...], dict[str, Interval]]:
    """The interval of each ratio, by place, from one set of resampled documents."""
    above = np.stack([ratio.above for ratio in all_ratios], axis=1)
    below = np.stack([ratio.below for ratio in all_ratios], axis=1)
    samples = resampled_ratios(above, below, options.n_boot, options.seed)
    by_key: dict[tuple[str, ...], dict[str, Interval]] = {}
    for ratio, interval in zip(all_ratios, intervals(ratios(above, below), samples), strict=True):
        by_key.setdefault(ratio.key[:-1], {})[ratio.key[-1]] = interval
    return by_key


def _parts(
    evaluated: Evaluated,
    labels: Sequence[str | None],
    intervals_of: Mapping[tuple[str, ...], dict[str, Interval]],
    name: str,
) -> dict[str, Part]:
    counts = Counter(label for label in labels if label is not None)
    documents = Counter(
        label
        for label, _ in {
            (label, mention.document_id)
            for label, mention in zip(labels, evaluated.mentions, strict=True)
        }
    )
    order = PARTITIONS[name].order or tuple(sorted(counts))
    return {
        part: Part(counts[part], documents[part], intervals_of[("by", name, part)])
        for part in order
        if counts[part]
    }


# Within a document ----------------------------------------------------------------------------


def consistency_sums(evaluated: Evaluated) -> tuple[Floats, Floats]:
    """Per document: pairs of mentions of one gold concept that got one code, and all pairs.

    A mention without a prediction agrees with none.
    """
    agreeing = np.zeros(len(evaluated.mentions))
    pairs = np.zeros(len(evaluated.mentions))
    for group in evaluated.repeated:
        tops = (evaluated.mentions[position].top for position in group)
        codes = Counter(top.concept_code for top in tops if top is not None)
        agreeing[group[0]] = sum(count * (count - 1) / 2 for count in codes.values())
        pairs[group[0]] = len(group) * (len(group) - 1) / 2
    return evaluated.per_document(agreeing), evaluated.per_document(pairs)


def cascade_masks(evaluated: Evaluated) -> dict[str, Floats]:
    """Mentions whose nearest earlier mention of the same gold concept was right, or wrong."""
    masks = {name: np.zeros(len(evaluated.mentions)) for name in ("after_right", "after_wrong")}
    for group in evaluated.repeated:
        for earlier, later in pairwise(group):
            masks["after_right" if evaluated.right[earlier] else "after_wrong"][later] = 1
    return masks


def _cascade_parts(
    evaluated: Evaluated, intervals_of: Mapping[tuple[str, ...], dict[str, Interval]]
) -> dict[str, Part]:
    return {
        name: Part(
            int(inside.sum()),
            int(np.count_nonzero(evaluated.per_document(inside))),
            intervals_of[("cascade", name)],
        )
        for name, inside in cascade_masks(evaluated).items()
    }


# Coverage of the knowledge base ---------------------------------------------------------------


def _covered(evaluated: Evaluated, background: Background) -> dict[str, Floats]:
    assert background.kb is not None
    groups_of = background.kb.groups_of
    mentions = evaluated.mentions
    parts = [parts_of(mention.gold) for mention in mentions]
    return {
        "in_kb": np.array(
            [all(code in groups_of for code in codes) for codes in parts], dtype=np.float64
        ),
        "in_group": np.array(
            [
                all(mention.semantic_group in groups_of.get(code, ()) for code in codes)
                for mention, codes in zip(mentions, parts, strict=True)
            ],
            dtype=np.float64,
        ),
    }


def _coverage(
    evaluated: Evaluated,
    background: Background,
    intervals_of: Mapping[tuple[str, ...], dict[str, Interval]],
) -> Coverage | None:
    if background.kb is None:
        return None
    codes = {code for mention in evaluated.mentions for code in parts_of(mention.gold)}
    return Coverage(
        in_kb=intervals_of[("coverage",)]["in_kb"],
        in_group=intervals_of[("coverage",)]["in_group"],
        n_codes=len(codes),
        lacking=tuple(sorted(code for code in codes if code not in background.kb.groups_of)),
    )
