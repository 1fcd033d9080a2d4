"""Training documents made from the names of a knowledge base, in English, French and Spanish.

Document number n of a seed is always the same. It is a few sentences with names in their
places, written as texts write them: small letters, plurals, other word orders, spellings of
both sides of the Atlantic, abbreviations introduced once and used again, typing errors. Knows
nothing of prompts, targets or models: it yields documents with gold, like a corpus reader.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property

from longbel_cli.training.data.lexicon import Lexicon, Name, folded
from longbel_cli.training.synthetic.surfaces import (
    CHANGES,
    abbreviation,
    decased,
    in_other_language,
)
from longbel_cli.training.synthetic.texts import FILLERS, HEADINGS, KIND_OF_GROUP, TEMPLATES
from longbel_cli.types import Document, Mention, Passage, Span, in_document_order

LANGUAGES = {"ENG": "en", "FRE": "fr", "SPA": "es"}
# How many documents of a hundred are in each language, where the KB has names in it.
SHARES = {"en": 52, "fr": 24, "es": 24}
# The share of documents that are bare lists.
LISTS = 0.35
# The share of names in French and Spanish documents that are made from English ones.
FOREIGN = 0.3
_AND = {"en": "and", "fr": "et", "es": "y"}


class SyntheticDocuments:
    """The documents made from one lexicon with one seed."""

    def __init__(self, lexicon: Lexicon, seed: int) -> None:
        self._lexicon = lexicon
        self._seed = seed

    def document(self, index: int) -> Document:
        """Document `index`; the same index gives the same document."""
        rng = random.Random(f"{self._seed}/{index}")
        writer = _Writer(self._lexicon, self._pools, rng)
        passages, mentions = writer.write()
        return Document(f"synthetic-{index}", passages, mentions, source="synthetic")

    @cached_property
    def _pools(self) -> _Pools:
        return _Pools.of(self._lexicon)


@dataclass(frozen=True)
class _Pools:
    """What names are drawn from: by language and kind, and by a shared word."""

    names: dict[tuple[str, str], tuple[Name, ...]]
    concepts: dict[tuple[str, str], tuple[tuple[Name, ...], ...]]
    neighbours: dict[tuple[str, str], tuple[Name, ...]]
    languages: tuple[str, ...]

    @classmethod
    def of(cls, lexicon: Lexicon) -> _Pools:
        names: dict[tuple[str, str], list[Name]] = defaultdict(list)
        neighbours: dict[tuple[str, str], list[Name]] = defaultdict(list)
        concepts: dict[tuple[str, str], dict[str, list[Name]]] = defaultdict(dict)
        for name in lexicon.names:
            language = LANGUAGES.get(name.language, "en")
            for kind in (kind_of(name.group), "any"):
                names[language, kind].append(name)
                concepts[language, kind].setdefault(name.code + name.group, []).append(name)
            for word in set(_words(name.text)):
                neighbours[name.group, word].append(name)
        return cls(
            {key: tuple(pool) for key, pool in names.items()},
            {key: tuple(tuple(c) for c in pool.values()) for key, pool in concepts.items()},
            {key: tuple(pool) for key, pool in neighbours.items()},
            tuple(language for language in SHARES if (language, "any") in names),
        )

    def draw(self, language: str, kind: str, rng: random.Random) -> Name:
        """A name of that kind: half the draws are even over names, half over concepts.

        French and Spanish documents take some English names too: most concepts have no others.
        """
        keys = [(language, kind), ("en", kind), (language, "any")]
        if rng.random() < FOREIGN:
            keys[:2] = reversed(keys[:2])
        for key in keys:
            if key in self.names:
                if rng.random() < 0.5:
                    return rng.choice(self.names[key])
                return rng.choice(rng.choice(self.concepts[key]))
        return rng.choice(self.names[self.languages[0], "any"])

    def neighbour(self, name: Name, rng: random.Random) -> Name:
        """A name of the same group that shares a word with `name`, mostly another concept's."""
        words = _words(name.text)
        if not words:
            return name
        return rng.choice(self.neighbours[name.group, rng.choice(words)])


