"""Rules 3 to 5: one name leads to one concept within a group, and every decision is told.

Works on numbers only: concepts and names are numbered in code-point order of their texts, so
the smallest number is the smallest code, and sorted numbers are sorted names. A claim is "this
concept has this name in this group". Nothing here knows files or tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.terms import ConceptTypes, Terms, Titles
from kb_builder.tidy import tidy_column
from kb_builder.titles import best_titles

# What the audit table says of a claim, by the rule that decided.
RULES = (
    "empty",  # rule 2 left nothing of the string
    "ambiguous",  # rule 3: the name has several concepts, each with names of its own
    "only-nameless",  # rule 3: it goes to the one concept among them without any name
    "smallest-code",  # rule 3: several are without any name; it goes to the smallest code
    "title-exists",  # rule 4: a kept name already equals the preferred title
    "title-smallest-code",  # rule 4: several concepts claim the title; the smallest code has it
    "all-caps",  # rule 5: the concept has the same letters in another case
    "qualified",  # the name came back with its title, type or code in brackets
)
_RULE = {rule: number for number, rule in enumerate(RULES)}
NOBODY = -1


class Claims(NamedTuple):
    """Claims in columns, sorted by group, name, concept where not said otherwise."""

    group: np.ndarray  # int32
    name: np.ndarray  # int32
    concept: np.ndarray  # int32
    language: np.ndarray  # int16

    def take(self, where: np.ndarray) -> Claims:
        """The claims at `where`, a mask or positions."""
        return Claims(*(column[where] for column in self))

    @property
    def n(self) -> int:
        """How many claims these are."""
        return len(self.group)


class Audit(NamedTuple):
    """Decisions in columns: `concept` claimed `name` in `group`; `given_to` has it now."""

    group: np.ndarray
    name: np.ndarray
    concept: np.ndarray
    given_to: np.ndarray  # -1: nobody
    rule: np.ndarray  # index into RULES


@dataclass
class Names:
    """The names of a knowledge base, sorted by group and name, and how they came about."""

    strings: pa.LargeStringArray  # distinct texts in code-point order
    kept: Claims
    preferred: np.ndarray  # bool[n]
    title: np.ndarray  # int32[n_concepts], index into strings, -1 without
    claimants: np.ndarray  # bool[n_concepts]: had at least one claim
    audit: Audit
    counts: dict[str, int]

    def nameless(self) -> np.ndarray:
        """Concepts that claimed names and are left without any."""
        has_name = np.zeros(len(self.title), dtype=bool)
        has_name[self.kept.concept] = True
        return np.flatnonzero(self.claimants & ~has_name)


def disambiguate(terms: Terms, qualify: bool = False) -> Names:
    """The names that rules 3 to 5 leave of `terms`; `qualify` keeps every concept reachable."""
    strings, name_of, title_of_concept, title_language = _number_names(terms)
    claims, empty = _claims(terms, name_of, strings)
    del name_of
    n_concepts = len(terms.codes)
    claimants = np.zeros(n_concepts, dtype=bool)
    claimants[claims.concept] = True
    audit = _AuditRows()
    audit.add("empty", empty, NOBODY)
    if terms.as_they_stand:
        kept, counts = claims, {"unambiguous": claims.n}
    else:
        kept, counts = _one_concept_a_name(claims, n_concepts, audit)
        added = _titles_to_add(kept, title_of_concept, title_language, len(strings), audit)
        kept = _sorted(_joined(kept, added))
        counts["titles_added"] = added.n
        with_caps = kept.n
        kept = _without_all_caps(kept, strings, audit)
        counts["all_caps_dropped"] = with_caps - kept.n
    names = Names(
        strings=strings,
        kept=kept,
        preferred=title_of_concept[kept.concept] == kept.name,
        title=title_of_concept,
        claimants=claimants,
        audit=audit.rows(),
        counts=counts,
    )
    counts["ambiguous_names"] = _ambiguous_names(claims)
    return _qualified(names, claims, terms, audit) if qualify else names


def _number_names(
    terms: Terms,
) -> tuple[pa.LargeStringArray, np.ndarray, np.ndarray, np.ndarray]:
    """All distinct texts in code-point order; names and preferred titles as their numbers."""
    titles = _preferred_titles(terms.titles)
    every = pa.chunked_array([*terms.strings.chunks, titles.string], pa.large_string())
    encoded = every.dictionary_encode()
    distinct = encoded.chunk(0).dictionary if len(every) else titles.string
    order = pc.sort_indices(distinct).to_numpy()
    strings = distinct.take(pa.array(order))
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    indices = [np.zeros(0, np.int32), *(chunk.indices.to_numpy() for chunk in encoded.chunks)]
    index = place[np.concatenate(indices)]
    n_names = len(index) - len(titles.string)
    title = np.full(len(terms.codes), -1, dtype=np.int32)
    language = np.full(len(terms.codes), -1, dtype=np.int16)
    written = pc.not_equal(titles.string, "").to_numpy(zero_copy_only=False)
    title[titles.concept[written]] = index[n_names:][written]
    language[titles.concept[written]] = titles.language[written]
    return strings, index[:n_names][terms.name], title, language


def _preferred_titles(titles: Titles) -> Titles:
    """Of each concept the best candidate, tidied."""
    encoded = titles.string.dictionary_encode()
    best = best_titles(titles.concept, titles.rank, encoded.indices.to_numpy(), encoded.dictionary)
    return Titles(
        titles.concept[best],
        tidy_column(titles.string.take(pa.array(best))),
        titles.rank[best],
        titles.language[best],
    )


@dataclass(frozen=True)
class _Packing:
    """Claims as one int64 each, so that sorting claims is sorting integers.

    No language is the last of all, so that it gives way to any language of the same claim.
    """

    n_languages: int
    name_bits: int
    concept_bits: int
    language_bits: int

    @classmethod
    def of(cls, n_groups: int, n_names: int, n_concepts: int, n_languages: int) -> _Packing:
        bits = [max(n, 1).bit_length() for n in (n_names, n_concepts, n_languages)]
        if sum(bits) + max(n_groups, 1).bit_length() > 63:
            raise OverflowError("more names, concepts and groups than 63 bits can tell apart")
        return cls(n_languages, *bits)

    def pack(self, claims: Claims) -> np.ndarray:
        key = claims.group.astype(np.int64)
        key <<= self.name_bits
        key |= claims.name
        key <<= self.concept_bits
        key |= claims.concept
        key <<= self.language_bits
        key |= np.where(claims.language < 0, self.n_languages, claims.language)
        return key

    def unpack(self, key: np.ndarray) -> Claims:
        language = (key & ((1 << self.language_bits) - 1)).astype(np.int16)
        language[language == self.n_languages] = -1
        key = key >> self.language_bits
        concept = (key & ((1 << self.concept_bits) - 1)).astype(np.int32)
        key >>= self.concept_bits
        name = (key & ((1 << self.name_bits) - 1)).astype(np.int32)
        return Claims((key >> self.name_bits).astype(np.int32), name, concept, language)


def _claims(
    terms: Terms, name_of: np.ndarray, strings: pa.LargeStringArray
) -> tuple[Claims, Claims]:
    """Distinct claims, each in its first language; apart, those of a name left empty."""
    group, name, concept, language = terms.group, name_of, terms.concept, terms.language
    if group is None:
        assert terms.concept_groups is not None
        first, groups = terms.concept_groups
        size = (first[1:] - first[:-1])[concept]
        rows = np.repeat(np.arange(len(concept)), size)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(size) - size, size)
        group = groups[first[concept[rows]] + within]
        name, concept, language = name[rows], concept[rows], language[rows]
        del rows, within, size
    packing = _Packing.of(len(terms.groups), len(strings), len(terms.codes), len(terms.languages))
    key = packing.pack(Claims(group, name, concept, language))
    del group, name, concept, language
    key.sort()
    claim = key >> packing.language_bits
    first_of_claim = np.ones(len(key), dtype=bool)
    first_of_claim[1:] = claim[1:] != claim[:-1]
    del claim
    claims = packing.unpack(key[first_of_claim])
    if len(strings) and strings[0].as_py() == "":  # the empty text is the first of all
        written = claims.name > 0
        return claims.take(written), claims.take(~written)
    return claims, claims.take(np.zeros(0, dtype=np.int64))


def _runs(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and sizes of runs of equal values in sorted columns."""
    n = len(columns[0])
    if n == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    differs = np.ones(n, dtype=bool)
    differs[1:] = False
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    start = np.flatnonzero(differs)
    return start, np.diff(np.append(start, n))


