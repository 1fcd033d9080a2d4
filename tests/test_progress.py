"""What a long command shows: a bar on a terminal, lines in a log file, nothing when quiet."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest

from longbel_cli.commands.notes import notes_on_stderr, set_quiet
from longbel_cli.progress import Progress, duration_text


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """Keeps all that is written; says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        """The lines as they stand in the end: a carriage return writes over a line."""
        return [line.rpartition("\r")[2].rstrip() for line in self.getvalue().split("\n")]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def notes() -> Iterator[None]:
    with notes_on_stderr():
        yield


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3540, "59 min"), (11520, "3 h 12 min"),
     (200000, "2 d 7 h")],
)  # fmt: skip
def test_duration_text(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("total", "line"),
    [(None, "longbel: link: 80 mentions, 2.00/s"),
     (1000, "longbel: link: 80 of 1000 mentions, 2.00/s, about 8 min left"),
     (70, "longbel: link: 80 of 70 mentions, 2.00/s, about 0 s left")],
)  # fmt: skip
def test_a_line_every_half_minute(
    notes: None,
    capsys: pytest.CaptureFixture[str],
    clock: Clock,
    total: int | None,
    line: str,
) -> None:
    """A total that is only about right may be passed."""
    with Progress("link", "mention", total) as progress:
        clock.now += 29
        progress.advance(40)
        clock.now += 11
        progress.advance(40)
        clock.now += 29
        progress.advance(40)
    assert capsys.readouterr().err == line + "\n"


def test_stages_of_unknown_and_known_size(
    notes: None, capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    """The half minutes are the command's, not each stage's."""
    with Progress("build-kb") as progress:
        for stage, done, total, seconds in (
            ("types", 10, None, 20), ("types", 20, None, 10), ("atoms", 5, 200, 20),
            ("atoms", 50, 200, 20), ("write", 0, None, 5),
        ):  # fmt: skip
            clock.now += seconds
            progress.stage(stage, done, total)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["longbel: build-kb: types", "longbel: build-kb: atoms, 25%"]


def test_figures_stand_in_place_of_units(
    notes: None, capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with Progress("train", "‰", 1000) as progress:
        progress.begin("fold 1 of 2: training", 1000)
        clock.now += 30
        progress.reach(40, "step 2, loss 1.500")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "longbel: fold 1 of 2: training",
        "longbel: fold 1 of 2: training: step 2, loss 1.500",
    ]


def test_a_bar_on_a_terminal(notes: None, clock: Clock) -> None:
    with redirect_stderr(Terminal()) as terminal, Progress("link", "mention", 3) as progress:
        clock.now += 60
        progress.advance(1)
        progress.advance(2)
    assert terminal.screen[0].startswith("link: 100%|")
    assert " 3/3 " in terminal.screen[0]
    assert "longbel: link" not in terminal.getvalue()
    assert terminal.screen[1:] == [""]


def test_each_stage_that_began_leaves_its_bar(notes: None) -> None:
    with redirect_stderr(Terminal()) as terminal, Progress("build-kb") as progress:
        progress.stage("atoms", 2, 4)
        progress.stage("atoms", 4, 4)
        progress.stage("write", 0, None)
    atoms, *rest = terminal.screen
    assert atoms.startswith("build-kb: atoms: 100%|")
    assert " 4.00/4.00 " in atoms
    assert rest == [""]


def test_a_task_that_counts_nothing_has_no_bar(notes: None) -> None:
    """Its place is free for the bar of another: a fold's predictions beside its training."""
    with redirect_stderr(Terminal()) as terminal, Progress("train", "‰", 1000) as progress:
        progress.begin("fold 1 of 1: training", 1000)
        progress.reach(1000)
        progress.begin("fold 1 of 1: predicting", 1000)
        with Progress("link", "mention", 2) as predicting:
            predicting.advance(2)
    training, predicted, *rest = terminal.screen
    assert training.startswith("fold 1 of 1: training: 100%|")
    assert predicted.startswith("link: 100%|")
    assert rest == [""]


def test_figures_stand_beside_a_bar(notes: None) -> None:
    with redirect_stderr(Terminal()) as terminal, Progress("train", "‰", 1000) as progress:
        progress.reach(1000, "loss 1.500")
    assert terminal.screen[0].endswith("loss 1.500]")


def test_a_line_stands_above_the_bar(notes: None) -> None:
    with redirect_stderr(Terminal()) as terminal, Progress("link", "mention", 2) as progress:
        progress.advance()
        logging.getLogger("kb_builder.store").info("kept the %s", "trie")
        progress.advance()
    note, bar, *rest = terminal.screen
    assert note == "longbel: kept the trie"
    assert bar.startswith("link: 100%|")
    assert rest == [""]


@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_only_errors_are_written_when_quiet(
    notes: None, clock: Clock, stream: type[io.StringIO], quiet: bool
) -> None:
    set_quiet(quiet)
    with redirect_stderr(stream()) as written:
        with Progress("link", "mention", 2) as progress:
            clock.now += 60
            progress.advance()
        logging.getLogger("longbel_cli.linking").warning("a warning")
        logging.getLogger("another library").warning("a warning")
        assert (written.getvalue() == "") == quiet
        logging.getLogger("kb_builder").error("an error")
    assert written.getvalue().endswith("longbel: an error\n")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_without_set_up_nothing_is_written(clock: Clock, stream: type[io.StringIO]) -> None:
    """Logging is as it was once a command has run."""
    with redirect_stderr(stream()) as written:
        with notes_on_stderr():
            set_quiet(False)
        with Progress("link", "mention", 2) as progress:
            clock.now += 60
            progress.advance()
        logging.getLogger("longbel_cli.linking").info("a note")
    assert written.getvalue() == ""
    assert logging.getLogger("longbel_cli").level == logging.NOTSET