def kind_of(group: str) -> str:
    """Which templates' places names of the group may fill."""
    return KIND_OF_GROUP.get(group.casefold(), "other")


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.casefold()) if len(word) > 3]


@dataclass
class _Writer:
    """Writes one document: text so far, mentions so far, and what concepts were called."""

    lexicon: Lexicon
    pools: _Pools
    rng: random.Random
    text: str = ""
    mentions: list[Mention] = field(default_factory=list)
    concepts: list[Name] = field(default_factory=list)
    short_forms: dict[tuple[str, str], str] = field(default_factory=dict)
    last_forms: dict[tuple[str, str], str] = field(default_factory=dict)
    language: str = "en"

    def write(self) -> tuple[tuple[Passage, ...], tuple[Mention, ...]]:
        languages = self.pools.languages
        self.language = self.rng.choices(languages, [SHARES[language] for language in languages])[0]
        if self.rng.random() < LISTS:
            self._list()
            return (Passage(self.text),), in_document_order(self.mentions)
        return self._passages(self._sentences()), in_document_order(self.mentions)

    def _list(self) -> None:
        """Names one after another, as in lists of diagnoses or medications."""
        separator = self.rng.choice((", ", "; ", "\n", " / "))
        kind = self.rng.choice(("any", "any", "disorder", "chemical"))
        for index in range(self.rng.randint(3, 12)):
            if index:
                self._put(separator)
            self._place(kind)

    def _sentences(self) -> int | None:
        """The sentences of a text; where its title ends, if it has one."""
        rng = self.rng
        sentences = rng.choices((1, 2, 3, 4, 5, 6, 9, 14), (10, 14, 18, 18, 14, 12, 10, 4))[0]
        title_end = None
        for index in range(sentences):
            self._gap(index)
            if rng.random() < 0.15:
                self._put(rng.choice(FILLERS[self.language]))
            else:
                self._sentence()
            if index == 0 and sentences > 2 and rng.random() < 0.3:
                title_end = len(self.text)
        return title_end

    def _passages(self, title_end: int | None) -> tuple[Passage, ...]:
        if title_end is None:
            return (Passage(self.text),)
        return (
            Passage(self.text[:title_end], 0, "title", "title"),
            Passage(self.text[title_end + 1 :], title_end + 1, "abstract", "abstract"),
        )

    def _gap(self, index: int) -> None:
        if index:
            self._put("\n" if self.rng.random() < 0.15 else " ")
        if self.rng.random() < 0.12:
            self._put(self.rng.choice(HEADINGS[self.language]))
            self._put("\n" if self.rng.random() < 0.3 else " ")

    def _put(self, text: str) -> None:
        self.text += text

    def _sentence(self) -> None:
        start = len(self.text)
        template = self.rng.choice(TEMPLATES[self.language])
        for piece in re.split(r"(<\w+>)", template):
            if piece.startswith("<"):
                self._place(piece[1:-1])
            else:
                self._put(piece)
        if self.rng.random() < 0.9:
            first = self.text[start : start + 1]
            if len(first.upper()) == 1:  # of ß it is SS: offsets would move
                self._raise_first(start, first)

    def _raise_first(self, start: int, first: str) -> None:
        """A capital at the head of a sentence, in the mention that begins there as well."""
        self.text = self.text[:start] + first.upper() + self.text[start + len(first) :]
        self.mentions = [
            self._renewed(mention) if mention.start == start else mention
            for mention in self.mentions
        ]

    def _renewed(self, mention: Mention) -> Mention:
        text = " ".join(self.text[span.start : span.end] for span in mention.spans)
        return Mention(
            mention.id, mention.spans, text, mention.semantic_group,
            mention.entity_type, mention.gold,
        )  # fmt: skip

    def _place(self, kind: str) -> None:
        """Fill a place of a template: a concept again, a new one, or two sharing a last word."""
        rng = self.rng
        known = [name for name in self.concepts if kind in ("any", kind_of(name.group))]
        if known and rng.random() < 0.4:
            self._again(rng.choice(known))
            return
        name = self.pools.draw(self.language, kind, rng)
        if self.concepts and rng.random() < 0.25:
            near = self.pools.neighbour(rng.choice(self.concepts), rng)
            if kind in ("any", kind_of(near.group)):
                name = near
        if rng.random() < 0.04 and self._coordinated(name):
            return
        self._first(name)

    def _first(self, name: Name) -> None:
        surface = self._surface(name)
        self._mention(name, surface)
        self.concepts.append(name)
        short = abbreviation(surface)
        concept = (name.code, name.group)
        if short is not None and concept not in self.short_forms and self.rng.random() < 0.5:
            self.short_forms[concept] = short
            self._put(" (")
            if self.rng.random() < 0.85:
                self._mention(name, short)
            else:
                self._put(short)
            self._put(")")

    def _again(self, name: Name) -> None:
        rng = self.rng
        concept = (name.code, name.group)
        if concept in self.short_forms and rng.random() < 0.75:
            self._mention(name, self.short_forms[concept])
        elif rng.random() < 0.5:
            self._mention(name, self.last_forms[concept])
        elif rng.random() < 0.5:
            self._mention(name, self._surface(name))
        else:
            others = self.lexicon.of_concept(*concept)
            same = [name for name in others if LANGUAGES.get(name.language, "en") == self.language]
            self._mention(name, self._surface(rng.choice(same or others)))

    def _coordinated(self, name: Name) -> bool:
        """`breast and ovarian cancer`: the first of two names in two fragments."""
        head, _, last = name.text.rpartition(" ")
        if not head or len(last) < 4:
            return False
        for other in self.rng.sample(
            pool := self.pools.neighbours.get((name.group, last.casefold()), ()), min(8, len(pool))
        ):
            modifier, _, end = other.text.rpartition(" ")
            if end.casefold() == last.casefold() and modifier and other.code != name.code:
                self._two(name, head.lower(), other, f"{modifier.lower()} {last.lower()}")
                return True
        return False

    def _two(self, name: Name, head: str, other: Name, rest: str) -> None:
        start = len(self.text)
        self._put(f"{head} {_AND[self.language]} ")
        rest_start = len(self.text)
        self._put(rest)
        last = rest.rpartition(" ")[2]
        self._add(
            name,
            (Span(start, start + len(head)), Span(len(self.text) - len(last), len(self.text))),
        )
        self._add(other, (Span(rest_start, len(self.text)),))

    def _mention(self, name: Name, surface: str) -> None:
        start = len(self.text)
        self._put(surface)
        self._add(name, (Span(start, len(self.text)),))
        self.last_forms[name.code, name.group] = surface

    def _add(self, name: Name, spans: tuple[Span, ...]) -> None:
        text = " ".join(self.text[span.start : span.end] for span in spans)
        self.mentions.append(
            Mention(f"T{len(self.mentions) + 1}", spans, text, name.group, name.group, (name.code,))
        )
        self.last_forms.setdefault((name.code, name.group), text)

    def _surface(self, name: Name) -> str:
        """The name as a text might write it; never a form that stands for another concept."""
        plain = decased(name.text, self.rng)
        written = plain
        for chance, change in CHANGES:
            if self.rng.random() < chance:
                written = change(written, self.language, self.rng)
        if name.language == "ENG" and self.language != "en" and self.rng.random() < 0.8:
            written = in_other_language(written, self.language, self.rng)
        codes = self.lexicon.codes_by_form.get((folded(written), name.group))
        if not written.strip() or (codes is not None and codes != {name.code}):
            return plain
        return written
