"""What the tables of a score say, cell by cell."""

from __future__ import annotations

import csv
import io

import pytest

from longbel_cli.scoring.bootstrap import Interval
from longbel_cli.scoring.calibration import Triage
from longbel_cli.scoring.comparison import Difference
from longbel_cli.scoring.metrics import ScoreOptions, score
from longbel_cli.scoring.table_writers import write_csv, write_latex, write_markdown, write_rich
from longbel_cli.scoring.tables import Table, comparison_table, triage_table
from tests.support.score_cases import joined, mention

ODD = Table("Odd", ("name", "n_%"), (("a|b & c", "1 ± 2"), ("x_y\\", "–")))


def test_compared_systems_each_with_its_own_value_and_the_lead() -> None:
    options = ScoreOptions(ks=(1,), n_boot=10)
    locations = ("a:0", "a:1", "a:2", "a:3")
    # Of four mentions of one document 3, 2 and 1 are right.
    scores = [
        score(joined(*(mention(p, "X", "X" if n < right else "Y")
                       for n, p in enumerate(locations))),
              options)
        for right in (3, 2, 1)
    ]  # fmt: skip
    sure = Difference(Interval(0.25, 0.1, 0.4), 0.011, 0.022, 0.044)
    unsure = Difference(Interval(0.5, -0.1, 0.9), 0.111, 0.222, 0.444)
    table = comparison_table(
        ["ours", "second", "third"],
        scores,
        [{"recall@1": sure, "mrr": unsure}, {"recall@1": unsure, "mrr": sure}],
    )
    sure_cells = ("+25.0 [+10.0, +40.0] †", "0.011", "0.022")
    unsure_cells = ("+50.0 [-10.0, +90.0]", "0.111", "0.222")
    assert table.columns == (
        "",
        "system",
        "value",
        "lead of ours",
        "p bootstrap",
        "p randomization",
    )
    assert table.rows == (
        ("R@1", "ours", "75.0 ± 0.0", "", "", ""),
        ("R@1", "second", "50.0 ± 0.0", *sure_cells),
        ("R@1", "third", "25.0 ± 0.0", *unsure_cells),
        ("MRR", "ours", "75.0 ± 0.0", "", "", ""),
        ("MRR", "second", "50.0 ± 0.0", *unsure_cells),
        ("MRR", "third", "25.0 ± 0.0", *sure_cells),
    )


@pytest.mark.parametrize(("threshold", "shown"), [(0.5, "0.500000"), (None, "none reaches it")])
def test_the_threshold_for_review(threshold: float | None, shown: str) -> None:
    precision, review = Interval(0.9, 0.8, 0.96), Interval(0.25, 0.2, 0.4)
    table = triage_table(Triage(0.85, threshold, precision, review, 12))
    assert "85.0" in table.title
    assert table.rows == (
        ("threshold (longbel link --min-score)", shown, ""),
        ("right among the accepted", "90.0 ± 8.0", "80.0 – 96.0"),
        ("left to review", "25.0 ± 10.0", "20.0 – 40.0"),
        ("mentions left to review", "12", ""),
    )


def test_markdown() -> None:
    assert write_markdown([ODD], ["R@1|kb:k"]) == (
        "**Odd**\n\n"
        "| name | n_% |\n"
        "| --- | ---: |\n"
        "| a\\|b & c | 1 ± 2 |\n"
        "| x_y\\ | – |\n"
        "\n`R@1|kb:k`\n"
    )


def test_latex() -> None:
    assert write_latex([ODD], ["R@1|kb:k"]) == (
        "% Odd\n"
        "\\begin{tabular}{lr}\n"
        "\\hline\n"
        "name & n\\_\\% \\\\\n"
        "\\hline\n"
        "a|b \\& c & 1 $\\pm$ 2 \\\\\n"
        "x\\_y\\textbackslash{} & -- \\\\\n"
        "\\hline\n"
        "\\end{tabular}\n"
        "% R@1|kb:k\n"
    )


def test_csv() -> None:
    text = write_csv([ODD], ["R@1|kb:k"])
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "n_%"],
        ["a|b & c", "1 ± 2"],
        ["x_y\\", "–"],
        ["# R@1|kb:k"],
    ]


def test_rich_has_no_escape_sequences_and_takes_no_markup() -> None:
    table = Table("[bold]Title", ("name", "n"), (("[red]a", "1" * 150),))
    lines = write_rich([table], ["R@1|kb:k"]).splitlines()
    assert lines[0] == "[bold]Title"
    assert lines[-1] == "R@1|kb:k"
    assert any("[red]a" in line and "1" * 150 in line for line in lines)
    assert "\x1b" not in "".join(lines)
