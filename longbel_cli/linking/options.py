"""How to link: the options of a causal model and of the baselines, each checked once.

Loads nothing heavy: help texts list the choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kb_builder.errors import LongbelError, check_choice
from longbel_cli.linking.checks import at_least_one
from longbel_cli.model.decoders import DECODERS, MAX_NEW_TOKENS
from longbel_cli.model.devices import DTYPES
from longbel_cli.prompting.formats import PROMPT_FORMATS

MODEL_LINKER = "longbel"  # as `--linker` calls a causal model
DEFAULT_FORMAT = "hybrid_long"
MOST_BEAMS = 100
# What an encoder's vector of a mention is.
POOLINGS = {"cls": "the vector of the first token", "mean": "the mean of all tokens' vectors"}
# What is looked up for a mention that the document defines as an abbreviation.
ABBREVIATIONS = {"on": "the long form", "off": "the mention as written"}


@dataclass(frozen=True)
class LinkOptions:
    """How to link with a causal model. None: `context_format` and `language` as the checkpoint says
    (else hybrid_long, and no language), `max_batch_tokens` from the memory that is free,
    `context_tokens` (of prompt and answer together) as many as the model takes."""

    beams: int = 5
    context_format: str | None = None
    language: str | None = None
    composite: bool = False
    decoder: str = "packed"
    device: str = "auto"
    dtype: str = "auto"
    max_batch_tokens: int | None = None
    context_tokens: int | None = None

    def __post_init__(self) -> None:
        _check_beams(self.beams)
        if self.context_format is not None:
            check_choice("--context-format", self.context_format, PROMPT_FORMATS)
        check_choice("--decoder", self.decoder, DECODERS)
        check_choice("--dtype", self.dtype, DTYPES)
        at_least_one("--max-batch-tokens", self.max_batch_tokens)
        if self.context_tokens is not None and self.context_tokens <= MAX_NEW_TOKENS:
            raise LongbelError(
                f"--context-tokens {self.context_tokens}: an answer alone may take "
                f"{MAX_NEW_TOKENS}",
                exit_code=2,
            )


@dataclass(frozen=True)
class BaselineOptions:
    """How to link with a baseline; each takes what concerns it. `names_from` are corpora whose
    annotated names are looked up beside the knowledge base's."""

    beams: int = 5
    model: str | None = None
    device: str = "auto"
    pooling: str = "cls"
    language: str | None = None
    abbreviations: str = "on"
    max_batch_tokens: int | None = None
    names_from: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        _check_beams(self.beams)
        check_choice("--pooling", self.pooling, POOLINGS)
        check_choice("--abbreviations", self.abbreviations, ABBREVIATIONS)
        at_least_one("--max-batch-tokens", self.max_batch_tokens)


def _check_beams(beams: int) -> None:
    if not 1 <= beams <= MOST_BEAMS:
        raise LongbelError(f"--beams {beams}: not between 1 and {MOST_BEAMS}", exit_code=2)
