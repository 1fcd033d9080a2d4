"""Gold in the ways that people write it, in each format, and what of it is not taken."""

from __future__ import annotations

import json
from typing import Any

from tests.corpora.nasty.cases import (
    BIOC_PAGE,
    FEVER,
    ONE,
    TEXT,
    Case,
    bigbio,
    bioc,
    bioc_document,
    brat,
    code,
    entity,
    page,
    passage,
    pubtator,
)

TITLE = f"7|t|{TEXT}\n"
MENTION = "7\t0\t5\tFever\tDisease\t"


def note(text: str, **expected: Any) -> Case:
    name = f"note_{text.encode().hex()}"
    return brat(name, TEXT, FEVER + f"#1\tAnnotatorNotes T1\t{text}\n", **expected)


def infons(**entries: str) -> str:
    made = "".join(
        f'<infon key="{key.replace("_", " ")}">{value}</infon>' for key, value in entries.items()
    )
    return bioc_document(
        f'<annotation id="A1"><infon key="type">Gene</infon>{made}'
        '<location offset="0" length="5"/><text>Fever</text></annotation>'
    )


def gene(document_id: str, value: str) -> dict[str, Any]:
    """A BioC document with a mention of that code."""
    copied: dict[str, Any] = json.loads(json.dumps({**BIOC_PAGE, "id": document_id}))
    copied["passages"][0]["annotations"][0]["infons"] = {"type": "Gene", "identifier": value}
    return copied


NOTES = (
    *(
        note(text, read={"x": [f"T1={gold}"]})
        for text, gold in (
            ("DOID:4", "DOID:4"),
            ("Orphanet:90", "Orphanet:90"),
            ("NCIT:C3", "NCIT:C3"),
            ("RXNORM:161", "161"),
            ("SNOMED CT: 22298006", "22298006"),
            ("umls:C0015967", "C0015967"),
            ("I21.9", "I21.9"),
            ("ICD9CM:401.9", "401.9"),
            ("8500/3", "8500/3"),
            ("8500/3/H", "8500/3/H"),
            ("CUI-less", "NO_CODE"),
            ("nomap", "NO_CODE"),
            ("UMLS:NIL", "NO_CODE"),
            ("D003920 | HP:0001250", "D003920+HP:0001250"),
        )
    ),
    *(note(text, read=ONE) for text in ("-", "n/a", "MESH:-1", "nan")),
    *(
        note(text, read=ONE, warnings=["not read as gold: a note that is no code"])
        for text in ("12", "I10", "aged 40", "see:3", "C1 perhaps")
    ),
    brat("note_of_four_columns", TEXT, FEVER + "#1\tAnnotatorNotes\tT1\tC0015967\n",
         read={"x": ["T1=C0015967"]}),
    brat("category_beside_dotted_codes", TEXT, FEVER + "T2\tDISO 10 15\tcough\n"
         "#1\tAnnotatorNotes T1\tI10\n#2\tAnnotatorNotes T2\tR05.9\n",
         read={"x": ["T1=I10", "T2=R05.9"]}),
    brat("note_of_another_kind", TEXT, FEVER + "#1\tUMLS T1\tC0015967\n", read=ONE,
         warnings=["a note of another kind than AnnotatorNotes holds codes"]),
    brat("notes_in_words_are_counted", TEXT, FEVER + "#1\tAnnotatorNotes T1\tZanthoma\n"
         "#2\tAnnotatorNotes T1\tof two\n", read=ONE, warnings=["(2 times, lines 2, 3)"]),
    brat("note_that_says_what_the_reference_says", TEXT,
         FEVER + "#1\tAnnotatorNotes T1\tC0015967\nN1\tReference T1 UMLS:C0015967\tx\n",
         read={"x": ["T1=C0015967"]}),
)  # fmt: skip

REFERENCES = (
    *(
        brat(f"reference_{body.encode().hex()}", TEXT, FEVER + f"N1\t{body}\tx\n",
             read={"x": [f"T1={gold}"]})
        for body, gold in (
            ("Habitat Annotation:T1 Referent:OBT:000012", "OBT:000012"),
            ("Reference Referent:Habitats:OBT:000012 Annotation:T1", "OBT:000012"),
            ("Reference T1 DOID:4", "DOID:4"),
            ("Reference T1 HP:0001945", "HP:0001945"),
            ("Reference T1 snomed ct:22298006", "22298006"),
            ("Reference T1 Own:C12", "C12"),
            ("Reference T1 UMLS:CUILESS", "NO_CODE"),
        )
    ),
    brat("named_reference_to_nothing", TEXT,
         FEVER + "N1\tHabitat Annotation:T8 Referent:OBT:000012\tx\n", read=ONE,
         warnings=["refers to T8, which no T line defines"]),
    brat("bare_carriage_returns", TEXT,
         "T1\tDISO 0 5\tFever\rT2\tDISO 10 15\tcough\rN1\tReference T1 UMLS:C1\tx\r",
         read={"x": ["T1=C1", "T2"]}),
    brat("damaged_code", TEXT, FEVER + "N1\tReference T1 SNOMEDCT:386661006.0\tx\n",
         read={"x": []}, left_out=[("x", "T1", 1, "changed by a spreadsheet (386661006.0)")]),
)  # fmt: skip

