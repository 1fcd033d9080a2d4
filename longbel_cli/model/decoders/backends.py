"""Which attention a model's packed row goes through."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from transformers import PreTrainedModel

from longbel_cli.model.decoders.attention import AttentionBackend
from longbel_cli.model.decoders.cascade import CascadeAttention, FlashAttention
from longbel_cli.model.decoders.flash import CpuFlash, cuda_flash
from longbel_cli.model.decoders.masked import MaskedAttention

_log = logging.getLogger(__name__)

# Where a call costs more than what it computes, documents share pools of up to so many places
# (2 GB of an 8B model).
POOL_TOKENS = 16_384


def backend_for(model: PreTrainedModel) -> AttentionBackend:
    """What suits the model and its device."""
    if model.device.type == "cpu":
        return masked(model, 0)
    try:
        return cascade(model)
    except ValueError as reason:
        _note(f"attention goes without FlashAttention: {reason}")
        return masked(model, POOL_TOKENS)


@cache
def _note(text: str) -> None:
    """Once a process."""
    _log.info(text)


@dataclass(frozen=True)
class Passes:
    """How searches share passes. `lookahead` and `lookahead_searches` are those of SearchOptions,
    `halves` and `max_active` those of the decoder."""

    lookahead: int
    lookahead_searches: int
    halves: int
    max_active: int | None


def passes_over(backend: AttentionBackend, device: torch.device) -> Passes:
    """What suits a backend on a device."""
    if device.type == "cpu":
        # A token costs nearly its share of a pass.
        return Passes(lookahead=2, lookahead_searches=8, halves=1, max_active=None)
    if isinstance(backend, CascadeAttention):
        # Passes are cheap and tokens are not: forced chains alone, while few searches share one.
        return Passes(lookahead=0, lookahead_searches=64, halves=2, max_active=64)
    # A pass costs as much as many tokens; where many share it, little to each of them.
    return Passes(lookahead=8, lookahead_searches=128, halves=2, max_active=64)


def cascade(model: PreTrainedModel, flash: FlashAttention | None = None) -> AttentionBackend:
    """Attention through FlashAttention; ValueError where the model or its device has none."""
    config = model.config.get_text_config()
    shape = key_value_shape(model)
    like = torch.empty(0, dtype=model.dtype, device=model.device)
    _, kv_heads, size = shape
    heads: int = config.num_attention_heads
    if has_windows(config):
        raise ValueError("the model has sliding windows")
    if flash is None and model.device.type == "cpu":
        flash = CpuFlash()
    elif flash is None:
        flash = cuda_flash(heads, kv_heads, size, like)
    return CascadeAttention(shape, heads // kv_heads, like, flash)


def has_windows(config: Any) -> bool:
    """Whether some layer's attention has a sliding window."""
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return any("sliding" in kind for kind in kinds)
    return getattr(config, "sliding_window", None) is not None


def masked(model: PreTrainedModel, pool_tokens: int) -> AttentionBackend:
    """Attention through masks; documents share pools of so many places (0: each has its own)."""
    like = torch.empty(0, dtype=model.dtype, device=model.device)
    return MaskedAttention(key_value_shape(model), like, pool_tokens)


def key_value_shape(model: PreTrainedModel) -> tuple[int, int, int]:
    """(layers, kv heads, size) of the keys and values of one token."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, heads, size
