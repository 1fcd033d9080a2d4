"""The state of an unfinished training: weights, the optimiser's moments, and the place.

One safetensors file, replaced as a whole, so that a kill at any time leaves the last good one.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from kb_builder.errors import LongbelError
from longbel_cli.training.batches import Place

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
        place: Place,
    ) -> None:
        """Write the state after `step` steps, to go on with the batch at `place`."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            tensors[f"weight/{name}"] = parameter.detach()
            for moment in _MOMENTS:
                if moment in optimizer.state[parameter]:
                    tensors[f"{moment}/{name}"] = optimizer.state[parameter][moment]
        part = self.path.with_name(self.path.name + ".part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        where = json.dumps({"step": step, "place": list(place)})
        save_file(
            {name: tensor.contiguous().cpu() for name, tensor in tensors.items()},
            part,
            metadata={"longbel": where},
        )
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(self.path)

    def steps_done(self) -> int:
        """How many steps a saved state has behind it; 0 where there is none."""
        if not self.path.exists():
            return 0
        with safe_open(self.path, framework="pt") as file:
            return int(json.loads(file.metadata()["longbel"])["step"])

    def load(
        self, model: PreTrainedModel, optimizer: torch.optim.Optimizer
    ) -> tuple[int, Place | None]:
        """Put a saved state into model and optimiser; (0, None) where there is none."""
        if not self.path.exists():
            return 0, None
        try:
            with safe_open(self.path, framework="pt") as file:
                where = json.loads(file.metadata()["longbel"])
                with torch.no_grad():
                    self._fill(file, model, optimizer)
        except Exception as error:
            raise LongbelError(
                f"{self.path}: the saved state cannot be used ({type(error).__name__})",
                "Start anew with --restart.",
            ) from error
        return int(where["step"]), Place(*where["place"])

    def _fill(self, file: Any, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
        names = set(file.keys())
        for name, parameter in model.named_parameters():
            parameter.copy_(file.get_tensor(f"weight/{name}"))
            for moment in _MOMENTS:
                key = f"{moment}/{name}"
                if key in names:
                    tensor = file.get_tensor(key)
                    place = (
                        "cpu" if moment == "step" and not parameter.is_cuda else parameter.device
                    )
                    optimizer.state[parameter][moment] = tensor.to(place)
