"""Leftmost longest matches of names in the tokens of a text.

A match begins and ends at the border of a word, stays in one segment, and is a name in the casing
that its names may have. All groups compete here; which are asked for is decided afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from longbel_cli.detecting.tokens import Segment


class Match(NamedTuple):
    """A name in a text, `[start, end)`; its key, its group, and whether that is asked for."""

    start: int
    end: int
    key: str
    group: str
    wanted: bool
    score: float


MatchesAt = Callable[[Segment, int], list[tuple[int, Match]]]
"""The matches that begin at a token, each with the token behind it, longest last."""


def leftmost_longest(segment: Segment, matches_at: MatchesAt) -> Iterator[Match]:
    """The longest match at the first token that has any, then on behind it."""
    index, n_tokens = 0, len(segment.forms)
    while index < n_tokens:
        matches = matches_at(segment, index)
        if matches:
            index, match = matches[-1]
            yield match
        else:
            index += 1


def nested(segment: Segment, matches_at: MatchesAt) -> Iterator[Match]:
    """The leftmost longest matches, each with all matches inside it."""
    index, n_tokens = 0, len(segment.forms)
    while index < n_tokens:
        matches = matches_at(segment, index)
        if not matches:
            index += 1
            continue
        behind = matches[-1][0]
        for first in range(index, behind):
            inner = matches if first == index else matches_at(segment, first)
            yield from (match for end, match in inner if end <= behind)
        index = behind
