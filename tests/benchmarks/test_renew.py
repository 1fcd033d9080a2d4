"""Benchmarks that are renewed go on after the last command that ended."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import renew

PLACES = {"work": "w"}
PRINTED = {
    "one": "| a |\n|---|\n| 1 |\n",
    "two": "| a |\n|---|\n| 2 |\n",
    "other": "| b |\n|---|\n| 3 |\n",
}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules run, in order; `two` fails at its first call."""
    calls: list[str] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        name = command[2].removeprefix("tests.benchmarks.")
        calls.append(name)
        if name == "two" and calls.count("two") == 1:
            raise subprocess.CalledProcessError(1, command)
        return subprocess.CompletedProcess(command, 0, PRINTED[name])

    monkeypatch.setattr(renew.subprocess, "run", run)
    monkeypatch.setitem(renew.COMMANDS, "some", ("one --x {work}", "two", "other"))
    return calls


def test_a_call_goes_on_after_the_last_command_that_ended(
    called: list[str], tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    with pytest.raises(subprocess.CalledProcessError):
        renew.run("some", PLACES, kept)
    assert called == ["one", "two"]
    table = renew.run("some", PLACES, kept)
    assert called == ["one", "two", "two", "other"]
    assert table == "| a |\n|---|\n| 1 |\n| 2 |\n\n| b |\n|---|\n| 3 |\n"


def test_another_command_is_run_anew(called: list[str], tmp_path: Path) -> None:
    renew.output("one --x w", tmp_path)
    renew.output("one --x w", tmp_path)
    renew.output("one --x v", tmp_path)
    assert called == ["one", "one"]


# Blocks whose numbers are kept, so that a row can be added without all others being made again.
@pytest.mark.parametrize(
    "name", ["memory-en", "memory-fr", "memory-es", "articles", "articles-folds", "pretrained"]
)
def test_a_table_is_what_its_kept_results_say(name: str, tmp_path: Path) -> None:
    kept = renew.RESULTS / "accuracy"
    locations = {"work": tmp_path, "data": tmp_path, "how": f" --kept --results {kept}"}
    printed = renew.run(name, locations, tmp_path / "kept").strip()
    page = (renew.RESULTS / f"{name}.md").read_text(encoding="utf-8")
    assert page.strip() == printed
