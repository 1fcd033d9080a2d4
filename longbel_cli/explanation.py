"""Explanations as records: which part of a prompt each score belongs to, and sums over it.

Maps prompt characters back to the document and to memory lines, spreads token scores over them
and adds them up by word, sentence and memory line. Knows no model and no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from longbel_cli.prompts import DocumentPrompts, Mark, MemoryLine, Prompt, Segment, answer_segments
from longbel_cli.types import Document, Mention, Prediction, Span

METHODS = ("gradient", "integrated", "ablation")
PARTS = ("context", "memory", "mention", "frame")
CONTEXT, MEMORY, MENTION, FRAME = range(len(PARTS))
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_PLAIN_SENTENCE = re.compile(r"\S(?:.*?[.!?](?=\s)|.*)", re.MULTILINE)


class MemoryEntry(NamedTuple):
    """A memory line together with the earlier mention it comes from."""

    mention_id: str
    line: MemoryLine


@dataclass(frozen=True)
class Case:
    """One linked mention: what its prompt was made of, and what was answered.

    `names` holds, for each candidate of `prediction`, the name or names it consists of.
    `window` is the stretch of the document that the prompt showed (None: all of it).
    `sentences` are document offsets, ascending, and lie within passages.
    """

    prompts: DocumentPrompts
    mention: Mention
    memory: tuple[MemoryEntry, ...]
    prediction: Prediction
    names: tuple[tuple[str, ...], ...]
    window: Span | None = None
    sentences: tuple[Span, ...] = ()

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

    def without_line(self, number: int) -> Prompt:
        """The prompt as it would be had memory line `number` not been predicted."""
        lines = self.lines[:number] + self.lines[number + 1 :]
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
        shown = self.map.offsets[self.map.parts == CONTEXT]
        return tuple(
            span
            for span in self.sentences
            if bool(((shown >= span.start) & (shown < span.end)).any())
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
    window = case.window
    if case.prompts.form.context == "sentence":
        window = case.prompts.sentence(case.mention)
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

    A line is six segments for its mention and group, then its names; one separator follows.
    """
    at = 1
    position += len(section[0])
    for number, line in enumerate(memory):
        size = 6 + len(answer_segments(line.names))
        for segment in section[at : at + size]:
            end = position + len(segment)
            lines[position:end] = number
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


class Token(NamedTuple):
    """A prompt token: its characters in the prompt, where it comes from, and its scores.

    `document` are document offsets, None outside the document; `line` is a memory line's number.
    `score` is a norm; `signed` says in addition for (above 0) or against, where known.
    """

    text: str
    prompt: Span
    part: str
    document: Span | None
    line: int | None
    score: float
    signed: float | None


class Weight(NamedTuple):
    """The sum of the scores within a stretch of the document, or within one memory line."""

    span: Span | None
    score: float
    signed: float | None


@dataclass(frozen=True)
class Attribution:
    """What one candidate of a mention, or its lead over another one, rests on.

    `objective` is the candidate's summed log-probability; with `versus`, the difference of both
    candidates' log-probabilities per token. `baseline_objective` and `delta` (the completeness
    error, sum of signed scores less the difference of objectives) exist for `integrated`.
    `shares` add up to 1 over PARTS. Ablation has no tokens.
    """

    method: str
    rank: int
    versus: int | None
    objective: float
    words: tuple[Weight, ...]
    sentences: tuple[Weight, ...]
    memory: tuple[Weight, ...]
    shares: Mapping[str, float]
    tokens: tuple[Token, ...] = ()
    steps: int | None = None
    baseline: str | None = None
    baseline_objective: float | None = None
    delta: float | None = None

    @property
    def largest(self) -> float:
        """The largest score among what is shown: words and memory lines."""
        return max((abs(item.score) for item in (*self.words, *self.memory)), default=0.0)

    def to_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "rank": self.rank,
            "versus": self.versus,
            "objective": self.objective,
            "steps": self.steps,
            "baseline": self.baseline,
            "baseline_objective": self.baseline_objective,
            "completeness_delta": self.delta,
            "shares": dict(self.shares),
            "tokens": [_token_json(token) for token in self.tokens],
            "words": [_weight_json(weight) for weight in self.words if weight.score],
            "sentences": [_weight_json(weight) for weight in self.sentences],
            "memory": [_weight_json(weight) for weight in self.memory],
        }


def _token_json(token: Token) -> dict[str, Any]:
    return {
        "text": token.text,
        "prompt_offsets": list(token.prompt),
        "part": token.part,
        "document_offsets": list(token.document) if token.document else None,
        "memory_line": token.line,
        "score": token.score,
        "signed": token.signed,
    }


