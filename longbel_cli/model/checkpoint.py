"""A checkpoint: a model folder (or hub id), its tokenizer, language and format, and its identity.

What comes before the weights are needed (tokenizer, identity, checks) reads none of them but for
samples, and no code that lies beside them is ever run.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kb_builder.errors import LongbelError
from longbel_cli.model.configuration import (
    is_causal,
    kind_of,
    max_positions,
    read_configuration,
    transformers_configuration,
)
from longbel_cli.model.folder import model_folder, refuse_adapter, weight_files
from longbel_cli.model.identity import model_fingerprint, tokenizer_fingerprint
from longbel_cli.model.tokenizing import REQUIRED_MARKS, PromptTokenizer, load_tokenizer, size_of
from longbel_cli.prompting.formats import PROMPT_FORMATS, Prompt, PromptFormat
from longbel_cli.prompting.segments import Mark
from longbel_cli.types import Span

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A model folder and what is known of it without loading weights. `config` is what counts of
    its config.json."""

    path: Path
    config: dict[str, Any]
    tokenizer: Any  # transformers' fast tokenizer

    @classmethod
    def open(cls, model: str | Path) -> Self:
        """Configuration and tokenizer of a model folder or hub id; raises LongbelError."""
        path = model_folder(model)
        refuse_adapter(path)
        config = read_configuration(path)
        configuration = transformers_configuration(path, config)
        weight_files(path)
        checkpoint = cls(path, config, load_tokenizer(path, configuration))
        checkpoint._check_marks()
        if (path / "candidate_trie.pkl").exists():
            log.info("%s: candidate_trie.pkl is not read: pickles run code", path)
        return checkpoint

    @cached_property
    def configuration(self) -> PreTrainedConfig:
        """The configuration as transformers has it."""
        return transformers_configuration(self.path, self.config)

    @property
    def language(self) -> str | None:
        """The language that the checkpoint was trained for, None where it does not say."""
        language = self.config.get("lang")
        return str(language).lower()[:2] if language else None

    @property
    def context_format(self) -> str | None:
        """The prompt format it was trained with, where its configuration says so."""
        name: str | None = self.config.get("longbel_context_format")
        if name is not None and name not in PROMPT_FORMATS:
            raise LongbelError(
                f"{self.path}: config.json names the context format {name!r}, which does not exist",
                f"Choose one with --context-format: {', '.join(PROMPT_FORMATS)}.",
            )
        return name

    @property
    def text_to_code(self) -> Path | None:
        """The candidate names that a published checkpoint brings along."""
        path = self.path / "text_to_code.json"
        return path if path.exists() else None

    @property
    def max_tokens(self) -> int:
        """Tokens of prompt and answer that the model has positions for."""
        return max_positions(self.configuration)

    @property
    def is_causal(self) -> bool:
        """Whether it is a language model that reads from left to right alone."""
        return is_causal(self.configuration)

    @property
    def kind(self) -> str:
        """What its configuration calls the model."""
        return kind_of(self.configuration)

    @property
    def weight_files(self) -> list[Path]:
        """The files that its weights are read from."""
        return weight_files(self.path, getattr(self.configuration, "extra_files", ()))

    @cached_property
    def fingerprint(self) -> str:
        """What configuration and weights are known by."""
        return model_fingerprint(self.config, self.weight_files)

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """What the tokenizer is known by, as it was loaded."""
        return tokenizer_fingerprint(self.tokenizer)

    def end_id(self, form: PromptFormat) -> int:
        """The id that ends an answer: the tokenizer's EOS, or the format's own mark."""
        if form.end is not None:
            return self.mark_id(form.end)
        if self.tokenizer.eos_token_id is None:
            raise LongbelError(
                f"{self.path}: the tokenizer has no end-of-sequence token",
                "Set eos_token in its tokenizer_config.json.",
            )
        return int(self.tokenizer.eos_token_id)

    def mark_id(self, mark: Mark) -> int:
        """The id of one of the format's own tokens; LongbelError where the tokenizer lacks it."""
        return self._tokens.mark_id(mark)

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, with the tokenizer's own leading special tokens."""
        return self._tokens.encode(prompt)

    def token_places(self, prompt: Prompt) -> list[Span]:
        """The characters of `prompt.text` that each id of `encode` stands for."""
        return self._tokens.token_places(prompt)

    def encode_answer(self, names: tuple[str, ...]) -> list[int]:
        """Ids of an answer without its end, as the trie holds them."""
        return self._tokens.encode_answer(names)

    def load_model(self, device: str = "auto", dtype: str = "auto") -> PreTrainedModel:
        """The weights as a `transformers` causal language model, on `device`, ready to decode."""
        from longbel_cli.model.loading import load_causal

        n_tokens = size_of(self.tokenizer)
        return load_causal(self.path, self.configuration, n_tokens, device, dtype)

    @cached_property
    def _tokens(self) -> PromptTokenizer:
        return PromptTokenizer(self.tokenizer, self.path)

    def _check_marks(self) -> None:
        for mark in REQUIRED_MARKS:
            self.mark_id(mark)
