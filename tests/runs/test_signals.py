"""When a run stops, and how long it may take."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.runs.signals import Stopped, StopSignals, parse_duration
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("45s", 45), ("30m", 1800), ("20h", 72000), ("1.5d", 129600), ("10:30", 630),
     ("20:00:00", 72000), ("2-01:00:00", 176400), (" 1H ", 3600)],
)  # fmt: skip
def test_parse_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "-5", "1w", "1:2:3:4", "h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(LongbelError) as raised:
        parse_duration(text)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("index", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_a_signal_is_told_at_the_next_question(index: signal.Signals, code: int) -> None:
    before = signal.getsignal(index)
    with StopSignals() as stop:
        stop.check()
        os.kill(os.getpid(), index)
        assert stop.requested
        with pytest.raises(Stopped, match=index.name) as raised:
            stop.check()
        assert raised.value.exit_code == code
    assert signal.getsignal(index) is before


def test_a_second_interrupt_does_not_wait_for_a_question() -> None:
    with pytest.raises(KeyboardInterrupt), StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


def test_an_interrupt_after_another_signal_waits_for_a_question() -> None:
    """Only a second interrupt breaks in: the first one lets the window be left in order."""
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:  # pytest would take it for the user's
            pytest.fail("the first interrupt broke in")
        with pytest.raises(Stopped, match="SIGINT") as raised:
            stop.check()
        assert raised.value.exit_code == 130


@pytest.mark.parametrize(
    ("limit", "end", "left"),
    [
        (None, None, 1e9),
        (1000.0, None, 940.0),
        (100.0, None, 90.0),
        (None, 1000, 940.0),
        (5000.0, 1000, 940.0),
        (None, -5, -5.0),
    ],
)
def test_the_deadline_keeps_a_margin(
    limit: float | None, end: int | None, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, since_boot = int(time.time()), 5000.0
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "monotonic", lambda: since_boot)
    environment = {} if end is None else {"SLURM_JOB_END_TIME": str(now + end)}
    stop = StopSignals(limit, environment=environment)
    monkeypatch.setattr(time, "time", lambda: now + 1e6)  # somebody sets the clock
    for later, requested in ((left - 1, False), (left, left < 1e9)):
        monkeypatch.setattr(time, "monotonic", lambda later=later: since_boot + later)
        assert stop.requested is requested


_LONG_STEP = """
import time
from longbel_cli.runs.signals import StopSignals
with StopSignals(grace=0.3, release=lambda: print("released", flush=True)):
    print("ready", flush=True)
    time.sleep(20)
"""


@pytest.mark.parametrize(("index", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_step_that_never_asks_is_left_by_force(index: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _LONG_STEP],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(index)
    said, errors = process.communicate(timeout=15)
    assert process.returncode == code
    assert said == "released\n"
    assert "long step" in errors
