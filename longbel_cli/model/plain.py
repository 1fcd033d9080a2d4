"""A model's own forward over a short prompt: no cache, no padding, its own attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from transformers import PreTrainedModel

_HALF = (torch.bfloat16, torch.float16)


def plain_attention(model: PreTrainedModel) -> None:
    """Let the model compute its attention as it does by itself: by SDPA, where it has that."""
    # Also where its configuration says so already: its parts have ones of their own.
    model.set_attn_implementation(model.get_correct_attn_implementation(None))


@torch.no_grad()
def plain_logits(model: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    """(n, vocabulary): the logits after each token."""
    compute: Any = model
    output = compute(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
    logits: Tensor = output.logits[0]
    return logits


def in_float32(model: PreTrainedModel, ids: Sequence[int]) -> Tensor | None:
    """The same as if the weights were float32, one tensor at a time; None where some operation of
    the model is not for that, or where there is no memory for it."""
    try:
        with _Float32():
            return plain_logits(model, ids)
    except Exception:  # whatever kernels make of a number type that they do not know
        return None


class _Float32(TorchDispatchMode):
    """Computes in float32 what would be computed in 16 bits."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.is_mutable:  # what is changed is in float32 by then
            return func(*args, **(kwargs or {}))
        return func(*tree_map(_raised, args), **tree_map(_raised, kwargs or {}))


def _raised(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in _HALF:
        return value.float()
    return torch.float32 if isinstance(value, torch.dtype) and value in _HALF else value
