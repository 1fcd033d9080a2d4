"""A published encoder, encoder-decoder or base model: folder, tokenizer, fingerprint, weights.

Unlike a checkpoint of ours it need not have the prompt's marks among its tokens. Weights are
read from safetensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.devices import resolve_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PublishedModel(Checkpoint):
    """As a Checkpoint, for models that were not made for prompts."""

    def _check_marks(self) -> None:
        """Any tokenizer will do."""

    @property
    def is_encoder_decoder(self) -> bool:
        return bool(self.config.get("is_encoder_decoder"))

    @property
    def is_causal(self) -> bool:
        """Whether it is a language model that reads from left to right alone."""
        names = self.config.get("architectures") or []
        return any(str(name).endswith("ForCausalLM") for name in names)

    @property
    def input_tokens(self) -> int:
        """Tokens of an input, special ones included."""
        stated = getattr(self.tokenizer, "model_max_length", None)
        return min(self.max_tokens, int(stated)) if stated else self.max_tokens

    def load(
        self, kind: str, device: str, ignore_missing: str = "", dtype: str = "float32"
    ) -> PreTrainedModel:
        """The weights as `transformers.{kind}`; parameters named with `ignore_missing` may lack."""
        model = self._weights(kind, ignore_missing, dtype=dtype)
        loaded: PreTrainedModel = model.to(resolve_device(device)).eval()
        return loaded
