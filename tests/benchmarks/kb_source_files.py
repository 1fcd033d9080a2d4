"""Seeded releases of every kind of terminology that build-kb reads, as large as wanted.

A release of `n` names has a concept for every four of them and one parent a concept; the words are
those of the sample release. The text means nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kb_builder.semantics import SEMANTIC_TYPES
from tests.benchmarks.kb_generate import Words, generate

NAMES_A_CONCEPT = 4
_GRAPH = "http://purl.obolibrary.org/obo/G_"
_CONCEPT = (
    "concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_class_id",
    "standard_concept", "concept_code", "valid_start_date", "valid_end_date", "invalid_reason",
)  # fmt: skip
_DOMAINS = ("Condition", "Drug", "Procedure", "Measurement")
_VOCABULARIES = ("SNOMED", "ICD10CM", "RxNorm")
_VALID = "19700101\t20991231\t"


class Concept(NamedTuple):
    """A generated concept: its number, its names and the number of its parent."""

    index: int
    names: list[str]
    parent: int | None


def concepts(n_names: int, seed: int = 0) -> Iterator[Concept]:
    """The concepts of a release, parents before children; the same for the same seed."""
    rng = np.random.default_rng(seed)
    words = Words(20_000 + n_names // 50, seed)
    for start in range(0, n_names // NAMES_A_CONCEPT, 10_000):
        size = min(10_000, n_names // NAMES_A_CONCEPT - start)
        lengths = rng.integers(1, 5, size * NAMES_A_CONCEPT)
        drawn = iter(words.draw(rng, int(lengths.sum())).tolist())
        names = [" ".join(next(drawn) for _ in range(length)) for length in lengths.tolist()]
        parents = (rng.random(size) * np.arange(start, start + size)).astype(int).tolist()
        for k, parent in enumerate(parents):
            own = names[k * NAMES_A_CONCEPT : (k + 1) * NAMES_A_CONCEPT]
            yield Concept(start + k, own, parent if start + k else None)


def obo(file: Path, n_names: int) -> None:
    """OBO 1.4 with exact synonyms, an xref and a parent a term."""
    with file.open("w", encoding="utf-8", newline="") as out:
        out.write("format-version: 1.4\nontology: g\n\n")
        for concept in concepts(n_names):
            name, *synonyms = map(_obo_text, concept.names)
            out.write(f"[Term]\nid: G:{concept.index:07d}\nname: {name}\n")
            out.writelines(f'synonym: "{synonym}" EXACT []\n' for synonym in synonyms)
            out.write(f"xref: UMLS:C{concept.index:07d}\n")
            if concept.parent is not None:
                out.write(f"is_a: G:{concept.parent:07d}\n")
            out.write("\n")


def _obo_text(text: str) -> str:
    for mark in '\\"{}!':
        text = text.replace(mark, "\\" + mark)
    return text


def obo_graph(file: Path, n_names: int) -> None:
    """OBO Graph JSON as ROBOT writes it: all nodes, then all edges."""
    nodes, edges = [], []
    for concept in concepts(n_names):
        own = f"{_GRAPH}{concept.index:07d}"
        synonyms = [{"pred": "hasExactSynonym", "val": name} for name in concept.names[1:]]
        xrefs = [{"val": f"UMLS:C{concept.index:07d}"}]
        meta = {"synonyms": synonyms, "xrefs": xrefs}
        nodes.append({"id": own, "lbl": concept.names[0], "type": "CLASS", "meta": meta})
        if concept.parent is not None:
            edges.append({"sub": own, "pred": "is_a", "obj": f"{_GRAPH}{concept.parent:07d}"})
    graphs = {"graphs": [{"nodes": nodes, "edges": edges}]}
    file.write_text(json.dumps(graphs, indent=1, ensure_ascii=False), encoding="utf-8")


def omop(folder: Path, n_names: int) -> None:
    """CONCEPT, CONCEPT_SYNONYM and CONCEPT_RELATIONSHIP; one concept in 20 is invalid."""
    folder.mkdir()
    with (
        (folder / "CONCEPT.csv").open("w", encoding="utf-8", newline="") as concept_file,
        (folder / "CONCEPT_SYNONYM.csv").open("w", encoding="utf-8", newline="") as synonym_file,
        (folder / "CONCEPT_RELATIONSHIP.csv").open("w", encoding="utf-8", newline="") as relations,
    ):
        concept_file.write("\t".join(_CONCEPT) + "\n")
        synonym_file.write("concept_id\tconcept_synonym_name\tlanguage_concept_id\n")
        relations.write(
            "concept_id_1\tconcept_id_2\trelationship_id\tvalid_start_date\tvalid_end_date"
            "\tinvalid_reason\n"
        )
        for concept in concepts(n_names):
            own = concept.index + 1
            fields = (
                str(own), concept.names[0], _DOMAINS[own % 4], _VOCABULARIES[own % 3],
                "Clinical Finding", "S", f"c{own}", _VALID + ("" if own % 20 else "D"),
            )  # fmt: skip
            concept_file.write("\t".join(fields) + "\n")
            synonym_file.writelines(f"{own}\t{name}\t4180186\n" for name in concept.names[1:])
            if concept.parent is not None:
                parent = concept.parent + 1
                relations.write(f"{own}\t{parent}\tIs a\t{_VALID}\n")
                relations.write(f"{parent}\t{own}\tSubsumes\t{_VALID}\n")
                relations.write(f"{own}\t{own}\tMaps to\t{_VALID}\n")


def mesh(file: Path, n_names: int) -> None:
    """Descriptors with one concept each, in the trees of Diseases."""
    trees: list[str] = []
    with file.open("w", encoding="utf-8", newline="") as out:
        out.write('<?xml version="1.0"?>\n<DescriptorRecordSet LanguageCode="eng">\n')
        for index, names, parent in concepts(n_names):
            trees.append("C01" if parent is None else f"{trees[parent]}.{index:03d}")
            terms = "".join(
                f'<Term IsPermutedTermYN="N"><TermUI>T{index}</TermUI><String>{_xml(name)}'
                "</String><DateCreated><Year>1999</Year></DateCreated></Term>"
                for name in names
            )
            out.write(
                f"<DescriptorRecord><DescriptorUI>D{index:06d}</DescriptorUI><DescriptorName>"
                f"<String>{_xml(names[0])}</String></DescriptorName><TreeNumberList><TreeNumber>"
                f"{trees[-1]}</TreeNumber></TreeNumberList><ConceptList><Concept><ConceptUI>M{index}"
                f"</ConceptUI><TermList>{terms}</TermList></Concept></ConceptList>"
                "</DescriptorRecord>\n"
            )
        out.write("</DescriptorRecordSet>\n")


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def table(file: Path, n_names: int) -> None:
    """A table of code, name and group, tabs between them."""
    with file.open("w", encoding="utf-8", newline="") as out:
        out.write("code\tname\tgroup\n")
        for concept in concepts(n_names):
            out.writelines(f"C{concept.index}\t{name}\tDISO\n" for name in concept.names)


def umls(folder: Path, n_names: int) -> None:
    """MRCONSO and MRSTY."""
    generate(folder, n_names)


def umls_with_relations(folder: Path, n_names: int) -> None:
    """MRCONSO, MRSTY and MRREL: two parents a concept, both ways, and as many other relations."""
    generate(folder, n_names)
    with (folder / "MRCONSO.RRF").open(encoding="utf-8", newline="\n") as rows:
        cuis = list(dict.fromkeys(row.split("|", 1)[0] for row in rows))
    rng = np.random.default_rng(0)
    with (folder / "MRREL.RRF").open("w", encoding="utf-8", newline="") as out:
        for index in range(1, len(cuis)):
            for parent in rng.integers(0, index, 2).tolist():
                for first, rel, second, rela in (
                    (index, "PAR", parent, "inverse_isa"),
                    (parent, "CHD", index, "isa"),
                    (index, "RO", parent, "may_treat"),
                ):
                    ends = f"{cuis[first]}|A1|AUI|{rel}|{cuis[second]}|A2|AUI|{rela}"
                    out.write(f"{ends}|R1||MSH|MSH|||N||\n")


def rxnorm(folder: Path, n_names: int) -> None:
    """RXNCONSO and RXNSTY of clinical drugs, RXNREL with the parents by RELA."""
    folder.mkdir()
    kinds = ("T121", "T200")
    with (
        (folder / "RXNCONSO.RRF").open("w", encoding="utf-8", newline="") as conso,
        (folder / "RXNSTY.RRF").open("w", encoding="utf-8", newline="") as sty,
        (folder / "RXNREL.RRF").open("w", encoding="utf-8", newline="") as rel,
    ):
        for index, names, parent in concepts(n_names):
            own = index + 1
            for k, name in enumerate(names):
                sab, tty = ("NDDF", "CDD") if k else ("RXNORM", "SCD")
                conso.write(f"{own}|ENG||||||A{own}{k}|||{own}|{sab}|{tty}|{own}|{name}||N|4096|\n")
            tui = kinds[own % 2]
            sty.write(f"{own}|{tui}|A1.2|{SEMANTIC_TYPES[tui].name}|AT{own}||\n")
            if parent is not None:
                # As there: the second is a kind of the first.
                rel.write(f"{parent + 1}||CUI|RN|{own}||CUI|isa|{own}||RXNORM||||N||\n")


# File or folder, and what writes it.
KINDS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "OBO": ("g.obo", obo),
    "OBO Graph": ("g.json", obo_graph),
    "OMOP": ("omop", omop),
    "MeSH XML": ("desc.xml", mesh),
    "RxNorm": ("rxnorm", rxnorm),
    "table": ("names.tsv", table),
    "UMLS": ("umls", umls),
    "UMLS, MRREL": ("umls-rel", umls_with_relations),
}
