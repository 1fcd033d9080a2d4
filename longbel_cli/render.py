"""Explanations as HTML: one self-contained page, or a notebook's fragment.

Knows no model. All document text goes through autoescaping or JSON; nothing is loaded from
outside the page.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from longbel_cli.explanation import Attribution, Explanation, Weight
from longbel_cli.types import Document, Span

TEMPLATES = Path(__file__).parent / "templates"
_LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TOP = len(_LEVELS) - 1
_MIDDLE = len(_LEVELS) // 2
_FRAGMENT_FOR, _FRAGMENT_AGAINST = "217,95,2", "33,113,181"


def html_page(explanations: Sequence[Explanation], title: str = "Why this concept") -> str:
    """One self-contained page for explanations of any documents and mentions."""
    from markupsafe import Markup

    style = (TEMPLATES / "explain.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "explain.js").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("explain.html")
        .render(
            title=title,
            style=Markup(style),
            script=Markup(script),
            style_hash=_csp_hash(style),
            script_hash=_csp_hash(script),
            data=page_data(explanations),
        )
    )


def write_page(explanations: Sequence[Explanation], path: Path) -> None:
    """Write the page; a failure leaves no half of it under that name."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(html_page(explanations), encoding="utf-8")
    partial.replace(path)


def page_name(document_id: str) -> str:
    """A file name for a document's page: readable, and safe and distinct whatever the id holds."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", document_id).strip("-")[:60] or "document"
    digest = hashlib.sha256(document_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{readable}-{digest}.html"


def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )


def _csp_hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def page_data(explanations: Sequence[Explanation]) -> dict[str, Any]:
    """What the page's script reads. Offsets are UTF-16 units within a passage, as scripts count."""
    documents: dict[int, _DocumentWords] = {}
    for explanation in explanations:
        known = documents.setdefault(
            id(explanation.document), _DocumentWords(len(documents), explanation.document)
        )
        for attribution in explanation.attributions:
            known.spans.update(word.span for word in attribution.words if word.span is not None)
    return {
        "documents": [document.data() for document in documents.values()],
        "mentions": [
            _mention_data(explanation, documents[id(explanation.document)])
            for explanation in explanations
            if explanation.attributions
        ],
    }


class _DocumentWords:
    """A document of the page, and all words that any of its maps shades."""

    def __init__(self, number: int, document: Document) -> None:
        self.number, self.document = number, document
        self.spans: set[Span] = set()

    @cached_property
    def table(self) -> dict[Span, int]:
        """Each word's number, in document order."""
        return {span: number for number, span in enumerate(sorted(self.spans))}

    @cached_property
    def places(self) -> _Places:
        return _Places(self.document)

    def data(self) -> dict[str, Any]:
        words, at = list(self.table), 0
        passages = []
        for passage in self.document.passages:
            units = _utf16(passage.text)
            steps: list[int] = []  # gap, length, gap, length, …
            position = 0
            while at < len(words) and words[at].start < passage.end:
                start = int(units[words[at].start - passage.start])
                end = int(units[words[at].end - passage.start])
                steps += (start - position, end - start)
                position = end
                at += 1
            passages.append({"type": passage.type, "text": passage.text, "words": steps})
        return {"id": self.document.id, "passages": passages}


def _mention_data(explanation: Explanation, document: _DocumentWords) -> dict[str, Any]:
    prediction, places = explanation.prediction, document.places
    spans_of = {mention.id: mention.spans for mention in explanation.document.mentions}
    sentences = explanation.attributions[0].sentences
    return {
        "document": document.number,
        "id": prediction.mention_id,
        "text": prediction.mention,
        "group": prediction.semantic_group,
        "spans": places.of(explanation.mention.spans),
        "gold": prediction.gold_concept_code,
        "candidates": [list(candidate) for candidate in prediction.candidates],
        "memory": [
            {
                "id": entry.mention_id,
                "mention": entry.line.mention,
                "group": entry.line.semantic_group,
                "name": " <+> ".join(entry.line.names),
                "spans": places.of(spans_of.get(entry.mention_id, ())),
            }
            for entry in explanation.memory
        ],
        "sentences": [places.of((weight.span,)) for weight in sentences if weight.span is not None],
        "maps": [
            _map_data(attribution, document.table) for attribution in explanation.attributions
        ],
    }


