"""The dictionary detector: names of a knowledge base as they stand in text. Nothing is trained.

What a corpus adds to it, annotated names and names that its annotators leave alone, is `Learned`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import marisa_trie

from kb_builder.files import sha256_of
from longbel_cli.corpora.abbreviations import abbreviations
from longbel_cli.detecting.detector import Detection
from longbel_cli.detecting.index import NameIndex, is_in_capitals
from longbel_cli.detecting.matching import Match, leftmost_longest, nested
from longbel_cli.detecting.options import DICTIONARY, DictionaryOptions
from longbel_cli.detecting.stop_words import stop_words
from longbel_cli.detecting.tokens import Segment, Tokenizer
from longbel_cli.types import Document, Span

_MOST_KNOWN = 1 << 15  # looked-up keys that are remembered


class LearnedName(NamedTuple):
    """The group that annotators give a name, how often of all times, and whether they have seen
    it in capitals alone."""

    group: str
    score: float
    capitals: bool


@dataclass(frozen=True)
class Learned:
    """What a corpus says of names, by their keys: those annotated, those left alone; `prior` is
    the share of matches of other names that are annotated."""

    names: Mapping[str, LearnedName] = field(default_factory=dict)
    left_alone: frozenset[str] = frozenset()
    prior: float = 1.0

    @cached_property
    def trie(self) -> marisa_trie.Trie:
        return marisa_trie.Trie(self.names)

    @property
    def signature(self) -> str:
        """What stands for it in a run's configuration."""
        rows = [*sorted(self.names.items()), *sorted(self.left_alone), self.prior]
        return sha256_of(repr(rows).encode("utf-8", "surrogatepass"))[:16]


class ShortForm(NamedTuple):
    """An abbreviation of a document, and the group of its long form; None where that is no name."""

    text: str
    key: str
    group: str | None


class DictionaryDetector:
    """Finds names of an index, and those learned from a corpus, in documents."""

    name = DICTIONARY

    def __init__(
        self, index: NameIndex, options: DictionaryOptions, learned: Learned | None = None
    ) -> None:
        self.options, self.learned = options, learned or Learned()
        self._index, self._iterate = index, index.trie.iter_prefixes_with_ids
        self._known: dict[tuple[str, bool], Match | None] = {}
        self._tokenizer = Tokenizer(options.rules.folding)
        self._stopped = frozenset(map(self._tokenizer.key, options.stop)) | self.learned.left_alone
        rules = options.rules
        words = stop_words(rules.function_words, rules.general_words)
        self._function_words = frozenset(map(self._tokenizer.form, words))
        self._wanted = frozenset(options.semantic_groups)

    def settings(self) -> dict[str, Any]:
        """What can change detections, as a run keeps it."""
        stop = sha256_of("\n".join(sorted(self.options.stop)).encode("utf-8", "surrogatepass"))
        return self.options.settings() | {
            "detector_stop": stop[:16] if self.options.stop else None,
            "detector_learned": self.learned.signature if self.learned.names else None,
        }

    def detect(self, document: Document) -> list[Detection]:
        """The mentions of a document, in its order."""
        return [
            Detection(Span(match.start, match.end), match.group, match.score)
            for match in self.matches(document)
            if self._is_asked_for(match)
        ]

    def matches(self, document: Document) -> list[Match]:
        """All that competed and won, whether or not its group is asked for."""
        text = document.text
        borders = [offset for each in document.passages for offset in (each.start, each.end)]
        search = _Search(self, text)
        choose = nested if self.options.nested else leftmost_longest
        return [
            match
            for segment in self._tokenizer.segments(text, borders)
            for match in choose(segment, search.matches_at)
        ]

    def _is_asked_for(self, match: Match) -> bool:
        return match.wanted and (not self._wanted or match.group in self._wanted)

    def key(self, text: str) -> str:
        """The key under which a name is found."""
        return self._tokenizer.key(text)

    def is_stopped(self, key: str) -> bool:
        """Whether a key is told to be no mention, or is made of function words alone."""
        if key in self._stopped:
            return True
        words = self._function_words
        return all(form in words or not form.isalpha() for form in key.split())

    def known(self, key: str, key_id: int | None, text: str) -> Match | None:
        """The match that a text of that key makes, at no place; None where it names nothing."""
        in_capitals = is_in_capitals(text)
        asked = (key, in_capitals)
        if asked not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[asked] = self._look_up(key, key_id, in_capitals)
        return self._known[asked]

    def _look_up(self, key: str, key_id: int | None, in_capitals: bool) -> Match | None:
        learned = self.learned.names.get(key)
        if learned is not None and (not learned.capitals or in_capitals):
            return Match(0, 0, key, learned.group, True, learned.score)
        if key_id is None or self.is_stopped(key):
            return None
        meaning = self._index.meaning(key_id, in_capitals)
        if meaning is None:
            return None
        is_wanted = not self._wanted or meaning.group in self._wanted
        if not self.options.rules.all_compete and not is_wanted:
            return None
        return Match(0, 0, key, meaning.group, meaning.wanted, self.learned.prior)

    def keys_at(self, joined: str, position: int) -> list[tuple[str, int | None]]:
        """The keys that the forms from a position on begin with."""
        keys: list[tuple[str, int | None]]
        keys = list(self._iterate(joined[position : position + self._index.longest]))
        if self.learned.names:
            known = {key for key, _ in keys}
            ahead = joined[position : position + self._longest_learned]
            keys += [(key, None) for key in self.learned.trie.iter_prefixes(ahead)
                     if key not in known]  # fmt: skip
        return keys

    @cached_property
    def _longest_learned(self) -> int:
        return max(map(len, self.learned.names), default=0)

    def group_of(self, text: str) -> Match | None:
        """What a text as a whole names; None where it is no name."""
        key = self.key(text)
        return self.known(key, self._index.trie.get(key), text)

    def short_forms(self, text: str) -> dict[str, list[ShortForm]]:
        """The abbreviations that a document defines, by the form of their first token."""
        forms: dict[str, list[ShortForm]] = {}
        if self.options.abbreviations == "off":
            return forms
        for short, long in abbreviations(text).items():
            named = self.group_of(long)
            group = None if named is None else named.group
            for key in {self.key(short), self.key(f"{short}s")} - {""}:
                forms.setdefault(key.split()[0], []).append(ShortForm(short, key, group))
        return forms


