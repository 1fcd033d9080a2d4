"""A model and a knowledge base joined: everything that linking needs, for Python and for the CLI.

Weights are loaded when they are first needed, so that all checks come before.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kb_builder.errors import LongbelError
from kb_builder.files import sha256_of_file
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.engine import LinkingEngine, max_prompt_tokens
from longbel_cli.linking.options import DEFAULT_FORMAT, MODEL_LINKER, LinkOptions
from longbel_cli.linking.prompted import PromptedLinker
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.decoders import DECODERS, MAX_NEW_TOKENS
from longbel_cli.prompting.formats import Prompt, prompt_format
from longbel_cli.prompting.segments import CLOSE, COMPOSITE, GROUP_CLOSE, GROUP_OPEN, OPEN
from longbel_cli.runs.configuration import Auto
from longbel_cli.types import Document, Prediction

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

_WINDOW = 64
_CHECK_PROMPT = Prompt(
    ("### Context\nShe was seen in the clinic for a ", OPEN, "high temperature", CLOSE,
     " and a dry cough since Monday.\n\n### Prediction\n", OPEN, "high temperature", CLOSE,
     GROUP_OPEN, "Disorders", GROUP_CLOSE)
)  # fmt: skip
_CHECK_NAME = "Fever of unknown origin"


class Linker(PromptedLinker[Checkpoint, LinkOptions]):
    """Links documents: `Linker.load(model, kb)`, then `link`."""

    name = MODEL_LINKER

    def __init__(
        self, checkpoint: Checkpoint, knowledge_base: KnowledgeBase, options: LinkOptions
    ) -> None:
        form = options.context_format or checkpoint.context_format or DEFAULT_FORMAT
        super().__init__(checkpoint, knowledge_base, options, prompt_format(form))
        self.end_id = checkpoint.end_id(self.form)
        self.composite_id = checkpoint.mark_id(COMPOSITE) if options.composite else None
        self._engines: dict[int, LinkingEngine] = {}
        self._weights: list[PreTrainedModel] = []  # shared between formats; empty until needed

    @classmethod
    def load(cls, model: str | Path, kb: str | Path | None = None, **options: Any) -> Self:
        """A linker from a model folder or hub id and a KB directory (None: the names that a
        published checkpoint brings along). `options` are those of LinkOptions."""
        return cls.open(model, kb, LinkOptions(**options))

    @classmethod
    def open(cls, model: str | Path, kb: str | Path | None, options: LinkOptions) -> Self:
        """As `load`, with options that are made already."""
        checkpoint = Checkpoint.open(model)
        return cls(checkpoint, open_knowledge_base(kb, checkpoint), options)

    def in_format(self, context_format: str) -> Self:
        """The same model and names with another prompt format; weights are shared, once loaded."""
        options = replace(self.options, context_format=context_format)
        other = type(self)(self.checkpoint, self.knowledge_base, options)
        other._weights = self._weights
        return other

    @property
    def model(self) -> PreTrainedModel:
        """The weights, on their device."""
        if not self._weights:
            self._weights.append(
                self.checkpoint.load_model(self.options.device, self.options.dtype)
            )
        return self._weights[0]

    @property
    def context_tokens(self) -> int:
        """Most tokens of a prompt and its answer: as asked for, within what the model takes."""
        return min(self.checkpoint.max_tokens, self.options.context_tokens or sys.maxsize)

    @property
    def max_prompt_tokens(self) -> int:
        """Most tokens of a prompt: an answer has to follow."""
        return max_prompt_tokens(self.context_tokens)

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt."""
        return self.checkpoint.encode(prompt)

    def settings(self) -> dict[str, Any]:
        """Whatever of it can change predictions; resolving an `Auto` loads the model."""
        options = self.options
        return super().settings() | {
            "attention": Auto(lambda: self.as_loaded()["attention"]),
            "composite": options.composite,
            "context_tokens": self.context_tokens,
            "decoder": options.decoder,
            "dtype": Auto(lambda: self.as_loaded()["dtype"])
            if options.dtype == "auto"
            else options.dtype,
        }

    def as_loaded(self) -> dict[str, Any]:
        """The device, number type and attention that the model turns out to have (loads it)."""
        return super().as_loaded() | {
            "attention": self.decoder(self.options.beams).attention,
            "dtype": str(self.model.dtype).removeprefix("torch."),
        }

    @cached_property
    def trie(self) -> Any:
        """The names of the knowledge base over this checkpoint's tokens."""
        return self.knowledge_base.trie(self.checkpoint.tokenizer.backend_tokenizer)

    def decoder(self, beams: int) -> Any:
        """The beam search asked for (loads the model)."""
        from longbel_cli.model.decoders.search import SearchOptions

        options = SearchOptions(
            end_id=self.end_id,
            n_beams=beams,
            max_new_tokens=MAX_NEW_TOKENS,
            composite_id=self.composite_id,
        )
        make = DECODERS[self.options.decoder].load()
        return make(self.model, self.trie, options, self._check_ids)

    @cached_property
    def _check_ids(self) -> list[int]:
        """A short prompt with its answer, by which a model and its decoder are checked."""
        answer = self.checkpoint.encode_answer((_CHECK_NAME,))
        return [*self.encode(_CHECK_PROMPT), *answer, self.end_id]

    def link(self, documents: Iterable[Document], beams: int | None = None) -> Iterator[Prediction]:
        """Predictions of all mentions, in document and mention order, a window at a time.

        Entity types are resolved to the knowledge base's groups; LongbelError where one has none.
        """
        from longbel_cli.corpora.resolve import TypeResolver, resolve_types

        width = self.options.beams if beams is None else replace(self.options, beams=beams).beams
        if width not in self._engines:
            self._engines[width] = self.engine(width)
        resolver = TypeResolver(self.knowledge_base.groups)
        window: list[Document] = []
        for document in resolve_types(documents, resolver):
            window.append(document)
            if len(window) == _WINDOW:
                yield from self._engines[width].link_window(window)
                window = []
        yield from self._engines[width].link_window(window)


def open_knowledge_base(kb: str | Path | None, checkpoint: Checkpoint) -> KnowledgeBase:
    """The KB directory, or one built (once, in the user's cache) from the checkpoint's names."""
    if kb is not None:
        return KnowledgeBase.open(Path(kb))
    source = checkpoint.text_to_code
    if source is None:
        raise LongbelError(
            f"{checkpoint.path} brings no text_to_code.json, and no knowledge base was given",
            "Give --kb KB (`longbel build-kb` makes one).",
            exit_code=2,
        )
    return KnowledgeBase.open(candidate_names_kb(source))


def candidate_names_kb(text_to_code: Path) -> Path:
    """The KB of a published checkpoint's candidate names, built once in the user's cache."""
    from kb_builder.build import BuildOptions, build_kb
    from kb_builder.store.knowledge_base import cache_folder

    digest = sha256_of_file(text_to_code)[:16]
    folder = cache_folder() / "kb" / digest
    if not folder.exists():
        log.info("building a knowledge base from %s in %s", text_to_code, folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            build_kb(BuildOptions(text_to_code, folder))
        except LongbelError:
            if not folder.exists():  # else another process was faster
                raise
    return folder
