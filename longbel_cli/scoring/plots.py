"""Plots as shapes with coordinates: a template draws them as inline SVG.

Knows numbers and a drawing area, no HTML. Colours are classes of the page's style sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from longbel_cli.scoring.bootstrap import Interval
from longbel_cli.scoring.calibration import Calibration, RiskCoverage, thinned

PLOTS = ("groups", "systems", "calibration", "risk-coverage")
LEFT, TOP, SIDE = 48, 12, 260
ROW = 26
LABELS = 230


class Shape(NamedTuple):
    """An SVG element: `kind` is line, rect, circle, polyline or text; `tip` shows on hovering."""

    kind: str
    style: str
    coordinates: tuple[float, ...] = ()
    text: str = ""
    tip: str = ""


@dataclass(frozen=True)
class Plot:
    """`name`, one of PLOTS, is that of its file where it is written as one."""

    name: str
    title: str
    width: int
    height: int
    shapes: tuple[Shape, ...]


def _x(share: float) -> float:
    return round(LEFT + SIDE * share, 2)


def _y(share: float) -> float:
    return round(TOP + SIDE * (1 - share), 2)


def _axes(x_label: str, y_label: str) -> list[Shape]:
    shapes: list[Shape] = []
    for tick in range(0, 101, 20):
        share = tick / 100
        shapes += [
            Shape("line", "grid", (_x(share), _y(0), _x(share), _y(1))),
            Shape("line", "grid", (_x(0), _y(share), _x(1), _y(share))),
            Shape("text", "tick middle", (_x(share), _y(0) + 16), str(tick)),
            Shape("text", "tick end", (_x(0) - 6, _y(share) + 4), str(tick)),
        ]
    shapes.append(Shape("text", "label middle", (_x(0.5), _y(0) + 36), x_label))
    shapes.append(Shape("text", "label", (_x(0) + 6, _y(1) + 14), y_label))
    return shapes


def reliability_plot(calibration: Calibration) -> Plot | None:
    """A bar a bin: its share of right answers; the diagonal is perfect calibration."""
    if calibration.ece is None:
        return None
    shapes = _axes("score, per cent", "right, per cent")
    largest = max(bin.n for bin in calibration.bins)
    for bin in calibration.bins:
        if bin.accuracy is None:
            continue
        tip = f"{bin.low:.1f} to {bin.high:.1f}: {bin.n} mentions, {100 * bin.accuracy:.1f} % right"
        left, right = _x(bin.low) + 1, _x(bin.high) - 1
        height = _y(0) - _y(bin.accuracy)
        # Bins of few mentions are pale.
        style = "bar" if bin.n * 10 >= largest else "bar few"
        shapes.append(Shape("rect", style, (left, _y(bin.accuracy), right - left, height), tip=tip))
    shapes.append(Shape("line", "ideal", (_x(0), _y(0), _x(1), _y(1))))
    title = f"Calibration (error {100 * calibration.ece:.1f} per cent)"
    return Plot("calibration", title, LEFT + SIDE + 16, TOP + SIDE + 48, tuple(shapes))


def risk_plot(curve: RiskCoverage, threshold: float | None) -> Plot | None:
    """Errors among the accepted, over the share accepted from the surest on."""
    if not curve.points:
        return None
    shapes = _axes("accepted, per cent", "wrong among them, per cent")
    coordinates: list[float] = []
    for point in thinned(curve.points):
        coordinates += [_x(point.coverage), _y(point.risk)]
    shapes.append(Shape("polyline", "curve", tuple(coordinates)))
    if threshold is not None:
        point = min(curve.points, key=lambda point: abs(point.threshold - threshold))
        tip = f"score {point.threshold:.6f}: {100 * point.coverage:.1f} % accepted"
        shapes.append(Shape("circle", "mark", (_x(point.coverage), _y(point.risk), 5), tip=tip))
    title = f"Risk and coverage (area {curve.area:.3f})"
    return Plot("risk-coverage", title, LEFT + SIDE + 16, TOP + SIDE + 48, tuple(shapes))


def interval_plot(name: str, title: str, rows: Sequence[tuple[str, Interval]]) -> Plot:
    """A dot and its interval a row, on a scale from 0 to 100 per cent."""
    shapes: list[Shape] = []
    bottom = TOP + ROW * len(rows)
    for tick in range(0, 101, 20):
        x = LABELS + SIDE * tick / 100
        shapes.append(Shape("line", "grid", (x, TOP, x, bottom)))
        shapes.append(Shape("text", "tick middle", (x, bottom + 16), str(tick)))
    for index, (row, interval) in enumerate(rows):
        y = TOP + ROW * index + ROW / 2
        shapes.append(Shape("text", "row end", (LABELS - 10, y + 4), _cut(row), tip=row))
        if interval.value is None:
            continue
        tip = f"{row}: {100 * interval.value:.1f}"
        if interval.low is not None and interval.high is not None:
            tip += f" [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
            ends = (LABELS + SIDE * interval.low, y, LABELS + SIDE * interval.high, y)
            shapes.append(Shape("line", "whisker", tuple(round(end, 2) for end in ends)))
        x = round(LABELS + SIDE * interval.value, 2)
        shapes.append(Shape("circle", "dot", (x, y, 5), tip=tip))
    return Plot(name, title, LABELS + SIDE + 24, bottom + 26, tuple(shapes))


def _cut(name: str, length: int = 34) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
