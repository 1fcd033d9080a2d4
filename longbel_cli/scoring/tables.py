"""Lays a score out: tables of cells, as rich, markdown, LaTeX or CSV.

A table here is a title, column names and rows of text; how it is drawn is a row of `WRITERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from longbel_cli.scoring.bootstrap import Interval
from longbel_cli.scoring.calibration import Calibration, Triage
from longbel_cli.scoring.comparison import Difference
from longbel_cli.scoring.end_to_end import Leads
from longbel_cli.scoring.evaluation import Evaluation
from longbel_cli.scoring.hierarchy import RELATIONS, HierarchyScore
from longbel_cli.scoring.metrics import Coverage, Score
from longbel_cli.scoring.nil import RATES, NilScore


@dataclass(frozen=True)
class Table:
    """Cells of text; the first `n_left` columns are words, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_left: int = 1

    def changed(self, change: Callable[[str], str]) -> Table:
        """The table with all its texts changed."""
        rows = tuple(tuple(map(change, row)) for row in self.rows)
        return Table(change(self.title), tuple(map(change, self.columns)), rows, self.n_left)


# Tables ---------------------------------------------------------------------------------------


def comparison_table(
    names: Sequence[str], scores: Sequence[Score], differences: Sequence[dict[str, Difference]]
) -> Table:
    """By metric: the first system, then each other one with the first's lead over it."""
    rows: list[tuple[str, ...]] = []
    for metric, interval in scores[0].overall.items():
        rows.append((headline(metric), names[0], plus_minus(interval), "", "", ""))
        for name, its_score, of_metric in zip(names[1:], scores[1:], differences, strict=True):
            value = plus_minus(its_score.overall[metric])
            rows.append((headline(metric), name, value, *_difference_cells(of_metric[metric])))
    return Table(
        "Compared on the same documents († p of randomization under 0.05 after Holm)",
        ("", "system", "value", f"lead of {names[0]}", "p bootstrap", "p randomization"),
        tuple(rows),
        n_left=2,
    )


def _difference_cells(difference: Difference) -> tuple[str, str, str]:
    interval = difference.interval
    marker = " †" if difference.significant else ""
    lead = f"{signed(interval.value)} [{signed(interval.low)}, {signed(interval.high)}]{marker}"
    return lead, f"{difference.p_bootstrap:.3f}", f"{difference.p_randomization:.3f}"


def signed(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f}"


def calibration_table(calibration: Calibration) -> Table:
    """The reliability diagram as numbers."""
    rows = [
        (
            f"{bin.low:.1f} – {bin.high:.1f}",
            str(bin.n),
            percent(bin.confidence),
            percent(bin.accuracy),
        )
        for bin in calibration.bins
    ]
    return Table(
        f"Calibration, per cent (expected calibration error {percent(calibration.ece)})",
        ("score", "mentions", "mean score", "right"),
        tuple(rows),
    )


def triage_table(triage: Triage) -> Table:
    """The threshold for review."""
    threshold = "none reaches it" if triage.threshold is None else f"{triage.threshold:.6f}"
    rows = (
        ("threshold (longbel link --min-score)", threshold, ""),
        ("right among the accepted", plus_minus(triage.precision), bounds(triage.precision)),
        ("left to review", plus_minus(triage.review), bounds(triage.review)),
        ("mentions left to review", str(triage.n_review), ""),
    )
    title = f"Review for a precision of {percent(triage.target)}, per cent"
    return Table(title, ("", "value", "95 % interval"), rows)


def long_table(score: Score) -> Table:
    """One number a row, as fractions: what `--table csv` prints."""
    rows = [
        row
        for partition, part, n, n_documents, metrics in _long_parts(score)
        for row in _long_rows((partition, part, str(n), str(n_documents)), metrics)
    ]
    columns = ("partition", "part", "n", "n_documents", "metric", "value", "low", "high")
    return Table("Scores", columns, tuple(rows), n_left=2)


def _long_parts(score: Score) -> Iterator[tuple[str, str, int, int, dict[str, Interval]]]:
    yield "all", "all", score.n_mentions, score.n_documents, score.overall
    for partition, parts in score.by.items():
        for part, values in parts.items():
            yield partition, part, values.n, values.n_documents, values.metrics
    for part, values in score.cascade.items():
        yield "cascade", part, values.n, values.n_documents, values.metrics
    yield "pairs", "all", score.n_pairs, score.n_documents, {"consistency": score.consistency}


