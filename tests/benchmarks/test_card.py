"""The script for a card runs without one, at tiny sizes; the model of it adds up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import card, card_constants, roofline


def test_constants_are_rates() -> None:
    rows = list(card_constants.constants("cpu", tiny=True))
    assert [row["constant"] for row in rows] == [
        "matmul", "attention, prompts", "attention, trees", "rms_norm", "copy", "launch",
    ]  # fmt: skip
    assert all(row.get("per_second", row.get("seconds")) > 0 for row in rows)


def test_a_step_that_fails_is_saved_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(bench: card.Bench):
        yield {"one": 1}
        raise RuntimeError("no kernel")

    monkeypatch.setitem(card.STEPS, "equal", broken)
    out = tmp_path / "card.json"
    given = ["--work", str(tmp_path), "--json", str(out), "--tiny", "--device", "cpu"]
    card.main([*given, "--steps", "equal", "constants"])
    result = json.loads(out.read_text())
    assert result["equal"][:2] == [{"one": 1}, {"error": "RuntimeError: no kernel"}]
    assert result["constants"][0]["constant"] == "matmul"


@pytest.mark.slow
def test_the_whole_script_at_tiny_sizes(tmp_path: Path) -> None:
    out = tmp_path / "card.json"
    card.main(["--work", str(tmp_path / "w"), "--json", str(out), "--tiny", "--device", "cpu"])
    result = json.loads(out.read_text())
    assert [row for step in card.STEPS for row in result[step] if "error" in row] == []
    assert roofline.table(roofline.measured_card(result), result["equal"]).count("\n") == 7


def test_counts_are_those_of_the_corpus() -> None:
    assert sum(card.BC5CDR_COUNTS.values()) == 500
    assert sum(size * n for size, n in card.BC5CDR_COUNTS.items()) == 9385


def test_the_model_adds_up_by_hand() -> None:
    """One token, one pass and rates of one a second each."""
    first = roofline.Card("one", {1: 1e12}, 1e12, 1e12, 1e12, 0.0)
    work = roofline.Work("short", prompt=10, prefilled=1, tree=0, passes=1, host=0)
    parts = roofline.milliseconds(work, first)
    weights = 2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    assert parts["matrix products"] == pytest.approx(1e3 * 2 * 32 * weights / 1e12)
    assert parts["attention of prompts"] == pytest.approx(1e3 * 4 * 128 * 32 * 32 * 9.5 / 1e12)
    assert parts["attention of trees"] == parts["head and its sums"] == 0
    assert parts["waiting for the host"] == 0
    slow = roofline.milliseconds(replace(work, host=1e6), first)
    assert sum(slow.values()) == pytest.approx(1e6)
    assert roofline.next_in_the_way(slow) == "waiting for the host"