def _ambiguous_names(claims: Claims) -> int:
    _, size = _runs(claims.group, claims.name)
    return int(np.count_nonzero(size > 1))


def _one_concept_a_name(
    claims: Claims, n_concepts: int, audit: _AuditRows
) -> tuple[Claims, dict[str, int]]:
    """Rule 3: names of one concept; of one still nameless; the smallest code's."""
    start, size = _runs(claims.group, claims.name)
    alone = np.repeat(size == 1, size)
    has_name = np.zeros(n_concepts, dtype=bool)
    has_name[claims.concept[alone]] = True
    several = claims.take(~alone)
    open_ = several.take(~has_name[several.concept])
    start, size = _runs(open_.group, open_.name)
    only = open_.take(start[size == 1])
    has_name[only.concept] = True
    open_ = open_.take(np.repeat(size > 1, size))
    open_ = open_.take(~has_name[open_.concept])
    start, _ = _runs(open_.group, open_.name)
    smallest = open_.take(start)
    counts = {
        "unambiguous": int(np.count_nonzero(alone)),
        "only-nameless": only.n,
        "smallest-code": smallest.n,
    }
    _audit_several(several, only, smallest, audit)
    given = _joined(only, smallest)
    counts["ambiguous_dropped"] = _ambiguous_names(several) - given.n
    return _joined(claims.take(alone), given), counts


