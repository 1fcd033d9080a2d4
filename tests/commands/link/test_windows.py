"""Windows as they suit a linker, kept by its run; what a stop loses; how many are active."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from longbel_cli.linking.job import link_windows
from longbel_cli.linking.job_options import JobOptions
from longbel_cli.linking.plan import passes_of
from longbel_cli.linking.prompted import CPU_WINDOW, GPU_WINDOW, PromptedLinker
from longbel_cli.model.decoders import DecodeStats
from longbel_cli.runs.signals import Stopped
from longbel_cli.runs.windows import Window
from longbel_cli.types import Document, Mention, Span
from tests.support.command_line import Longbel


@pytest.mark.parametrize(("device", "size"), [("cuda", GPU_WINDOW), ("cpu", CPU_WINDOW)])
def test_windows_by_device(device: str, size: tuple[int, int]) -> None:
    linker: Any = SimpleNamespace(model=SimpleNamespace(device=SimpleNamespace(type=device)))
    assert PromptedLinker.window_size(linker) == size


def test_a_run_keeps_its_windows(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    """Begun with other windows than `auto` gives now, by this version or an earlier one."""
    out = tmp_path / "p.jsonl"
    exact = ("link", corpus, "--linker", "exact", "--out", out)
    assert longbel(*exact, "--window", 3, "--window-mentions", 7, "--shard", "1/2").code == 0
    assert longbel(*exact, "--shard", "2/2").code == 0
    kept = json.loads((tmp_path / "p.jsonl.run/run.json").read_text())["configuration"]
    assert (kept["window_documents"], kept["window_mentions"]) == (3, 7)
    refused = longbel(*exact, "--window", 4)
    assert refused.code == 4
    assert "window_documents: 3 in the run, 4 now" in refused.err


def test_auto_is_resolved_when_a_run_begins(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    assert longbel("link", corpus, "--linker", "exact", "--out", out).code == 0
    kept = json.loads((tmp_path / "p.jsonl.run/run.json").read_text())["configuration"]
    assert (kept["window_documents"], kept["window_mentions"]) == (64, 1000)


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "²"])
def test_neither_a_number_nor_auto(
    longbel: Longbel, corpus: Path, tmp_path: Path, value: str
) -> None:
    done = longbel("link", corpus, "--out", tmp_path / "p.jsonl", "--window", value)
    assert done.code == 2
    assert f"--window {value}: neither a positive number nor auto" in done.err


MENTION = Mention("T1", (Span(0, 1),), "a", "DISO")
DOCUMENT = Document("d", (), (MENTION,) * 4, "c.jsonl:1")


class Stopping:
    """Links two mentions of a window, and then the clock has run out."""

    token_budget = None
    truncated: ClassVar[dict[str, Any]] = {}
    decoder_stats = DecodeStats()

    def __init__(self, whole_windows: int) -> None:
        self.left = whole_windows

    def link_window(self, documents: Any, on_step: Any) -> list[Any]:
        on_step(2)
        if not self.left:
            raise Stopped("the time limit is near", 75)
        self.left -= 1
        on_step(2)
        return []


@pytest.mark.parametrize(
    ("whole", "go_on", "hint"),
    [(0, False, "No window was committed: the same command begins anew."),
     (0, True, "The same command resumes where it stopped."),
     (1, False, "The same command resumes where it stopped.")],
)  # fmt: skip
def test_a_stop_says_what_is_lost(whole: int, go_on: bool, hint: str) -> None:
    windows = [Window(index, (DOCUMENT,), (), None) for index in range(2)]
    engine: Any = Stopping(whole)
    with pytest.raises(Stopped) as raised:
        link_windows(
            windows, lambda on_prompt: engine, lambda *parts: None, JobOptions(Path("p.jsonl")),
            pages=None, go_on=go_on,
        )  # fmt: skip
    assert raised.value.message == (
        "stopped: the time limit is near; 2 mentions of the window at work were linked and are lost"
    )
    assert (raised.value.hint or "").startswith(hint)


@pytest.mark.parametrize(
    ("sizes", "active", "passes"),
    [([], 64, 0), ([3], 64, 3), ([3, 1, 2], 64, 3), ([3, 3, 3], 1, 9), ([3, 1, 2], 2, 3),
     ([5, 1, 1, 1, 1, 1], 2, 5), ([2, 2, 2], 2, 4), ([0, 2], 1, 2)],
)  # fmt: skip
def test_passes_over_documents(sizes: list[int], active: int, passes: int) -> None:
    assert passes_of(sizes, active) == passes


def test_options_of_an_ensemble_keep_the_window() -> None:
    job = replace(JobOptions(Path("p.jsonl")), window_documents=2)
    assert job.in_format("long").window_documents == 2
