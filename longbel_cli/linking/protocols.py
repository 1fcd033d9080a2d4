"""What a link job needs of whatever links: the LLM's Linker, or a baseline.

Interfaces alone; knows no model, no corpus and no run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.engine import Truncation
from longbel_cli.model.decoders import DecodeStats
from longbel_cli.prompting.formats import Prompt
from longbel_cli.types import Document, Mention, Prediction

OnPrompt = Callable[[Document, Mention, Prompt], None]
PageWriter = Callable[[Sequence[Document], Sequence[Prediction]], None]
"""Writes the pages of a window's documents."""
MakePageWriter = Callable[[], PageWriter]


class WindowEngine(Protocol):
    """Links windows of documents."""

    @property
    def token_budget(self) -> int | None:
        """Prompt tokens in flight that the last window was linked with; None without prompts."""

    @property
    def truncated(self) -> Mapping[str, Truncation]:
        """The documents of the last window whose prompts were shortened."""

    @property
    def decoder_stats(self) -> DecodeStats:
        """What was counted so far."""

    def link_window(
        self, documents: Sequence[Document], on_step: Callable[[int], None] = ...
    ) -> list[Prediction]:
        """Predictions of all mentions, in document and mention order; `on_step` is told now and
        then how many more mentions are done, and may raise. A window that takes too much memory
        lowers the token budget of those that follow."""


@dataclass(frozen=True)
class Needs:
    """What linking takes. Of linkers with prompts: the prompt tokens of each mention, document by
    document, the most that one may have, those in flight together, and the most documents that
    are (None: as many as the tokens allow)."""

    memory_bytes: int = 0
    prompt_tokens: tuple[tuple[int, ...], ...] | None = None
    max_tokens: int | None = None
    batch_tokens: int | None = None
    max_active: int | None = None


class EntityLinker(Protocol):
    """Something that links mentions to the concepts of a knowledge base."""

    @property
    def knowledge_base(self) -> KnowledgeBase:
        """The names and concepts to link to."""

    @property
    def model_path(self) -> Path | None:
        """The folder of its model, if it has one."""

    def settings(self) -> dict[str, Any]:
        """Whatever of it can change predictions, as a run keeps it (JSON values, or `Auto`)."""

    def as_loaded(self) -> dict[str, Any]:
        """What the `Auto` ones that depend on the device come to in this process."""

    def window_size(self) -> tuple[int, int]:
        """After how many documents, or mentions, a window is best closed; may load the model."""

    def pin_threads(self, threads: int) -> None:
        """Compute on that many threads from now on, where sums depend on how they are split."""

    def engine(
        self,
        beams: int | None = None,
        token_budget: int | None = None,
        on_prompt: OnPrompt | None = None,
    ) -> WindowEngine:
        """An engine; loads what it needs."""

    def needs(self, documents: Sequence[Document]) -> Needs:
        """What these documents take; may load the model."""


PagesOf = Callable[[EntityLinker, Path], PageWriter]
"""Makes the writer of a linker's saliency pages in a folder."""
