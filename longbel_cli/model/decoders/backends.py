"""Which attention a model's packed row goes through."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from longbel_cli.model.decoders.attention import AttentionBackend
from longbel_cli.model.decoders.masked import MaskedAttention

# Where a call costs more than what it computes, documents share arenas of up to so many places
# (2 GB of an 8B model).
ARENA_TOKENS = 16_384


def backend_for(model: PreTrainedModel) -> AttentionBackend:
    """What suits the model and its device."""
    return masked(model, 0 if model.device.type == "cpu" else ARENA_TOKENS)


def masked(model: PreTrainedModel, arena_tokens: int) -> AttentionBackend:
    """Attention through masks; documents share arenas of so many places (0: each has its own)."""
    like = torch.empty(0, dtype=model.dtype, device=model.device)
    return MaskedAttention(key_value_shape(model), like, arena_tokens)


def key_value_shape(model: PreTrainedModel) -> tuple[int, int, int]:
    """(layers, kv heads, size) of the keys and values of one token."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, heads, size
