"""The optimiser's loop: batches in, a trained model out, a state on disk to go on from.

Loss is the mean cross-entropy of the next token over the weights that the examples carry. Knows
nothing of documents, names or prompts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kb_builder.errors import LongbelError
from longbel_cli.training.batches import Batch, EpochPlan, Place
from longbel_cli.training.state import StateFile

# Models whose logits are the output embedding of the last hidden state and nothing else: these
# need logits at the few trained places only.
_PLAIN_OUTPUT = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3", "phi3", "olmo2"})


@dataclass(frozen=True)
class Schedule:
    """How far and how fast: `steps` ends the training, else `epochs` does."""

    epochs: int
    steps: int | None
    learning_rate: float
    warmup: float = 0.03
    weight_decay: float = 0.01
    clip: float = 1.0

    def rate(self, progress: float) -> float:
        """The learning rate: up linearly over the warm-up, then down linearly to 0."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        return self.learning_rate * max(0.0, (1 - progress) / (1 - self.warmup))


class Step(NamedTuple):
    """One step behind us: its number from 1, how much of all is done, loss and rate."""

    number: int
    progress: float
    loss: float
    rate: float
    tokens: int
    seconds: float


class Trainer:
    """Trains `model` in place. `autocast` is None for float32 throughout."""

    def __init__(
        self,
        model: PreTrainedModel,
        schedule: Schedule,
        autocast: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        self._model = model.train()
        self._schedule = schedule
        self._autocast = autocast
        self._seed = seed
        self._device = next(model.parameters()).device
        matrices = [one for one in model.parameters() if one.requires_grad and one.ndim > 1]
        others = [one for one in model.parameters() if one.requires_grad and one.ndim <= 1]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": schedule.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=schedule.learning_rate,
            betas=(0.9, 0.98),
            fused=self._device.type in ("cpu", "cuda"),
        )

    def train(
        self,
        plan: EpochPlan,
        state: StateFile,
        save_every: int,
        on_step: Callable[[Step], None] = lambda step: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the end of the schedule, from the saved state if there is one.

        The state is saved every `save_every` steps, and when `should_stop` asks to stop: then
        False is returned.
        """
        number, place = state.load(self._model, self._optimizer)
        for batch in self._batches(plan, place):
            if self._schedule.steps is not None and number >= self._schedule.steps:
                break
            if should_stop():
                state.save(self._model, self._optimizer, number, batch.place)
                return False
            if number and number % save_every == 0:
                state.save(self._model, self._optimizer, number, batch.place)
            number += 1
            on_step(self._step(batch, number))
        return True

    def _batches(self, plan: EpochPlan, start: Place | None) -> Iterator[Batch]:
        epoch = start.epoch if start is not None else 0
        while self._schedule.steps is not None or epoch < self._schedule.epochs:
            empty = True
            for batch in plan.batches(epoch, start):
                empty = False
                yield batch
            if empty and start is None:
                raise LongbelError(
                    "no mention of the corpus can be trained on",
                    "Its gold concepts must be in the knowledge base, in the mention's group, "
                    "and prompts must fit --max-length.",
                )
            epoch, start = epoch + 1, None

    def _progress(self, batch: Batch, number: int) -> float:
        if self._schedule.steps is not None:
            return number / self._schedule.steps
        return (batch.place.epoch + batch.done) / self._schedule.epochs

    def _step(self, batch: Batch, number: int) -> Step:
        started = time.perf_counter()
        # What a base model's dropout draws depends on the step alone, so a resumed training
        # draws the same.
        torch.manual_seed(self._seed * 1_000_003 + number)
        progress = self._progress(batch, number)
        rate = self._schedule.rate(progress)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss(batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), self._schedule.clip)
        self._optimizer.step()
        seconds = time.perf_counter() - started
        return Step(number, progress, loss.item(), rate, batch.ids.size, seconds)

    def _loss(self, batch: Batch) -> Tensor:
        ids = torch.from_numpy(batch.ids).to(self._device)
        weights = torch.from_numpy(batch.weights).to(self._device)[:, 1:]
        trained = weights > 0
        with torch.autocast(
            self._device.type, dtype=self._autocast, enabled=self._autocast is not None
        ):
            logits = self._logits(ids, trained)
        losses = nn.functional.cross_entropy(logits.float(), ids[:, 1:][trained], reduction="none")
        weights = weights[trained]
        return (losses * weights).sum() / weights.sum()

    def _logits(self, ids: Tensor, trained: Tensor) -> Tensor:
        """Logits (trained places, vocabulary). Padding stands right of all that is trained, so
        a causal model needs no mask for it."""
        if self._model.config.model_type in _PLAIN_OUTPUT:
            hidden = self._model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            return self._model.get_output_embeddings()(hidden[:, :-1][trained])
        return self._model(input_ids=ids, use_cache=False).logits[:, :-1][trained]
