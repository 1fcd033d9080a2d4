"""A published encoder or encoder-decoder: its folder, tokenizer, fingerprint and weights.

Unlike a checkpoint of ours it need not have the prompt's marks among its tokens. Weights are
read from safetensors, in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kb_builder.errors import LongbelError
from longbel_cli.checkpoint import Checkpoint, resolve_device

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

    def load(self, kind: str, device: str, ignore_missing: str = "") -> PreTrainedModel:
        """The weights as `transformers.{kind}`; parameters named with `ignore_missing` may lack."""
        import transformers
        from safetensors import SafetensorError
        from transformers.utils import logging as transformers_logging

        place = resolve_device(device)
        transformers_logging.disable_progress_bar()
        load: Any = getattr(transformers, kind).from_pretrained
        try:
            model, found = load(
                self.path,
                dtype="float32",
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            reason = next(iter(str(error).splitlines()), "")[:200]
            raise LongbelError(
                f"{self.path}: the model cannot be loaded ({type(error).__name__}: {reason})",
                "Check that config.json and the safetensors files belong together and are whole.",
            ) from error
        lacking = [
            name
            for name in found["missing_keys"]
            if not ignore_missing or ignore_missing not in name
        ]
        if lacking:
            raise LongbelError(
                f"{self.path}: the files hold no weights for {len(lacking)} parameters of the "
                f"model, {min(lacking)} among them",
                "Copy the whole model folder: what is missing would be random numbers.",
            )
        loaded: PreTrainedModel = model.to(place).eval()
        return loaded
