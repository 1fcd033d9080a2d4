"""Which mention is next, and what the memory of its document holds. Knows no torch.

A document's mentions are linked in order, since each prompt shows the normalizations before it;
many documents are under way at once. What is in flight together depends only on the documents of
the window and on the token budget.
"""

from __future__ import annotations

import gc
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.model.decoders import (
    MAX_NEW_TOKENS,
    Beam,
    Decoder,
    DecodeStats,
    OutOfMemoryError,
    Request,
)
from longbel_cli.progress import ignore
from longbel_cli.prompting.formats import DocumentPrompts, Prompt, PromptFormat, SentenceSplitter
from longbel_cli.prompting.segments import COMPOSITE, MemoryLine
from longbel_cli.prompting.truncation import is_long, truncated
from longbel_cli.types import Candidate, Concept, Document, Mention, Prediction

# Tokens that a predicted name adds to its document's prompt, for the estimate of its size.
_NAME_TOKENS = 12
# Prompts of single sentences are short: so many count as a document.
_SENTENCES_A_DOCUMENT = 2
# Places in the cache that the beams of an answer take beside their prompt.
_ANSWER_TOKENS = 64


@dataclass(frozen=True)
class EngineOptions:
    """`max_prompt_tokens` is what the model's context leaves beside an answer; `token_budget`
    bounds the tokens in the cache, prompts and answers, of all active documents, `max_active` their
    number (None: as many as the budget admits)."""

    form: PromptFormat
    max_prompt_tokens: int
    token_budget: int
    max_active: int | None = None


@dataclass(frozen=True)
class Truncation:
    """What a document longer than the model's context lost: memory lines left out and mentions
    whose context was cut to a stretch around them."""

    memory_lines: int = 0
    contexts: int = 0


@dataclass
class _Flight:
    """Mentions of a document that are linked one after the other: all of them, where a prompt
    depends on those before. Memory belongs to this instance, not to the document's id."""

    document: Document
    prompts: DocumentPrompts
    mentions: Sequence[Mention]
    tokens: int
    memory: list[MemoryLine] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)
    lines_left_out: int = 0
    contexts_cut: int = 0
    prompts_shown: list[tuple[Mention, Prompt]] = field(default_factory=list)

    @property
    def mention(self) -> Mention:
        return self.mentions[len(self.predictions)]

    @property
    def done(self) -> bool:
        return len(self.predictions) == len(self.mentions)