def _audit_several(several: Claims, only: Claims, smallest: Claims, audit: _AuditRows) -> None:
    """Every claim to a name of several concepts, with the concept that has the name now."""
    start, size = _runs(several.group, several.name)
    name_key = several.group[start].astype(np.int64) << 32 | several.name[start]
    given_to = np.full(len(start), NOBODY, dtype=np.int32)
    rule = np.full(len(start), _RULE["ambiguous"], dtype=np.int8)
    for winners, name in ((only, "only-nameless"), (smallest, "smallest-code")):
        at = np.searchsorted(name_key, winners.group.astype(np.int64) << 32 | winners.name)
        given_to[at] = winners.concept
        rule[at] = _RULE[name]
    audit.add_each(several, np.repeat(given_to, size), np.repeat(rule, size))


def _titles_to_add(
    kept: Claims, title: np.ndarray, title_language: np.ndarray, n_names: int, audit: _AuditRows
) -> Claims:
    """Rule 4: preferred titles that no kept name equals, where their concepts have names."""
    taken = np.zeros(n_names + 1, dtype=bool)  # the last one stands for "no title"
    taken[kept.name] = True
    places = np.unique(kept.group.astype(np.int64) << 32 | kept.concept)
    group, concept = (places >> 32).astype(np.int32), (places & 0xFFFFFFFF).astype(np.int32)
    claims = Claims(group, title[concept], concept, title_language[concept])
    claims = claims.take(claims.name >= 0)
    exists = taken[claims.name]
    _audit_existing(claims.take(exists), kept, audit)
    claims = _sorted(claims.take(~exists))
    start, size = _runs(claims.group, claims.name)
    first = np.zeros(claims.n, dtype=bool)
    first[start] = True
    audit.add_each(
        claims.take(~first),
        np.repeat(claims.concept[start], size)[~first],
        np.full(int((~first).sum()), _RULE["title-smallest-code"], np.int8),
    )
    return claims.take(first)


def _audit_existing(titles: Claims, kept: Claims, audit: _AuditRows) -> None:
    """A title that is a name already, unless it is the concept's own name in that group."""
    own = _keys(kept.group, kept.name)
    at = _sorted_order(own)
    sorted_keys = own[at]
    wanted = _keys(titles.group, titles.name)
    place = np.minimum(np.searchsorted(sorted_keys, wanted), max(len(own) - 1, 0))
    holder = np.where(sorted_keys[place] == wanted, kept.concept[at[place]], NOBODY)
    others = holder != titles.concept
    audit.add_each(
        titles.take(others),
        holder[others].astype(np.int32),
        np.full(int(others.sum()), _RULE["title-exists"], np.int8),
    )


