"""OBO Graph JSON as terms of an ontology, node by node.

A graph's nodes and edges stand in two arrays; edges are kept until the nodes are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kb_builder.files import new_sha256
from kb_builder.sources.archives import head, stored
from kb_builder.sources.curies import curie_of
from kb_builder.sources.json_stream import JsonStream
from kb_builder.sources.ontology import OntologyTerm, Synonym, read_ontology
from kb_builder.sources.reading import Reading
from kb_builder.sources.selection import BadRows
from kb_builder.terms import Terms

_SCOPES = {
    "hasExactSynonym": "exact", "hasRelatedSynonym": "related", "hasBroadSynonym": "broad",
    "hasNarrowSynonym": "narrow",
}  # fmt: skip
_REPLACED_BY, _ALTERNATIVE, _NAMESPACE = "IAO_0100001", "hasAlternativeId", "hasOBONamespace"


class GraphFile:
    """One file of graphs."""

    def __init__(self, path: Path, bad: BadRows) -> None:
        self.path = path
        self._bad = bad
        self._digest = new_sha256()
        self._n_nodes = 0
        self.release: str | None = None
        self.namespace: str | None = None
        self.language: str | None = None
        self.n_partly_read = 0
        self.partly_read_line = 0
        self.edges: list[tuple[str, str, int]] = []

    @property
    def about(self) -> dict[str, object]:
        """What is to be said of the file."""
        return {"name": self.path.name, "rows": self._n_nodes, "sha256": self._digest.hexdigest()}

    def terms(self) -> Iterator[OntologyTerm]:
        """Every class that has an id; parents are in `edges`, since they stand apart."""
        for key, value, line in self._items():
            if key == "nodes":
                self._n_nodes += 1
                term = self._term_of(value, line)
                if term is not None:
                    yield term
            elif key == "edges":
                self._add_edge(value, line)
            elif isinstance(value, dict):
                self._read_meta(value)

    def _items(self) -> Iterator[tuple[str, Any, int]]:
        stream = JsonStream(stored(self.path).blocks(self._digest.update), self.path)
        for key in stream.members():
            if key != "graphs":
                stream.skip()
                continue
            for _ in stream.elements():
                for part in stream.members():
                    yield from self._part(stream, part)
        stream.rest()

    def _part(self, stream: JsonStream, part: str) -> Iterator[tuple[str, Any, int]]:
        if part in ("nodes", "edges"):
            for line in stream.elements():
                yield part, stream.value(), line
        elif part == "meta":
            yield part, stream.value(), stream.line
        else:
            stream.skip()

    def _add_edge(self, edge: Any, line: int) -> None:
        ends = [edge.get(key) if isinstance(edge, dict) else None for key in ("sub", "pred", "obj")]
        child, kind, parent = (end if isinstance(end, str) else "" for end in ends)
        if not child or not kind or not parent:
            self._bad.add(self.path.name, line, "an edge without sub, pred and obj")
        elif _last(kind) in ("is_a", "subClassOf"):
            self.edges.append((curie_of(child), curie_of(parent), line))

    def _read_meta(self, meta: dict[str, Any]) -> None:
        version = meta.get("version")
        if isinstance(version, str) and self.release is None:
            self.release = version
        for name, value in _properties(meta):
            if name == "default-namespace":
                self.namespace = value

    def _term_of(self, node: Any, line: int) -> OntologyTerm | None:
        if not isinstance(node, dict) or not isinstance(node.get("id"), str) or not node["id"]:
            self._bad.add(self.path.name, line, "a node without an id")
            return None
        if node.get("type") not in (None, "CLASS"):
            return None
        term = OntologyTerm(curie_of(node["id"]), line)
        label, meta = node.get("lbl"), node.get("meta")
        term.name = label if isinstance(label, str) and label.strip() else None
        if isinstance(meta, dict):
            term.obsolete = meta.get("deprecated") is True
            self._take_meta(term, meta)
        return term

    def _take_meta(self, term: OntologyTerm, meta: dict[str, Any]) -> None:
        for synonym in _dicts(meta, "synonyms"):
            text, scope = synonym.get("val"), _SCOPES.get(_last(str(synonym.get("pred"))))
            if isinstance(text, str) and scope is not None:
                language = synonym.get("lang")
                known = isinstance(language, str)
                term.synonyms.append(Synonym(text, scope, language if known else None))
            else:
                self._bad.add(self.path.name, term.line, "synonym that cannot be read")
        xrefs = (xref.get("val") for xref in _dicts(meta, "xrefs"))
        term.xrefs += [curie_of(xref) for xref in xrefs if isinstance(xref, str)]
        for name, value in _properties(meta):
            if name in _PROPERTIES:
                _PROPERTIES[name](term, value)


def _take_namespace(term: OntologyTerm, value: str) -> None:
    term.namespace = value


_PROPERTIES: dict[str, Callable[[OntologyTerm, str], None]] = {
    _REPLACED_BY: lambda term, value: term.replaced_by.append(curie_of(value)),
    _ALTERNATIVE: lambda term, value: term.merged.append(curie_of(value)),
    _NAMESPACE: _take_namespace,
}


def _dicts(meta: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    values = meta.get(key)
    if isinstance(values, list):
        yield from (value for value in values if isinstance(value, dict))


def _properties(meta: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for row in _dicts(meta, "basicPropertyValues"):
        if isinstance(row.get("val"), str):
            yield _last(str(row.get("pred"))), row["val"]


def _last(iri: str) -> str:
    """The last part of a property's name: `IAO_0100001` for its IRI and for `IAO:0100001`."""
    return iri.replace("IAO:", "IAO_").rpartition("#")[2].rpartition("/")[2].rpartition(":")[2]


def read(reading: Reading) -> Terms:
    """The terms of OBO Graph JSON files."""
    return read_ontology([GraphFile(path, reading.bad) for path in reading.paths], reading)


def matches(path: Path) -> bool:
    """A JSON file that has graphs, which a checkpoint's candidate set has not."""
    name = path.name.lower().removesuffix(".gz")
    return path.is_file() and name.endswith(".json") and JsonStream.looks_like(head(path), "graphs")
