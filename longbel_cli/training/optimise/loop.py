"""The optimiser's loop: batches in, a trained model out, a state on disk to resume from.

Loss is the mean cross-entropy of the next token over the weights that the examples carry. Knows
nothing of documents, names or prompts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kb_builder.errors import LongbelError
from longbel_cli.progress import ignore
from longbel_cli.training.data.batches import Batch, EpochPlan, Position
from longbel_cli.training.optimise.finite import require_finite_step
from longbel_cli.training.optimise.processes import Processes
from longbel_cli.training.optimise.state import StateFile

# Synthetic documents may hold no mention, and so may an epoch of few; hardly this many on end.
_EMPTY_EPOCHS = 20
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

    step: int
    progress: float
    loss: float
    rate: float
    tokens: int
    seconds: float


class Validation(Protocol):
    """Measures the model on its way. Whatever it does, the training goes on as without it."""

    def due(self, step: int) -> bool:
        """Whether to measure after this step, with more to come."""

    def measure(self, model: PreTrainedModel, step: int) -> bool:
        """Measure the model after `step` steps; False where that was stopped."""


class Trainer:
    """Trains `model` in place. `autocast` is None for float32 throughout.

    Each batch is shared out by rows to the `processes`, and each share to `accumulate` passes:
    the gradient is that of the whole batch all the same.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        schedule: Schedule,
        autocast: torch.dtype | None = None,
        seed: int = 0,
        accumulate: int = 1,
        processes: Processes = Processes(),
    ) -> None:
        self._model = model.train()
        self._schedule = schedule
        self._autocast = autocast
        self._seed = seed
        self._accumulate = accumulate
        self._processes = processes
        self._device = next(model.parameters()).device
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in self._trained if parameter.ndim > 1]
        others = [parameter for parameter in self._trained if parameter.ndim <= 1]
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
        on_step: Callable[[Step], None] = ignore,
        should_stop: Callable[[], bool] = lambda: False,
        validation: Validation | None = None,
    ) -> bool:
        """Train to the end of the schedule, from the saved state if there is one.

        The state is saved every `save_every` steps, before each validation, and when
        `should_stop` asks to stop: then False is returned. LongbelError at the first loss or
        gradient that is not finite, after which nothing is saved.
        """
        step, position = state.load(self._model, self._optimizer)
        following = position or Position()
        for batch in self._batches(plan, position):
            following = batch.position
            if self._schedule.steps is not None and step >= self._schedule.steps:
                break
            stop = self._processes.any(should_stop(), self._device)
            due = validation is not None and validation.due(step)
            if stop or due or (step and step % save_every == 0):
                self._save(state, step, following)
            if stop or (due and not self._validated(validation, step)):
                return False
            step += 1
            on_step(self._step(batch, step, state))
            following = Position(self._schedule.epochs)
        if validation is None:
            return True
        self._save(state, step, following)
        return self._validated(validation, step)

    def _save(self, state: StateFile, step: int, following: Position) -> None:
        if self._processes.first:
            state.save(self._model, self._optimizer, step, following)

    def _validated(self, validation: Validation | None, step: int) -> bool:
        """Measure what the model is worth now; False where that was stopped."""
        assert validation is not None
        finished = validation.measure(self._model, step)
        self._model.train()
        return finished

    def _batches(self, plan: EpochPlan, start: Position | None) -> Iterator[Batch]:
        epoch, empty = start.epoch if start is not None else 0, 0
        patience = _EMPTY_EPOCHS
        if self._schedule.steps is None:
            patience = min(patience, self._schedule.epochs)
        while self._schedule.steps is not None or epoch < self._schedule.epochs:
            empty += start is None
            for batch in plan.batches(epoch, start):
                empty = 0
                yield batch
            if empty == patience:
                raise LongbelError(
                    "no mention of the corpus can be trained on",
                    "Its gold concepts must be in the knowledge base, in the mention's group, "
                    "and prompts must fit --max-length.",
                )
            epoch, start = epoch + 1, None

    def _progress(self, batch: Batch, step: int) -> tuple[float, float]:
        """How much of the training is behind in the middle of step `number`, and after it."""
        if self._schedule.steps is not None:
            return (step - 0.5) / self._schedule.steps, step / self._schedule.steps
        after = batch.position.epoch + batch.done
        return (after - batch.share / 2) / self._schedule.epochs, after / self._schedule.epochs

    def _step(self, batch: Batch, step: int, state: StateFile) -> Step:
        started = time.perf_counter()
        # What a base model's dropout draws depends on the step alone, so a resumed training
        # draws the same.
        torch.manual_seed(self._seed * 1_000_003 + step)
        middle, after = self._progress(batch, step)
        # Of its middle, so that no step is taken at rate 0, neither the first nor the last.
        rate = self._schedule.rate(middle)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss = self.backward(batch)
        norm = nn.utils.clip_grad_norm_(self._trained, self._schedule.clip)
        self._optimizer.step()
        # Last: a device has all of the step queued before this waits for it.
        shown, length = torch.stack((loss, norm.to(loss))).tolist()
        if not (math.isfinite(shown) and math.isfinite(length)):
            require_finite_step(step, shown, length, state.steps_done())
        seconds = time.perf_counter() - started
        return Step(step, after, shown, rate, batch.ids.size, seconds)

    def backward(self, batch: Batch) -> Tensor:
        """Gradients of the whole batch's mean loss, and that loss (a scalar on the device)."""
        weights = torch.from_numpy(batch.weights)[:, 1:]
        total = weights[weights > 0].sum().to(self._device)
        loss = torch.zeros((), device=self._device)
        for part in self.passes(batch):
            own = self._loss_sum(part) / total
            own.backward()
            loss = loss + own.detach()
        self._processes.sum_gradients(self._trained)
        return self._processes.sum(loss)

    def passes(self, batch: Batch) -> Iterator[Batch]:
        """This process's share of a batch, in as many passes as asked for.

        Rows are sorted by length: every nth makes equal shares, neighbours need little padding.
        """
        share = np.arange(self._processes.rank, len(batch.ids), self._processes.count)
        for rows in np.array_split(share, self._accumulate):
            if len(rows):
                yield batch.part(rows)

    def _loss_sum(self, batch: Batch) -> Tensor:
        """The weighted sum of the losses."""
        ids = torch.from_numpy(batch.ids).to(self._device)
        weights = torch.from_numpy(batch.weights).to(self._device)[:, 1:]
        trained = weights > 0
        with torch.autocast(
            self._device.type, dtype=self._autocast, enabled=self._autocast is not None
        ):
            logits = self._logits(ids, trained)
        losses = nn.functional.cross_entropy(logits.float(), ids[:, 1:][trained], reduction="none")
        return (losses * weights[trained]).sum()

    def _logits(self, ids: Tensor, trained: Tensor) -> Tensor:
        """Logits (trained places, vocabulary). Padding stands right of all that is trained, so
        a causal model needs no mask for it."""
        if self._model.config.model_type in _PLAIN_OUTPUT:
            hidden = self._model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            return self._model.get_output_embeddings()(hidden[:, :-1][trained])
        return self._model(input_ids=ids, use_cache=False).logits[:, :-1][trained]