def _map_data(attribution: Attribution, table: dict[Span, int]) -> dict[str, Any]:
    """A map's numbers; the words it shades follow one another, from number `first` on."""
    words = attribution.words
    return {
        "method": attribution.method,
        "rank": attribution.rank,
        "versus": attribution.versus,
        "objective": attribution.objective,
        "score": attribution.score,
        "steps": attribution.steps,
        "baseline": attribution.baseline,
        "delta": attribution.delta,
        "change": None
        if attribution.baseline_objective is None
        else attribution.objective - attribution.baseline_objective,
        "shares": dict(attribution.shares),
        "total": sum(token.score for token in attribution.tokens),
        "first": table[words[0].span] if words and words[0].span is not None else 0,
        "words": strength_levels(words),
        "signed": signed_levels(words),
        "memory": [[weight.score, weight.signed] for weight in attribution.memory],
        "sentences": [[weight.score, weight.signed] for weight in attribution.sentences],
    }


def strength_levels(words: Sequence[Weight]) -> str:
    """One character a word: its score against the largest, in 64 levels."""
    largest = max((word.score for word in words), default=0.0) or 1.0
    return "".join(_LEVELS[round(word.score / largest * _TOP)] for word in words)


def signed_levels(words: Sequence[Weight]) -> str | None:
    """One character a word: opposition below the middle level, support above; None if unknown."""
    if any(word.signed is None for word in words):
        return None
    values = [word.signed or 0.0 for word in words]
    largest = max(map(abs, values), default=0.0) or 1.0
    return "".join(_LEVELS[_MIDDLE + round(value / largest * (_MIDDLE - 1))] for value in values)


def _utf16(text: str) -> np.ndarray:
    """For each code point offset of `text` (its end included), the offset in UTF-16 units."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return np.arange(len(text) + 1) + np.concatenate([[0], np.cumsum(points > 0xFFFF)])


class _Places:
    """Document spans as [passage number, start, end] in UTF-16 units, cut at passages."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._units: dict[int, np.ndarray] = {}

    def of(self, spans: Sequence[Span]) -> list[list[int]]:
        return [place for span in spans for place in self._cut(span)]

    def _cut(self, span: Span) -> Iterator[list[int]]:
        for number, passage in enumerate(self._document.passages):
            start, end = max(span.start, passage.start), min(span.end, passage.end)
            if start < end:
                if number not in self._units:
                    self._units[number] = _utf16(passage.text)
                units = self._units[number]
                yield [number, int(units[start - passage.start]), int(units[end - passage.start])]


def visible(text: str) -> str:
    """`text` with controls and bidirectional overrides spelled out, so that none takes effect."""
    return "".join(_spelled(char) if _is_control(char) else char for char in text)


def _is_control(char: str) -> bool:
    if char in "\n\t":
        return False
    return unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") or char in _BIDI_CONTROLS


_BIDI_CONTROLS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def _spelled(char: str) -> str:
    return f"<U+{ord(char):04X}>"


def html_fragment(explanation: Explanation) -> str:
    """A notebook's view: static, each attribution one under the other, readable on any theme."""
    blocks = [_fragment_block(explanation, attribution) for attribution in explanation.attributions]
    return (
        _environment()
        .get_template("fragment.html")
        .render(
            mention=visible(explanation.prediction.mention),
            group=visible(explanation.prediction.semantic_group),
            candidates=[
                (candidate.rank, visible(candidate.concept_code), visible(candidate.concept_name),
                 f"{candidate.score:.4f}")
                for candidate in explanation.prediction.candidates
            ],
            blocks=blocks,
        )
    )  # fmt: skip


