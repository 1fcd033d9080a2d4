"""The state of an unfinished training: weights, moments of the optimiser, position.

Of the parameters that are trained, those alone. One safetensors file, replaced as a whole, so
that a kill at any time leaves the last good one. The best weights so far are kept likewise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from kb_builder.errors import LongbelError
from kb_builder.files import whole_file
from longbel_cli.training.data.batches import Position

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class StateFile:
    """Where the state lies."""

    path: Path

    def save(
        self,
        model: PreTrainedModel,
        optimizer: torch.optim.Optimizer,
        step: int,
        position: Position,
    ) -> None:
        """Write the state after `step` steps, to resume with the batch at `position`."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in trained_parameters(model):
            tensors[f"weight/{name}"] = parameter.detach()
            for moment in _MOMENTS:
                if moment in optimizer.state[parameter]:
                    tensors[f"{moment}/{name}"] = optimizer.state[parameter][moment]
        write_tensors(tensors, self.path, {"step": step, "place": list(position)})

    def steps_done(self) -> int:
        """How many steps a saved state has behind it; 0 where there is none."""
        if not self.path.exists():
            return 0
        return int(read_note(self.path)["step"])

    def load(
        self, model: PreTrainedModel, optimizer: torch.optim.Optimizer
    ) -> tuple[int, Position | None]:
        """Put a saved state into model and optimiser; (0, None) where there is none."""
        if not self.path.exists():
            return 0, None
        where = read_note(self.path)
        try:
            with safe_open(self.path, framework="pt") as file, torch.no_grad():
                self._fill(file, model, optimizer)
        except Exception as error:
            raise _unusable(self.path, error) from error
        return int(where["step"]), Position(*where["place"])

    def _fill(self, file: Any, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
        names = set(file.keys())
        for name, parameter in trained_parameters(model):
            parameter.copy_(file.get_tensor(f"weight/{name}"))
            for moment in _MOMENTS:
                key = f"{moment}/{name}"
                if key in names:
                    tensor = file.get_tensor(key)
                    device = (
                        "cpu" if moment == "step" and not parameter.is_cuda else parameter.device
                    )
                    optimizer.state[parameter][moment] = tensor.to(device)


def trained_parameters(model: PreTrainedModel) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that training changes, by name."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter


def write_tensors(tensors: Mapping[str, Tensor], path: Path, note: Mapping[str, Any]) -> None:
    """A safetensors file with a note in its header, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        save_file(
            {name: tensor.contiguous().cpu() for name, tensor in tensors.items()},
            draft,
            metadata={"longbel": json.dumps(note, allow_nan=False)},
        )


def read_note(path: Path) -> dict[str, Any]:
    """The note of such a file; LongbelError where it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            note: dict[str, Any] = json.loads(file.metadata()["longbel"])
    except Exception as error:
        raise _unusable(path, error) from error
    return note


def _unusable(path: Path, error: Exception) -> LongbelError:
    return LongbelError(
        f"{path}: the saved state cannot be used ({type(error).__name__})",
        "Start over with --restart.",
    )


@dataclass(frozen=True)
class BestWeights:
    """The weights that validated best so far, and what was measured."""

    path: Path

    def note(self) -> dict[str, Any] | None:
        """What is known of them; None where nothing was kept yet."""
        return read_note(self.path) if self.path.exists() else None

    def keep(self, model: PreTrainedModel, note: Mapping[str, Any]) -> None:
        """Keep the model's trained weights in place of what was best before."""
        tensors = {name: parameter.detach() for name, parameter in trained_parameters(model)}
        write_tensors(tensors, self.path, note)

    def put_into(self, model: PreTrainedModel) -> None:
        """The kept weights into a model that was made as the trained one was."""
        with safe_open(self.path, framework="pt") as file, torch.no_grad():
            for name, parameter in trained_parameters(model):
                parameter.copy_(file.get_tensor(name))
