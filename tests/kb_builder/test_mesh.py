"""MeSH XML: descriptors and supplementary records, tree numbers as parents, entities refused."""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ET
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.rules.normalise import tidy
from kb_builder.semantics import GROUP_NAMES
from kb_builder.sources.mesh import GROUP_OF_CLASS, GROUP_OF_TREE
from kb_builder.store.knowledge_base import KnowledgeBase
from tests.support.examples import some
from tests.support.kb_cases import build, names_of, rows_of

DESCRIPTORS = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE DescriptorRecordSet SYSTEM "https://www.nlm.nih.gov/databases/dtd/nlmdescriptorrecordset_20260101.dtd">
<DescriptorRecordSet LanguageCode="eng">
<DescriptorRecord DescriptorClass="1">
 <DescriptorUI>D001249</DescriptorUI>
 <DescriptorName><String>Asthma</String></DescriptorName>
 <AllowableQualifiersList><AllowableQualifier><QualifierReferredTo><QualifierUI>Q000</QualifierUI>
  <QualifierName><String>blood</String></QualifierName></QualifierReferredTo></AllowableQualifier>
 </AllowableQualifiersList>
 <PharmacologicalActionList><PharmacologicalAction><DescriptorReferredTo>
  <DescriptorUI>D999999</DescriptorUI><DescriptorName><String>Not this one</String></DescriptorName>
 </DescriptorReferredTo></PharmacologicalAction></PharmacologicalActionList>
 <TreeNumberList><TreeNumber>C08.127.108</TreeNumber><TreeNumber>G99.1</TreeNumber></TreeNumberList>
 <ConceptList>
  <Concept PreferredConceptYN="Y"><ConceptUI>M1</ConceptUI>
   <ConceptName><String>Asthma</String></ConceptName>
   <TermList>
    <Term IsPermutedTermYN="N"><TermUI>T1</TermUI><String>Asthma</String></Term>
    <Term IsPermutedTermYN="N"><TermUI>T2</TermUI><String>Asthmas &amp; wheeze</String></Term>
    <Term IsPermutedTermYN="Y"><TermUI>T3</TermUI><String>Bronchial Asthma</String></Term>
   </TermList></Concept>
  <Concept PreferredConceptYN="N"><ConceptUI>M2</ConceptUI>
   <ConceptName><String>Asthma, Bronchial</String></ConceptName>
   <TermList><Term IsPermutedTermYN="N"><TermUI>T3</TermUI><String>Asthma, Bronchial</String></Term>
   </TermList></Concept>
 </ConceptList>
</DescriptorRecord>
<DescriptorRecord>
 <DescriptorUI>D001982</DescriptorUI>
 <DescriptorName><String>Bronchial Diseases</String></DescriptorName>
 <TreeNumberList><TreeNumber>C08.127</TreeNumber></TreeNumberList>
</DescriptorRecord>
<DescriptorRecord>
 <DescriptorUI>D000082</DescriptorUI>
 <DescriptorName><String>Acetaminophen</String></DescriptorName>
 <ConceptList><Concept>
  <RegistryNumberList><RegistryNumber>362O9ITL9D</RegistryNumber>
   <RegistryNumber>103-90-2</RegistryNumber><RegistryNumber>0</RegistryNumber>
  </RegistryNumberList>
  <SemanticTypeList><SemanticType><SemanticTypeUI>T121</SemanticTypeUI></SemanticType>
  </SemanticTypeList>
  <TermList><Term><String>Paracetamol</String></Term></TermList></Concept></ConceptList>
</DescriptorRecord>
<DescriptorRecord><DescriptorUI>D1</DescriptorUI></DescriptorRecord>
<DescriptorRecord><DescriptorUI>D2</DescriptorUI>
 <DescriptorName><String>Nowhere</String></DescriptorName></DescriptorRecord>
