"""Names of several concepts come back as `name (what it is)`, which tells the concepts apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.rules.columns import pairs, runs, sorted_texts
from kb_builder.rules.pairs import AuditRows, NamePairs, Names, joined
from kb_builder.terms import ConceptTypes, Terms


def qualified(
    names: Names, name_pairs: NamePairs, terms: Terms, audit: AuditRows, every_concept: bool = False
) -> Names:
    """`names` with every lost name of a nameless concept kept as `name (what it is)`.

    With `every_concept` so is every name that several concepts of a group claim, for each of
    them, the one that keeps the name among them. What it is: the concept's preferred title, where
    that is no different from the name its first semantic type of the group, and where another
    name is spelled just so its code.
    """
    lost = np.zeros(len(names.title), dtype=bool)
    lost[names.nameless()] = True
    chosen_pairs = lost[name_pairs.concept]
    if every_concept:
        _, size = runs(name_pairs.group, name_pairs.name)
        chosen_pairs |= np.repeat(size > 1, size)
    wanted = name_pairs.take(chosen_pairs)
    wanted = wanted.take(np.lexsort((wanted.name, wanted.group, wanted.concept)))
    if wanted.n == 0:
        return names
    chosen = _first_free(list(_forms(names, wanted, terms)), wanted, names)
    free = np.array([form is not None for form in chosen])
    texts = [form for form in chosen if form is not None]
    return _with_names(names, wanted.take(free), texts, audit)


def _forms(names: Names, wanted: NamePairs, terms: Terms) -> Iterator[list[str]]:
    """For each pair the names that may stand for it, best first."""
    texts = names.strings.take(pa.array(wanted.name)).to_pylist()
    types = terms.concept_types or ConceptTypes(np.zeros(0, np.int32), np.zeros(0, np.int16))
    for text, concept, group in zip(
        texts, wanted.concept.tolist(), wanted.group.tolist(), strict=True
    ):
        title = int(names.title[concept])
        qualifiers = [] if title < 0 else [names.strings[title].as_py()]
        qualifiers = [qualifier for qualifier in qualifiers if qualifier != text]
        qualifiers += types.names_in_group(concept, terms.groups[group])[:1]
        qualifiers.append(terms.codes[concept].as_py())
        yield [f"{text} ({qualifier})" for qualifier in qualifiers]


def _first_free(forms: list[list[str]], wanted: NamePairs, names: Names) -> list[str | None]:
    """The first form of each that no other name of its group has."""
    every = sorted({form for options in forms for form in options})
    known = pc.index_in(pa.array(every, pa.large_string()), value_set=names.strings)
    rank = dict(zip(every, known.to_pylist(), strict=True))
    kept = np.sort(pairs(names.kept.group, names.kept.name))
    given: set[tuple[int, str]] = set()

    def is_free(group: int, form: str) -> bool:
        if (group, form) in given:
            return False
        if rank[form] is None:
            return True
        key = group << 32 | rank[form]
        at = int(np.searchsorted(kept, key))
        return at == len(kept) or kept[at] != key

    chosen: list[str | None] = []
    for group, options in zip(wanted.group.tolist(), forms, strict=True):
        form = next((form for form in options if is_free(group, form)), None)
        chosen.append(form)
        if form is not None:
            given.add((group, form))
    return chosen


def _with_names(names: Names, wanted: NamePairs, chosen: list[str], audit: AuditRows) -> Names:
    """`names` with the pairs of `wanted` kept under the texts `chosen`; all texts renumbered."""
    texts = pa.concat_arrays([names.strings, pa.array(chosen, pa.large_string())])
    encoded = texts.dictionary_encode()
    strings, rank = sorted_texts(encoded.dictionary)
    renumbered = rank[encoded.indices.to_numpy()]
    old, new = renumbered[: len(names.strings)], renumbered[len(names.strings) :]
    audit.add(wanted, "qualified", wanted.concept)
    rows = audit.rows()
    kept = names.kept._replace(name=old[names.kept.name])
    kept = joined(kept, wanted._replace(name=new)).by_name()
    title = np.where(names.title >= 0, old[names.title], -1)
    return Names(
        strings=strings,
        kept=kept,
        preferred=title[kept.concept] == kept.name,
        title=title,
        has_pairs=names.has_pairs,
        audit=rows._replace(name=old[rows.name]),
        counts=names.counts | {"qualified": wanted.n},
        text=None if names.text is None else old[names.text],
        annotated=None
        if names.annotated is None
        else names.annotated._replace(name=old[names.annotated.name]),
        qualified=wanted._replace(name=old[wanted.name]),
        qualified_name=new,
    )
