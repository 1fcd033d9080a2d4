"""Token scores added up by word, sentence and memory line, and by the parts of a prompt.

Knows how prompts map to documents, not how scores come about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kb_builder.text import clean
from longbel_cli.explaining.case import FRAME, Case, PromptMap
from longbel_cli.explaining.explanation import PARTS, Attribution, Token, Weight
from longbel_cli.prompting.formats import SentenceSplitter
from longbel_cli.types import Document, Passage, Span

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_PLAIN_SENTENCE = re.compile(r"\S(?:.*?[.!?](?=\s)|.*)")


def words(document: Document, first: int = 0, last: int | None = None) -> tuple[Span, ...]:
    """The words and punctuation marks of a document between two offsets, in document offsets.

    Words that only reach into the stretch are among them, whole.
    """
    last = _length(document) if last is None else last
    return tuple(
        span
        for passage in document.passages
        for span in _passage_words(passage, first, last)
        if span.start < last and span.end > first
    )


def _passage_words(passage: Passage, first: int, last: int) -> Iterator[Span]:
    text = passage.text
    start, end = max(first - passage.start, 0), min(last - passage.start, len(text))
    while 0 < start <= len(text) and not text[start - 1].isspace():
        start -= 1
    while 0 <= end < len(text) and not text[end].isspace():
        end += 1
    for match in _WORD.finditer(text, start, max(start, end)):
        yield Span(match.start() + passage.start, match.end() + passage.start)


def _shown_words(case: Case) -> tuple[Span, ...]:
    """The words of the document's stretch that the case's prompt shows."""
    shown = case.map.offsets[case.map.offsets >= 0]
    return words(case.document, int(shown.min()), int(shown.max()) + 1) if len(shown) else ()


def plain_sentences(text: str) -> list[Span]:
    """Sentences by final punctuation and line ends, for when no language is known."""
    return [Span(*match.span()) for match in _PLAIN_SENTENCE.finditer(text)]


def document_sentences(document: Document, split: SentenceSplitter) -> tuple[Span, ...]:
    """A document's sentences, each with the blanks that follow it, in document offsets.

    They cover each passage from its first sentence on, so that leaving one out leaves no gap.
    """
    sentences: list[Span] = []
    for passage in document.passages:
        starts = [span.start for span in split(clean(passage.text))]
        ends = [*starts[1:], len(passage.text)]
        sentences += [
            Span(start + passage.start, end + passage.start)
            for start, end in zip(starts, ends, strict=False)
        ]
    return tuple(sentences)


def spread(characters_of: Sequence[Span], scores: Sequence[float], text: str) -> np.ndarray:
    """Token scores as one score a prompt character, float64 of len(text).

    A token's score is divided evenly among its characters that are not blank (among all where
    all are blank); what stands on no character, such as BOS, is left out.
    """
    inked = np.array([not char.isspace() for char in text], dtype=bool)
    characters = np.zeros(len(text))
    for (start, end), score in zip(characters_of, scores, strict=True):
        if end <= start:
            continue
        chosen = inked[start:end]
        if not chosen.any():
            chosen = np.ones(end - start, dtype=bool)
        characters[start:end][chosen] += score / int(chosen.sum())
    return characters


def attribute(
    case: Case,
    characters_of: Sequence[Span],
    scores: Sequence[float],
    signed: Sequence[float] | None = None,
    **about: Any,
) -> Attribution:
    """The attribution of token scores; `characters_of` are the tokens' characters in the prompt.

    `about` are the fields that say how the scores came about: method, rank, versus, objective, …
    """
    prompt_map, text = case.map, case.prompt.text
    by_character = spread(characters_of, scores, text)
    signed_by_character = None if signed is None else spread(characters_of, signed, text)
    on_document = _on_document(case, by_character)
    signed_on_document = (
        None if signed_by_character is None else _on_document(case, signed_by_character)
    )
    return Attribution(
        words=_sums(_shown_words(case), on_document, signed_on_document),
        sentences=_sums(case.shown_sentences, on_document, signed_on_document),
        memory=_line_sums(case, by_character, signed_by_character),
        shares=_shares(by_character, prompt_map.parts, float(np.sum(scores))),
        tokens=_tokens(prompt_map, text, characters_of, scores, signed),
        **about,
    )


def attribute_ablation(
    case: Case, line_changes: Sequence[float], sentence_changes: Sequence[float], **about: Any
) -> Attribution:
    """The attribution of what happens when a memory line or a sentence is left out.

    A change above 0 is support that was lost. Words show their sentence's change.
    """
    change = np.zeros(_length(case.document))
    for span, value in zip(case.shown_sentences, sentence_changes, strict=True):
        change[span.start : span.end] = value
    change[~_visible(case)] = 0.0
    for span in case.mention.spans:
        change[span.start : span.end] = 0.0
    by_word = [(word, float(change[word.start])) for word in _shown_words(case)]
    by_sentence = zip(case.shown_sentences, sentence_changes, strict=True)
    context = float(np.abs(sentence_changes).sum()) if sentence_changes else 0.0
    memory = float(np.abs(line_changes).sum()) if line_changes else 0.0
    total = (context + memory) or 1.0
    return Attribution(
        method="ablation",
        words=tuple(Weight(word, abs(value), value) for word, value in by_word),
        sentences=tuple(Weight(span, abs(value), value) for span, value in by_sentence),
        memory=tuple(Weight(None, abs(value), value) for value in line_changes),
        shares={"context": context / total, "memory": memory / total, "mention": 0.0, "frame": 0.0},
        **about,
    )


def _length(document: Document) -> int:
    return max((passage.end for passage in document.passages), default=0)


def _visible(case: Case) -> np.ndarray:
    visible = np.zeros(_length(case.document), dtype=bool)
    offsets = case.map.offsets
    visible[offsets[offsets >= 0]] = True
    return visible


def _on_document(case: Case, by_character: np.ndarray) -> np.ndarray:
    """Scores of prompt characters moved to their document offsets."""
    offsets = case.map.offsets
    moved = np.zeros(_length(case.document))
    known = offsets >= 0
    moved[offsets[known]] = by_character[known]
    return moved


def _sums(
    spans: Sequence[Span], scores: np.ndarray, signed: np.ndarray | None
) -> tuple[Weight, ...]:
    totals = np.concatenate([[0.0], np.cumsum(scores)])
    signed_totals = None if signed is None else np.concatenate([[0.0], np.cumsum(signed)])
    return tuple(
        Weight(
            span,
            max(0.0, float(totals[span.end] - totals[span.start])),
            None
            if signed_totals is None
            else float(signed_totals[span.end] - signed_totals[span.start]),
        )
        for span in spans
    )


def _line_sums(
    case: Case, by_character: np.ndarray, signed: np.ndarray | None
) -> tuple[Weight, ...]:
    lines = case.map.lines
    return tuple(
        Weight(
            None,
            float(by_character[lines == index].sum()),
            None if signed is None else float(signed[lines == index].sum()),
        )
        for index in range(len(case.lines))
    )


def _shares(by_character: np.ndarray, parts: np.ndarray, total: float) -> dict[str, float]:
    """Each part's share of all scores; what stands on no character belongs to the frame."""
    sums = np.bincount(parts, weights=by_character, minlength=len(PARTS))
    sums[FRAME] += max(0.0, total - float(by_character.sum()))
    whole = float(sums.sum()) or 1.0
    return {part: float(value) / whole for part, value in zip(PARTS, sums, strict=True)}


def _tokens(
    prompt_map: PromptMap,
    text: str,
    characters_of: Sequence[Span],
    scores: Sequence[float],
    signed: Sequence[float] | None,
) -> tuple[Token, ...]:
    tokens: list[Token] = []
    for index, (start, end) in enumerate(characters_of):
        offsets = prompt_map.offsets[start:end]
        known = offsets[offsets >= 0]
        lines = prompt_map.lines[start:end]
        parts = np.bincount(prompt_map.parts[start:end], minlength=len(PARTS))
        tokens.append(
            Token(
                text=text[start:end],
                prompt=Span(start, end),
                part=PARTS[int(parts.argmax())] if end > start else "frame",
                document=Span(int(known.min()), int(known.max()) + 1) if len(known) else None,
                line=int(lines.max()) if len(lines) and lines.max() >= 0 else None,
                score=float(scores[index]),
                signed=None if signed is None else float(signed[index]),
            )
        )
    return tuple(tokens)
