"""Explanations in a terminal, by 256-colour backgrounds or without any colour.

What a document holds is never sent as a control to the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kb_builder.text import visible, visible_line
from longbel_cli.explaining.explanation import Attribution, Explanation
from longbel_cli.explaining.shading import (
    Shading,
    heading,
    memory_rows,
    pieces,
    score_text,
)

# Backgrounds from faint to strong: yellow to brown for support, blues for opposition.
_FOR = (230, 223, 222, 215, 208, 166, 130)
_AGAINST = (195, 153, 117, 75, 33, 26, 19)
_EXCERPT = 72  # characters of a word or sentence in a list
_WHOLE_DOCUMENT = 6000  # characters; of longer documents some sentences are shown


def ansi(explanation: Explanation, colour: bool = True) -> str:
    """The same for a terminal, one attribution under the other."""
    prediction = explanation.prediction
    lines = [
        f"{visible_line(explanation.document.id)}:{visible_line(prediction.mention_id)}  "
        f"[{visible_line(prediction.mention)}] ({visible_line(prediction.semantic_group)})",
    ]
    for candidate in prediction.candidates:
        lines.append(
            f"  {candidate.rank}  {score_text(candidate.score)}  "
            f"{visible_line(candidate.concept_code)}  {visible_line(candidate.concept_name)}"
        )
    for attribution in explanation.attributions:
        lines += ["", *_ansi_attribution(explanation, attribution, colour)]
    return "\n".join(lines)


def _ansi_attribution(
    explanation: Explanation, attribution: Attribution, colour: bool
) -> Iterator[str]:
    objective = (
        "log-probability" if attribution.versus is None else "lead in log-probability per token"
    )
    yield f"-- {heading(attribution)}; {objective} {attribution.objective:.3f}"
    if attribution.delta is not None:
        yield f"   {attribution.steps} steps, completeness delta {attribution.delta:+.4f}"
    shares = ", ".join(f"{part} {share:.0%}" for part, share in attribution.shares.items())
    yield f"   shares: {shares}"
    yield ""
    yield _ansi_text(explanation, attribution, colour)
    yield ""
    by_sentence = attribution.method == "ablation"
    strongest = attribution.sentences if by_sentence else attribution.words
    shading = Shading(attribution)
    for weight in sorted(strongest, key=lambda weight: -abs(shading.of(weight)))[:8]:
        if weight.span is not None and weight.score:
            text = explanation.document.text[slice(*weight.span)]
            value = shading.value_text(weight) if by_sentence else f"{shading.of(weight):.0%}"
            yield f"   {value:>8}  @{weight.span.start}  {_excerpt(text)}"
    if explanation.memory:
        yield "   earlier normalizations:"
    for mention, name, value, share in memory_rows(explanation, attribution):
        yield f"   {share:>5}  {value:>8}  [{mention}] {name}"


def _excerpt(text: str) -> str:
    text = visible_line(" ".join(text.split()))
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"


def _ansi_text(explanation: Explanation, attribution: Attribution, colour: bool) -> str:
    kept = _kept_offsets(explanation, attribution)
    shading = Shading(attribution)
    parts: list[str] = []
    hidden = False
    for piece in pieces(explanation, attribution):
        if kept is not None and piece.offset is not None and not kept[piece.offset]:
            parts.append("" if hidden else " … ")
            hidden = True
        else:
            hidden = hidden and piece.offset is None
            strength = shading.of(piece.weight)
            parts.append(_ansi_word(piece.text, strength, piece.is_mention, colour))
    return "".join(parts)


def _kept_offsets(explanation: Explanation, attribution: Attribution) -> np.ndarray | None:
    """Of a long document, which offsets the terminal shows: the strongest sentences."""
    length = len(explanation.document.text)
    if length <= _WHOLE_DOCUMENT:
        return None
    kept = np.zeros(length + 1, dtype=bool)
    strongest = sorted(attribution.sentences, key=lambda weight: -weight.score)[:12]
    start, end = explanation.mention.start, explanation.mention.end
    for weight in strongest:
        if weight.span is not None:
            kept[weight.span.start : weight.span.end] = True
    kept[max(0, start - 200) : end + 200] = True
    return kept


def _ansi_word(text: str, strength: float, is_mention: bool, colour: bool) -> str:
    text = visible(text)
    if not colour:
        return f">>{text}<<" if is_mention and text.strip() else text
    codes: list[str] = ["1", "4"] if is_mention else []
    scale = _AGAINST if strength < 0 else _FOR
    level = round(abs(strength) * len(scale))
    if level:
        ink = 231 if level > len(scale) - 2 else 16
        codes += [f"48;5;{scale[level - 1]}", f"38;5;{ink}"]
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if codes else text
