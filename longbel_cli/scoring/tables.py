"""Lays a score out: tables of cells, as rich, markdown, LaTeX or CSV.

A table here is a title, column names and rows of text; how it is drawn is a row of `WRITERS`.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kb_builder.text import no_formula, visible, visible_line
from longbel_cli.scoring.bootstrap import Interval
from longbel_cli.scoring.calibration import Calibration, Triage
from longbel_cli.scoring.comparison import Difference
from longbel_cli.scoring.evaluation import Evaluation
from longbel_cli.scoring.metrics import Coverage, Score


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
        for part, values in score.by[partition].items():
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
    if evaluation.triage is not None:
        tables.append(calibration_table(evaluation.calibration))
        tables.append(triage_table(evaluation.triage))
    if evaluation.differences:
        names = [system.name for system in evaluation.systems]
        scores = [system.score for system in evaluation.systems]
        tables.append(comparison_table(names, scores, evaluation.differences))
    return tables


WIDE = 200  # characters of a table that goes to a file


# Writers --------------------------------------------------------------------------------------


def write_rich(tables: Sequence[Table], footer: Sequence[str]) -> str:
    """Boxes, as wide as the terminal or, elsewhere, as wide as they need; no colours."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(color_system=None, width=None if sys.stdout.isatty() else WIDE)
    with console.capture() as printed:
        for table in tables:
            console.print(Text(table.title))
            drawn = RichTable()
            for position, column in enumerate(table.columns):
                drawn.add_column(column, justify="left" if position < table.n_left else "right")
            for row in table.rows:
                drawn.add_row(*(Text(cell) for cell in row))
            console.print(drawn)
    return printed.get() + "".join(f"{line}\n" for line in footer)


def write_markdown(tables: Sequence[Table], footer: Sequence[str]) -> str:
    parts: list[str] = []
    for table in tables:
        n_right = len(table.columns) - table.n_left
        rule = ["---"] * table.n_left + ["---:"] * n_right
        lines = [_pipes(table.columns), _pipes(rule), *(_pipes(row) for row in table.rows)]
        parts.append(f"**{table.title}**\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts) + "\n" + "\n\n".join(f"`{line}`" for line in footer) + "\n"


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "†": r"$^{\dagger}$",
}


def _latex(cell: str) -> str:
    return "".join(LATEX.get(character, character) for character in cell)


def write_latex(tables: Sequence[Table], footer: Sequence[str]) -> str:
    parts: list[str] = []
    for table in tables:
        shape = "".join("l" if i < table.n_left else "r" for i in range(len(table.columns)))
        rows = [" & ".join(map(_latex, row)) + r" \\" for row in table.rows]
        head = " & ".join(map(_latex, table.columns)) + r" \\"
        parts.append(
            "\n".join(
                [
                    f"% {table.title}",
                    rf"\begin{{tabular}}{{{shape}}}",
                    r"\hline",
                    head,
                    r"\hline",
                    *rows,
                    r"\hline",
                    r"\end{tabular}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n" + "".join(f"% {line}\n" for line in footer)


def write_csv(tables: Sequence[Table], footer: Sequence[str]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for position, table in enumerate(tables):
        if position:
            stream.write("\n")
        writer.writerow(table.columns)
        writer.writerows(table.rows)
    return stream.getvalue() + "".join(f"# {line}\n" for line in footer)


WRITERS: dict[str, Callable[[Sequence[Table], Sequence[str]], str]] = {
    "rich": write_rich,
    "markdown": write_markdown,
    "latex": write_latex,
    "csv": write_csv,
}


def evaluation_text(
    evaluation: Evaluation, partitions: Sequence[str], form: str, for_spreadsheet: bool = False
) -> str:
    """All tables of an evaluation, as a form of WRITERS draws them.

    In tables for people no control character takes effect. CSV keeps every cell as it is, but
    `for_spreadsheet` keeps formulas from being computed.
    """
    first = evaluation.first.score
    signature = visible_line(evaluation.signature)
    if form == "csv":  # for programs: one long table
        table = long_table(first)
        return WRITERS[form]([table.changed(no_formula) if for_spreadsheet else table], [signature])
    footer = [counts_line(first), confidence_line(evaluation), evaluation.signature]
    line = coverage_line(evaluation) if form in ("rich", "markdown") else None
    head = "" if line is None else f"{line}\n\n"
    tables = [table.changed(visible_line) for table in score_tables(evaluation, partitions)]
    return visible(head) + WRITERS[form](tables, [visible_line(line) for line in footer])
