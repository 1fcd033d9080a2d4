"""Sentence spans by Punkt, in the languages that sentence contexts are defined for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from kb_builder.errors import LongbelError
from longbel_cli.types import Span

PUNKT_MODELS = {"en": "english", "fr": "french", "es": "spanish"}


@cache
def splitter(language: str) -> Callable[[str], list[Span]]:
    """A function from a text to its sentence spans, trimmed of white space at both ends.

    Raises LongbelError for a language without a Punkt model here.
    """
    if language not in PUNKT_MODELS:
        raise LongbelError(
            f"no sentence model for the language {language!r}",
            f"Choose one of {', '.join(PUNKT_MODELS)}.",
            exit_code=2,
        )
    import punkt

    tokenizer = punkt.PunktSentenceTokenizer(punkt.load_model(PUNKT_MODELS[language]))

    def split(text: str) -> list[Span]:
        spans = (_trimmed(text, start, end) for start, end in tokenizer.span_tokenize(text))
        return [span for span in spans if span.start < span.end]

    return split


def _trimmed(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    return Span(start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip()))
