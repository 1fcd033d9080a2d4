"""What is left out of a long prompt: the most that fits, found without encoding all of a document.

A prompt's tokens are its characters, so that more text is never fewer tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longbel_cli.prompting.formats import DocumentPrompts, Prompt, prompt_format
from longbel_cli.prompting.segments import MemoryLine
from longbel_cli.prompting.truncation import is_long, truncated
from longbel_cli.types import Document, Mention, Passage, Span
from tests.support.examples import some

FORMATS = ("hybrid_medium", "hybrid_long", "long", "echoed")


def document(length: int, starts: Sequence[int]) -> Document:
    """Words of nine letters; a mention is a word."""
    text = ("abcdefghi " * (length // 10 + 1))[:length]
    mentions = tuple(
        Mention(f"T{start}", (Span(start, start + 9),), text[start : start + 9], "A", "A")
        for start in starts
    )
    return Document("d", (Passage(text),), mentions)


def prompts_of(form: str, length: int, starts: Sequence[int]) -> tuple[DocumentPrompts, list]:  # type: ignore[type-arg]
    made = document(length, starts)
    prompts = DocumentPrompts(made, prompt_format(form))
    return prompts, [prompts.line(each, ("some name",)) for each in made.mentions[:-1]]


def by_trial(
    prompts: DocumentPrompts, mention: Mention, memory: Sequence[MemoryLine], limit: int
) -> tuple[int, Span | None]:
    """The rule as it is stated: lines go first, the oldest first (inline memory: by eights), then
    context."""

    def fits(lines: int, window: Span | None = None) -> bool:
        kept = memory[len(memory) - lines :]
        return len(str(prompts.render(mention, kept, window).text)) <= limit

    step = 8 if prompts.form.memory == "inline" else 1
    for dropped in range(len(memory) + step):
        if dropped % step == 0 and fits(max(len(memory) - dropped, 0)):
            return max(len(memory) - dropped, 0), None
    end = prompts.document.passages[-1].end
    for margin in range(end, -1, -1):
        window = Span(max(mention.start - margin, 0), min(mention.end + margin, end))
        if fits(0, window):
            return 0, window
    return 0, Span(mention.start, mention.end)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=some(40), deadline=None)
@given(st.integers(1, 90), st.integers(0, 12), st.integers(1, 700))
def test_the_most_that_fits(form: str, words: int, earlier: int, limit: int) -> None:
    starts = [10 * location for location in range(min(earlier, words - 1))] + [10 * (words - 1)]
    prompts, memory = prompts_of(form, 10 * words, starts)
    mention = prompts.document.mentions[-1]
    result = truncated(prompts, mention, memory, lambda prompt: list(prompt.text), limit)
    assert tuple(result) == by_trial(prompts, mention, memory, limit)


@pytest.mark.parametrize("form", FORMATS)
def test_of_a_long_document_little_is_encoded(form: str) -> None:
    prompts, memory = prompts_of(form, 100_000, range(0, 50_000, 100))
    mention, encoded = prompts.document.mentions[-1], []

    def encode(prompt: Prompt) -> list[str]:
        encoded.append(len(prompt.text))
        return list(prompt.text)

    assert is_long(prompts, 500) and not is_long(prompts, 20_000)
    lines, window = truncated(prompts, mention, memory, encode, 500)
    assert lines == 0 and window is not None
    assert len(prompts.render(mention, [], window).text) in (499, 500)
    assert sum(encoded) < 40_000
