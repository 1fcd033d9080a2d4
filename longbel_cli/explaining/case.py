"""A linked mention as it was put to the model, and where each character of its prompt comes from.

Maps prompts back to the document and to memory lines, and renders them with a part left out.
Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kb_builder.errors import LongbelError
from longbel_cli.explaining.explanation import PARTS, MemoryEntry
from longbel_cli.prompting.formats import DocumentPrompts, Prompt
from longbel_cli.prompting.segments import Mark, MemoryLine, Segment, answer_segments
from longbel_cli.prompting.truncation import truncated
from longbel_cli.types import Candidate, Document, Mention, Prediction, Span

# The name or names that a candidate of a prediction consists of.
NamesOf = Callable[[Candidate, Prediction], tuple[str, ...]]

CONTEXT, MEMORY, MENTION, FRAME = range(len(PARTS))


@dataclass(frozen=True)
class Case:
    """One linked mention: what its prompt was made of, and what was answered.

    `names` holds, for each candidate of `prediction`, the name or names it consists of.
    `window` is the stretch of the document that the prompt showed (None: all of it).
    `sentences` are document offsets, ascending, and lie within passages. `gold_name` is what the
    knowledge base calls the gold, None where it does not hold it.
    """

    prompts: DocumentPrompts
    mention: Mention
    memory: tuple[MemoryEntry, ...]
    prediction: Prediction
    names: tuple[tuple[str, ...], ...]
    window: Span | None = None
    sentences: tuple[Span, ...] = ()
    gold_name: str | None = None

    @property
    def document(self) -> Document:
        return self.prompts.document

    @property
    def lines(self) -> tuple[MemoryLine, ...]:
        """The memory lines that the prompt shows."""
        if self.prompts.form.memory == "none":
            return ()
        return tuple(entry.line for entry in self.memory)

    @cached_property
    def prompt(self) -> Prompt:
        return self.prompts.render(self.mention, self.lines, self.window)

    @cached_property
    def map(self) -> PromptMap:
        return map_prompt(self)

    def without_line(self, index: int) -> Prompt:
        """The prompt as it would be had memory line `index` not been predicted."""
        lines = self.lines[:index] + self.lines[index + 1 :]
        return self.prompts.render(self.mention, lines, self.window)

    def without_sentence(self, sentence: Span) -> Prompt:
        """The prompt without a stretch of the document; the mention itself always stays."""
        offsets = self.map.offsets
        cut = (offsets >= sentence.start) & (offsets < sentence.end)
        cut &= (offsets < self.mention.start) | (offsets >= self.mention.end)
        return _cut_context(self.prompt, offsets, cut)

    @cached_property
    def shown_sentences(self) -> tuple[Span, ...]:
        """The sentences of which the prompt shows at least one character besides the mention."""
        shown = np.sort(self.map.offsets[self.map.parts == CONTEXT])
        edges = np.array(self.sentences, dtype=np.int64).reshape(-1, 2)
        before = np.searchsorted(shown, edges)
        return tuple(
            span
            for span, (first, last) in zip(self.sentences, before.tolist(), strict=True)
            if first < last
        )


@dataclass(frozen=True)
class PromptMap:
    """For each character of a prompt: its document offset or -1, its part (an index of PARTS),
    and its memory line or -1."""

    offsets: np.ndarray
    parts: np.ndarray
    lines: np.ndarray


def map_prompt(case: Case) -> PromptMap:
    """Where each character of the case's prompt comes from."""
    prompt = case.prompt
    length = len(prompt.text)
    offsets = np.full(length, -1, dtype=np.int64)
    parts = np.full(length, FRAME, dtype=np.int8)
    lines = np.full(length, -1, dtype=np.int64)

    position = _map_context(case, offsets)
    shown = offsets >= 0
    parts[shown] = CONTEXT
    for span in case.mention.spans:
        parts[shown & (offsets >= span.start) & (offsets < span.end)] = MENTION
    section = prompt.segments[prompt.context : prompt.context + prompt.memory]
    _map_memory(case.lines, section, position, parts, lines)
    position += sum(map(len, section))
    for segment in prompt.segments[prompt.context + prompt.memory :]:
        if not isinstance(segment, Mark):
            parts[position : position + len(segment)] = MENTION
        position += len(segment)
    return PromptMap(offsets, parts, lines)


def _map_context(case: Case, offsets: np.ndarray) -> int:
    """Fill the document offsets of the context's characters; returns the context's end."""
    sources = _shown_offsets(case)
    heading, *context = case.prompt.segments[: case.prompt.context]
    position, read = len(heading), 0
    for segment in context:
        if not isinstance(segment, Mark):
            offsets[position : position + len(segment)] = sources[read : read + len(segment)]
            read += len(segment)
        position += len(segment)
    return position


