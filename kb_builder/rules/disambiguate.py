"""Rules 3 to 5: one name leads to one concept within a group, and every decision is recorded.

Works on numbered name pairs; nothing here knows files or tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.rules.annotated import Annotated, all_name_pairs, settle
from kb_builder.rules.casing import all_caps_column, lower_column
from kb_builder.rules.columns import (
    distinct,
    indices_of,
    is_in,
    pairs,
    runs,
    sorted_texts,
    starts_of_runs,
    used,
)
from kb_builder.rules.normalise import tidy_column
from kb_builder.rules.pairs import (
    NOBODY,
    RULE_NUMBER,
    AuditRows,
    NamePairs,
    Names,
    joined,
    name_pairs_of,
)
from kb_builder.rules.qualify import qualified
from kb_builder.rules.titles import best_titles
from kb_builder.terms import Terms, Titles


@dataclass(frozen=True)
class _Preferred:
    """Of each concept the preferred title, as a number of its text (-1: none), and its language."""

    title: np.ndarray  # int32[n_concepts]
    language: np.ndarray  # int16[n_concepts]


def disambiguate(
    terms: Terms, ambiguous: str = "drop", annotated: Annotated | None = None
) -> Names:
    """The names that rules 3 to 5 leave of `terms`, after those that corpora use.

    `ambiguous` says what becomes of names of several concepts: a key of `rules.AMBIGUOUS`.
    """
    texts = _number_texts(terms, annotated)
    name_pairs, empty = _written(
        name_pairs_of(terms, texts.name, len(texts.strings)), texts.strings
    )
    audit = AuditRows()
    audit.add(empty, "empty")
    has_pairs = np.zeros(len(terms.codes), dtype=bool)
    has_pairs[name_pairs.concept] = True
    rest: NamePairs = name_pairs
    owned: NamePairs | None = None
    counts: dict[str, int] = {}
    if annotated is not None and texts.annotated is not None:
        owned, rest, counts = settle(name_pairs, texts.annotated, annotated.mentions, audit)
        has_pairs[owned.concept] = True
        name_pairs = all_name_pairs(name_pairs, texts.annotated)
        counts = annotated.counts | counts
    kept = _kept(terms, rest, owned, texts, audit, counts)
    names = Names(
        strings=texts.strings,
        kept=kept,
        preferred=texts.preferred.title[kept.concept] == kept.name,
        title=texts.preferred.title,
        has_pairs=has_pairs,
        audit=audit.rows(),
        counts=counts,
        text=None if terms.source_codes is None else texts.name,
        annotated=texts.annotated,
    )
    if ambiguous != "drop":
        names = qualified(names, name_pairs, terms, audit, ambiguous == "qualify-all")
    return names


def _kept(
    terms: Terms,
    name_pairs: NamePairs,
    owned: NamePairs | None,
    texts: _Texts,
    audit: AuditRows,
    counts: dict[str, int],
) -> NamePairs:
    """What is kept of `name_pairs` beside the names that are `owned`."""
    n_concepts, n_texts = len(terms.codes), len(texts.strings)
    counts["ambiguous_names"] = _several_concepts(name_pairs)
    if terms.as_they_stand:
        return name_pairs if owned is None else joined(name_pairs, owned).by_name()
    kept = _one_concept_a_name(name_pairs, n_concepts, audit, counts, owned)
    kept = _with_titles(kept, texts.preferred, n_texts, audit, counts)
    return _without_all_caps(kept, texts.strings, n_concepts, audit, counts)


class _Texts(NamedTuple):
    """All distinct texts in code-point order; names, titles and corpora's name pairs by number."""

    strings: pa.LargeStringArray
    name: np.ndarray
    preferred: _Preferred
    annotated: NamePairs | None


def _number_texts(terms: Terms, annotated: Annotated | None) -> _Texts:
    titles = _preferred_titles(terms.titles)
    more = [] if annotated is None else [annotated.strings]
    every = pa.chunked_array([*terms.strings.chunks, titles.string, *more], pa.large_string())
    encoded = every.dictionary_encode()
    texts = encoded.chunk(0).dictionary if len(every) else titles.string
    strings, rank = sorted_texts(texts)
    ranks = rank[indices_of(encoded)]
    n_used = sum(map(len, more))
    ranks, used = ranks[: len(ranks) - n_used], ranks[len(ranks) - n_used :]
    n_names = len(ranks) - len(titles.string)
    preferred = _Preferred(
        np.full(len(terms.codes), -1, dtype=np.int32), np.full(len(terms.codes), -1, dtype=np.int16)
    )
    written = pc.not_equal(titles.string, "").to_numpy(zero_copy_only=False)
    preferred.title[titles.concept[written]] = ranks[n_names:][written]
    preferred.language[titles.concept[written]] = titles.language[written]
    name_pairs = None
    if annotated is not None:
        name_pairs = annotated.name_pairs._replace(name=used[annotated.name_pairs.name])
    return _Texts(strings, ranks[:n_names][terms.name], preferred, name_pairs)


def _preferred_titles(titles: Titles) -> Titles:
    """Of each concept the best candidate, tidied."""
    encoded = titles.string.dictionary_encode()
    string = encoded.indices.to_numpy()
    best = best_titles(titles.concept, titles.rank, string, titles.language, encoded.dictionary)
    return Titles(
        titles.concept[best],
        tidy_column(titles.string.take(pa.array(best))),
        titles.rank[best],
        titles.language[best],
    )


