"""What linkers that prompt a model have in common: engine, token budget, and what a run takes.

A causal model (`linker`) and an encoder-decoder (`baselines.seq2seq`) differ in the prompt's
token ids, in the decoder and in the longest prompt.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.engine import EngineOptions, LinkingEngine
from longbel_cli.linking.protocols import Needs, OnPrompt
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.devices import automatic_budget, device_type, pin_threads, weight_bytes
from longbel_cli.prompting.formats import (
    DocumentPrompts,
    Prompt,
    PromptFormat,
    SentenceSplitter,
    sentence_splitter,
)
from longbel_cli.prompting.segments import MemoryLine
from longbel_cli.runs.configuration import Auto
from longbel_cli.types import Document

if TYPE_CHECKING:
    from transformers import PreTrainedModel


# Documents and mentions of a window.
GPU_WINDOW, CPU_WINDOW = (512, 8000), (8, 128)


class PromptingOptions(Protocol):
    """How to prompt: None for the language is the checkpoint's, for the budget what memory
    allows."""

    @property
    def beams(self) -> int: ...

    @property
    def language(self) -> str | None: ...

    @property
    def device(self) -> str: ...

    @property
    def max_batch_tokens(self) -> int | None: ...


Model = TypeVar("Model", bound=Checkpoint)
Options = TypeVar("Options", bound=PromptingOptions)


class PromptedLinker(ABC, Generic[Model, Options]):
    """A model and a knowledge base joined over prompts of one format."""

    name: str  # as `--linker` calls it

    def __init__(
        self, checkpoint: Model, knowledge_base: KnowledgeBase, options: Options, form: PromptFormat
    ) -> None:
        self.checkpoint, self.knowledge_base, self.options = checkpoint, knowledge_base, options
        self.form = form

    @property
    @abstractmethod
    def model(self) -> PreTrainedModel:
        """The weights, on their device; loaded when first asked for."""

    @property
    @abstractmethod
    def max_prompt_tokens(self) -> int:
        """Most tokens of a prompt."""

    @abstractmethod
    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt."""

    @abstractmethod
    def decoder(self, beams: int) -> Any:
        """The beam search over the names (loads the model)."""

    @property
    def language(self) -> str | None:
        """The language as asked for, else the checkpoint's."""
        return self.options.language or self.checkpoint.language

    @cached_property
    def split(self) -> SentenceSplitter | None:
        """The sentence splitter; LongbelError where the format needs a language nobody gave."""
        if self.form.context != "sentence":
            return None
        return sentence_splitter(self.form, self.language)

    @property
    def model_path(self) -> Path:
        """The model's folder."""
        return self.checkpoint.path

    def settings(self) -> dict[str, Any]:
        """Whatever of it can change predictions; resolving an `Auto` loads the model."""
        options = self.options
        return {
            "linker": self.name,
            "model": self.checkpoint.fingerprint,
            "tokenizer": self.checkpoint.tokenizer_fingerprint,
            "kb": self.knowledge_base.signature,
            "beams": options.beams,
            "context_format": self.form.name,
            "language": self.language,
            "device_type": device_type(options.device, self.as_loaded),
            "max_batch_tokens": Auto(self.batch_tokens)
            if options.max_batch_tokens is None
            else options.max_batch_tokens,
        }

    def as_loaded(self) -> dict[str, Any]:
        """The device that the model turns out to be on (loads it)."""
        return {"device_type": self.model.device.type}

    def window_size(self) -> tuple[int, int]:
        """On a GPU as many documents as keep it at work to the end; elsewhere few, so that a slow
        machine does not lose an hour that was never committed (loads the model)."""
        return GPU_WINDOW if self.model.device.type == "cuda" else CPU_WINDOW

    def pin_threads(self, threads: int) -> None:
        """Sums depend on how they are split over threads, so a run keeps their number."""
        pin_threads(threads)

    def batch_tokens(self) -> int:
        """The token budget: as given, else what memory allows (loads the model)."""
        if self.options.max_batch_tokens is not None:
            return self.options.max_batch_tokens
        return automatic_budget(self.model, self._bytes_per_token())

    def engine(
        self,
        beams: int | None = None,
        token_budget: int | None = None,
        on_prompt: OnPrompt | None = None,
    ) -> LinkingEngine:
        """An engine over this model (loads it)."""
        decoder = self.decoder(beams or self.options.beams)
        options = EngineOptions(
            form=self.form,
            max_prompt_tokens=self.max_prompt_tokens,
            token_budget=token_budget or self.batch_tokens(),
            max_active=decoder.max_active,
        )
        return LinkingEngine(
            self.knowledge_base, decoder, self.encode, options, self.split, on_prompt
        )

    def needs(self, documents: Sequence[Document]) -> Needs:
        """The sizes of the documents' prompts, were each mention predicted as its own text, and
        the memory of weights and cache (loads the model)."""
        batch = self.batch_tokens()
        return Needs(
            memory_bytes=weight_bytes(self.model) + batch * self._bytes_per_token(),
            prompt_tokens=tuple(self._prompt_tokens(document) for document in documents),
            max_tokens=self.max_prompt_tokens,
            batch_tokens=batch,
            max_active=self.decoder(self.options.beams).max_active,
        )

    def _bytes_per_token(self) -> int:
        per_token: int = self.decoder(self.options.beams).bytes_per_token
        return per_token

    def _prompt_tokens(self, document: Document) -> tuple[int, ...]:
        prompts = DocumentPrompts(document, self.form, self.split)
        memory: list[MemoryLine] = []
        lengths = []
        for mention in document.mentions:
            lengths.append(len(self.encode(prompts.render(mention, memory))))
            memory.append(MemoryLine(mention.text, mention.semantic_group, (mention.text,)))
        return tuple(lengths)
