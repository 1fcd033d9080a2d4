"""Corpora that go wrong in the ways of the field, each with what must come of it.

A case is files (path below the corpus folder -> bytes), the documents that are read with their
mentions (`id` or `id=CODE+CODE`), and a part of the reason of each document or mention that is
left out, or of each warning. Hand-worked. The texts hold the word Zanthoma, which no message may
repeat.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TEXT = "Fever and cough after Zanthoma."  # Fever 0-5, cough 10-15, Zanthoma 22-30


@dataclass(frozen=True)
class Case:
    """`left_out`: (document id, mention id, line, part of the reason), None where not known;
    mention id None means the whole document. `warnings`: parts of messages, in any order.
    `refused`: a part of the error that reading ends in."""

    name: str
    files: Mapping[str, bytes]
    read: Mapping[str, Sequence[str]] = field(default_factory=dict)
    left_out: Sequence[tuple[str | None, str | None, int | None, str]] = ()
    warnings: Sequence[str] = ()
    refused: str | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


def brat(name: str, text: str | bytes | None, ann: str | bytes | None, **expected: Any) -> Case:
    """A pair x.txt and x.ann; None leaves a file out."""
    files = {}
    for suffix, content in ((".txt", text), (".ann", ann)):
        if content is not None:
            files["x" + suffix] = content.encode() if isinstance(content, str) else content
    return Case(f"brat_{name}", files, **expected)


def entity(
    mention_id: Any = "T1",
    start: Any = 0,
    end: Any = 5,
    text: Any = "Fever",
    kind: Any = "DISO",
    normalized: Any = (),
) -> dict[str, Any]:
    return {
        "id": mention_id,
        "type": kind,
        "text": [text],
        "offsets": [[start, end]],
        "normalized": list(normalized) if isinstance(normalized, tuple) else normalized,
    }


def code(*codes: Any) -> tuple[dict[str, Any], ...]:
    return tuple({"db_name": "UMLS", "db_id": name} for name in codes)


def passage(text: str = TEXT, start: int = 0, end: int | None = None) -> dict[str, Any]:
    end = start + len(text) if end is None else end
    return {"id": f"p{start}", "type": "document", "text": [text], "offsets": [[start, end]]}


def page(
    *entities: Any, document_id: Any = "d", passages: Any = None, **other: Any
) -> dict[str, Any]:
    return {
        "id": "1",
        "document_id": document_id,
        "passages": [passage()] if passages is None else passages,
        "entities": list(entities),
        "events": [],
        "coreferences": [],
        "relations": [],
        **other,
    }


def lines(*pages: Any) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in pages).encode()


def bigbio(name: str, *pages: Any, **expected: Any) -> Case:
    """A file c.jsonl; what is bytes is a line as it stands."""
    content = b"".join(value if isinstance(value, bytes) else lines(value) for value in pages)
    return Case(f"bigbio_{name}", {"c.jsonl": content}, **expected)


def pubtator(name: str, content: str | bytes, **expected: Any) -> Case:
    data = content.encode() if isinstance(content, str) else content
    return Case(f"pubtator_{name}", {"c.pubtator": data}, **expected)


def bioc(name: str, documents: str, head: str = "", **expected: Any) -> Case:
    """A BioC XML file whose collection holds `documents`."""
    data = f'<?xml version="1.0"?>\n{head}<collection><source/>{documents}</collection>\n'
    return Case(f"bioc_{name}", {"c.xml": data.encode()}, **expected)


def bioc_document(annotations: str, document_id: str = "<id>d</id>", text: str = TEXT) -> str:
    return (
        f"<document>{document_id}<passage><offset>0</offset><text>{text}</text>"
        f"{annotations}</passage></document>"
    )


def annotation(mention_id: str = "A1", *locations: tuple[int, int], text: str = "Fever") -> str:
    positions = "".join(
        f'<location offset="{offset}" length="{length}"/>'
        for offset, length in locations or ((0, 5),)
    )
    return (
        f'<annotation id="{mention_id}"><infon key="type">Disease</infon>'
        f'<infon key="identifier">MESH:D005334</infon>{positions}<text>{text}</text></annotation>'
    )


def parquet(*pages: dict[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(pages)), sink)
    return sink.getvalue()


FEVER = "T1\tDISO 0 5\tFever\n"
ONE = {"x": ["T1"]}
D = {"d": ["T1"]}
BIOC_PAGE: dict[str, Any] = {
    "id": "d",
    "infons": {},
    "passages": [
        {
            "offset": 0,
            "infons": {"type": "title"},
            "text": TEXT,
            "annotations": [
                {
                    "id": "A1",
                    "infons": {"type": "Disease", "identifier": "MESH:D005334"},
                    "locations": [{"offset": 0, "length": 5}],
                    "text": "Fever",
                }
            ],
        }
    ],
}
LAUGHS = (
    '<!DOCTYPE collection [<!ENTITY a "aaaaaaaaaa">'
    '<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
STEALING = '<!DOCTYPE collection [<!ENTITY a SYSTEM "file:///etc/passwd">]>'

BRAT_CASES = (
    brat("plain", TEXT, FEVER, read=ONE, texts={"x": TEXT}),
    brat(
        "crlf_kept_as_stored",
        "Fever\r\nand cough",
        FEVER + "T2\tDISO 11 16\tcough\n",
        read={"x": ["T1", "T2"]},
        texts={"x": "Fever\r\nand cough"},
    ),
    brat(
        "crlf_counted_as_one",
        "Fever\r\nand cough",
        FEVER + "T2\tDISO 10 15\tcough\n",
        read=ONE,
        left_out=[("x", "T2", 2, "CRLF line end counts as one")],
    ),
    brat("crlf_annotations", TEXT, "T1\tDISO 0 5\tFever\r\nN1\tReference T1 U:C1\tf\r\n",
         read={"x": ["T1=C1"]}),
    brat("lone_cr", "Fever\rand cough", "T2\tDISO 10 15\tcough\n", read={"x": ["T2"]},
         texts={"x": "Fever\rand cough"}),
    brat("bom_counted", "\ufeffFever", "T1\tDISO 1 6\tFever\n", read=ONE,
         warnings=["counts as the first character"], texts={"x": "\ufeffFever"}),
    brat("bom_not_counted", "\ufeffFever", FEVER, read=ONE,
         warnings=["not counted by the offsets"], texts={"x": "Fever"}),
    brat("bom_in_annotations", TEXT, "\ufeff" + FEVER, read=ONE),
    brat("astral_code_points", "\U0001f600 Fever", "T1\tDISO 2 7\tFever\n", read=ONE),
    brat("astral_utf16_offsets", "\U0001f600 Fever.", "T1\tDISO 3 8\tFever\n", read={"x": []},
         left_out=[("x", "T1", 1, "UTF-16 code units")]),
    brat("byte_offsets", "é Fever.", "T1\tDISO 3 8\tFever\n", read={"x": []},
         left_out=[("x", "T1", 1, "UTF-8 bytes")]),
    brat("nfd_text_nfc_mention", "fie\u0300vre", "T1\tDISO 0 7\tfi\u00e8vre\n", read={"x": []},
         left_out=[("x", "T1", 1, "Unicode normalization")]),
    brat("nfd_both", "fie\u0300vre", "T1\tDISO 0 7\tfie\u0300vre\n", read=ONE),
    brat("latin1_text", "fièvre Zanthoma".encode("latin-1"), FEVER, refused="no document can be",
         left_out=[("x", None, None, "x.txt is not UTF-8: byte 0xe8 at byte offset 2")]),
    brat("latin1_annotations", "fièvre", "T1\tDISO 0 6\tfièvre\n".encode("latin-1"),
         refused="no document can be",
         left_out=[("x", None, None, "x.ann is not UTF-8: byte 0xe8 at byte offset 14")]),
    brat("utf16_text", TEXT.encode("utf-16"), FEVER, refused="no document can be",
         left_out=[("x", None, None, "perhaps UTF-16")]),
    brat("empty_annotations", TEXT, "", read={"x": []}),
    brat("empty_text", "", FEVER, read={"x": []},
         left_out=[("x", "T1", 1, "past the end of the document (0 characters)")]),
    brat("both_empty", "", "", read={"x": []}),
    brat("missing_text", None, FEVER, refused="no document can be",
         left_out=[("x", None, None, "its .txt file is missing")]),
    Case("brat_missing_annotations",
         {"x.txt": b"Fever", "x.ann": FEVER.encode(), "y.txt": TEXT.encode()}, read=ONE,
         left_out=[("y", None, None, "its .ann file is missing")]),
    brat("note_before_its_mention", TEXT, "#1\tAnnotatorNotes T1\tC0015967\n" + FEVER,
         read={"x": ["T1=C0015967"]}),
    brat("reference_before_its_mention", TEXT, "N1\tReference T1 UMLS:C1\tname\n" + FEVER,
         read={"x": ["T1=C1"]}),
    brat("empty_note", TEXT, FEVER + "#1\tAnnotatorNotes T1\t\n", read=ONE),
    brat("note_of_two_columns", TEXT, FEVER + "#1\tAnnotatorNotes T1\n", read=ONE),
    brat("note_in_words", TEXT, FEVER + "#1\tAnnotatorNotes T1\tsee page 20345 again\n", read=ONE,
         warnings=["a note that is no code"]),
    brat("note_that_is_a_year", TEXT, FEVER + "#1\tAnnotatorNotes T1\t2023\n", read=ONE,
         warnings=["a note that is no code"]),
    brat("note_with_codes_of_other_kinds", TEXT,
         FEVER + "#1\tAnnotatorNotes T1\tHP:0001945 MESH:D005334 386661006\n",
         read={"x": ["T1=386661006+D005334+HP:0001945"]}),
    brat("note_with_two_codes", TEXT, FEVER + "#1\tAnnotatorNotes T1\tC0015968 C0015967\n",
         read={"x": ["T1=C0015967+C0015968"]}),
    brat("note_with_plus", TEXT, FEVER + "#1\tAnnotatorNotes T1\tC0015967+\n",
         read={"x": ["T1=C0015967"]}),
    brat("note_with_leading_blank", TEXT, FEVER + "#1\tAnnotatorNotes T1\t C0015967\n",
         read={"x": ["T1=C0015967"]}),
    brat("note_without_a_mention", TEXT, FEVER + "#1\tAnnotatorNotes R7\tC0015967\n", read=ONE,
         warnings=["codes of a note on no mention of the file"]),
    brat("code_after_first_colon_only", TEXT, FEVER + "N1\tReference T1 HPO:HP:0001250\tx\n",
         read={"x": ["T1=HP:0001250"]}),
    brat("reference_without_name", TEXT, FEVER + "N1\tReference T1 UMLS:C1\n",
         read={"x": ["T1=C1"]}),
    brat("reference_without_database", TEXT, FEVER + "N1\tReference T1 C1\tname\n",
         read={"x": ["T1=C1"]}),
    brat("reference_without_code", TEXT, FEVER + "N1\tReference T1 UMLS:\tname\n", read=ONE,
         warnings=["empty code"]),
    brat("reference_to_nothing", TEXT, FEVER + "N1\tReference T9 UMLS:C1\tname\n", read=ONE,
         warnings=["no T line defines"]),
    brat("reference_of_several_codes", TEXT, FEVER + "N1\tReference T1 UMLS:C2|C1\tname\n",
         read={"x": ["T1=C1+C2"]}),
    brat("reference_to_no_concept", TEXT, FEVER + "N1\tReference T1 UMLS:-1\tname\n", read=ONE),
    brat("a_line_that_a_text_wraps_to", TEXT, FEVER + "Tumor Zanthoma\nTZanthoma\tof the skin\n",
         read=ONE, left_out=[("x", None, 2, "needs three columns"),
                             ("x", None, 3, "needs three columns")]),
    brat("a_reference_to_a_word", TEXT, FEVER + "N1\tReference TZanthoma UMLS:C1\tx\n", read=ONE,
         warnings=["refers to something, which no T line defines"]),
    brat("reference_malformed", TEXT, FEVER + "N1\tReference\n", read=ONE,
         warnings=["an N line needs"]),
    brat("references_go_before_notes", TEXT,
         FEVER + "#1\tAnnotatorNotes T1\tC0000001\nN1\tReference T1 UMLS:C0000002\tname\n",
         read={"x": ["T1=C0000002"]}, warnings=["beside the other codes of an N line"]),
    brat("several_references", TEXT,
         FEVER + "N1\tReference T1 UMLS:C2\ta\nN2\tReference T1 UMLS:C1\tb\n",
         read={"x": ["T1=C1+C2"]}),
    brat("other_lines", TEXT,
         FEVER + "E1\tX:T1\nR1\tX Arg1:T1 Arg2:T1\nA1\tNeg T1\nM1\tNeg T1\n*\tEquiv T1 T1\n",
         read=ONE),
    brat("a_line_of_no_kind", TEXT, FEVER + "hello\n", read=ONE, warnings=["no line of BRAT's"]),
    brat("blank_lines", TEXT, "\n" + FEVER + "\n  \n", read=ONE),
    brat("fragments", TEXT, "T1\tDISO 0 5;10 15\tFever cough\n", read=ONE),
    brat("fragments_blank_after_semicolon", TEXT, "T1\tDISO 0 5; 10 15\tFever cough\n", read=ONE),
    brat("fragments_last_first", TEXT, "T1\tDISO 10 15;0 5\tcough Fever\n", read=ONE),
    brat("fragments_broken", TEXT, "T1\tDISO 0 5;10\tFever cough\n", read={"x": []},
         left_out=[("x", "T1", 1, "needs three columns")]),
    brat("fragment_over_a_line_end", "a\nfe\nver", "T1\tDISO 2 8\tfe ver\n", read=ONE),
    brat("fragment_over_a_no_break_space", "fe\u00a0ver", "T1\tDISO 0 6\tfe ver\n", read=ONE),
    brat("zero_length", TEXT, "T1\tDISO 5 5\tFever\n", read={"x": []},
         left_out=[("x", "T1", 1, "empty, reversed or negative")]),
    brat("reversed", TEXT, "T1\tDISO 5 0\tFever\n", read={"x": []},
         left_out=[("x", "T1", 1, "empty, reversed or negative")]),
    brat("past_the_end", TEXT, FEVER + "T2\tDISO 40 45\tcough\n", read=ONE,
         left_out=[("x", "T2", 2, "45 lies past the end of the document (31 characters)")]),
    brat("one_past_the_end", "Fever", "T1\tDISO 0 6\tFever\n", read={"x": []},
         left_out=[("x", "T1", 1, "6 lies past the end of the document (5 characters)")]),
    brat("ends_with_the_text", "Fever", FEVER, read=ONE),
    brat("negative", TEXT, "T1\tDISO -1 5\tFever\n", read={"x": []},
         left_out=[("x", "T1", 1, "needs three columns")]),
    brat("offset_of_thousands_of_digits", TEXT, f"T1\tDISO 0 {'9' * 5000}\tFever\n",
         read={"x": []}, left_out=[("x", "T1", 1, "needs three columns")]),
    brat("no_text_column", TEXT, "T1\tDISO 0 5\n", read={"x": []},
         left_out=[("x", "T1", 1, "needs three columns")]),
    brat("blank_text_column", TEXT, "T1\tDISO 0 5\t \n", read={"x": []},
         left_out=[("x", "T1", 1, "states no text")]),
    brat("blanks_for_tabs", TEXT, "T1 DISO 0 5 Fever\n", read={"x": []},
         left_out=[("x", "T1", 1, "needs three columns")]),
    brat("other_text", TEXT, "T1\tDISO 0 5\tZanthoma\n", read={"x": []},
         left_out=[("x", "T1", 1, "not the document's at 0-5")]),
    brat("one_too_early", TEXT, "T1\tDISO 9 14\tcough\n", read={"x": []},
         left_out=[("x", "T1", 1, "that text stands at 10-15")]),
    brat("three_too_late", TEXT, "T1\tDISO 13 18\tcough\n", read={"x": []},
         left_out=[("x", "T1", 1, "that text stands at 10-15")]),
    brat("mention_id_twice", TEXT, FEVER + "T1\tDISO 10 15\tcough\n", read=ONE,
         left_out=[("x", "T1", 2, "same id")]),
    brat("two_on_one_span", TEXT, FEVER + "T2\tPHEN 0 5\tFever\n", read={"x": ["T1", "T2"]}),
    brat("nested_in_document_order", TEXT, "T1\tDISO 0 15\tFever and cough\n"
         "T2\tDISO 10 15\tcough\nT3\tDISO 0 5\tFever\n", read={"x": ["T3", "T1", "T2"]}),
    brat("tab_in_the_text", "Fe\tver", "T1\tDISO 0 6\tFe\tver\n", read=ONE),
    brat("unicode_line_separators", "a\u2028Fever\u0085b", "T1\tDISO 2 7\tFever\n"
         "T2\tDISO 2 9\tFever\u0085b\n", read={"x": ["T1", "T2"]}),
    Case("brat_same_name_in_two_folders",
         {f"{folder}/x{suffix}": content for folder in ("a", "b")
          for suffix, content in ((".txt", b"Fever"), (".ann", FEVER.encode()))},
         read={"a/x": ["T1"], "b/x": ["T1"]}),
    Case("brat_dots_in_the_name", {"x.v1.txt": b"Fever", "x.v1.ann": FEVER.encode()},
         read={"x.v1": ["T1"]}),
    Case("brat_configuration_files",
         {"x.txt": b"Fever", "x.ann": FEVER.encode(), "annotation.conf": b"[entities]",
          "README.md": b"# About", "LICENSE.txt": b"free", ".hidden.ann": b"T1"},
         read=ONE, warnings=["README.md", "LICENSE.txt"]),
)  # fmt: skip

BIGBIO_CASES = (
    bigbio("plain", page(entity()), read=D, texts={"d": TEXT}),
    bigbio("blank_lines", b"\n", page(entity()), b"  \n", read=D),
    bigbio("no_last_line_end", lines(page(entity())).rstrip(), read=D),
    bigbio("crlf_lines", lines(page(entity())).replace(b"\n", b"\r\n"), read=D),
    bigbio("bom", b"\xef\xbb\xbf" + lines(page(entity())), read=D),
    bigbio("broken_line", page(entity()), b'{"id": "Zanthoma", \n',
           page(entity(), document_id="e"), read={"d": ["T1"], "e": ["T1"]},
           left_out=[(None, None, 2, "broken JSON")]),
    bigbio("latin1_line", page(entity()),
           json.dumps(page(document_id="é"), ensure_ascii=False).encode("latin-1") + b"\n",
           read=D, left_out=[(None, None, 2, "not UTF-8: byte 0xe9 at byte offset")]),
    bigbio("unicode_line_separators",
           json.dumps(page(entity(start=2, end=7), passages=[passage("a\u2028Fever\u0085b")]),
                      ensure_ascii=False).encode() + b"\n",
           read=D, texts={"d": "a\u2028Fever\u0085b"}),
    bigbio("crlf_kept_as_stored", page(entity("T1", 7, 12, "cough"),
           passages=[passage("Fever\r\ncough")]), read=D, texts={"d": "Fever\r\ncough"}),
    bigbio("astral", page(entity("T1", 2, 7), passages=[passage("\U0001f600 Fever")]), read=D),
    bigbio("astral_utf16_offsets",
           page(entity("T1", 3, 8), passages=[passage("\U0001f600 Fever.")]),
           read={"d": []}, left_out=[("d", "T1", 1, "UTF-16 code units")]),
    bigbio("offset_no_number", page(entity(end="5")), read={"d": []},
           left_out=[("d", "T1", 1, "pairs of whole numbers")]),
    bigbio("offset_float", page(entity(end=5.0)), read={"d": []},
           left_out=[("d", "T1", 1, "pairs of whole numbers")]),
    bigbio("offset_nan", page(entity(end=float("nan"))), read={"d": []},
           left_out=[("d", "T1", 1, "pairs of whole numbers")]),
    bigbio("offset_true", page(entity(start=False)), read={"d": []},
           left_out=[("d", "T1", 1, "pairs of whole numbers")]),
    bigbio("offset_huge", page(entity(end=10**30)), read={"d": []},
           left_out=[("d", "T1", 1, "past the end")]),
    bigbio("offset_negative", page(entity(start=-5)), read={"d": []},
           left_out=[("d", "T1", 1, "negative")]),
    bigbio("offsets_empty", page({**entity(), "offsets": []}), read={"d": []},
           left_out=[("d", "T1", 1, "pairs of whole numbers")]),
    bigbio("zero_length", page(entity(end=0)), read={"d": []},
           left_out=[("d", "T1", 1, "empty, reversed or negative")]),
    bigbio("line_is_a_list", page(entity()), b'["Zanthoma"]\n', read=D,
           left_out=[(None, None, 2, "a document must be a JSON object, not a list")]),
    bigbio("line_is_null", page(entity()), b"null\n", read=D,
           left_out=[(None, None, 2, "not null")]),
    bigbio("line_is_a_prediction", page(entity()), b'{"document_id": "p", "mention_id": "T1"}\n',
           read=D, left_out=[("p", None, 2, "not a document of the BigBio KB schema")]),
    bigbio("no_document_id", {**page(entity()), "document_id": None}, read={"1": ["T1"]},
           warnings=["no document_id"]),
    bigbio("no_id_at_all", page(entity()), {"passages": [passage()], "entities": []}, read=D,
           left_out=[(None, None, 2, "neither document_id nor id")]),
    bigbio("number_as_id", page(entity(7), document_id=12), read={"12": ["7"]}),
    bigbio("document_id_twice", page(entity()), page(), page(document_id="e"),
           read={"d": ["T1"], "e": []}, left_out=[("d", None, 2, "was read before")]),
    bigbio("mention_id_twice", page(entity(), entity("T1", 10, 15, "cough")), read=D,
           left_out=[("d", "T1", 1, "same id")]),
    bigbio("entity_without_id", page(entity(), entity(None)), read=D,
           left_out=[("d", None, 1, "entity 2: it has no id")]),
    bigbio("entity_without_type", page(entity(kind="")), read={"d": []},
           left_out=[("d", "T1", 1, "it has no type")]),
    bigbio("entity_is_no_object", page(entity(), "Zanthoma"), read=D,
           left_out=[("d", None, 1, "must be an object, not a string")]),
    bigbio("types_in_a_list", page(entity(kind=["T047", "T191"])), read=D),
    bigbio("text_without_a_list", page({**entity(), "text": "Fever"}), read=D),
    bigbio("one_text_two_offsets_that_agree",
           page({**entity(), "text": ["Fever cough"], "offsets": [[0, 5], [10, 15]]}), read=D,
           warnings=["1 texts and 2 pairs of offsets"]),
    bigbio("two_texts_one_offset",
           page({**entity(), "text": ["Fever", "cough"], "offsets": [[0, 5]]}), read={"d": []},
           left_out=[("d", "T1", 1, "not the document's at 0-5")],
           warnings=["2 texts and 1 pairs of offsets"]),
    bigbio("fragments", page({**entity(), "text": ["Fever", "cough"],
           "offsets": [[0, 5], [10, 15]]}), read=D),
    bigbio("no_text_stated", page({**entity(), "text": [""]}), read={"d": []},
           left_out=[("d", "T1", 1, "states no text")]),
    bigbio("several_normalized", page(entity(normalized=code("C2", "C1", "C2"))),
           read={"d": ["T1=C1+C2"]}),
    bigbio("codes_joined_by_plus", page(entity(normalized=code("20 + 10"))),
           read={"d": ["T1=10+20"]}),
    bigbio("code_is_a_number", page(entity(normalized=code(22298006))),
           read={"d": ["T1=22298006"]}),
    bigbio("no_code", page(entity(normalized=code("NO_CODE"))), read={"d": ["T1=NO_CODE"]}),
    bigbio("code_empty_or_null", page(entity(normalized=code("", None))), read=D),
    bigbio("normalized_null", page(entity(normalized=None)), read=D),
    bigbio("normalized_no_list", page(entity(normalized="C1")), read={"d": []},
           left_out=[("d", "T1", 1, "normalized must be a list")]),
    bigbio("normalized_of_strings", page(entity(normalized=["C1"])), read={"d": []},
           left_out=[("d", "T1", 1, "normalized must be a list")]),
    bigbio("key_of_its_own", page({**entity(normalized=code("C1")), "db_match": "exact"}),
           read={"d": ["T1=C1"]}),
    bigbio("entities_null", {**page(), "entities": None}, read={"d": []}),
    bigbio("entities_no_list", page(entity()), {**page(document_id="e"), "entities": {}}, read=D,
           left_out=[("e", None, 2, "'entities' must be a list")]),
    bigbio("no_passages", page(entity()), {"document_id": "e", "entities": []}, read=D,
           left_out=[("e", None, 2, "no 'passages'")]),
    bigbio("passages_empty", page(entity()), page(document_id="e", passages=[]), read=D,
           left_out=[("e", None, 2, "it has no passage")]),
    bigbio("passage_without_offsets", page(entity()),
           page(document_id="e", passages=[{"text": ["Zanthoma"]}]), read=D,
           left_out=[("e", None, 2, "passage 1 needs")]),
    bigbio("passage_of_two_texts", page(entity("T1", 6, 11, "cough"), passages=[
           {"id": "p", "type": "t", "text": ["Fever", "cough"], "offsets": [[0, 5], [6, 11]]}]),
           read=D, texts={"d": "Fever cough"}),
    bigbio("passage_texts_and_offsets_differ", page(entity()), page(document_id="e", passages=[
           {"id": "p", "type": "t", "text": ["Fever", "cough"], "offsets": [[0, 5]]}]), read=D,
           left_out=[("e", None, 2, "2 texts and 1 pairs of offsets")]),
    bigbio("passage_of_another_length", page(entity(), passages=[passage(TEXT, 0, 40)]), read=D,
           warnings=["31 characters and offsets 0-40"]),
    bigbio("passages_overlap", page(entity()),
           page(document_id="e", passages=[passage(), passage("cough", 10)]), read=D,
           left_out=[("e", None, 2, "passage 2 starts at 10, before 31")]),
    bigbio("passages_far_apart", page(entity()),
           page(document_id="e", passages=[passage(), passage("cough", 10**12)]), read=D,
           left_out=[("e", None, 2, "more than 1000000 characters")]),
    bigbio("passage_before_the_text", page(entity()),
           page(document_id="e", passages=[passage("cough", -5)]), read=D,
           left_out=[("e", None, 2, "passage 1 starts at -5")]),
    bigbio("passages_out_of_order", page(entity("T1", 6, 11, "cough"),
           passages=[passage("cough", 6), passage("Fever")]), read=D,
           warnings=["not in the order"], texts={"d": "Fever cough"}),
    bigbio("passage_empty", page(entity("T1", 1, 6), passages=[passage(""), passage("Fever", 1)]),
           read=D, texts={"d": " Fever"}),
    bigbio("mention_in_a_gap", page(entity("T1", 0, 8, "Fever"),
           passages=[passage("Fever"), passage("cough", 10)]), read={"d": []},
           left_out=[("d", "T1", 1, "offset 7 lies in no passage")]),
    bigbio("mention_over_two_passages", page(entity("T1", 0, 11, "Fever cough"),
           passages=[passage("Fever"), passage("cough", 6)]), read=D),
    bigbio("surrogate_in_the_text", page(entity()),
           page(document_id="e", passages=[passage("Zanthoma \ud800")]), read=D,
           left_out=[("e", None, 2, "lone surrogate (half a character) at offset 9")]),
    bigbio("surrogate_in_a_type", page(entity(), entity("T2", kind="\ud800")), read=D,
           left_out=[("d", "T2", 1, "lone surrogate")]),
    bigbio("surrogate_in_the_id", page(entity()), page(document_id="\ud800"), read=D,
           left_out=[("\ud800", None, 2, "lone surrogate")]),
    bigbio("nested_a_million_deep", page(entity()), b"[" * 1_000_000 + b"\n", read=D,
           left_out=[(None, None, 2, "nested too deeply")]),
    bigbio("number_of_5000_digits", page(entity()), b'{"id": ' + b"9" * 5000 + b"}\n", read=D,
           left_out=[(None, None, 2, "a number is too long")]),
    bigbio("one_huge_line", page(entity("T1", 5_000_000, 5_000_005),
           passages=[passage("cough " * 833_333 + "  Fever")]), read=D),
    Case("bigbio_gzip", {"c.jsonl.gz": gzip.compress(lines(page(entity())))}, read=D),
    Case("bigbio_gzip_without_the_name", {"c.jsonl": gzip.compress(lines(page(entity())))},
         read=D),
    Case("bigbio_named_gzip_but_plain", {"c.jsonl.gz": lines(page(entity()))}, read=D),
    Case("bigbio_gzip_cut_short",
         {"c.jsonl.gz": gzip.compress(
             lines(page(entity()), *(page(document_id=f"e{n}") for n in range(3))), 0)[:-300]},
         read={"d": ["T1"], "e0": []},
         left_out=[(None, None, None, "gzip data is damaged or cut short")]),
    Case("bigbio_json_array", {"c.json": json.dumps([page(entity()), page(document_id="e")])
         .encode()}, read={"d": ["T1"], "e": []}),
    Case("bigbio_json_array_cut_short",
         {"c.json": json.dumps([page(entity()), page(document_id="e")]).encode()[:-30]},
         read=D, left_out=[(None, None, 1, "the rest of the file is left out")]),
    Case("bigbio_json_one_object", {"c.json": json.dumps(page(entity()), indent=2).encode()},
         read=D),
    Case("bigbio_json_lines_named_json", {"c.json": lines(page(entity()), page(document_id="e"))},
         read={"d": ["T1"], "e": []}),
    Case("bigbio_json_in_an_object",
         {"c.json": json.dumps({"about": {"documents": []}, "documents": [page(entity())]})
          .encode()}, read=D),
    Case("bigbio_json_latin1",
         {"c.json": json.dumps([page(entity()), page(document_id="é")], ensure_ascii=False)
          .encode("latin-1")}, refused="no document can be",
         left_out=[(None, None, None, "not UTF-8: byte 0xe9")]),
    Case("bigbio_json_bom", {"c.json": b"\xef\xbb\xbf" + json.dumps(page(entity())).encode()},
         read=D),
    Case("bigbio_json_broken",
         {"c.json": b'{"document_id": "Zanthoma" "passages": []}' + b" " * 99},
         refused="no document can be",
         left_out=[(None, None, 1, "broken JSON: Expecting ',' delimiter")]),
    Case("bigbio_empty_file_beside_another", {"a.jsonl": b"", "c.jsonl": lines(page(entity()))},
         read=D, warnings=["holds no document"]),
    Case("bigbio_empty_file", {"a.jsonl": b""}, refused="holds no document",
         warnings=["holds no document"]),
    Case("bigbio_parquet", {"c.parquet": parquet(page(entity(normalized=code("C1"))))},
         read={"d": ["T1=C1"]}),
    Case("bigbio_parquet_broken", {"c.parquet": b"PAR1" + b"Zanthoma" * 9 + b"PAR1"},
         refused="no document can be", left_out=[(None, None, None, "damaged")]),
    Case("bigbio_parquet_of_something_else", {"c.parquet": parquet({"body": "Zanthoma"})},
         refused="no document can be",
         left_out=[(None, None, 1, "neither document_id nor id")]),
)  # fmt: skip

TITLE = "7|t|Fever and cough\n"
ABSTRACT = "7|a|after Zanthoma.\n"
PUBTATOR_CASES = (
    pubtator("plain", TITLE + ABSTRACT + "7\t0\t5\tFever\tDisease\tD005334\n",
             read={"7": ["T1=D005334"]}, texts={"7": TEXT}),
    pubtator("crlf", (TITLE + ABSTRACT + "7\t10\t15\tcough\tDisease\tD1\n").replace("\n", "\r\n"),
             read={"7": ["T1=D1"]}, texts={"7": TEXT}),
    pubtator("no_blank_line_between", TITLE + "8|t|Fever\n8\t0\t5\tFever\tDisease\n",
             read={"7": [], "8": ["T1"]}),
    pubtator("many_blank_lines", "\n\n" + TITLE + "\n\n\n8|t|Fever\n\n", read={"7": [], "8": []}),
    pubtator("no_abstract", TITLE + "7\t0\t5\tFever\tDisease\n", read={"7": ["T1"]},
             texts={"7": "Fever and cough"}),
    pubtator("empty_abstract", TITLE + "7|a|\n7\t0\t5\tFever\tDisease\n", read={"7": ["T1"]},
             texts={"7": "Fever and cough "}),
    pubtator("no_title", ABSTRACT + "7\t7\t15\tZanthoma\tDisease\n", read={"7": ["T1"]},
             texts={"7": " after Zanthoma."}),
    pubtator("bars_in_the_title", "7|t|a |t| Fever|a|b\n7\t6\t11\tFever\tDisease\n",
             read={"7": ["T1"]}, texts={"7": "a |t| Fever|a|b"}),
    pubtator("blanks_around_the_title", "7|t|  Fever  \n7|a|cough\n7\t2\t7\tFever\tDisease\n"
             "7\t10\t15\tcough\tDisease\n", read={"7": ["T1", "T2"]},
             texts={"7": "  Fever   cough"}),
    pubtator("mention_over_title_and_abstract", TITLE + ABSTRACT
             + "7\t10\t21\tcough after\tDisease\n", read={"7": ["T1"]}),
    pubtator("no_code_is_minus_one", TITLE + "7\t0\t5\tFever\tDisease\t-1\n", read={"7": ["T1"]}),
    pubtator("code_is_a_dash", TITLE + "7\t0\t5\tFever\tDisease\t-\n", read={"7": ["T1"]}),
    pubtator("several_codes", TITLE + "7\t0\t5\tFever\tDisease\tD2|D1|-1\n"
             "7\t10\t15\tcough\tDisease\t MESH:D4+OMIM:3\n", read={"7": ["T1=D1+D2", "T2=3+D4"]}),
    pubtator("ontology_prefix_stays", TITLE + "7\t0\t5\tFever\tDisease\tHP:0001945\n",
             read={"7": ["T1=HP:0001945"]}),
    pubtator("seventh_field", TITLE + "7\t0\t5\tFever\tDisease\tD1|D2\ta|b\n",
             read={"7": ["T1=D1+D2"]}),
    pubtator("relations", TITLE + "7\tCID\tD1\tD2\n7\t0\t5\tFever\tDisease\n", read={"7": ["T1"]}),
    pubtator("line_of_another_document", TITLE + "8\t0\t5\tFever\tDisease\n"
             "7\t10\t15\tcough\tDisease\n", read={"7": ["T2"]},
             left_out=[("7", "T1", 2, "another document's id")]),
    pubtator("offsets_no_numbers", TITLE + "7\tzero\t5\tFever\tDisease\tD1\n", read={"7": []},
             left_out=[("7", "T1", 2, "whole numbers")]),
    # Five fields, as a relation has; BioRED's relations hold gene numbers, but none as a type.
    *(pubtator(f"offset_{offset or 'missing'}_and_no_code",
               TITLE + f"7\t{offset}\t5\tFever\tDisease\n", read={"7": []},
               left_out=[("7", "T1", 2, "whole numbers")])
      for offset in ("0.0", "1e3", "+1", "- 1", "-.5", " 0", "5x", "0,5", "")),
    pubtator("offset_no_number_in_four_fields", TITLE + "7\t0.0\t5\tZanthoma\n", read={"7": []},
             left_out=[("7", "T1", 2, "there are 4")]),
    pubtator("relations_of_biored", TITLE + "7\tAssociation\t16752\tD007980\tNo\n"
             "7\tPositive_Correlation\t1\t2\tNovel\n7\t0\t5\tFever\tDisease\n",
             read={"7": ["T1"]}),
    pubtator("offset_of_thousands_of_digits", TITLE + f"7\t0\t{'9' * 5000}\tFever\tDisease\tD1\n",
             read={"7": []}, left_out=[("7", "T1", 2, "whole numbers")]),
    pubtator("too_few_fields", TITLE + "7\t0\t5\tZanthoma\n", read={"7": []},
             left_out=[("7", "T1", 2, "there are 4")]),
    pubtator("no_type", TITLE + "7\t0\t5\tFever\t\tD1\n", read={"7": []},
             left_out=[("7", "T1", 2, "it has no type")]),
    pubtator("other_text", TITLE + "7\t0\t5\tZanthoma\tDisease\tD1\n", read={"7": []},
             left_out=[("7", "T1", 2, "not the document's at 0-5")]),
    pubtator("zero_length", TITLE + "7\t5\t5\tFever\tDisease\tD1\n", read={"7": []},
             left_out=[("7", "T1", 2, "empty, reversed or negative")]),
    pubtator("past_the_end", TITLE + "7\t10\t25\tcough\tDisease\tD1\n", read={"7": []},
             left_out=[("7", "T1", 2, "past the end")]),
    pubtator("mentions_without_a_title", TITLE + "\n9\t0\t5\tZanthoma\tDisease\n",
             read={"7": []}, left_out=[(None, None, 3, "must begin with")]),
    pubtator("document_id_twice", TITLE + "\n" + TITLE + "\n8|t|x\n", read={"7": [], "8": []},
             left_out=[("7", None, 3, "was read before")]),
    pubtator("id_twice_without_blank_line", TITLE + TITLE, read={"7": []},
             left_out=[("7", None, 2, "was read before")]),
    pubtator("latin1_title", b"7|t|fi\xe8vre Zanthoma\n\n8|t|x\n", read={"8": []},
             left_out=[("7", None, 1, "byte 0xe8 at byte offset 6")]),
    pubtator("latin1_mention", TITLE.encode() + b"7\t0\t5\tFi\xe8vr\tDisease\n", read={"7": []},
             left_out=[("7", "T1", 2, "byte 0xe8 at byte offset 28")]),
    pubtator("bom", "\ufeff" + TITLE + "7\t0\t5\tFever\tDisease\n", read={"7": ["T1"]}),
    pubtator("unicode_line_separator", "7|t|a\u2028Fever\n7\t2\t7\tFever\tDisease\n",
             read={"7": ["T1"]}),
    Case("pubtator_gzip", {"c.PubTator.txt.gz": gzip.compress(TITLE.encode())}, read={"7": []}),
    Case("pubtator_named_txt", {"c.txt": TITLE.encode()}, read={"7": []}),
)  # fmt: skip

BIOC_CASES = (
    bioc("plain", bioc_document(annotation()), read={"d": ["A1=D005334"]}, texts={"d": TEXT}),
    bioc("doctype_is_harmless", bioc_document(annotation()),
         head='<!DOCTYPE collection SYSTEM "BioC.dtd">\n', read={"d": ["A1=D005334"]}),
    bioc("billion_laughs", bioc_document("", text="&c;"), head=LAUGHS,
         refused="no document can be", left_out=[(None, None, 2, "declares XML entities")]),
    bioc("external_entity", bioc_document("", text="&a;"), head=STEALING,
         refused="no document can be", left_out=[(None, None, 2, "declares XML entities")]),
    Case("bioc_cut_short", {"c.xml": f"<collection>{bioc_document(annotation())}<document>"
         .encode()}, read={"d": ["A1=D005334"]}, left_out=[(None, None, 1, "broken XML")]),
    bioc("sentences_alone", "<document><id>d</id><passage><offset>0</offset>"
         "<sentence><offset>0</offset><text>Fever.</text></sentence>"
         f"<sentence><offset>7</offset><text>Fever.</text>{annotation('A1', (7, 5))}</sentence>"
         "</passage></document>", read={"d": ["A1=D005334"]}, texts={"d": "Fever. Fever."}),
    bioc("sentences_beside_an_empty_text", "<document><id>d</id><passage><offset>0</offset>"
         "<text></text><sentence><offset>0</offset><text>Fever.</text>"
         f"{annotation()}</sentence></passage></document>",
         read={"d": ["A1=D005334"]}, texts={"d": "Fever."}),
    bioc("fragments", bioc_document(annotation("A1", (0, 5), (10, 5), text="Fever cough")),
         read={"d": ["A1=D005334"]}),
    bioc("location_without_length", bioc_document(annotation().replace(' length="5"', "")),
         read={"d": []}, left_out=[("d", "A1", 2, "whole numbers as offset and length")]),
    bioc("negative_length", bioc_document(annotation("A1", (5, -5))), read={"d": []},
         left_out=[("d", "A1", 2, "empty, reversed or negative")]),
    bioc("mention_id_twice", bioc_document(annotation() + annotation()),
         read={"d": ["A1=D005334"]}, left_out=[("d", "A1", 2, "same id")]),
    bioc("no_type", bioc_document(annotation().replace("type", "kind")), read={"d": []},
         left_out=[("d", "A1", 2, "it has no type")]),
    bioc("no_text", bioc_document(annotation().replace("<text>Fever</text>", "")), read={"d": []},
         left_out=[("d", "A1", 2, "states no text")]),
    bioc("no_document_id", bioc_document("") + bioc_document("", ""), read={"d": []},
         left_out=[(None, None, 2, "the document has no id")]),
    bioc("no_passage_offset", bioc_document("")
         + "<document><id>e</id><passage><text>Zanthoma</text></passage></document>",
         read={"d": []}, left_out=[("e", None, 2, "passage 1 has no offset")]),
    bioc("relations", bioc_document(annotation() + '<relation id="R1"/>'),
         read={"d": ["A1=D005334"]}),
    bioc("annotation_in_an_annotation", bioc_document("") + bioc_document(
         annotation().replace("<text>", annotation("A2") + "<text>"), "<id>e</id>"),
         read={"d": []}, left_out=[("e", None, 2, "1 <annotation> stand where BioC has none")]),
    bioc("sentence_outside_a_passage", bioc_document("") + "<document><id>e</id>"
         f"<sentence>{annotation()}</sentence></document>", read={"d": []},
         left_out=[("e", None, 2, "1 <sentence> stand where BioC has none")]),
    bioc("nested_passages", bioc_document("") + "<document>" + "<passage>" * 20000
         + "</passage>" * 20000 + "</document>", read={"d": []},
         left_out=[(None, None, 2, "nested too deeply")]),
    Case("bioc_latin1_declared",
         {"c.xml": ('<?xml version="1.0" encoding="ISO-8859-1"?><collection>'
                    + bioc_document(annotation("A1", (2, 5)), text="é Fever") + "</collection>")
          .encode("latin-1")}, read={"d": ["A1=D005334"]}, texts={"d": "é Fever"}),
    Case("bioc_latin1_undeclared",
         {"c.xml": ("<collection>" + bioc_document("", text="é") + "</collection>")
          .encode("latin-1")}, refused="no document can be",
         left_out=[(None, None, 1, "broken XML")]),
    *(Case(f"bioc_encoding_{encoding}",
           {"c.xml": f'<?xml version="1.0" encoding="{encoding}"?><collection/>'.encode()},
           refused="no document can be",
           left_out=[(None, None, None, "declared encoding cannot be read")])
      for encoding in ("ISO-8859-", "shift_jis")),
    Case("bioc_json", {"c.json": json.dumps({"source": "", "infons": {}, "documents": [BIOC_PAGE]})
         .encode()}, read={"d": ["A1=D005334"]}),
    Case("bioc_json_of_pubtator3", {"c.json": json.dumps({"PubTator3": [BIOC_PAGE]}).encode()},
         read={"d": ["A1=D005334"]}),
    Case("bioc_json_lines", {"c.jsonl": lines(BIOC_PAGE, {**BIOC_PAGE, "id": "e"})},
         read={"d": ["A1=D005334"], "e": ["A1=D005334"]}),
    Case("bioc_json_infons_null",
         {"c.json": json.dumps({"documents": [BIOC_PAGE, {**BIOC_PAGE, "id": "e", "passages": [
             {"offset": "0", "infons": None, "text": "Fever", "annotations": [
                 {"id": "A1", "infons": None, "locations": [], "text": "Fever"}]}]}]}).encode()},
         read={"d": ["A1=D005334"], "e": []}, left_out=[("e", "A1", 1, "locations must")]),
    Case("bioc_json_annotations_no_list",
         {"c.json": json.dumps({"documents": [BIOC_PAGE, {"id": "e", "passages": [
             {"offset": 0, "text": "Zanthoma", "annotations": 7}]}]}).encode()},
         read={"d": ["A1=D005334"]}, left_out=[("e", None, 1, "'annotations' must be a list")]),
)  # fmt: skip

FOLDER_CASES = (
    Case("folder_of_four_formats",
         {"a/x.txt": b"Fever", "a/x.ann": FEVER.encode(), "b/c.jsonl": lines(page(entity())),
          "c.pubtator": TITLE.encode(), "d.xml": BIOC_CASES[0].files["c.xml"].replace(
              b"<id>d</id>", b"<id>e</id>")},
         read={"a/x": ["T1"], "d": ["T1"], "7": [], "e": ["A1=D005334"]}),
    Case("folder_with_one_id_in_two_files",
         {"a.jsonl": lines(page(entity())), "b.jsonl": lines(page())}, read=D,
         left_out=[("d", None, 1, "was read before")]),
    Case("folder_with_files_of_no_kind", {"notes.docx": b"PK", "c.jsonl": lines(page(entity()))},
         read=D, warnings=["notes.docx"]),
    Case("folder_of_texts_alone", {"x.txt": TEXT.encode(), "readme.txt": b"a"}, read={"x": []},
         warnings=["readme.txt"]),
    Case("parquet_of_texts_without_ids", {"c.parquet": parquet({"text": "Zanthoma"})},
         refused="no document can be",
         left_out=[(None, None, 1, "no column note_id or document_id or id")]),
    Case("folder_empty", {}, refused="no corpus file found"),
)  # fmt: skip

CASES = (*BRAT_CASES, *BIGBIO_CASES, *PUBTATOR_CASES, *BIOC_CASES, *FOLDER_CASES)
