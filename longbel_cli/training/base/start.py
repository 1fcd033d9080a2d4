"""Where a training starts: tokenizer and weights before the first step.

A base model with the format's marks among its tokens, or a fresh model; kept as a folder, from
which every fold, the final training and each start after a stop set out. Knows nothing of what
is trained on but the texts that a fresh tokenizer is made from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from kb_builder.errors import LongbelError
from kb_builder.files import whole_folder
from longbel_cli.linking.baselines.folder import PublishedModel
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.devices import resolve_dtype
from longbel_cli.model.tokenizing import size_of
from longbel_cli.training.base.marks import with_marks
from longbel_cli.training.options import TrainOptions

log = logging.getLogger(__name__)

CONTEXT_LENGTH = 4096  # positions of a fresh model
_MARKS = ("[", "]", "{", "}", "<+>")


@dataclass(frozen=True)
class Trained:
    """A model in training: `model` computes, `adapted` is peft's wrapper where there is one."""

    model: PreTrainedModel
    adapted: Any = None

    def merged(self) -> PreTrainedModel:
        """The model with its adapters, if any, merged into plain weights; for good."""
        if self.adapted is None:
            return self.model
        plain: PreTrainedModel = self.adapted.merge_and_unload()
        return plain


@dataclass(frozen=True)
class Start:
    """The folder that holds the start, and the device that training runs on."""

    options: TrainOptions
    folder: Path
    device: str

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint.open(self.folder)

    def make(self, texts: Callable[[], Iterable[str]]) -> None:
        """Make the folder, unless it is there; `texts` are for a fresh tokenizer."""
        if self.folder.exists():
            return
        torch.manual_seed(self.options.seed)
        if self.options.fresh is not None:
            tokenizer, model = _fresh(self.options, texts)
        else:
            tokenizer, model = _based(self.options, self._dtype)
        describe(model, tokenizer, self.options)
        with whole_folder(self.folder) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

    def load(self, checkpointing: bool = False) -> Trained:
        """The model before its first step; the same each time."""
        checkpoint = self.checkpoint
        model = checkpoint.load_model(self.device, self._dtype)
        adapted = None
        if self.options.lora:
            from longbel_cli.training.base.lora import with_adapters

            torch.manual_seed(self.options.seed)
            marks = sorted({int(checkpoint.mark_id(mark)) for mark in _marks(self.options)})
            adapted = with_adapters(model, self.options.lora_rank, self.options.lora_alpha, marks)
        if checkpointing:
            recompute_activations(model)
        return Trained(model, adapted)

    @property
    def _dtype(self) -> str:
        """Weights that are trained are float32; a frozen base is what arithmetic is in."""
        return resolve_dtype(self.options.dtype, self.device) if self.options.lora else "float32"


def recompute_activations(model: PreTrainedModel) -> None:
    """Keep the activations of layers' inputs alone, and compute the rest again for gradients."""
    # The name in newer releases of transformers, and the one before.
    for name in ("activation_checkpointing_enable", "gradient_checkpointing_enable"):
        enable = getattr(model, name, None)
        if enable is not None:
            enable({"use_reentrant": False})
            return


def _marks(options: TrainOptions) -> tuple[Any, ...]:
    ends = {form.end for form in options.formats if form.end is not None}
    return (*_MARKS, *sorted(ends))


def _fresh(options: TrainOptions, texts: Callable[[], Iterable[str]]) -> tuple[Any, Any]:
    from longbel_cli.training.base.fresh import (
        FRESH_SIZES,
        as_pretrained,
        fresh_model,
        train_tokenizer,
    )

    assert options.fresh is not None
    size = FRESH_SIZES[options.fresh]
    log.info("making a tokenizer of %d tokens", size.vocabulary)
    tokenizer = as_pretrained(train_tokenizer(texts(), size.vocabulary), CONTEXT_LENGTH)
    return tokenizer, fresh_model(size, tokenizer, CONTEXT_LENGTH, options.seed)


def base_model(options: TrainOptions) -> PublishedModel:
    """The base, without its weights; LongbelError where it is none that can be trained."""
    assert options.base is not None
    base = PublishedModel.open(options.base)
    if not base.is_causal:
        raise LongbelError(
            f"{options.base}: not a causal language model, its config.json says {base.kind}",
            "Give a folder with config.json, tokenizer.json and *.safetensors of a causal model.",
        )
    if base.tokenizer.eos_token_id is None:
        raise LongbelError(
            f"{options.base}: the tokenizer has no end-of-sequence token",
            "Set eos_token in its tokenizer_config.json.",
        )
    return base


def _based(options: TrainOptions, dtype: str) -> tuple[Any, Any]:
    """A base model with the format's marks among its tokens."""
    base = base_model(options)
    model = base.load("AutoModelForCausalLM", "cpu", dtype=dtype)
    marks = [str(mark) for mark in _marks(options)]
    tokenizer = with_marks(base.tokenizer, marks, base.configuration)
    for form in options.formats:
        if form.end is not None:
            tokenizer.sep_token = str(form.end)
    embeddings: Any = model.get_input_embeddings()
    if len(embeddings.weight) < size_of(tokenizer):
        model.resize_token_embeddings(size_of(tokenizer))
    return tokenizer, model


def describe(model: PreTrainedModel, tokenizer: Any, options: TrainOptions) -> None:
    """Write into the configuration what `link` has to know, and pin how it generates."""
    from transformers import GenerationConfig

    model.config.longbel_context_format = options.context_format
    model.config.lang = options.language
    model.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