</DescriptorRecordSet>
"""
SUPPLEMENTARY = """<?xml version="1.0"?>
<SupplementalRecordSet LanguageCode="eng">
<SupplementalRecord SCRClass="3">
 <SupplementalRecordUI>C536001</SupplementalRecordUI>
 <SupplementalRecordName><String>Rare asthma</String></SupplementalRecordName>
 <HeadingMappedToList><HeadingMappedTo><DescriptorReferredTo>
  <DescriptorUI>*D001249</DescriptorUI><DescriptorName><String>Asthma</String></DescriptorName>
 </DescriptorReferredTo></HeadingMappedTo></HeadingMappedToList>
 <ConceptList><Concept><RegistryNumber>EC 3.4.21.4</RegistryNumber>
  <TermList><Term><String>Asthma rara</String></Term></TermList></Concept></ConceptList>
</SupplementalRecord>
</SupplementalRecordSet>
"""
DISORDERS, DRUGS, BODY = (GROUP_NAMES[code] for code in ("DISO", "CHEM", "PHYS"))


def written(folder: Path, text: str | bytes, name: str = "desc2026.xml") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_descriptors(tmp_path: Path) -> None:
    report = build(written(tmp_path, DESCRIPTORS), tmp_path / "kb")
    assert names_of(tmp_path / "kb") == {
        *((group, name, "D001249", "ENG", name == "Asthma")
          for group in (DISORDERS, BODY)
          for name in ("Asthma", "Asthmas & wheeze", "Asthma, Bronchial")),
        (DISORDERS, "Bronchial Diseases", "D001982", "ENG", True),
        (DRUGS, "Acetaminophen", "D000082", "ENG", True),
        (DRUGS, "Paracetamol", "D000082", "ENG", False),
    }  # fmt: skip
    lines = DESCRIPTORS.split("\n")
    assert [(lines[row.line - 1], row.reason) for row in report.quarantined] == [
        ("<DescriptorRecord><DescriptorUI>D1</DescriptorUI></DescriptorRecord>",
         "a record without a UI or a name"),
        ("<DescriptorRecord><DescriptorUI>D2</DescriptorUI>", "a record without a known group"),
    ]  # fmt: skip
    assert (report.info["counts"]["terms"], report.info["counts"]["suppressed"]) == (5, 1)


def test_supplementary_records_beside_descriptors(tmp_path: Path) -> None:
    sources = (
        written(tmp_path, SUPPLEMENTARY, "supp2026.xml"),
        written(tmp_path, gzip.compress(DESCRIPTORS.encode()), "desc2026.gz"),
    )
    build(sources, tmp_path / "kb", suppressible="keep")
    names = {(group, name, code) for group, name, code, _, _ in names_of(tmp_path / "kb")}
    assert {(DISORDERS, "Rare asthma", "C536001"), (DISORDERS, "Asthma rara", "C536001"),
            (DISORDERS, "Bronchial Asthma", "D001249")} <= names  # fmt: skip
    assert rows_of(tmp_path / "kb", "relations") == [
        ("C536001", "D001249", "mapped_to"), ("D001249", "D001982", "parent"),
    ]  # fmt: skip
    base = KnowledgeBase.open(tmp_path / "kb")
    codes = {
        (base.concept_codes([concept])[0], source, code)
        for concept, source, code, _ in rows_of(tmp_path / "kb", "codes")
    }
    assert codes == {
        ("C536001", "MSH", "C536001"), ("C536001", "EC", "EC 3.4.21.4"),
        ("D001249", "MSH", "D001249"), ("D001982", "MSH", "D001982"),
        ("D000082", "MSH", "D000082"), ("D000082", "CAS", "103-90-2"),
        ("D000082", "UNII", "362O9ITL9D"),
    }  # fmt: skip


def test_one_group_for_all(tmp_path: Path) -> None:
    report = build(written(tmp_path, DESCRIPTORS), tmp_path / "kb", group="Mesh")
    assert {group for group, *_ in names_of(tmp_path / "kb")} == {"Mesh"}
    assert len(report.quarantined) == 1  # D2 needs no group of its own


ENTITIES = {
    "declared": '<!DOCTYPE DescriptorRecordSet [<!ENTITY a "aaaa">]>\n{}',
    "external": '<!DOCTYPE DescriptorRecordSet [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n{}',
    "of the DTD": '<!DOCTYPE DescriptorRecordSet SYSTEM "x.dtd">\n{}',
}


@pytest.mark.parametrize("case", ENTITIES)
def test_entities_are_refused(tmp_path: Path, case: str) -> None:
    text = ENTITIES[case].format(
        "<DescriptorRecordSet><DescriptorRecord><DescriptorUI>D1</DescriptorUI><DescriptorName>"
        "<String>&a;</String></DescriptorName></DescriptorRecord></DescriptorRecordSet>"
    )
    with pytest.raises(LongbelError, match=r"desc2026\.xml:[12]: entities are not read"):
        build(written(tmp_path, text), tmp_path / "kb")


@pytest.mark.parametrize(
    ("text", "line"),
    [(DESCRIPTORS[:400], 7), (DESCRIPTORS.replace("</DescriptorUI>", "</Wrong>", 1), 5)],
)
def test_xml_that_is_broken(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(LongbelError, match=rf"desc2026\.xml:{line}: not well-formed XML"):
        build(written(tmp_path, text), tmp_path / "kb")


def test_other_xml_is_none(tmp_path: Path) -> None:
    with pytest.raises(LongbelError, match="the name does not tell which kind"):
        build(written(tmp_path, "<QualifierRecordSet/>"), tmp_path / "kb")
    with pytest.raises(LongbelError, match="--languages does not apply to a MeSH XML file"):
        build(written(tmp_path, DESCRIPTORS), tmp_path / "kb", languages=("ENG",))


def test_every_group_is_one_of_umls() -> None:
    assert {*GROUP_OF_TREE.values(), *GROUP_OF_CLASS.values()} <= set(GROUP_NAMES)


TEXT = st.text("ab<&é \"'", min_size=1, max_size=5).map(lambda text: f"x{text}x")


@settings(deadline=None, max_examples=some(40))
@given(
    st.lists(st.tuples(TEXT, st.lists(st.tuples(TEXT, st.booleans()), max_size=3)),
             min_size=1, max_size=5),
    st.sampled_from([True, False]),
)  # fmt: skip
def test_records_are_read_as_elementtree_reads_them(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[str, list[tuple[str, bool]]]],
    keep: bool,
) -> None:
    folder = tmp_path_factory.mktemp("mesh")
    parts = []
    for index, (name, terms) in enumerate(records):
        listed = "".join(
            f'<Term IsPermutedTermYN="{"NY"[permuted]}"><String>{escape(text)}</String></Term>'
            for text, permuted in terms
        )
        trees = "".join(
            f"<TreeNumber>C01.{'.'.join(map(str, range(depth + 1)))}</TreeNumber>"
            for depth in {index, index // 2}
        )
        parts.append(
            f"<DescriptorRecord><DescriptorUI>D{index}</DescriptorUI><DescriptorName><String>"
            f"{escape(name)}</String></DescriptorName><TreeNumberList>{trees}</TreeNumberList>"
            f"<ConceptList><Concept><TermList>{listed}</TermList></Concept></ConceptList>"
            "</DescriptorRecord>\n"
        )
    text = f"<DescriptorRecordSet>{''.join(parts)}</DescriptorRecordSet>"
    source = written(folder, text)
    build(source, folder / "kb", suppressible="keep" if keep else "drop")
    expected, heading_of = set(), {}
    root = ET.parse(source).getroot()
    for record in root:
        code = record.findtext("DescriptorUI")
        expected.add((code, tidy(record.findtext("DescriptorName/String", "").strip())))
        for term in record.iterfind("ConceptList/Concept/TermList/Term"):
            if keep or term.get("IsPermutedTermYN") == "N":
                expected.add((code, tidy(term.findtext("String", "").strip())))
        for tree in record.iterfind("TreeNumberList/TreeNumber"):
            heading_of[tree.text or ""] = code
    base = KnowledgeBase.open(folder / "kb")
    told = {(row["code"], row["name"]) for row in base.audit().to_pylist()}
    assert {(base.code(row), base.name(row)) for row in range(base.n_names)} | told == expected
    edges = set()
    for record in root:
        for tree in record.iterfind("TreeNumberList/TreeNumber"):
            parent = heading_of.get((tree.text or "").rpartition(".")[0])
            edges.add((record.findtext("DescriptorUI"), parent, "parent"))
    wanted = {edge for edge in edges if edge[1] is not None and edge[1] != edge[0]}
    assert set(rows_of(folder / "kb", "relations")) == wanted
