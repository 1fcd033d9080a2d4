"""Documents to training examples: token ids, and which of them the loss is on.

An example is one mention's prompt and completion. Knows nothing of optimisers or files.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.prompting.formats import DocumentPrompts, Prompt, PromptFormat, SentenceSplitter
from longbel_cli.prompting.segments import GROUP_CLOSE, MemoryLine
from longbel_cli.prompting.truncation import is_long, truncated
from longbel_cli.types import Document, Mention, Span

# The names that a mention is answered with, several for a composite answer; None: unknown.
Names = tuple[str, ...] | None


@dataclass(frozen=True)
class Example:
    """Token ids of prompt and completion, and for each the weight of its loss (0: none)."""

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)


def encode_example(
    checkpoint: Checkpoint,
    prompt: Prompt,
    memory: Sequence[MemoryLine],
    names: tuple[str, ...],
    end: int,
    memory_weights: Sequence[float] = (),
) -> Example:
    """The prompt as `link` encodes it, and its completion: ` name` and the end.

    The completion's loss has weight 1, all else 0, but for the names of the lines in memory:
    `memory_weights`, one a line.
    """
    ids = checkpoint.encode(prompt)
    weights = np.zeros(len(ids), dtype=np.float32)
    if any(memory_weights):
        closing = checkpoint.mark_id(GROUP_CLOSE)
        closings = [position for position, token in enumerate(ids) if token == closing]
        for position, line, weight in zip(closings, memory, memory_weights, strict=False):
            answer = checkpoint.encode_answer(line.names)
            if ids[position + 1 : position + 1 + len(answer)] == answer:
                weights[position + 1 : position + 1 + len(answer)] = weight
    answer = checkpoint.encode_answer(names)
    weights = np.concatenate([weights, np.ones(len(answer) + 1, dtype=np.float32)])
    return Example(np.array([*ids, *answer, end], dtype=np.int32), weights)


@dataclass(frozen=True)
class Cropping:
    """In `share` of the examples the context is a stretch of `characters` / 8 to `characters`
    around the mention (even on a logarithmic scale), and memory the lines of the mentions in
    it; 0 characters: whole documents always."""

    characters: int = 0
    share: float = 1.0


class ExampleMaker:
    """Makes the examples of documents in one prompt format."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        form: PromptFormat,
        split: SentenceSplitter | None = None,
        cropping: Cropping = Cropping(),
        memory_weight: float = 0.0,
        memory_dropout: float = 0.0,
        max_length: int | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._form = form
        self._split = split
        self._cropping = cropping
        self._memory_weight = memory_weight
        self._memory_dropout = memory_dropout
        self._max_length = max_length
        self._end = checkpoint.end_id(form)

    def example(
        self,
        document: Document,
        targets: Sequence[Names],
        mention_index: int,
        rng: random.Random,
        memory: Sequence[Names] | None = None,
    ) -> Example:
        """The example of the mention at `place`. Memory holds the names in `memory` (None: the
        targets) of the mentions before it, but for what dropout leaves out. What is longer than
        `max_length` is shortened as `link` does."""
        window = self._window(document, mention_index, rng)
        prompts = DocumentPrompts(document, self._form, self._split)
        remembered = _remembered(prompts, targets if memory is None else memory, mention_index)
        shown = [
            index
            for index in remembered
            if window is None or _inside(document.mentions[index], window)
        ]
        if self._memory_dropout:
            shown = [index for index in shown if rng.random() >= self._memory_dropout]
        lines = [remembered[index] for index in shown]
        # A name that was predicted wrong is shown, but never learnt.
        weights = [
            self._memory_weight if remembered[index].names == targets[index] else 0.0
            for index in shown
        ]
        target, mention = targets[mention_index], document.mentions[mention_index]
        assert target is not None

        def made(latest: int, context: Span | None) -> Example:
            kept, weighed = lines[len(lines) - latest :], weights[len(lines) - latest :]
            prompt = prompts.render(mention, kept, context)
            return encode_example(self._checkpoint, prompt, kept, target, self._end, weighed)

        room = None
        if self._max_length is not None:
            room = self._max_length - len(self._checkpoint.encode_answer(target)) - 1
        if room is None or window is not None or not is_long(prompts, room):
            whole = made(len(lines), window)
            if room is None or self._max_length is None or len(whole) <= self._max_length:
                return whole
        return made(*truncated(prompts, mention, lines, self._checkpoint.encode, room))

    def _window(self, document: Document, mention_index: int, rng: random.Random) -> Span | None:
        """A stretch of whole words around the mention, in document offsets."""
        most = self._cropping.characters
        length = document.passages[-1].end
        if not most or rng.random() >= self._cropping.share:
            return None
        size = round(most / 8 ** rng.random())
        if length <= size:
            return None
        mention = document.mentions[mention_index]
        room = max(0, size - (mention.end - mention.start))
        start = max(0, mention.start - rng.randint(0, room))
        end = min(length, max(mention.end, start + size))
        text = document.text
        while start and not text[start - 1].isspace():
            start -= 1
        while end < length and not text[end].isspace():
            end += 1
        return Span(start, end)


def _remembered(
    prompts: DocumentPrompts, memory: Sequence[Names], mention_index: int
) -> dict[int, MemoryLine]:
    """The lines of the mentions before `place`, by the mention's number."""
    mentions = prompts.document.mentions[:mention_index]
    return {
        index: prompts.line(mention, names)
        for index, (mention, names) in enumerate(zip(mentions, memory[:mention_index], strict=True))
        if names is not None
    }


def _inside(mention: Mention, window: Span) -> bool:
    return window.start <= mention.start and mention.end <= window.end