@contextmanager
def _old_objects_left_alone() -> Iterator[None]:
    """Within, Python's collector of garbage looks at what was made within alone: where torch is
    loaded, looking at all there is takes a good part of the time between passes."""
    if gc.get_freeze_count():  # somebody else has done so already
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class LinkingEngine:
    """Links windows of documents with a decoder."""

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        decoder: Decoder,
        encode: Callable[[Prompt], list[int]],
        options: EngineOptions,
        split: SentenceSplitter | None = None,
        on_prompt: Callable[[Document, Mention, Prompt], None] | None = None,
    ) -> None:
        self._knowledge_base, self._decoder, self._encode = knowledge_base, decoder, encode
        self._options, self._split, self._on_prompt = options, split, on_prompt
        self.token_budget = options.token_budget
        self.truncated: dict[str, Truncation] = {}
        self._active: dict[int, _Flight] = {}

    @property
    def decoder_stats(self) -> DecodeStats:
        """What the decoder has counted so far."""
        return self._decoder.stats

    def link_window(
        self,
        documents: Sequence[Document],
        on_step: Callable[[int], None] = ignore,
        token_budget: int | None = None,
    ) -> list[Prediction]:
        """Predictions of all mentions, in document and mention order.

        `on_step` is told after each step of the decoder how many mentions it finished; what it
        raises ends the window, and the engine is ready for the next. When the device runs out
        of memory the window starts again with half the budget; `token_budget` then holds what
        it was linked with, and later windows keep to it. LongbelError, exit code 1, where the
        device has no memory for a document alone.
        """
        self.token_budget = token_budget or self.token_budget
        with _old_objects_left_alone():
            return self._linked_within_memory(documents, on_step)

    def _linked_within_memory(
        self, documents: Sequence[Document], on_step: Callable[[int], None]
    ) -> list[Prediction]:
        while True:
            self.truncated.clear()
            self._active.clear()
            try:
                return self._link(documents, on_step)
            except OutOfMemoryError as error:
                if len(self._active) == 1:
                    (flight,) = self._active.values()
                    raise LongbelError(
                        f"document {flight.document.id}: the device has no memory for it, alone",
                        "Use a larger device, --dtype bfloat16, or fewer --context-tokens.",
                        exit_code=1,
                    ) from error
                self.token_budget = min(self.token_budget, self._tokens_in_flight) // 2
            finally:
                self._decoder.reset()

    def _link(
        self, documents: Sequence[Document], on_step: Callable[[int], None]
    ) -> list[Prediction]:
        flights = [flight for document in documents for flight in self._flights(document)]
        # Longest first, as many as there is room for, and the next where one is done: those that
        # are left at the end are then short and many.
        waiting = deque(
            sorted(
                (index for index, flight in enumerate(flights) if not flight.done),
                key=lambda index: (-len(flights[index].mentions), -flights[index].tokens, index),
            )
        )
        while waiting or self._active:
            while waiting and self._fits(flights[waiting[0]]):
                index = waiting.popleft()
                self._active[index] = flights[index]
                self._submit_next(index)
            finished = self._decoder.step() if self._active else []
            for key, beams in finished:
                assert isinstance(key, int)
                self._record(self._active[key], beams)
                self._submit_next(key)
            on_step(len(finished))
        self._log_prompts(flights)
        return [prediction for flight in flights for prediction in flight.predictions]

    def _log_prompts(self, flights: Sequence[_Flight]) -> None:
        """Once the window is done, so that one linked again tells its prompts once."""
        if self._on_prompt is not None:
            for flight in flights:
                for mention, prompt in flight.prompts_shown:
                    self._on_prompt(flight.document, mention, prompt)

    def _flights(self, document: Document) -> Iterator[_Flight]:
        """One for the document; where prompts share neither memory nor context, one a sentence."""
        prompts = DocumentPrompts(document, self._options.form, self._split)
        form, limit = self._options.form, self._options.max_prompt_tokens
        runs: Iterable[Sequence[Mention]] = [document.mentions]
        if form.is_by_sentence:
            # Mentions of a sentence one after the other: the prompts share what it begins with.
            runs = (tuple(run) for _, run in groupby(document.mentions, prompts.sentence))
        for mentions in runs:
            tokens = 0
            if mentions:
                tokens = len(self._encode(prompts.render(mentions[-1], [])))
            if form.memory != "none":
                tokens += sum(len(mention.text) // 3 + _NAME_TOKENS for mention in mentions[:-1])
            yield _Flight(document, prompts, mentions, min(tokens, limit))

    @property
    def _tokens_in_flight(self) -> int:
        return sum(flight.tokens + _ANSWER_TOKENS for flight in self._active.values())

    def _fits(self, flight: _Flight) -> bool:
        """Whether it may be active too; it may where nothing else is in flight."""
        active, most = len(self._active), self._options.max_active
        if most is not None and self._options.form.is_by_sentence:
            most *= _SENTENCES_A_DOCUMENT
        if active == 0 or (most is not None and active >= most):
            return active == 0
        return self._tokens_in_flight + flight.tokens + _ANSWER_TOKENS <= self.token_budget

    def _submit_next(self, key: int) -> None:
        """Submit the next mention of an active document that a prompt can be made for; where there
        is none, it is done.

        A mention that is longer than the model's context gets no candidates.
        """
        flight = self._active[key]
        while not flight.done:
            fitting = self._fitting_prompt(flight)
            if fitting is None:
                self._record(flight, [])
                continue
            prompt, ids = fitting
            if self._on_prompt is not None:
                flight.prompts_shown.append((flight.mention, prompt))
            group = flight.mention.semantic_group
            self._decoder.submit(
                Request(key=key, prompt_ids=ids, semantic_group=group, longest=flight.tokens)
            )
            return
        del self._active[key]
        self._decoder.release(key)

    def _fitting_prompt(self, flight: _Flight) -> tuple[Prompt, list[int]] | None:
        """The prompt, shortened where the model's context demands it; None where the mention
        alone is longer."""
        mention, memory, limit = flight.mention, flight.memory, self._options.max_prompt_tokens
        if not is_long(flight.prompts, limit):
            prompt = flight.prompts.render(mention, memory)
            ids = self._encode(prompt)
            if len(ids) <= limit:
                return prompt, ids
        kept = truncated(flight.prompts, mention, memory, self._encode, limit)
        if self._options.form.memory != "none":
            flight.lines_left_out += len(memory) - kept.lines
        flight.contexts_cut += kept.window is not None
        prompt = flight.prompts.render(mention, memory[len(memory) - kept.lines :], kept.window)
        ids = self._encode(prompt)
        return (prompt, ids) if len(ids) <= limit else None

    def _record(self, flight: _Flight, beams: Sequence[Beam]) -> None:
        mention = flight.mention
        if any(not math.isfinite(beam.score) for beam in beams):
            raise LongbelError(
                f"document {flight.document.id}: mention {mention.id}: the model's scores are not "
                "finite; nothing of its window is kept",
                "Where weights overflow in their number type, --dtype float32 is the way; where it "
                "is that already, they hold NaN: copy the model anew.",
            )
        candidates = tuple(
            Candidate.of(rank, self._concepts(beam), COMPOSITE, beam.score)
            for rank, beam in enumerate(beams, start=1)
        )
        if beams:
            names = tuple(concept.name for concept in candidates[0].concepts)
            flight.memory.append(flight.prompts.line(mention, names))
        flight.predictions.append(Prediction.of(flight.document, mention, candidates))
        if flight.done and (flight.lines_left_out or flight.contexts_cut):
            before = self.truncated.get(flight.document.id, Truncation())
            self.truncated[flight.document.id] = Truncation(
                before.memory_lines + flight.lines_left_out,
                before.contexts + flight.contexts_cut,
            )

    def _concepts(self, beam: Beam) -> list[Concept]:
        base = self._knowledge_base
        return [Concept(base.code(row), base.name(row)) for row in beam.rows]


def max_prompt_tokens(context: int) -> int:
    """Prompt tokens of a model with `context` positions, an answer kept free."""
    return max(context - MAX_NEW_TOKENS, 1)