def display_saliency_map(explanation: Explanation) -> None:
    """Show an explanation where one is: as HTML in a notebook, else as ANSI on stdout."""
    if _in_notebook():
        from IPython.display import HTML, display

        display(HTML(html_fragment(explanation)))
    else:
        from longbel_cli.terminal import ansi

        print(ansi(explanation, colour=sys.stdout.isatty()))


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"


def _fragment_block(explanation: Explanation, attribution: Attribution) -> dict[str, Any]:
    shading = Shading(attribution)
    return {
        "title": heading(attribution),
        "pieces": [
            {
                "text": visible(piece.text),
                "style": _fragment_style(shading.of(piece.weight), piece.is_mention),
            }
            for piece in pieces(explanation, attribution)
        ],
        "memory": memory_rows(explanation, attribution),
    }


def _fragment_style(strength: float, is_mention: bool) -> str:
    style = "outline:2px solid currentColor;" if is_mention else ""
    if strength:
        colour = _FRAGMENT_AGAINST if strength < 0 else _FRAGMENT_FOR
        style += f"background:rgba({colour},{abs(strength) * 0.75:.2f});"
    return style


class Shading:
    """Weights against the largest of them (by default of the words), from -1 to 1.

    Ablation and contrasts have directions by nature, below 0 is against; other maps show
    strength.
    """

    def __init__(self, attribution: Attribution, weights: Sequence[Weight] | None = None) -> None:
        self._directed = attribution.method == "ablation" or attribution.versus is not None
        values = map(self._value, attribution.words if weights is None else weights)
        self._largest = max(map(abs, values), default=0.0) or 1.0

    def _value(self, weight: Weight) -> float:
        return weight.signed if self._directed and weight.signed is not None else weight.score

    def of(self, weight: Weight | None) -> float:
        return 0.0 if weight is None else self._value(weight) / self._largest

    def number(self, weight: Weight) -> str:
        """The weight itself, with a sign where it has a direction."""
        directed = self._directed and weight.signed is not None
        return f"{self._value(weight):+.3f}" if directed else f"{weight.score:.3g}"


def heading(attribution: Attribution) -> str:
    subject = f"candidate {attribution.rank}"
    if attribution.versus is not None:
        subject += f" rather than {attribution.versus}"
    return f"{attribution.method}, {subject}"


class Piece(NamedTuple):
    """A stretch of document text: a word with its weight, or what stands between words."""

    offset: int | None  # None for the joint between passages
    text: str
    weight: Weight | None
    is_mention: bool


def pieces(explanation: Explanation, attribution: Attribution) -> Iterator[Piece]:
    """The document's text in order, cut at words and at the mention's fragments."""
    document = explanation.document
    inside = np.zeros(len(document.text) + 1, dtype=bool)
    for span in explanation.mention.spans:
        inside[span.start : span.end] = True

    def cut(start: int, end: int, weight: Weight | None) -> Iterator[Piece]:
        if start >= end:
            return
        edges = np.flatnonzero(inside[start + 1 : end] != inside[start : end - 1]) + start + 1
        for first, last in pairwise([start, *edges.tolist(), end]):
            yield Piece(first, document.text[first:last], weight, bool(inside[first]))

    words = iter(attribution.words)
    word = next(words, None)
    for number, passage in enumerate(document.passages):
        if number:
            yield Piece(None, "\n", None, False)
        position = passage.start
        while word is not None and word.span is not None and word.span.start < passage.end:
            yield from cut(position, word.span.start, None)
            yield from cut(*word.span, word)
            position = word.span.end
            word = next(words, None)
        yield from cut(position, passage.end, None)


def memory_rows(explanation: Explanation, attribution: Attribution) -> list[tuple[str, ...]]:
    """Of each memory line: mention, names, weight, and the weight against the largest."""
    shading = Shading(attribution, attribution.memory)
    return [
        (
            visible(entry.line.mention),
            visible(" <+> ".join(entry.line.names)),
            shading.number(weight),
            f"{shading.of(weight):.0%}",
        )
        for entry, weight in zip(explanation.memory, attribution.memory, strict=True)
    ]
