"""A published encoder, encoder-decoder or base model: folder, tokenizer, fingerprint, weights.

Unlike a checkpoint of ours it need not have the prompt's marks among its tokens. Weights are
read from safetensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from kb_builder.errors import LongbelError
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.devices import resolve_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PublishedModel(Checkpoint):
    """As a Checkpoint, for models that were not made for prompts."""

    @classmethod
    def given(cls, model: str | None, linker: str, kind: str) -> Self:
        """The model of a folder; LongbelError where `linker` needs one and none was given."""
        if model is None:
            raise LongbelError(
                f"{linker} needs the folder of {kind}", "Give it with --model.", exit_code=2
            )
        return cls.open(model)

    def _check_marks(self) -> None:
        """Any tokenizer will do."""

    @property
    def is_encoder_decoder(self) -> bool:
        return bool(self.configuration.is_encoder_decoder)

    @property
    def input_tokens(self) -> int:
        """Tokens of an input, special ones included."""
        stated = getattr(self.tokenizer, "model_max_length", None)
        if not stated:
            return self.max_tokens
        try:
            return min(self.max_tokens, int(stated))
        except (TypeError, ValueError, OverflowError) as error:
            raise LongbelError(
                f"{self.path}: model_max_length of the tokenizer is no number",
                "Set it in its tokenizer_config.json.",
            ) from error

    def load(
        self, kind: str, device: str, ignore_missing: str = "", dtype: str = "float32"
    ) -> PreTrainedModel:
        """The weights as `transformers.{kind}`; parameters named with `ignore_missing` may lack."""
        from longbel_cli.model.loading import load_weights

        weights: Any = load_weights(
            kind, self.path, self.configuration, ignore_missing, dtype=dtype
        )
        loaded: PreTrainedModel = weights.to(resolve_device(device))
        return loaded
