"""A step split over passes, recomputed, or shared by processes is the same step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kb_builder.errors import LongbelError
from longbel_cli.training.base.start import recompute_activations
from longbel_cli.training.data.batches import Batch, Position
from longbel_cli.training.optimise.loop import Schedule, Trainer
from longbel_cli.training.optimise.processes import Processes, joined
from longbel_cli.training.options import plain
from longbel_cli.training.train import Computing, TrainOptions, train
from tests.support.paths import ROOT
from tests.support.tiny import tiny_model
from tests.support.train_cases import WITH_MEMORY, log_lines, nano_options, write_corpus

LENGTHS = (3, 4, 4, 6, 9, 11, 12)


def batch() -> Batch:
    """Seven examples by length, padded; the last tokens of each are trained, some by half."""
    rng = np.random.default_rng(0)
    ids = np.zeros((len(LENGTHS), max(LENGTHS)), dtype=np.int64)
    weights = np.zeros(ids.shape, dtype=np.float32)
    for row, length in enumerate(LENGTHS):
        ids[row, :length] = rng.integers(1, 50, length)
        weights[row, length - 2 : length] = 1.0
        weights[row, 1] = 0.5 * (row % 2)
    return Batch(ids, weights, Position(), 1.0, 1.0)


def gradients(checkpointing=False, **options) -> tuple[float, dict[str, torch.Tensor], int]:
    """Loss, gradients, and how often a layer was computed."""
    model = tiny_model("llama", 50)
    if checkpointing:
        recompute_activations(model)
    computed = []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *given: computed.append(1))
    trainer = Trainer(model, Schedule(1, None, 1e-3), **options)
    loss = trainer.backward(batch()).item()
    return loss, {name: first.grad for name, first in model.named_parameters()}, len(computed)


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({"accumulate": 2}, 2),
        ({"accumulate": 3}, 3),
        ({"accumulate": 50}, len(LENGTHS)),
        ({"checkpointing": True}, 2),
        ({"accumulate": 2, "checkpointing": True}, 4),
    ],
)
def test_the_gradient_is_that_of_the_whole_batch(options, times):
    loss, whole, once = gradients()
    other_loss, other, computed = gradients(**options)
    assert (once, computed) == (1, times)
    assert other_loss == pytest.approx(loss, abs=1e-5)
    for name, gradient in whole.items():
        assert torch.allclose(other[name], gradient, atol=1e-5), name


def test_the_shares_of_processes_and_passes_make_up_the_batch():
    rows = []
    for rank in range(3):
        model = tiny_model("llama", 50)
        processes = Processes(rank, 3)
        trainer = Trainer(model, Schedule(1, None, 1e-3), accumulate=2, processes=processes)
        parts = list(trainer.passes(batch()))
        assert len(parts) == 2
        for part in parts:
            assert part.weights[:, -1].any()  # no padding that none of them needs
            rows += [np.trim_zeros(row).tolist() for row in part.ids]
    assert sorted(rows) == sorted(np.trim_zeros(row).tolist() for row in batch().ids)


def test_a_training_split_in_passes_has_the_same_losses(kb_folder, model_folder, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.jsonl", WITH_MEMORY)
    options = nano_options(
        kb_folder, corpus, base=str(model_folder), fresh=None, synthetic=0, steps=5,
        tokens_per_batch=400,
    )  # fmt: skip
    train(options, tmp_path / "whole")
    train(options, tmp_path / "split", Computing(accumulate=2, checkpointing=True))
    assert curve(tmp_path / "split") == pytest.approx(curve(tmp_path / "whole"), abs=1e-5)
    card = json.loads((tmp_path / "split" / "longbel_training.json").read_text())
    assert card["computing"]["accumulate"] == 2
    assert card["computing"]["processes"] == 1


def curve(out: Path) -> list[float]:
    return [line["loss"] for line in log_lines(out) if "loss" in line]


def together(
    processes: int, *arguments: object, program: Sequence[str] = ("-m", "longbel_cli")
) -> str:
    """What the command says on stderr, as torchrun starts it."""
    words = ("train", *map(str, arguments))
    launch = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [sys.executable, "-m", *launch, *program, *words],
        cwd=ROOT, capture_output=True, text=True, timeout=250,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.mark.slow
def test_two_processes_train_as_one(kb_folder, model_folder, tmp_path):
    """Folds, their predictions, validation and the final model."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", WITH_MEMORY)
    options = TrainOptions(
        kb=str(kb_folder), corpora=(str(corpus),), base=str(model_folder), steps=6,
        learning_rate=1e-3, tokens_per_batch=400, folds=2, memory="predicted",
        validate=(str(corpus),), validate_every=3,
    )  # fmt: skip
    first, two = tmp_path / "one", tmp_path / "two"
    train(options, first)
    together(
        2, corpus, "--kb", kb_folder, "--base", model_folder, "--steps", 6, "--learning-rate", 1e-3,
        "--tokens-per-batch", 400, "--folds", 2, "--validate", corpus, "--validate-every", 3,
        "--out", two,
    )  # fmt: skip
    assert curve(two) == pytest.approx(curve(first), abs=1e-4)
    assert len(curve(two)) == 6
    recalls = [
        [(line["step"], line["recall@1"]) for line in log_lines(out) if "recall@1" in line]
        for out in (first, two)
    ]
    assert recalls[0] == recalls[1]
    cards = [json.loads((out / "longbel_training.json").read_text()) for out in (first, two)]
    assert [card["computing"]["processes"] for card in cards] == [1, 2]
    assert cards[0]["options"] == cards[1]["options"]
    assert cards[0]["out_of_fold"] == cards[1]["out_of_fold"]


