"""The HTML report of a score: tables, plots, and the wrong answers sorted by kind.

The wrong answers quote mentions, so the page says what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from kb_builder.errors import LongbelError
from kb_builder.files import sweep, write_whole
from longbel_cli.pages import rendered_page, rendered_svg, write_page
from longbel_cli.scoring.error_kinds import KINDS, Wrong, wrong_answers
from longbel_cli.scoring.evaluation import Evaluation
from longbel_cli.scoring.plots import PLOTS, Plot, interval_plot, reliability_plot, risk_plot
from longbel_cli.scoring.tables import (
    calibration_table,
    confidence_line,
    counts_line,
    headline,
    misses_table,
    plus_minus,
    score_tables,
)

# A browser lays out this many rows without stalling; the page says how many it leaves out.
MOST_ROWS = 10_000
MOST_NAMES = 3


class Kind(NamedTuple):
    """The wrong answers of one kind, as the page lists them."""

    name: str
    meaning: str
    n: int
    share: str
    rows: tuple[Wrong, ...]


def write_report(evaluation: Evaluation, path: Path) -> None:
    """Write the page, where there is none or an older one."""
    write_page(report_page(evaluation), path)


def report_page(evaluation: Evaluation) -> str:
    """The whole page."""
    first = evaluation.first
    kinds, n_wrong = error_list(evaluation)
    partitions = list(first.score.by)
    tables = score_tables(evaluation, partitions)
    if evaluation.triage is None and evaluation.calibration.ece is not None:
        tables.append(calibration_table(evaluation.calibration))
    tables += misses_table(evaluation, MOST_ROWS)
    return rendered_page(
        "score",
        ("colours", "plots"),
        plot_style=None,
        title=f"Score of {first.name}",
        system=first.name,
        signature=evaluation.signature,
        counts=counts_line(first.score),
        confidence=confidence_line(evaluation),
        headline={headline(name): plus_minus(value) for name, value in first.score.overall.items()},
        score=first.score,
        tables=tables,
        plots=plots(evaluation),
        lacking=first.score.coverage.lacking if first.score.coverage else (),
        kinds=kinds,
        groups=sorted({wrong.mention.semantic_group for kind in kinds for wrong in kind.rows}),
        n_wrong=n_wrong,
        n_shown=sum(len(kind.rows) for kind in kinds),
        most_names=MOST_NAMES,
    )


def plot_paths(folder: Path) -> list[Path]:
    """Where `write_plots` may write."""
    return [folder / f"{name}.svg" for name in PLOTS]


def write_plots(evaluation: Evaluation, folder: Path) -> None:
    """Write each plot of the page as an SVG file; those of an earlier score are replaced."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        for plot in plots(evaluation):
            svg = rendered_svg("plot", ("colours", "plots"), plot=plot)
            write_whole(folder / f"{plot.name}.svg", svg.encode("utf-8"))
    except OSError as error:
        raise LongbelError(
            f"{folder}: the plots cannot be written ({error.strerror})",
            "Name a folder that you may write to.",
        ) from error


def error_list(evaluation: Evaluation) -> tuple[list[Kind], int]:
    """The kinds that occur, in the table's order, with at most `MOST_ROWS` rows in all."""
    wrong = wrong_answers(
        evaluation.first.score.evaluated, evaluation.background.kb, evaluation.hierarchy
    )
    order = list(KINDS)
    wrong.sort(key=lambda case: order.index(case.kind))
    kinds: list[Kind] = []
    left = MOST_ROWS
    for name, group in groupby(wrong, key=lambda case: case.kind):
        cases = tuple(group)
        share = f"{100 * len(cases) / len(wrong):.1f} %"
        kinds.append(Kind(name, KINDS[name][0], len(cases), share, cases[:left]))
        left -= len(kinds[-1].rows)
    return kinds, len(wrong)


def plots(evaluation: Evaluation) -> Sequence[Plot]:
    """The plots that there is something to draw in."""
    first = evaluation.first.score
    metric = next(iter(first.overall))
    rows = [("all", first.overall[metric])]
    rows += [(name, part.metrics[metric]) for name, part in first.by["group"].items()]
    drawn: list[Plot | None] = [
        interval_plot("groups", f"{headline(metric)} by group, per cent", rows)
    ]
    if len(evaluation.systems) > 1:
        systems = [(system.name, system.score.overall[metric]) for system in evaluation.systems]
        title = f"{headline(metric)} by system, per cent"
        drawn.append(interval_plot("systems", title, systems))
    drawn.append(reliability_plot(evaluation.calibration))
    threshold = evaluation.triage.threshold if evaluation.triage else None
    drawn.append(risk_plot(evaluation.risk_coverage, threshold))
    return [plot for plot in drawn if plot is not None]
