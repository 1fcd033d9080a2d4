"""Ontologies, whatever file they come from: terms of OBO and OBO Graph JSON as concepts.

A term's code is its CURIE. Which scopes of synonyms are names, and what a group is, is said here;
how a file is written is not known.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from kb_builder.sources.collected import Collected, require_vocabularies
from kb_builder.sources.reading import Reading, umls_language
from kb_builder.terms import Terms

DEFAULT_SCOPES = ("exact", "related")
log = logging.getLogger(__name__)


class Synonym(NamedTuple):
    """Another name of a term; `scope` in lower case; no language: that of the file."""

    text: str
    scope: str
    language: str | None


@dataclass
class OntologyTerm:
    """A term as its file has it, and the line where it begins (0 where that is not known)."""

    id: str
    line: int
    name: str | None = None
    language: str | None = None
    namespace: str | None = None
    synonyms: list[Synonym] = field(default_factory=list)
    xrefs: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)  # codes that were this term's
    obsolete: bool = False
    replaced_by: list[str] = field(default_factory=list)


class OntologyFile(Protocol):
    """A file of terms; what it says of itself is complete once all were taken."""

    path: Path
    release: str | None
    namespace: str | None  # of terms that name none
    language: str | None
    n_partly_read: int
    partly_read_line: int  # where the first of these begins
    edges: list[tuple[str, str, int]]  # child, parent and line of parents that stand apart

    def terms(self) -> Iterator[OntologyTerm]: ...

    @property
    def about(self) -> dict[str, object]: ...


def prefix_of(code: str) -> str:
    """The vocabulary of a CURIE: `HP` for `HP:0001250`."""
    return code.partition(":")[0]


def read_ontology(files: list[OntologyFile], reading: Reading) -> Terms:
    """The terms of all files; several stanzas of one id are one term."""
    ontology = _Ontology(reading)
    releases = []
    for file in files:
        ontology.add_file(file)
        releases += [file.release] if file.release else []
    return ontology.terms("; ".join(dict.fromkeys(releases)) or None)


class _Ontology:
    """The terms read so far."""

    def __init__(self, reading: Reading) -> None:
        self._selection = reading.selection
        self._bad = reading.bad
        self._progress = reading.progress
        self._collected = Collected(reading)
        self._collected.counts.update(terms=0, obsolete=0, without_name=0, partly_read=0)
        scopes = self._selection.synonyms
        self._scopes = DEFAULT_SCOPES if scopes is None else scopes
        self._held: set[str] = set()
        self._namespaces: list[tuple[int, str]] = []
        self._names: dict[int, str] = {}

    def add_file(self, file: OntologyFile) -> None:
        """All terms of a file."""
        without_namespace: list[tuple[int, str]] = []
        for term in file.terms():
            concept = self._add(term, file)
            if concept is None:
                continue
            if term.namespace is None:
                without_namespace.append((concept, prefix_of(term.id)))
            else:
                self._namespaces.append((concept, term.namespace))
        for child, parent, line in file.edges:
            if self._collected.holds(child):
                concept = self._collected.concept(child)
                self._collected.add_parent(concept, parent, "is_a", file.path.name, line)
        for concept, prefix in without_namespace:  # the file may name its own at the end
            self._namespaces.append((concept, file.namespace or prefix))
        self._note_partly_read(file)
        self._collected.files.append(file.about)
        self._bad.check(file.path.name, int(str(file.about["rows"])))

    def _note_partly_read(self, file: OntologyFile) -> None:
        self._collected.counts["partly_read"] += file.n_partly_read
        if file.n_partly_read:
            log.warning(
                "%s: %d terms are not valid OBO (the first at line %d); of them only ids, names, "
                "synonyms, parents and successors were read",
                file.path.name, file.n_partly_read, file.partly_read_line,
            )  # fmt: skip

    def _add(self, term: OntologyTerm, file: OntologyFile) -> int | None:
        """A term's number, None where it is none of the concepts."""
        counts, origin = self._collected.counts, file.path.name
        counts["terms"] += 1
        if counts["terms"] % 1000 == 0:
            self._progress("terms", counts["terms"], None)
        vocabulary = prefix_of(term.id)
        if term.obsolete:
            counts["obsolete"] += 1
            self._retire(term, origin)
            return None
        if term.name is None and not self._collected.holds(term.id):
            counts["without_name"] += 1
            return None
        self._held.add(vocabulary)
        wanted = self._selection.vocabularies
        if wanted is not None and vocabulary not in wanted:
            counts["other_vocabulary"] += 1
            return None
        concept = self._collected.concept(term.id)
        self._add_names(concept, term, file)
        for xref in term.xrefs:
            source, colon, code = xref.partition(":")
            if colon and code and source.lower() not in ("http", "https"):
                self._collected.add_code(concept, source, code)
        for parent in term.parents:
            self._collected.add_parent(concept, parent, "is_a", origin, term.line)
        for old in term.merged:
            self._collected.retirements.add(old, term.id, "merged", origin, term.line)
        return concept

    def _retire(self, term: OntologyTerm, source: str) -> None:
        retirements = self._collected.retirements
        if not term.replaced_by:
            retirements.add(term.id, None, "retired", source, term.line)
        for new in term.replaced_by:
            retirements.add(term.id, new, "replaced", source, term.line)

    def _add_names(self, concept: int, term: OntologyTerm, file: OntologyFile) -> None:
        default = umls_language(file.language or "en")
        if term.name is not None:
            self._names.setdefault(concept, term.name)
            language = default if term.language is None else umls_language(term.language)
            self._collected.add_name(concept, term.name, language, is_title=True)
        for synonym in term.synonyms:
            if synonym.scope in self._scopes:
                code = synonym.language
                language = default if code is None else umls_language(code)
                self._collected.add_name(concept, synonym.text, language)
            else:
                self._collected.counts["other_scope"] += 1

    def terms(self, release: str | None) -> Terms:
        """Everything as terms."""
        require_vocabularies(self._selection.vocabularies, self._held)
        edges = self._collected.parents()
        for concept, group in self._groups(*edges[:2]):
            self._collected.add_group(concept, group)
        return self._collected.terms(edges, prefix_of, release)

    def _groups(self, child: np.ndarray, parent: np.ndarray) -> Iterator[tuple[int, str]]:
        """Concepts with their groups, as `--group` and `--group-by` say."""
        if self._selection.group is not None:
            yield from ((concept, self._selection.group) for concept in self._names)
        elif self._selection.group_by == "root":
            for concept, roots in enumerate(roots_of(child, parent, len(self._names))):
                yield from ((concept, self._names[root]) for root in roots)
        else:
            yield from self._namespaces


def roots_of(child: np.ndarray, parent: np.ndarray, n: int) -> list[frozenset[int]]:
    """The topmost ancestors of each concept, of edges without cycles.

    Where one concept stands above all that have parents, those right below it are topmost; it
    stands for itself alone.
    """
    is_child = np.zeros(n, dtype=bool)
    is_child[child] = True
    above = np.unique(parent[~is_child[parent]]) if len(parent) else parent
    tops = {*np.flatnonzero(~is_child).tolist()}
    if len(above) == 1:
        tops |= {*child[parent == above[0]].tolist()}
    children: list[list[int]] = [[] for _ in range(n)]
    missing = np.bincount(child, minlength=n).tolist()
    for low, high in zip(child.tolist(), parent.tolist(), strict=True):
        children[high].append(low)
    roots: list[frozenset[int]] = [frozenset()] * n
    ready = [concept for concept in range(n) if missing[concept] == 0]
    while ready:
        concept = ready.pop()
        if concept in tops:
            roots[concept] = frozenset((concept,))
        for low in children[concept]:
            if low not in tops:
                roots[low] = roots[low] | roots[concept]
            missing[low] -= 1
            if missing[low] == 0:
                ready.append(low)
    return roots