def _keys(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return high.astype(np.int64) << 32 | low


def _sorted_order(key: np.ndarray) -> np.ndarray:
    return np.argsort(key, kind="stable")


def is_all_caps(name: str) -> bool:
    """Whether every letter with case is a capital, and there is one."""
    return name == name.upper() and name != name.lower()


def _without_all_caps(kept: Claims, strings: pa.LargeStringArray, audit: _AuditRows) -> Claims:
    """Rule 5: an ALL-CAPS name goes where its concept has the same letters in another case."""
    used = np.unique(kept.name)
    caps = np.zeros(len(strings), dtype=bool)
    caps[used] = _all_caps_column(strings.take(pa.array(used)))
    is_caps = caps[kept.name]
    shouting = np.zeros(int(kept.concept.max(initial=-1)) + 1, dtype=bool)
    shouting[kept.concept[is_caps]] = True
    looked_at = np.flatnonzero(shouting[kept.concept])
    letters = np.full(len(strings), -1, dtype=np.int32)
    names = np.unique(kept.name[looked_at])
    lowered = _lower_column(strings.take(pa.array(names)))
    letters[names] = lowered.dictionary_encode().indices.to_numpy()
    key = _keys(kept.concept[looked_at], letters[kept.name[looked_at]])
    in_caps = is_caps[looked_at]
    gone = np.zeros(kept.n, dtype=bool)
    gone[looked_at[in_caps]] = np.isin(key[in_caps], key[~in_caps])
    audit.add("all-caps", kept.take(gone), NOBODY)
    return kept.take(~gone)


def _bytes_of(strings: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of all strings, and int64[n + 1] where each begins."""
    _, offsets, data = strings.buffers()
    if len(strings) == 0 or data is None:
        return np.zeros(0, np.uint8), np.zeros(len(strings) + 1, np.int64)
    starts = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    return np.frombuffer(data, np.uint8), starts


def _with(flags: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """bool[n]: whether any byte of the string is flagged."""
    at = np.flatnonzero(flags)
    return np.diff(np.searchsorted(at, starts)) > 0


def _all_caps_column(strings: pa.LargeStringArray) -> np.ndarray:
    """`is_all_caps` of every string: ASCII on the bytes, others by the plain function."""
    data, starts = _bytes_of(strings)
    lower = _with((data >= ord("a")) & (data <= ord("z")), starts)
    upper = _with((data >= ord("A")) & (data <= ord("Z")), starts)
    caps = upper & ~lower
    other = np.flatnonzero(_with(data >= 0x80, starts) & ~lower)
    caps[other] = [is_all_caps(name) for name in strings.take(pa.array(other)).to_pylist()]
    return caps


def _lower_column(strings: pa.LargeStringArray) -> pa.LargeStringArray:
    """`str.lower` of every string."""
    data, starts = _bytes_of(strings)
    other = _with(data >= 0x80, starts)
    lowered = pc.ascii_lower(strings)
    if not other.any():
        return lowered
    mask = pa.array(other)
    plain = [name.lower() for name in strings.filter(mask).to_pylist()]
    return pc.replace_with_mask(lowered, mask, pa.array(plain, pa.large_string()))


def _joined(*claims: Claims) -> Claims:
    return Claims(*(np.concatenate(columns) for columns in zip(*claims, strict=True)))


def _sorted(claims: Claims) -> Claims:
    return claims.take(np.lexsort((claims.concept, claims.name, claims.group)))


class _AuditRows:
    """Gathers decisions; within a rule they stand by group, name and concept."""

    def __init__(self) -> None:
        self._parts: list[Audit] = []

    def add(self, rule: str, claims: Claims, given_to: int) -> None:
        n = claims.n
        self.add_each(claims, np.full(n, given_to, np.int32), np.full(n, _RULE[rule], np.int8))

    def add_each(self, claims: Claims, given_to: np.ndarray, rule: np.ndarray) -> None:
        self._parts.append(Audit(claims.group, claims.name, claims.concept, given_to, rule))

    def rows(self) -> Audit:
        whole = Audit(*(np.concatenate(columns) for columns in zip(*self._parts, strict=True)))
        order = np.lexsort((whole.concept, whole.name, whole.group, whole.rule))
        return Audit(*(column[order] for column in whole))


def _qualified(names: Names, claims: Claims, terms: Terms, audit: _AuditRows) -> Names:
    """Names of concepts left without any come back as `name (title)`, `(type)` or `(code)`."""
    lost = np.zeros(len(names.title), dtype=bool)
    lost[names.nameless()] = True
    wanted = claims.take(lost[claims.concept])
    wanted = wanted.take(np.lexsort((wanted.name, wanted.group, wanted.concept)))
    if wanted.n == 0:
        return names
    forms = list(_forms(names, wanted, terms))
    chosen = _first_free(forms, wanted, names)
    free = np.array([form is not None for form in chosen])
    found = [form for form in chosen if form is not None]
    return _with_names(names, wanted.take(free), found, audit)


def _forms(names: Names, wanted: Claims, terms: Terms) -> Iterable[list[str]]:
    """For each lost claim the names that may stand for it, best first."""
    texts = names.strings.take(pa.array(wanted.name)).to_pylist()
    types = terms.concept_types or ConceptTypes(np.zeros(0, np.int32), np.zeros(0, np.int16))
    for text, concept, group in zip(
        texts, wanted.concept.tolist(), wanted.group.tolist(), strict=True
    ):
        title = names.title[concept]
        qualifiers = []
        if title >= 0 and names.strings[int(title)].as_py() != text:
            qualifiers.append(names.strings[int(title)].as_py())
        qualifiers += types.named_group_of(concept, terms.groups[group])[:1]
        qualifiers.append(terms.codes[concept].as_py())
        yield [f"{text} ({qualifier})" for qualifier in qualifiers]


def _first_free(forms: list[list[str]], wanted: Claims, names: Names) -> list[str | None]:
    """The first form of each that no other name of its group has."""
    every = sorted({form for options in forms for form in options})
    known = pc.index_in(pa.array(every, pa.large_string()), value_set=names.strings)
    number = dict(zip(every, known.to_pylist(), strict=True))
    taken_keys = _keys(names.kept.group, names.kept.name)
    taken_keys.sort()
    given: set[tuple[int, str]] = set()
    chosen: list[str | None] = []
    for group, options in zip(wanted.group.tolist(), forms, strict=True):
        for form in options:
            index = number[form]
            key = -1 if index is None else group << 32 | index
            at = np.searchsorted(taken_keys, key)
            is_kept = at < len(taken_keys) and taken_keys[at] == key
            if not is_kept and (group, form) not in given:
                given.add((group, form))
                chosen.append(form)
                break
        else:  # another concept is called just that
            chosen.append(None)
    return chosen


def _with_names(names: Names, wanted: Claims, chosen: list[str], audit: _AuditRows) -> Names:
    """`names` with the claims of `wanted` kept under the texts `chosen`."""
    texts = pa.concat_arrays([names.strings, pa.array(chosen, pa.large_string())])
    encoded = texts.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    renumbered = place[encoded.indices.to_numpy()]
    old, new = renumbered[: len(names.strings)], renumbered[len(names.strings) :]
    audit.add_each(wanted, wanted.concept, np.full(wanted.n, _RULE["qualified"], np.int8))
    rows = audit.rows()
    qualified = wanted._replace(name=new)
    kept = _sorted(_joined(names.kept._replace(name=old[names.kept.name]), qualified))
    title = np.where(names.title >= 0, old[names.title], -1)
    return Names(
        strings=encoded.dictionary.take(pa.array(order)),
        kept=kept,
        preferred=title[kept.concept] == kept.name,
        title=title,
        claimants=names.claimants,
        audit=rows._replace(name=old[rows.name]),
        counts=names.counts | {"qualified": wanted.n},
    )