SHIFTED = (
    brat("spans_inside_words", "Patient: asthma treated.",
         "T1\tDISO 11 17\tthma t\nT2\tDISO 3 6\tien\n", read={"x": ["T2", "T1"]},
         warnings=["2 of its 2 spans begin or end inside words"]),
    brat("part_of_a_word", TEXT, "T1\tDISO 22 26\tZant\n", read=ONE),
    brat("words_without_blanks", "患者有发热和咳嗽", "T1\tDISO 3 5\t发热\n", read=ONE),
    bigbio("one_entity_of_many_mentions",
           page({**entity(), "text": ["Fever", "fever"], "offsets": [[0, 5], [200, 205]]},
                passages=[passage("Fever" + " " * 195 + "fever")]),
           read={"d": ["T1"]}, warnings=["lie 195 characters apart"]),
    bigbio("one_entity_of_near_fragments",
           page({**entity(), "text": ["Fever", "fever"], "offsets": [[0, 5], [6, 11]]},
                passages=[passage("Fever fever")]), read={"d": ["T1"]}),
)  # fmt: skip

INFONS = (
    bioc("infon_of_a_gene", infons(NCBI_Gene_identifier="59341"), read={"d": ["A1=59341"]}),
    bioc("the_first_infon_that_holds_a_code", infons(identifier="-", UMLS="C0015967"),
         read={"d": ["A1=C0015967"]}),
    bioc("no_concept_before_a_code", infons(identifier="CUI-less", umls="C0015967"),
         read={"d": ["A1=C0015967"]}),
    bioc("infon_not_read", infons(homologene="12345"), read={"d": ["A1"]},
         warnings=["not read as gold: the infon 'homologene'"]),
    bioc("infon_of_the_same_code", infons(identifier="MESH:D003920", normalized_id="D003920",
         score="0.9812"), read={"d": ["A1=D003920"]}),
    Case("bioc_json_list_of_collections",
         {"c.json": json.dumps([
             {"infons": {}, "documents": [gene("a", "11111"), gene("b", "22222")]},
             {"infons": {}, "documents": [gene("c", "33333")]}]).encode()},
         read={"a": ["A1=11111"], "b": ["A1=22222"], "c": ["A1=33333"]}),
)  # fmt: skip

OTHERS = (
    pubtator("variant", TITLE + MENTION + "c|DEL|12_14|A;RS#:9;VariantGroup:0\n",
             read={"7": ["T1=c|DEL|12_14|A;RS#:9;VariantGroup:0"]}),
    pubtator("gene_with_its_species", TITLE + MENTION + "1017(Tax:9606)\n",
             read={"7": ["T1=1017"]}),
    pubtator("codes_in_the_seventh_column", TITLE + MENTION + "D003920\tRSID:2075789\n",
             read={"7": ["T1=D003920"]}, warnings=["codes in a column after the sixth"]),
    pubtator("no_concept", TITLE + MENTION + "MESH:Nil\n", read={"7": ["T1=NO_CODE"]}),
    pubtator("code_that_a_spreadsheet_changed", TITLE + MENTION + "3.86661E+08\n",
             read={"7": []}, left_out=[("7", "T1", 2, "changed by a spreadsheet")]),
    bigbio("code_beside_normalized", page({**entity(), "cui": "C0015967"}), read={"d": ["T1"]},
           warnings=["not read as gold: the key 'cui'"]),
    bigbio("code_under_another_key", page(entity(normalized=({"id": "C0015967"},))),
           read={"d": ["T1"]}, warnings=["the key 'id'"]),
    bigbio("cui_under_another_key", page(entity(normalized=({"cui": "C0015967"},))),
           read={"d": ["T1"]}, warnings=["the key 'cui'"]),
    bigbio("no_concept", page(entity(normalized=code("cui-LESS"))), read={"d": ["T1=NO_CODE"]}),
    bigbio("unknown", page(entity(normalized=code("<NA>"))), read={"d": ["T1"]}),
)  # fmt: skip

GOLD_CASES = (*NOTES, *REFERENCES, *SHIFTED, *INFONS, *OTHERS)
