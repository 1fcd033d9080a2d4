"""The training loop: loss, learning rate, decay, dropout, and steps without a mention."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kb_builder.errors import LongbelError
from longbel_cli.training.data.batches import Batch, Position
from longbel_cli.training.optimise.loop import Schedule, Trainer
from longbel_cli.training.optimise.state import StateFile
from tests.support.tiny import tiny_model


class Plan:
    """The same batches in some of the epochs, in the place of a corpus."""

    def __init__(self, *batches, epochs=None):
        self._batches, self._epochs = batches, epochs

    def batches(self, epoch, start):
        return iter(self._batches if self._epochs is None or epoch in self._epochs else ())


def batch_of(*rows, weights=None):
    """A whole epoch in one batch."""
    ids = np.array(rows)
    weights = np.ones(ids.shape) if weights is None else np.array(weights)
    return Batch(ids, weights.astype(np.float32), Position(), 1.0, 1.0)


def steps_of(trainer, plan, folder, save_every=100):
    taken = []
    trainer.train(plan, StateFile(folder / "state.safetensors"), save_every, taken.append)
    return taken


def test_the_loss_is_the_mean_over_the_weights(tmp_path):
    """Against the same model's log-probabilities, summed by hand."""
    model = tiny_model("llama", 50)
    with torch.no_grad():
        logprobs = model(input_ids=torch.tensor([[1, 2, 3, 4, 5]])).logits.log_softmax(-1)
        alone = model(input_ids=torch.tensor([[6, 7, 8]])).logits.log_softmax(-1)
    total = logprobs[0, 2, 4] + logprobs[0, 3, 5] + 0.5 * alone[0, 0, 7] + alone[0, 1, 8]
    batch = batch_of([1, 2, 3, 4, 5], [6, 7, 8, 0, 0], weights=[[0, 0, 0, 1, 1], [0, 0.5, 1, 0, 0]])
    (step,) = steps_of(Trainer(model, Schedule(1, None, 1e-3)), Plan(batch), tmp_path)
    assert step.loss == pytest.approx(-total.item() / 3.5, rel=1e-5)


def test_dropout_differs_from_step_to_step_and_depends_on_the_step_alone(tmp_path):
    """Base models may have dropout; a resumed training must draw what it would have drawn."""

    def losses(seed, folder):
        model = tiny_model("llama", 50, attention_dropout=0.5)
        trainer = Trainer(model, Schedule(1, 3, learning_rate=0.0), seed=seed)
        plan = Plan(*[batch_of([1, 2, 3, 4, 5])] * 3)
        return [step.loss for step in steps_of(trainer, plan, folder, save_every=2)]

    (tmp_path / "other").mkdir()
    seen = losses(0, tmp_path)
    assert len(set(seen)) == 3
    assert losses(0, tmp_path) == seen[2:]  # from the state after two steps
    assert losses(1, tmp_path / "other")[2] != seen[2]


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.55, 0.5), (1.0, 0.0)]
)
def test_the_learning_rate_rises_and_falls_linearly(progress, expected):
    assert Schedule(1, None, 1.0, warmup=0.1).rate(progress) == pytest.approx(expected)


def test_matrices_alone_decay(tmp_path):
    """Where gradients are clipped to nothing the decay is all that a step does: norms stay at 1."""
    model = tiny_model("llama", 50)
    before = {name: first.detach().clone() for name, first in model.named_parameters()}
    schedule = Schedule(1, 1, learning_rate=0.1, warmup=0.0, weight_decay=0.5, clip=0.0)
    (step,) = steps_of(Trainer(model, schedule), Plan(batch_of([1, 2, 3])), tmp_path)
    assert step.rate == pytest.approx(0.05)
    for name, parameter in model.named_parameters():
        kept = 1 - 0.05 * 0.5 if parameter.ndim > 1 else 1.0
        assert torch.allclose(parameter, before[name] * kept), name


@pytest.mark.parametrize("steps", [1, None])
def test_a_single_step_is_no_step_of_rate_0(steps, tmp_path):
    model = tiny_model("llama", 50)
    before = model.get_input_embeddings().weight.detach().clone()
    batch = batch_of([1, 2, 3], weights=[[0, 1, 1]])
    (step,) = steps_of(Trainer(model, Schedule(1, steps, 1e-2)), Plan(batch), tmp_path)
    assert step.progress == 1.0  # what a bar shows
    assert step.rate == pytest.approx(1e-2 * 0.5 / 0.97)
    assert not torch.equal(model.get_input_embeddings().weight, before)


def test_an_epoch_without_a_mention_ends_no_training(tmp_path):
    """A synthetic document may hold none; of nothing at all it is told."""

    def taken(steps, n_epochs, trained):
        trainer = Trainer(tiny_model("llama", 50), Schedule(n_epochs, steps, 1e-2))
        return len(steps_of(trainer, Plan(batch_of([1, 2, 3]), epochs=trained), tmp_path))

    assert taken(None, 4, {1, 3}) == 2
    assert taken(2, 4, {1, 15, 16}) == 2
    for steps in (None, 2):
        with pytest.raises(LongbelError, match="no mention"):
            taken(steps, 4, set())
