"""Decoders: from a tokenized prompt to the best names of a trie. This module loads no torch."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Protocol

MAX_NEW_TOKENS = 128


class OutOfMemoryError(Exception):
    """Raised by a decoder whose device has no room for what is in flight."""


@dataclass(frozen=True)
class Request:
    """One mention to decode. `key` is its document's instance: prompts of one key share a cache,
    and a key has at most one request at a time. `prompt_ids` end with the id of `}`. `longest` is
    about how many tokens the longest prompt of the key will have (0: unknown)."""

    key: Hashable
    prompt_ids: list[int]
    semantic_group: str
    longest: int = 0


class Beam(NamedTuple):
    """A finished answer: rows of the names table (several if composite), the summed
    log-probability of its tokens with the end, and their number."""

    rows: tuple[int, ...]
    logprob: float
    length: int

    @property
    def score(self) -> float:
        """The geometric mean probability of a token, in (0, 1]."""
        return math.exp(self.logprob / self.length)


# What a decoder answers where the model's scores are NaN.
NOT_FINITE = (Beam((), math.nan, 1),)


@dataclass(frozen=True)
class SelfCheck:
    """What the check of a decoder against its model's own forward took, and found: the largest
    difference of logits, and what rounding may come to."""

    tokens: int
    seconds: float
    difference: float
    allowed: float


@dataclass
class DecodeStats:
    """Counts over a decoder's life; times in seconds."""

    mentions: int = 0
    forwards: int = 0
    prefill_tokens: int = 0
    reused_tokens: int = 0
    tree_tokens: int = 0
    forced_tokens: int = 0
    decode_forwards: int = 0  # summed over mentions: passes that a mention took part in
    padding_tokens: int = 0
    seconds_model: float = 0.0
    seconds_trie: float = 0.0
    self_check: SelfCheck | None = None  # once a loaded model, before anything is counted


class Decoder(Protocol):
    """Decodes requests of many documents together."""

    stats: DecodeStats

    @property
    def max_active(self) -> int | None:
        """How many documents keep the device at work, if that is known."""

    @property
    def attention(self) -> str:
        """The way that attention is computed, as a run keeps it."""

    @property
    def bytes_per_token(self) -> int:
        """Cache memory that a prompt token takes while its document is under way."""

    def submit(self, request: Request) -> None:
        """Queue a request."""

    def step(self) -> list[tuple[Hashable, list[Beam]]]:
        """Do one piece of work; the requests that it finished, beams best first."""

    def release(self, key: Hashable) -> None:
        """Forget what is kept for a document that is done; nothing, where none of it came."""

    def reset(self) -> None:
        """Forget everything, requests under way included."""


@dataclass(frozen=True)
class DecoderKind:
    """A decoder as options name it: a function of a module of this room, imported when needed."""

    help: str
    module: str
    name: str

    def load(self) -> Any:
        """What makes a decoder that is checked against its model: of a model, a trie,
        `search.SearchOptions` and the ids of a prompt to check with."""
        return getattr(import_module(f"longbel_cli.model.{self.module}"), self.name)


DECODERS = {
    "packed": DecoderKind("fast", "self_check", "checked_packed"),
    "reference": DecoderKind("transformers.generate", "reference_mode", "checked_reference"),
}