def _long_rows(start: tuple[str, ...], metrics: dict[str, Interval]) -> Iterator[tuple[str, ...]]:
    for metric, interval in metrics.items():
        yield (*start, metric, *("" if x is None else f"{x:.6f}" for x in interval))


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def plus_minus(interval: Interval) -> str:
    """`75.4 ± 3.4`: per cent, and half the interval's width."""
    if interval.half_width is None:
        return percent(interval.value)
    return f"{percent(interval.value)} ± {percent(interval.half_width)}"


def bounds(interval: Interval) -> str:
    if interval.low is None:
        return "–"
    return f"{percent(interval.low)} – {percent(interval.high)}"


def headline(name: str) -> str:
    """A metric as tables call it: `recall@1` is `R@1`."""
    return name.replace("recall@", "R@").replace("mrr", "MRR")


def overall_table(score: Score, partitions: Sequence[str]) -> Table:
    """All mentions in the first row, then the parts of the partitions asked for."""
    names = list(score.overall)
    columns = ["", "mentions", "documents"]
    for name in names:
        columns += [headline(name), "95 % interval"] if name == names[0] else [headline(name)]
    rows = [("all", score.n_mentions, score.n_documents, score.overall)]
    for partition in partitions:
        prefix = "" if partition == "group" else f"{partition}: "
        for part, values in score.by.get(partition, {}).items():
            rows.append((prefix + part, values.n, values.n_documents, values.metrics))
    return Table(
        "Recall and mean reciprocal rank, per cent",
        tuple(columns),
        tuple(
            (label, str(n), str(n_documents), *_metric_cells(metrics, names))
            for label, n, n_documents, metrics in rows
        ),
    )


def _metric_cells(metrics: dict[str, Interval], names: Sequence[str]) -> list[str]:
    cells: list[str] = []
    for position, name in enumerate(names):
        cells.append(plus_minus(metrics[name]))
        if position == 0:
            cells.append(bounds(metrics[name]))
    return cells


def hierarchy_table(scored: HierarchyScore) -> Table:
    """What answers are to the gold in the hierarchy."""
    rows = [
        (f"{name}: {meaning}", plus_minus(scored.shares[name]), bounds(scored.shares[name]))
        for name, meaning in RELATIONS.items()
    ]
    mean = scored.distance
    steps = ["–" if value is None else f"{value:.2f}" for value in mean]
    rows.append(
        (f"mean steps to the gold ({scored.n_distances} answers)", steps[0], " – ".join(steps[1:]))
    )
    return Table("Answers in the hierarchy, per cent", ("", "share", "95 % interval"), tuple(rows))


def nil_table(scored: NilScore) -> Table:
    """How well "no concept" is told, and the threshold that tells it best here."""
    rows = [
        (f"{name.replace('_', ' ')}: {meaning}", plus_minus(rate), bounds(rate))
        for (name, meaning), rate in zip(RATES.items(), scored.rates.values(), strict=True)
    ]
    best = ["–" if value is None else f"{value:.6f}" for value in scored.best]
    rows.append(("best --nil-score on these documents", best[0], " – ".join(best[1:])))
    accuracy = scored.best_accuracy
    rows.append(("accuracy there", plus_minus(accuracy), bounds(accuracy)))
    at = "without a threshold" if scored.threshold is None else f"below {scored.threshold:g}"
    title = (
        f"No concept ({at}): {scored.n_nil} of {scored.n_nil + scored.n_inside} mentions, per cent"
    )
    return Table(title, ("", "value", "95 % interval"), tuple(rows))


def document_table(score: Score) -> Table:
    """What only whole documents show: consistency and the cascade."""
    rows = [
        (
            "pairs of one concept that got one code",
            str(score.n_pairs),
            plus_minus(score.consistency),
            bounds(score.consistency),
        )
    ]
    for name, part in score.cascade.items():
        recall = part.metrics["recall@1"]
        label = f"R@1 {name.replace('_', ' a ')} answer to the same concept"
        rows.append((label, str(part.n), plus_minus(recall), bounds(recall)))
    return Table("Within documents, per cent", ("", "n", "share", "95 % interval"), tuple(rows))


def tuned_lines(evaluation: Evaluation) -> Iterator[str]:
    """What makes a score too good: that weights of the fusion were chosen on what is scored."""
    for system in evaluation.systems:
        if system.n_tuned:
            n_documents = len(system.score.evaluated.documents)
            yield (
                f"{system.name}: its weights were tuned on {system.n_tuned} of the {n_documents} "
                "documents scored here, so this score is too good"
            )


