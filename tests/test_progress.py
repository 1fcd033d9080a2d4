"""What a long command tells in a log."""

from __future__ import annotations

import time

import pytest

from longbel_cli.progress import Progress, duration_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3540, "59 min"), (11520, "3 h 12 min"),
     (200000, "2 d 7 h")],
)  # fmt: skip
def test_duration_text(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("total", "line"),
    [(None, "longbel link: 80 mentions, 2.00/s"),
     (1000, "longbel link: 80 of 1000 mentions, 2.00/s, about 8 min left"),
     (70, "longbel link: 80 of 70 mentions, 2.00/s, about 0 s left")],
)  # fmt: skip
def test_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    total: int | None,
    line: str,
) -> None:
    """Every half minute; a total that is only about right may be passed."""
    times = iter((0.0, 20.0, 40.0, 40.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    with Progress("link", "mention", total=total) as progress:
        progress.advance(40)
        progress.advance(40)
    assert capsys.readouterr().err == line + "\n"
