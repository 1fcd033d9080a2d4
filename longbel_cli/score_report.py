"""The HTML report of a score: tables, plots, and the wrong answers sorted by kind.

One file that loads nothing: style and script are inside, allowed by their hashes alone, and all
text goes through autoescaping. The wrong answers quote mentions, so the page says what it holds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from kb_builder.errors import LongbelError
from longbel_cli.error_kinds import KINDS, Wrong, wrong_answers
from longbel_cli.evaluation import Evaluation
from longbel_cli.score_plots import Plot, interval_plot, reliability_plot, risk_plot
from longbel_cli.score_tables import (
    calibration_table,
    confidence_line,
    counts_line,
    headline,
    plus_minus,
    score_tables,
)

TEMPLATES = Path(__file__).parent / "templates"
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
    """Write the page; a failure leaves no half of it under that name."""
    page = report_page(evaluation)
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise LongbelError(
            f"{path}: the report cannot be written ({error.strerror})",
            "Give --report a file in an existing folder that you may write to.",
        ) from error


def report_page(evaluation: Evaluation) -> str:
    """The whole page."""
    from markupsafe import Markup

    style = (TEMPLATES / "score.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "score.js").read_text(encoding="utf-8")
    first = evaluation.first
    kinds, n_wrong = error_list(evaluation)
    partitions = list(first.score.by)
    tables = score_tables(evaluation, partitions)
    if evaluation.triage is None and evaluation.calibration.ece is not None:
        tables.append(calibration_table(evaluation.calibration))
    return (
        _environment()
        .get_template("score.html")
        .render(
            title=f"Score of {first.name}",
            system=first.name,
            style=Markup(style),
            script=Markup(script),
            style_hash=_hash(style),
            script_hash=_hash(script),
            signature=evaluation.signature,
            counts=counts_line(first.score),
            confidence=confidence_line(evaluation),
            headline={
                headline(name): plus_minus(value) for name, value in first.score.overall.items()
            },
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
    )


def error_list(evaluation: Evaluation) -> tuple[list[Kind], int]:
    """The kinds that occur, in the table's order, with at most `MOST_ROWS` rows in all."""
    wrong = wrong_answers(evaluation.first.score.evaluated, evaluation.background.kb)
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
    found: list[Plot | None] = [interval_plot(f"{headline(metric)} by group, per cent", rows)]
    if len(evaluation.systems) > 1:
        systems = [(system.name, system.score.overall[metric]) for system in evaluation.systems]
        found.append(interval_plot(f"{headline(metric)} by system, per cent", systems))
    found.append(reliability_plot(evaluation.calibration))
    threshold = evaluation.triage.threshold if evaluation.triage else None
    found.append(risk_plot(evaluation.risk_coverage, threshold))
    return [plot for plot in found if plot is not None]


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