def _shown_offsets(case: Case) -> np.ndarray:
    """The document offset of each character of the context without marks; -1 for joints."""
    window = case.prompts.shown(case.mention, case.window)
    pieces: list[np.ndarray] = []
    for passage in case.document.passages:
        start, end = passage.start, passage.end
        if window is not None:
            start, end = max(start, window.start), min(end, window.end)
            if start >= end:
                continue
        if pieces:
            pieces.append(np.array([-1]))
        pieces.append(np.arange(start, end))
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)


def _map_memory(
    memory: Sequence[MemoryLine],
    section: Sequence[Segment],
    position: int,
    parts: np.ndarray,
    lines: np.ndarray,
) -> None:
    """Fill the part and the line of the memory section's characters.

    A line is its echo, six segments for its mention and group, then its names; one separator
    follows.
    """
    at = 1
    position += len(section[0])
    for index, line in enumerate(memory):
        size = len(line.echo) + 6 + len(answer_segments(line.names))
        for segment in section[at : at + size]:
            end = position + len(segment)
            lines[position:end] = index
            if not isinstance(segment, Mark):
                parts[position:end] = MEMORY
            position = end
        if at + size < len(section):
            position += len(section[at + size])
        at += size + 1


def _cut_context(prompt: Prompt, offsets: np.ndarray, cut: np.ndarray) -> Prompt:
    """The prompt without the characters of `cut`; a mark goes with the character it hugs."""
    kept: list[Segment] = [prompt.segments[0]]
    position = len(prompt.segments[0])
    for segment in prompt.segments[1 : prompt.context]:
        end = position + len(segment)
        if isinstance(segment, Mark):
            hugged = end if segment == "[" else position - 1
            while hugged < len(offsets) and offsets[hugged] < 0 and hugged > 0:
                hugged += 1 if segment == "[" else -1
            if not (hugged < len(cut) and cut[hugged]):
                kept.append(segment)
        else:
            text = "".join(
                char
                for char, gone in zip(segment, cut[position:end].tolist(), strict=True)
                if not gone
            )
            if text:
                kept.append(text)
        position = end
    rest = prompt.segments[prompt.context :]
    return Prompt((*_joined(kept), *rest), context=len(_joined(kept)), memory=prompt.memory)


def _joined(segments: Sequence[Segment]) -> list[Segment]:
    """Neighbouring texts after the heading joined, as a rendered prompt has them."""
    joined: list[Segment] = [segments[0]]
    for segment in segments[1:]:
        if len(joined) > 1 and not isinstance(segment, Mark) and not isinstance(joined[-1], Mark):
            joined[-1] = joined[-1] + segment
        else:
            joined.append(segment)
    return joined


def fitting(
    prompts: DocumentPrompts,
    mention: Mention,
    memory: Sequence[MemoryEntry],
    encode: Callable[[Prompt], list[int]],
    limit: int,
) -> tuple[tuple[MemoryEntry, ...], Span | None]:
    """The memory and the window that linking showed to a model with room for `limit` tokens."""
    kept = truncated(prompts, mention, [entry.line for entry in memory], encode, limit)
    return tuple(memory[len(memory) - kept.lines :]), kept.window


def linked_document(document: Document, predictions: Mapping[str, Prediction]) -> Document:
    """The document as it was linked: mentions with a prediction, in its semantic group.

    `predictions` are this document's, by mention id. Raises LongbelError where a prediction's
    spans are not those of the corpus.
    """
    mentions: list[Mention] = []
    for mention in document.mentions:
        prediction = predictions.get(mention.id)
        if prediction is None:
            continue
        if prediction.spans and set(prediction.spans) != set(mention.spans):
            raise LongbelError(
                f"{document.source}: document {document.id}: mention {mention.id} stands at "
                "another place than in the predictions",
                "Give the corpus that was linked with --corpus.",
            )
        mentions.append(replace(mention, semantic_group=prediction.semantic_group))
    return replace(document, mentions=tuple(mentions))


def memories(
    prompts: DocumentPrompts, predictions: Mapping[str, Prediction], names: NamesOf
) -> dict[str, tuple[MemoryEntry, ...]]:
    """Each mention's memory as its run predicted it, by mention id."""
    by_mention: dict[str, tuple[MemoryEntry, ...]] = {}
    memory: list[MemoryEntry] = []
    for mention in prompts.document.mentions:
        by_mention[mention.id] = tuple(memory)
        prediction = predictions[mention.id]
        if prediction.answer is not None:
            line = prompts.line(mention, names(prediction.answer, prediction))
            memory.append(MemoryEntry(mention.id, line))
    return by_mention


def candidate_names(candidate: Candidate, is_name: Callable[[str], bool]) -> tuple[str, ...]:
    """The names of a candidate's concepts; `is_name` asks the knowledge base.

    ValueError where one is no name of it, or the file does not say which names there are.
    """
    names = tuple(concept.name for concept in candidate.concepts)
    if not names or not all(map(is_name, names)):
        raise ValueError(candidate.concept_code)
    return names