# The first process alone is asked to stop, when it has asked itself so often. Exit codes go to a
# file each: torchrun would end the others when one leaves with an error.
STOPPING = """
import os, sys
from pathlib import Path
from longbel_cli.app import main
from longbel_cli.runs.run import StopSignals

folder, often = Path(sys.argv.pop(1)), int(sys.argv.pop(1))
left = iter(range(often))
if os.environ["RANK"] == "0":
    StopSignals.requested = property(lambda self: next(left, None) is None)
try:
    main()
except SystemExit as leaving:
    (folder / os.environ["RANK"]).write_text(str(leaving.code or 0))
"""


@pytest.mark.slow
def test_a_stop_of_one_process_stops_all_and_they_go_on(kb_folder, model_folder, tmp_path):
    """Asked in a fold's training, then while the fold is predicted."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", WITH_MEMORY)
    out, script = tmp_path / "m", tmp_path / "stopping.py"
    script.write_text(STOPPING)
    given = (
        corpus, "--kb", kb_folder, "--base", model_folder, "--steps", 2, "--tokens-per-batch", 400,
        "--folds", 2, "--out", out, "--device", "cpu",
    )  # fmt: skip
    fold = tmp_path / "m.run" / "fold-1"
    for trained in (False, True):
        said = together(2, *given, program=(str(script), str(tmp_path), "1"))
        assert [(tmp_path / rank).read_text() for rank in "01"] == ["75", "75"]
        assert "finished" not in said
        assert (fold / "model").exists() == trained
        assert not (fold / "preds.jsonl").exists()
    assert "finished" in together(2, *given)
    assert len(curve(out)) == 2


def test_processes_on_one_device_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LongbelError, match="cuda:0") as caught, joined("cuda:0"):
        pass
    assert caught.value.exit_code == 2


def test_options_alone_tell_a_training_by(tmp_path, kb_folder, model_folder):
    """How it is computed may change on the way."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", WITH_MEMORY)
    options = nano_options(
        kb_folder, corpus, base=str(model_folder), fresh=None, synthetic=0, steps=2
    )
    train(options, tmp_path / "m")
    other = Computing(accumulate=2)
    assert train(options, tmp_path / "m", other).value == "already finished"
    assert plain(replace(options, seed=1)) != plain(options)
