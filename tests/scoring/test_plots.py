"""Where the shapes of the plots stand."""

from __future__ import annotations

import pytest

from longbel_cli.scoring.bootstrap import Interval
from longbel_cli.scoring.calibration import Bin, Calibration, Point, RiskCoverage
from longbel_cli.scoring.plots import (
    LABELS,
    LEFT,
    SIDE,
    TOP,
    Plot,
    Shape,
    interval_plot,
    reliability_plot,
    risk_plot,
)


def the(plot: Plot | None, style: str) -> list[Shape]:
    assert plot is not None
    return [shape for shape in plot.shapes if shape.style == style]


def at(across: float, up: float) -> tuple[float, float]:
    """The place of two shares on a square plot."""
    return LEFT + SIDE * across, TOP + SIDE * (1 - up)


def test_the_curve_goes_across_by_coverage_and_up_by_risk() -> None:
    curve = RiskCoverage((Point(0.9, 0.2, 0.0), Point(0.5, 0.6, 0.1), Point(0.1, 1.0, 0.4)), 0.15)
    plot = risk_plot(curve, threshold=0.5)
    (line,), (mark,) = the(plot, "curve"), the(plot, "mark")
    assert line.coordinates == pytest.approx((*at(0.2, 0.0), *at(0.6, 0.1), *at(1.0, 0.4)))
    assert mark.coordinates[:2] == pytest.approx(at(0.6, 0.1))
    assert mark.tip == "score 0.500000: 60.0 % accepted"
    assert the(risk_plot(curve, None), "mark") == []
    assert risk_plot(RiskCoverage((), 1.0), None) is None


def test_a_bar_stands_on_the_axis_as_high_as_its_accuracy() -> None:
    bins = (Bin(0.2, 0.3, 40, 0.25, 0.5), Bin(0.3, 0.4, 3, 0.35, 0.1), Bin(0.4, 0.5, 0, None, None))
    plot = reliability_plot(Calibration(bins, 0.2, 43))
    (bar,), (few,) = the(plot, "bar"), the(plot, "bar few")
    left, top = at(0.2, 0.5)
    assert bar.coordinates == pytest.approx((left + 1, top, SIDE * 0.1 - 2, SIDE * 0.5))
    assert few.coordinates[3] == pytest.approx(SIDE * 0.1)
    assert reliability_plot(Calibration((), None, 0)) is None


def test_a_whisker_goes_from_low_to_high() -> None:
    rows = [("all", Interval(0.5, 0.3, 0.9)), ("none", Interval(None, None, None))]
    plot = interval_plot("groups", "Recall", rows)
    (whisker,), (dot,) = the(plot, "whisker"), the(plot, "dot")
    x = [LABELS + SIDE * share for share in (0.3, 0.5, 0.9)]
    assert (whisker.coordinates[0], dot.coordinates[0], whisker.coordinates[2]) == pytest.approx(
        tuple(x)
    )
    assert whisker.coordinates[1] == whisker.coordinates[3] == dot.coordinates[1]
    assert dot.tip == "all: 50.0 [30.0, 90.0]"