def _written(name_pairs: NamePairs, strings: pa.LargeStringArray) -> tuple[NamePairs, NamePairs]:
    """Claims to a name, and those of which rule 2 left nothing: the empty text is number 0."""
    if len(strings) == 0 or strings[0].as_py() != "":
        return name_pairs, name_pairs.take(np.zeros(0, dtype=np.int64))
    written = name_pairs.name > 0
    return name_pairs.take(written), name_pairs.take(~written)


def _several_concepts(name_pairs: NamePairs) -> int:
    """How many names have several concepts in their group."""
    _, size = runs(name_pairs.group, name_pairs.name)
    return int(np.count_nonzero(size > 1))


def _one_concept_a_name(
    name_pairs: NamePairs,
    n_concepts: int,
    audit: AuditRows,
    counts: dict[str, int],
    owned: NamePairs | None,
) -> NamePairs:
    """Rule 3: names of one concept; of one still nameless; the smallest code's.

    `owned` are names that have their concepts already.
    """
    _, size = runs(name_pairs.group, name_pairs.name)
    alone = np.repeat(size == 1, size)
    has_name = np.zeros(n_concepts, dtype=bool)
    if owned is not None:
        has_name[owned.concept] = True
    has_name[name_pairs.concept[alone]] = True
    several = name_pairs.take(~alone)
    nameless = several.take(~has_name[several.concept])
    start, size = runs(nameless.group, nameless.name)
    only = nameless.take(start[size == 1])
    has_name[only.concept] = True
    nameless = nameless.take(np.repeat(size > 1, size))
    nameless = nameless.take(~has_name[nameless.concept])
    start, _ = runs(nameless.group, nameless.name)
    smallest = nameless.take(start)
    counts["unambiguous"] = int(np.count_nonzero(alone))
    counts["only-nameless"] = only.n
    counts["smallest-code"] = smallest.n
    counts["ambiguous_dropped"] = counts["ambiguous_names"] - only.n - smallest.n
    _audit_several(several, only, smallest, audit)
    own = [] if owned is None else [owned]
    return joined(name_pairs.take(alone), only, smallest, *own)


def _audit_several(
    several: NamePairs, only: NamePairs, smallest: NamePairs, audit: AuditRows
) -> None:
    """Every pair with a name of several concepts, with the concept that has the name now."""
    start, size = runs(several.group, several.name)
    name_key = pairs(several.group[start], several.name[start])
    given_to = np.full(len(start), NOBODY, dtype=np.int32)
    rule = np.full(len(start), RULE_NUMBER["ambiguous"], dtype=np.int8)
    for winners, name in ((only, "only-nameless"), (smallest, "smallest-code")):
        at = np.searchsorted(name_key, pairs(winners.group, winners.name))
        given_to[at] = winners.concept
        rule[at] = RULE_NUMBER[name]
    audit.add_each(several, np.repeat(rule, size), np.repeat(given_to, size))


def _with_titles(
    kept: NamePairs, preferred: _Preferred, n_texts: int, audit: AuditRows, counts: dict[str, int]
) -> NamePairs:
    """Rule 4: preferred titles that no kept name equals, where their concepts have names."""
    keys = distinct(pairs(kept.group, kept.concept))
    group, concept = (keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32)
    name_pairs = NamePairs(group, preferred.title[concept], concept, preferred.language[concept])
    name_pairs = name_pairs.take(name_pairs.name >= 0)
    taken = np.zeros(n_texts, dtype=bool)
    taken[kept.name] = True
    exists = taken[name_pairs.name]
    _audit_existing(name_pairs.take(exists), kept, audit)
    name_pairs = name_pairs.take(~exists).by_name()
    start, size = runs(name_pairs.group, name_pairs.name)
    first = starts_of_runs(name_pairs.group, name_pairs.name)
    winner = np.repeat(name_pairs.concept[start], size)
    audit.add(name_pairs.take(~first), "title-smallest-code", winner[~first])
    added = name_pairs.take(first)
    counts["titles_added"] = added.n
    return joined(kept, added).by_name()


def _audit_existing(titles: NamePairs, kept: NamePairs, audit: AuditRows) -> None:
    """A title that is a name already, unless it is the concept's own name in that group."""
    kept_key = pairs(kept.group, kept.name)
    order = np.argsort(kept_key)
    kept_key = kept_key[order]
    wanted = pairs(titles.group, titles.name)
    nearest = np.minimum(np.searchsorted(kept_key, wanted), max(kept.n - 1, 0))
    holder = np.where(kept_key[nearest] == wanted, kept.concept[order[nearest]], NOBODY)
    others = holder != titles.concept
    audit.add(titles.take(others), "title-exists", holder[others])


def _without_all_caps(
    kept: NamePairs,
    strings: pa.LargeStringArray,
    n_concepts: int,
    audit: AuditRows,
    counts: dict[str, int],
) -> NamePairs:
    """Rule 5: an ALL-CAPS name goes where its concept has the same letters in another case."""
    is_caps = all_caps_column(strings)[kept.name]
    # Only the names of concepts that have one in capitals need to be looked at.
    shouting = np.zeros(n_concepts, dtype=bool)
    shouting[kept.concept[is_caps]] = True
    at = np.flatnonzero(shouting[kept.concept])
    names = used(kept.name[at], len(strings))
    letters = np.full(len(strings), -1, dtype=np.int32)
    lowered = lower_column(strings.take(pa.array(names)))
    letters[names] = indices_of(lowered.dictionary_encode())
    del lowered
    key, in_caps = pairs(kept.concept[at], letters[kept.name[at]]), is_caps[at]
    gone = np.zeros(kept.n, dtype=bool)
    gone[at[in_caps]] = is_in(key[in_caps], key[~in_caps])
    audit.add(kept.take(gone), "all-caps")
    counts["all_caps_dropped"] = int(np.count_nonzero(gone))
    return kept.take(~gone)
