"""A training ends at the first number that is none: nothing of it is saved or published."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from kb_builder.errors import LongbelError
from longbel_cli.training.optimise import loop
from longbel_cli.training.optimise.state import StateFile
from longbel_cli.training.train import Computing, Outcome, train
from tests.support.train_cases import FOUR_DOCUMENTS, losses, nano_options, write_corpus


@pytest.fixture
def options(kb_folder, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.jsonl", FOUR_DOCUMENTS)
    return nano_options(kb_folder, corpus, steps=6)


def broken_at(monkeypatch, step, broken):
    """Lets `broken` change the gradients of the model in that step, once they are computed."""
    backward = loop.Trainer.backward
    steps = []

    def counted(self, batch):
        steps.append(batch)
        loss = backward(self, batch)
        return broken(self._model, loss) if len(steps) == step else loss

    monkeypatch.setattr(loop.Trainer, "backward", counted)


def loss_is_none(model, loss):
    return loss * torch.nan


def gradient_is_none(model, loss):
    next(model.parameters()).grad[0] = torch.inf
    return loss


@pytest.mark.parametrize(
    ("broken", "name"), [(loss_is_none, "loss is nan"), (gradient_is_none, "gradient is ")]
)
@pytest.mark.parametrize(
    ("step", "kept"), [(1, "no state was saved yet"), (4, "the state after step 2 is kept")]
)
def test_the_first_step_that_is_not_finite(
    options, tmp_path, monkeypatch, broken, name, step, kept
):
    out = tmp_path / "model"
    with monkeypatch.context() as patched:
        broken_at(patched, step, broken)
        with pytest.raises(LongbelError, match=f"step {step}: the .*{name}.*{kept}") as raised:
            train(options, out, Computing(save_every=2))
    assert raised.value.exit_code == 3 and not out.exists()
    assert [line["step"] for line in losses(out)] == list(range(1, step))
    state = StateFile(tmp_path / "model.run" / "state.safetensors")
    assert state.steps_done() == (2 if step == 4 else 0)
    if step == 4:
        tensors = load_file(state.path)
        assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
        # What was good is resumed: here the break does not come again.
        assert train(options, out, Computing(save_every=2)) is Outcome.FINISHED


def test_a_validation_takes_no_broken_weights_for_the_best(options, tmp_path, monkeypatch):
    options = replace(options, validate=options.corpora, validate_every=2)
    broken_at(monkeypatch, 3, loss_is_none)
    with pytest.raises(LongbelError, match="step 3: the loss is nan"):
        train(options, tmp_path / "model", Computing(save_every=2))
    assert not (tmp_path / "model").exists() and not (tmp_path / "model.run" / "last").exists()
    best = load_file(tmp_path / "model.run" / "best.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in best.values())


def test_a_base_that_holds_nan(options, model_folder, tmp_path):
    base = shutil.copytree(model_folder, tmp_path / "base")
    file = base / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"][3] = torch.nan
    save_file(tensors, file, metadata={"format": "pt"})
    options = replace(options, base=str(base), fresh=None, synthetic=0)
    with pytest.raises(LongbelError, match="step 1: the loss is nan"):
        train(options, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_weights_that_the_saved_type_cannot_hold(options, model_folder, tmp_path):
    """float16 ends at 65,504."""
    base = shutil.copytree(model_folder, tmp_path / "base")
    file = base / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.1.mlp.down_proj.weight"
    tensors[name][0, 0] = 1e5
    save_file(tensors, file, metadata={"format": "pt"})
    options = replace(
        options, base=str(base), fresh=None, synthetic=0, save_dtype="float16", steps=1
    )
    out = tmp_path / "model"
    with pytest.raises(LongbelError, match=f"{name}: not all .*finite in float16") as raised:
        train(options, out)
    assert raised.value.exit_code == 3 and "--save-dtype" in raised.value.hint
    assert not out.exists() and not list(tmp_path.glob(".model*"))
    assert json.loads((tmp_path / "model.run" / "options.json").read_text())
