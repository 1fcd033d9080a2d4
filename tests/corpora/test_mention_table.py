"""Tables of mentions beside texts: columns of several tools, offsets in several units, faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.corpora import Problem, read_corpus
from longbel_cli.corpora.units import in_characters
from longbel_cli.runs.corpus_source import input_files
from longbel_cli.types import Document, Mention, Span
from tests.support.files import stored

TEXT = "\U0001f600 Fever\r\n\u00a0and Cough."
PLAIN = "document_id,start,end,label,text,code\n"


def read(folder: Path, files: dict[str, bytes]) -> tuple[list[Document], list[str]]:
    told: list[Problem] = []
    folder = stored(files, folder)
    documents = list(read_corpus([folder], "auto", told.append, on_remark=told.append))
    return documents, [problem.reason for problem in told]


def mentions(document: Document) -> list[tuple[object, ...]]:
    return [(m.id, m.spans, m.text, m.entity_type, m.gold) for m in document.mentions]


@pytest.mark.parametrize(
    ("header", "row", "mention_id", "gold"),
    [
        ("document_id,start,end,label", "n,6,9,DISO", "T1", None),
        ("document_id,start,end,label,text,code", "n,6,9,DISO,tos,49727002", "T1", ("49727002",)),
        (
            "filename\tmark\tlabel\toff0\toff1\tspan\tcode\tsemantic_rel",
            "n\tT7\tDISO\t6\t9\ttos\tC2+C1\tNARROW", "T7", ("C1", "C2"),
        ),
        (
            "filename\tlabel\tstart_span\tend_span\ttext\tcode\tsem_rel",
            "n\tDISO\t6\t9\ttos\tNO_CODE\tEXACT", "T1", ("NO_CODE",),
        ),
        (
            "document_id\ttext\tentity_type\tspans\tUMLS_CUI",
            "n\ttos\tDISO\t6-9\tC0010200", "T1", ("C0010200",),
        ),
    ],
)  # fmt: skip
def test_columns_of_several_tools(
    tmp_path: Path, header: str, row: str, mention_id: str, gold: tuple[str, ...] | None
) -> None:
    files = {"m.tsv": f"{header}\n{row}\n".encode(), "texts/n.txt": b"Mucha tos."}
    (document,), told = read(tmp_path / "c", files)
    assert (document.id, document.text, told) == ("n", "Mucha tos.", [])
    assert mentions(document) == [(mention_id, (Span(6, 9),), "tos", "DISO", gold)]


def test_fragments_in_any_order(tmp_path: Path) -> None:
    header = "document_id\ttext\tentity_type\tspans\tUMLS_CUI\n"
    table = header + "n\tpain chest\tDISO\t9-14,0-4\t\n"
    (document,), told = read(tmp_path / "c", {"m.tsv": table.encode(), "n.txt": b"pain in  chest"})
    assert [mention.spans for mention in document.mentions] == [(Span(0, 4), Span(9, 14))]
    assert told == []


def offsets(text: str, unit: str) -> int:
    """How long a text is in a unit."""
    one_ended = text.replace("\r\n", "\n") if "CRLF" in unit else text
    if "UTF-16" in unit:
        return len(one_ended.encode("utf-16-le")) // 2
    return len(one_ended.encode()) if "bytes" in unit else len(one_ended)


@pytest.mark.parametrize(
    "unit",
    [
        "characters", "UTF-16 code units", "UTF-8 bytes", "characters, CRLF as one",
        "UTF-16 code units, CRLF as one", "UTF-8 bytes, CRLF as one",
    ],
)  # fmt: skip
def test_offsets_in_other_units_are_converted(tmp_path: Path, unit: str) -> None:
    rows = ""
    for word in ("Fever", "Cough"):
        start = TEXT.index(word)
        ends = offsets(TEXT[:start], unit), offsets(TEXT[: start + 5], unit)
        rows += f"n,{ends[0]},{ends[1]},DISO,{word},C1\n"
    files = {"m.csv": (PLAIN + rows).encode(), "n.txt": TEXT.encode()}
    (document,), told = read(tmp_path / "c", files)
    assert [TEXT[m.start : m.end] for m in document.mentions] == ["Fever", "Cough"]
    said = [] if unit == "characters" else [f"its offsets count {unit}; they are converted"]
    assert told == said


def test_offsets_that_fit_no_unit_stay() -> None:
    mention = Mention("T1", (Span(0, 5),), "Cough", "DISO")
    assert in_characters([mention], TEXT) == ([mention], None)


def test_faults_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = (
        "n,0,5,DISO,Fever,C1\n"  # good
        "n,0,x,DISO,Fever,C1\n"  # no number
        "n,0,5,DISO\n"  # too few fields
        "n,3,99,DISO,Fever,C1\n"  # past the end
        "n,0,5,DISO,Cough,C1\n"  # another version of the text
        "lost,0,5,DISO,Fever,C1\n"
    )
    files = {"m.csv": (PLAIN + rows).encode(), "n.txt": b"Fever.", "other.txt": b"Nothing."}
    documents, told = read(tmp_path / "c", files)
    assert {document.id: len(document.mentions) for document in documents} == {"n": 1, "other": 0}
    assert [reason.split(":")[0].split(" (99")[0].split(" (6 ")[0] for reason in told] == [
        "1 document(s) of its rows have no text, the first",
        "its offsets are no numbers, or it has no label",
        "the row has 4 fields where the header has 6",
        "its offset 99 lies past the end of the document",
        "its text is not the document's at 0-5",
    ]


def test_a_table_without_any_of_its_texts(tmp_path: Path) -> None:
    files = {"m.csv": (PLAIN + "a,0,5,DISO,Fever,C1\nb,0,5,DISO,Fever,C1\n").encode()}
    with pytest.raises(LongbelError, match=r"2 document\(s\) of its rows have no text, .*: a"):
        read(tmp_path / "c", files)


def test_two_tables_of_parted_documents(tmp_path: Path) -> None:
    files = {
        "dev.csv": (PLAIN + "a,0,5,DISO,Fever,C1\n").encode(),
        "test.csv": (PLAIN + "b,0,5,DISO,Cough,C2\n").encode(),
        "a.txt": b"Fever", "b.txt": b"Cough", "c.txt": b"-",
    }  # fmt: skip
    with_texts: list[Document]
    with_texts, told = read(tmp_path / "c", {**files})
    golds = {doc.id: [m.gold_code for m in doc.mentions] for doc in with_texts}
    assert golds == {"a": ["C1"], "b": ["C2"], "c": []}
    assert [reason for reason in told if "no text" in reason] == []


def test_texts_are_among_the_inputs_of_a_run(tmp_path: Path) -> None:
    from longbel_cli.corpora import Corpus

    files = {"m.csv": (PLAIN + "n,0,5,DISO,Fever,C1\n").encode(), "n.txt": b"Fever"}
    folder = stored(files, tmp_path / "c")
    assert [path.name for path in input_files(Corpus([folder]))] == ["m.csv", "n.txt"]
