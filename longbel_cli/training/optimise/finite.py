"""A training ends where its numbers do: at a loss, a gradient or a weight that is not finite."""

from __future__ import annotations

import math

import torch
from transformers import PreTrainedModel

from kb_builder.errors import LongbelError


def require_finite_step(step: int, loss: float, norm: float, saved: int) -> None:
    """LongbelError where a step's loss or its gradient's norm is not finite; `saved` counts the
    steps of the last state that was saved, all of which were."""
    for name, value in (("loss", loss), ("norm of the gradient", norm)):
        if not math.isfinite(value):
            kept = f"the state after step {saved} is kept" if saved else "no state was saved yet"
            raise LongbelError(
                f"step {step}: the {name} is {value}; {kept}, and no model is published",
                "The same command comes to the same step again: start over with --restart and a "
                "lower --learning-rate or --dtype float32.",
            )


def require_finite_weights(model: PreTrainedModel) -> None:
    """LongbelError where a parameter of a model that is to be saved holds NaN or infinity."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise LongbelError(
                f"{name}: not all numbers are finite in {str(parameter.dtype).split('.')[-1]}, and "
                "no model is published",
                "Numbers beyond 65,504 are too large for float16: give --save-dtype bfloat16 or "
                "float32. Else start over with --restart and a lower --learning-rate.",
            )