def _weight_json(weight: Weight) -> dict[str, Any]:
    line: dict[str, Any] = {"score": weight.score, "signed": weight.signed}
    return line if weight.span is None else {"document_offsets": list(weight.span), **line}


@dataclass(frozen=True)
class Explanation:
    """A mention with its candidates, the memory that its prompt held, and its attributions."""

    document: Document
    mention: Mention
    prediction: Prediction
    memory: tuple[MemoryEntry, ...]
    attributions: tuple[Attribution, ...]

    @classmethod
    def of(cls, case: Case, attributions: Sequence[Attribution]) -> Explanation:
        memory = case.memory if case.lines else ()
        return cls(case.document, case.mention, case.prediction, memory, tuple(attributions))

    def to_json(self) -> dict[str, Any]:
        """The numbers of an explanation; holds document text."""
        return {
            **self.prediction.to_json(),
            "memory": [
                {
                    "mention_id": entry.mention_id,
                    "mention": entry.line.mention,
                    "semantic_group": entry.line.semantic_group,
                    "names": list(entry.line.names),
                }
                for entry in self.memory
            ],
            "attributions": [attribution.to_json() for attribution in self.attributions],
        }

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from longbel_cli.render import html_fragment

        return html_fragment(self)


def words(document: Document) -> tuple[Span, ...]:
    """The words and punctuation marks of a document, in document offsets."""
    return tuple(
        Span(match.start() + passage.start, match.end() + passage.start)
        for passage in document.passages
        for match in _WORD.finditer(passage.text)
    )


def plain_sentences(text: str) -> list[Span]:
    """Sentences by final punctuation and line ends, for when no language is known."""
    return [Span(*match.span()) for match in _PLAIN_SENTENCE.finditer(text)]


def with_trailing_blanks(sentences: Sequence[Span], document: Document) -> tuple[Span, ...]:
    """Each sentence stretched to the next one of its passage, so that none leaves a blank."""
    stretched = list(sentences)
    ends = [passage.end for passage in document.passages]
    for number, span in enumerate(sentences):
        limit = min((end for end in ends if end >= span.end), default=span.end)
        following = sentences[number + 1].start if number + 1 < len(sentences) else limit
        stretched[number] = Span(span.start, min(max(following, span.end), limit))
    return tuple(stretched)


def spread(places: Sequence[Span], scores: Sequence[float], text: str) -> np.ndarray:
    """Token scores as one score a prompt character, float64 of len(text).

    A token's score is divided evenly among its characters that are not blank (among all where
    all are blank); what stands on no character, such as BOS, is left out.
    """
    inked = np.array([not char.isspace() for char in text], dtype=bool)
    characters = np.zeros(len(text))
    for (start, end), score in zip(places, scores, strict=True):
        if end <= start:
            continue
        chosen = inked[start:end]
        if not chosen.any():
            chosen = np.ones(end - start, dtype=bool)
        characters[start:end][chosen] += score / int(chosen.sum())
    return characters


def attribute(
    case: Case,
    places: Sequence[Span],
    scores: Sequence[float],
    signed: Sequence[float] | None = None,
    **about: Any,
) -> Attribution:
    """The attribution of token scores; `places` are the tokens' characters in the prompt.

    `about` are the fields that say how the scores came about: method, rank, versus, objective, …
    """
    prompt_map, text = case.map, case.prompt.text
    by_character = spread(places, scores, text)
    signed_by_character = None if signed is None else spread(places, signed, text)
    on_document = _on_document(case, by_character)
    signed_on_document = (
        None if signed_by_character is None else _on_document(case, signed_by_character)
    )
    return Attribution(
        words=_sums(words(case.document), on_document, signed_on_document),
        sentences=_sums(case.shown_sentences, on_document, signed_on_document),
        memory=_line_sums(case, by_character, signed_by_character),
        shares=_shares(by_character, prompt_map.parts, float(np.sum(scores))),
        tokens=_tokens(prompt_map, text, places, scores, signed),
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
    by_word = [(word, float(change[word.start])) for word in words(case.document)]
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
            float(by_character[lines == number].sum()),
            None if signed is None else float(signed[lines == number].sum()),
        )
        for number in range(len(case.lines))
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
    places: Sequence[Span],
    scores: Sequence[float],
    signed: Sequence[float] | None,
) -> tuple[Token, ...]:
    tokens: list[Token] = []
    for number, (start, end) in enumerate(places):
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
                score=float(scores[number]),
                signed=None if signed is None else float(signed[number]),
            )
        )
    return tuple(tokens)

