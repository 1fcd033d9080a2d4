"""Documents for the tests of `longbel link`. The word Zanthoma no message may repeat."""

from __future__ import annotations

from typing import Any


def bigbio(name: str, text: str, *entities: tuple[str, str, str]) -> dict[str, Any]:
    """A document of two passages (text and a closing line), entities as (id, type, words)."""
    closing = "Zanthoma was seen."
    begin = len(text) + 1
    result = []
    for key, kind, words in entities:
        start = text.index(words)
        result.append(
            {
                "id": key, "type": kind, "text": [words], "offsets": [[start, start + len(words)]],
                "normalized": [{"db_name": "UMLS", "db_id": "C0000001"}] if key == "T1" else [],
            }
        )  # fmt: skip
    return {
        "id": name, "document_id": name,
        "passages": [
            {"id": "p1", "type": "text", "text": [text], "offsets": [[0, len(text)]]},
            {"id": "p2", "type": "text", "text": [closing],
             "offsets": [[begin, begin + len(closing)]]},
        ],
        "entities": result, "events": [], "coreferences": [], "relations": [],
    }  # fmt: skip


DOCUMENTS = [
    bigbio("d1", "Fever and cough; the kidney hurt.", ("T2", "DISO", "cough"),
           ("T1", "Disorders", "Fever"), ("T3", "T023", "kidney")),
    bigbio("d2", "Renal failure, then fever.", ("T1", "disorders", "Renal failure"),
           ("T2", "DISO", "fever")),
    bigbio("d3", "Nothing is marked here."),
    bigbio("d4", "Heart and aspirin, lupus nephritis.", ("T1", "ANAT", "Heart"),
           ("T2", "Chemicals & Drugs", "aspirin"), ("T3", "DISO", "lupus nephritis")),
]  # fmt: skip


ORDER = [
    ("d1", "T1"), ("d1", "T2"), ("d1", "T3"), ("d2", "T1"), ("d2", "T2"),
    ("d4", "T1"), ("d4", "T2"), ("d4", "T3"),
]  # fmt: skip


ODD = bigbio("odd", "Fever of Smurfs.", ("T1", "DISO", "Fever"), ("T2", "Smurf", "Smurfs"))


def misplaced() -> dict[str, Any]:
    """A document of three mentions: one past its end, one whose text is another's, one sound."""
    document = bigbio("bad", "Fever and cough.", ("T1", "DISO", "Fever"), ("T2", "DISO", "cough"),
                      ("T3", "DISO", "Fever and"))  # fmt: skip
    document["entities"][0]["offsets"] = [[5000, 5005]]
    document["entities"][1]["text"] = ["Zanthoma"]
    return document


def identities(lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(line["document_id"], line["mention_id"]) for line in lines]