class _Search:
    """Matches in one document, with the abbreviations that it defines."""

    def __init__(self, detector: DictionaryDetector, text: str) -> None:
        self._detector, self._text = detector, text
        self._short_forms = detector.short_forms(text)

    def matches_at(self, segment: Segment, first: int) -> list[tuple[int, Match]]:
        """The matches that begin at a token, each with the token behind it, longest last."""
        if segment.glued[first]:
            return []
        position = segment.keys[first]
        keys = self._detector.keys_at(segment.joined, position)
        abbreviated = segment.forms[first] in self._short_forms
        if not keys and not abbreviated:
            return []
        match_of_end: dict[int, Match] = {}
        for key, key_id in keys:
            behind = self._token_behind(segment, position + len(key), first)
            if behind is None:
                continue
            start, end = segment.starts[first], segment.ends[behind - 1]
            match = self._detector.known(key, key_id, self._text[start:end])
            if match is not None:
                match_of_end[behind] = Match(start, end, *match[2:])
        if abbreviated:
            self._add_short_forms(segment, first, match_of_end)
        return sorted(match_of_end.items())

    @staticmethod
    def _token_behind(segment: Segment, position: int, first: int) -> int | None:
        """The token that begins at a position of the joined forms; None inside a word."""
        behind = bisect_left(segment.keys, position, first + 1)
        return None if behind < len(segment.glued) and segment.glued[behind] else behind

    def _add_short_forms(
        self, segment: Segment, first: int, match_of_end: dict[int, Match]
    ) -> None:
        position = segment.keys[first]
        for short in self._short_forms[segment.forms[first]]:
            if not segment.joined.startswith(short.key, position):
                continue
            behind = self._token_behind(segment, position + len(short.key), first)
            if behind is None:
                continue
            start, end = segment.starts[first], segment.ends[behind - 1]
            if self._text[start:end].rstrip("s'\u2019") != short.text.rstrip("s"):
                continue
            match_of_end.pop(behind, None)
            if short.group is not None:
                score = self._detector.learned.prior
                match_of_end[behind] = Match(start, end, short.key, short.group, True, score)