def coverage_line(evaluation: Evaluation) -> str | None:
    """How much of the gold could be right at all; None where no KB can be opened."""
    n, n_held = len(evaluation.first.joined.mentions), evaluation.n_gold_in_kb
    if n_held is None:
        return None
    share = f"{percent(n_held / n)} %"
    return f"gold in the knowledge base: {n_held} of {n} mentions ({share}), the most R@k can be"


def coverage_table(coverage: Coverage) -> Table:
    """The ceiling that the knowledge base sets."""
    rows = [
        ("gold in the KB", plus_minus(coverage.in_kb), bounds(coverage.in_kb)),
        (
            "gold in the KB in the mention's group (the ceiling of R@k)",
            plus_minus(coverage.in_group),
            bounds(coverage.in_group),
        ),
        (
            "distinct gold codes that the KB lacks",
            f"{len(coverage.lacking)} of {coverage.n_codes}",
            "",
        ),
    ]
    return Table("Coverage, per cent of mentions", ("", "share", "95 % interval"), tuple(rows))


def counts_line(score: Score) -> str:
    """What was left out or had no answer, in one line."""
    return (
        f"NO_CODE left out: {score.n_no_code}; without gold: {score.n_without_gold}; "
        f"without prediction (wrong): {score.n_without_prediction}, of them missing: "
        f"{score.n_missing}; candidates a mention: {score.mean_candidates:.2f}"
    )


def confidence_line(evaluation: Evaluation) -> str:
    """How far the scores can be trusted, in one line."""
    calibration, curve = evaluation.calibration, evaluation.risk_coverage
    error = "scores are no probabilities"
    if calibration.ece is not None:
        error = f"expected calibration error {percent(calibration.ece)} %"
    return f"confidence: {error}; area under the risk-coverage curve {curve.area:.3f}"


def score_tables(evaluation: Evaluation, partitions: Sequence[str]) -> list[Table]:
    """The tables of an evaluation, in reading order."""
    first = evaluation.first.score
    tables = [overall_table(first, partitions)]
    if first.n_pairs:
        tables.append(document_table(first))
    if first.coverage is not None:
        tables.append(coverage_table(first.coverage))
    if evaluation.hierarchy is not None:
        tables.append(hierarchy_table(evaluation.hierarchy))
    if evaluation.nil is not None:
        tables.append(nil_table(evaluation.nil))
    if evaluation.triage is not None:
        tables.append(calibration_table(evaluation.calibration))
        tables.append(triage_table(evaluation.triage))
    if evaluation.differences:
        names = [system.name for system in evaluation.systems]
        scores = [system.score for system in evaluation.systems]
        tables.append(comparison_table(names, scores, evaluation.differences))
    return tables + end_to_end_tables(evaluation)


def end_to_end_tables(evaluation: Evaluation) -> list[Table]:
    """Of each system, all mentions and then groups: precision, recall and F1 by scheme."""
    tables = []
    leads: list[Leads] = [{}, *evaluation.leads]
    for system, scored, ahead in zip(
        evaluation.systems, evaluation.end_to_end, leads, strict=False
    ):
        rows = []
        for group, measured in {"all": scored.overall, **scored.by_group}.items():
            for name, measures in measured.items():
                lead = signed(ahead[name].interval.value) if ahead and group == "all" else ""
                p_value = f"{ahead[name].p_randomization:.3f}" if lead else ""
                values = map(plus_minus, measures.values())
                rows.append((group, " ".join(name), *values, lead, p_value))
        title = f"End to end, per cent: {system.name}"
        columns = ("", "scheme", "precision", "recall", "F1", "lead in F1", "p randomization")
        width = 7 if ahead else 5
        tables.append(Table(title, columns[:width], tuple(row[:width] for row in rows), n_left=2))
    return tables


def misses_table(evaluation: Evaluation, most: int) -> list[Table]:
    """The mentions that only the corpus has, or only the predictions; at most so many."""
    if not evaluation.end_to_end:
        return []
    misses = evaluation.end_to_end[0].misses
    rows = tuple(
        ("spurious" if miss.spurious else "missed", miss.document_id, miss.mark.group,
         ";".join(f"{start}-{end}" for start, end in sorted(miss.mark.spans)),
         miss.mark.text, miss.mark.code or "")
        for miss in misses[:most]
    )  # fmt: skip
    title = (
        f"Missed and spurious mentions, by borders and group ({len(misses)}; {len(rows)} listed)"
    )
    return [Table(title, ("", "document", "group", "offsets", "mention", "code"), rows, n_left=6)]
