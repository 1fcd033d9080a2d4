"""Low-rank adapters in place of full fine-tuning: peft around a frozen base.

The rows of the format's marks in the embeddings are trained beside the adapters, since a base
has never seen them used so. All that is trained is float32, whatever the base is.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from transformers import PreTrainedModel

from kb_builder.errors import LongbelError


def require_peft() -> None:
    """LongbelError where peft is not installed."""
    if find_spec("peft") is None:
        raise LongbelError(
            "--lora needs the package peft, which is not installed",
            "Install it: pip install peft",
        )


def with_adapters(model: PreTrainedModel, rank: int, alpha: int, marks: Sequence[int]) -> Any:
    """peft's wrapper around the model, whose layers then carry adapters; `marks` are token ids."""
    import peft

    layers = {_name_of(model, model.get_input_embeddings()): list(marks)}
    output = model.get_output_embeddings()
    if output is not None and not _tied(model):
        layers[_name_of(model, output)] = list(marks)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        trainable_token_indices=layers,
    )
    wrapped = peft.get_peft_model(model, config)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return wrapped


def _tied(model: PreTrainedModel) -> bool:
    output = model.get_output_embeddings()
    return output is not None and output.weight is model.get_input_embeddings().weight


def _name_of(model: PreTrainedModel, layer: Any) -> str:
    """The last part of a layer's name."""
    name = next(name for name, module in model.named_modules() if module is layer)
    return name.rpartition(".")[2]
