"""A knowledge base with what corpora call its concepts, held in memory.

For linkers that look names up: as `build-kb --names-from` would have built it, but that a name
which rule 3 took from everybody comes back only where a corpus uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.errors import LongbelError
from kb_builder.files import new_sha256
from kb_builder.rules.annotated import Annotated, annotated_names
from kb_builder.store.beside import document_hash
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.terms import ConceptGroups, CorpusNames


def with_names(base: KnowledgeBase, corpora: Sequence[CorpusNames]) -> KnowledgeBase:
    """The knowledge base with the annotated names of corpora, each its concept's.

    Of two concepts that corpora call by one name in a group the more often annotated has it, then
    the smaller code; whoever had it in `base` has lost it. LongbelError where a corpus has no
    mention with a concept of `base`.
    """
    annotated = annotated_names(_Concepts.of(base), corpora)
    for corpus, documents in zip(annotated.corpora, annotated.documents, strict=True):
        if not documents:
            raise LongbelError(
                f"--names-from {corpus}: no mention of it is annotated with a concept of "
                f"{base.path}",
                "Are its codes those of another terminology?",
            )
    groups = [_Group.of(base, group) for group in base.groups]
    for index, names, concepts in _owned(annotated):
        groups[index] = groups[index].with_names(names, concepts)
    made = _made(base, groups, corpora)
    made.annotated = np.concatenate([group.annotated for group in groups])
    made.corpus_of_hash = {
        document_hash(document): corpus
        for corpus, documents in zip(annotated.corpora, annotated.documents, strict=True)
        for document in documents
    }
    return made


class _Concepts(NamedTuple):
    """What `annotated_names` asks of a terminology."""

    codes: pa.ChunkedArray
    groups: tuple[str, ...]
    concept: np.ndarray
    group: np.ndarray | None
    concept_groups: ConceptGroups | None = None

    @classmethod
    def of(cls, base: KnowledgeBase) -> _Concepts:
        sizes = [len(base.rows_of_group(group)) for group in base.groups]
        group = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        return cls(base.concepts_table["code"], base.groups, base.row_concepts, group)


def _owned(annotated: Annotated) -> Iterator[tuple[int, pa.Array, np.ndarray]]:
    """Group by group the names that corpora use and the concept that each belongs to; names that
    differ in case alone belong to one."""
    name_pairs, mentions = annotated.name_pairs, annotated.mentions.tolist()
    forms = [name.casefold() for name in annotated.strings.to_pylist()]
    counts: Counter[tuple[int, str, int]] = Counter()
    rows = list(
        zip(
            name_pairs.group.tolist(),
            name_pairs.name.tolist(),
            name_pairs.concept.tolist(),
            strict=True,
        )
    )
    for (group, name, concept), n in zip(rows, mentions, strict=True):
        counts[group, forms[name], concept] += n
    owner: dict[tuple[int, str], int] = {}
    for (group, form, concept), _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        owner.setdefault((group, form), concept)
    for group in sorted({group for group, _, _ in rows}):
        names = sorted({name for of, name, _ in rows if of == group})
        concepts = [owner[group, forms[name]] for name in names]
        yield group, annotated.strings.take(pa.array(names)), np.array(concepts, dtype=np.int32)


class _Group(NamedTuple):
    """The names of a group in code-point order, with their concepts."""

    name: pa.Array
    language: pa.Array
    preferred: np.ndarray
    concept: np.ndarray
    annotated: np.ndarray

    @classmethod
    def of(cls, base: KnowledgeBase, group: str) -> _Group:
        rows = base.rows_of_group(group)
        table = base.names_table.slice(rows.start, len(rows)).combine_chunks()
        columns = {key: _one_chunk(table[key]) for key in ("name", "language", "preferred")}
        return cls(
            columns["name"],
            columns["language"].cast(pa.string()),
            columns["preferred"].to_numpy(zero_copy_only=False),
            base.row_concepts[rows.start : rows.stop].copy(),
            np.zeros(len(rows), dtype=bool),
        )

    def with_names(self, names: pa.Array, concepts: np.ndarray) -> _Group:
        """Names that are there change hands, the others come in at their places."""
        at = pc.index_in(names, value_set=self.name).fill_null(-1).to_numpy(zero_copy_only=False)
        there = at >= 0
        concept, preferred = self.concept.copy(), self.preferred.copy()
        preferred[at[there]] &= concept[at[there]] == concepts[there]
        concept[at[there]] = concepts[there]
        annotated = self.annotated.copy()
        annotated[at[there]] = True
        new = names.filter(pa.array(~there))
        joined = pa.concat_arrays([self.name, new])
        order = pc.sort_indices(joined)
        rows = order.to_numpy()
        return _Group(
            joined.take(order),
            pa.concat_arrays([self.language, pa.nulls(len(new), pa.string())]).take(order),
            np.concatenate([preferred, np.zeros(len(new), dtype=bool)])[rows],
            np.concatenate([concept, concepts[~there]])[rows],
            np.concatenate([annotated, np.ones(len(new), dtype=bool)])[rows],
        )


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


def _made(
    base: KnowledgeBase, groups: Sequence[_Group], corpora: Sequence[CorpusNames]
) -> KnowledgeBase:
    concept = np.concatenate([group.concept for group in groups])
    counts = np.bincount(concept, minlength=base.n_concepts)
    sizes = [len(group.concept) for group in groups]
    words = pa.array(base.groups, pa.string())
    index = np.repeat(np.arange(len(groups), dtype=np.int32), sizes)
    codes = base.concepts_table["code"]
    names = pa.table(
        {
            "name": pa.chunked_array([group.name for group in groups]),
            "code": codes.take(pa.array(concept)),
            "group": pa.DictionaryArray.from_arrays(pa.array(index), words),
            "language": pa.chunked_array([group.language for group in groups]).dictionary_encode(),
            "preferred": pa.array(np.concatenate([group.preferred for group in groups])),
            "concept": pa.array(concept),
            "by_concept": pa.array(np.argsort(concept, kind="stable").astype(np.int32)),
        }
    )
    table = base.concepts_table
    for column, values in (
        ("n_names", counts.astype(np.int32)),
        ("names_first", (np.cumsum(counts) - counts).astype(np.int64)),
    ):
        position = table.schema.get_field_index(column)
        table = table.set_column(position, column, pa.array(values))
    return KnowledgeBase(base.path, _info(base, groups, corpora), names, table)


def _info(
    base: KnowledgeBase, groups: Sequence[_Group], corpora: Sequence[CorpusNames]
) -> dict[str, object]:
    """The description, its signature that of base and corpora together."""
    digest = new_sha256(
        "\n".join([base.signature, *(corpus.sha256 for corpus in corpora)]).encode()
    )
    described = [
        {**known, "names": len(group.concept), "concepts": len(np.unique(group.concept))}
        for known, group in zip(base.info["groups"], groups, strict=True)
    ]
    added = {corpus.name: corpus.sha256 for corpus in corpora}
    return {
        **base.info,
        "signature": digest.hexdigest()[:16],
        "signature_on_disk": base.signature,
        "names_added": added,
        "groups": described,
    }
