"""Documents of any size: what one may have is bounded, and so is what each mention costs."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.corpora import Problem, read_corpus, stored
from longbel_cli.corpora.attributes import gathered
from longbel_cli.corpora.stated_text import Mismatches, fitting
from longbel_cli.corpora.units import in_characters
from longbel_cli.types import Document, Mention, Span, in_document_order
from tests.corpora.nasty.cases import bioc_document, entity, lines, page, passage
from tests.support.files import stored as stored_files


def read(folder: Path, files: Mapping[str, bytes]) -> tuple[list[Document], list[str]]:
    """The documents, and what is told of them; of a refused corpus only what is told."""
    told: list[Problem] = []
    documents: list[Document] = []
    try:
        corpus = stored_files(files, folder)
        documents += read_corpus([corpus], "auto", told.append, on_remark=told.append)
    except LongbelError as error:
        return [], [*(problem.reason for problem in told), str(error)]
    return documents, [problem.reason for problem in told]


LIMIT = 3000
LARGE = b"Fever " * 600
ROWS = b"document_id,start,end,label\n" + b"n,0,5,DISO\n" * 400
BLOCK = b"1|t|Fever\n1|a|\n" + b"1\t0\t5\tFever\tDISO\n" * 200 + b"\n2|t|Fever\n"
IN_XML = '<?xml version="1.0"?>\n<collection><source/>{}{}</collection>\n'


TOO_LARGE: dict[str, Mapping[str, bytes]] = {
    "text": {"a.txt": LARGE},
    "packed text": {"a.txt": gzip.compress(LARGE)},
    "text of a pair": {"a.txt": LARGE, "a.ann": b""},
    "annotations": {"a.txt": b"Fever", "a.ann": b"T1\tDISO 0 5\tFever\n" * 200},
    "table": {"a.csv": ROWS, "n.txt": b"Fever"},
    "packed table": {"a.csv": gzip.compress(ROWS), "n.txt": b"Fever"},
    "text of a table": {"a.csv": ROWS[:40], "n.txt": LARGE},
    "projects of MedCATtrainer": {"a.json": b'{"projects": [' + LARGE},
    "PubTator": {"a.pubtator": BLOCK},
    "BioC, text": {"a.xml": IN_XML.format("", bioc_document("", text=LARGE.decode())).encode()},
    "BioC, elements": {"a.xml": IN_XML.format("", bioc_document("<infon/>" * 600)).encode()},
}


@pytest.mark.parametrize("files", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_document_of_any_format_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, bytes]
) -> None:
    monkeypatch.setattr(stored, "LARGEST_DOCUMENT", LIMIT)
    _, told = read(tmp_path / "c", files)
    assert any("more than 0 MiB; divide it" in reason for reason in told), told


def test_a_document_may_have_as_much_as_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "LARGEST_DOCUMENT", 18)
    files = {"a.txt": b"Fever" + b" " * 13, "a.ann": b"T1\tDISO 0 5\tFever\n"}
    (document,), told = read(tmp_path / "c", files)
    assert (len(document.text), len(document.mentions), told) == (18, 1, [])


def test_what_stands_before_a_large_document_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "LARGEST_DOCUMENT", LIMIT)
    after = bioc_document("", "<id>after</id>", LARGE.decode())
    files = {
        "a.pubtator": b"0|t|Fever\n0|a|\n\n" + BLOCK,
        "b.xml": IN_XML.format(bioc_document(""), after).encode(),
    }
    documents, told = read(tmp_path / "c", files)
    assert [document.id for document in documents] == ["0", "d"]
    assert len(told) == 2


def test_passages_far_apart_ask_for_no_gigabytes_of_blanks(tmp_path: Path) -> None:
    passages = [passage("Fever", 900_000 * index) for index in range(300)]
    _, told = read(tmp_path / "c", {"c.jsonl": lines(page(passages=passages))})
    assert told[0] == "its text has more than 268435456 characters; divide it"


def test_a_mention_takes_little_memory(tmp_path: Path) -> None:
    count = 5000
    lines_of_mentions = "".join(f"T{n}\tDISO {6 * n} {6 * n + 5}\tFever\n" for n in range(count))
    files = {"a.txt": b"Fever " * count, "a.ann": lines_of_mentions.encode()}
    tracemalloc.start()
    try:
        (document,), told = read(tmp_path / "c", files)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(document.mentions), told) == (count, [])
    assert taken < 420 * count


class Counted(str):
    """A text that counts how often it is encoded."""

    times = 0

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        type(self).times += 1
        return str(self).encode(encoding, errors)


def mention(start: int, end: int, text: str) -> Mention:
    return Mention("T1", (Span(start, end),), text, "DISO", "DISO")


def test_a_text_is_encoded_once_for_all_mentions_that_do_not_fit() -> None:
    explained = Mismatches(Counted("é Fever, \U0001f600 cough"))
    hints = [explained.hint(mention(*stated)) for stated in ((3, 8, "Fever"), (12, 17, "cough"))]
    assert Counted.times == 2
    assert hints == [
        "; they fit if they count UTF-8 bytes, not characters",
        "; they fit if they count UTF-16 code units, not characters",
    ]


@pytest.mark.parametrize(("blanks", "fits"), [(9_000, True), (20_000, False)])
def test_what_is_far_longer_than_stated_is_not_compared(blanks: int, fits: bool) -> None:
    text = "a" + " " * blanks + "b"
    stated = mention(0, len(text), "a b")
    assert (fitting(stated, text) is not None) is fits
    assert fits or Mismatches(text).hint(stated) == ""


def test_units_that_count_a_text_alike_are_one() -> None:
    """An offset off by one in plain ASCII is no matter of units."""
    off = [mention(1, 6, "Fever"), mention(7, 12, "cough")]
    assert in_characters(off, "Fever cough") == (off, None)


def test_lines_that_are_alike_are_told_once(tmp_path: Path) -> None:
    files = {"a.txt": b"Fever", "a.ann": b"T1\tDISO 0 5\tFever\n" + b"hello\n" * 6}
    _, told = read(tmp_path / "c", files)
    assert told == ["this is no line of BRAT's (6 times, lines 2, 3, 4, 5, 6, …)"]


def test_mentions_that_are_alike_are_told_once(tmp_path: Path) -> None:
    odd = [entity(mention_id=name) | {"text": ["Fever", ""]} for name in ("T1", "T2")]
    _, told = read(tmp_path / "c", {"c.jsonl": lines(page(*odd))})
    assert told == ["it has 2 texts and 1 pairs of offsets (2 times, mentions T1, T2)"]


def test_notes_on_a_mention_with_codes_are_compared_with_these(tmp_path: Path) -> None:
    references = "".join(f"N{n}\tReference T1 UMLS:C000000{n}\tx\n" for n in (1, 2))
    notes = "#1\tAnnotatorNotes T1\tC0000001+C0000002\n#2\tAnnotatorNotes T1\tC0000003\n"
    files = {"a.txt": b"Fever", "a.ann": f"T1\tDISO 0 5\tFever\n{references}{notes}".encode()}
    (document,), told = read(tmp_path / "c", files)
    assert document.mentions[0].gold == ("C0000001", "C0000002")
    assert told == ["not read as gold: codes of a note beside the other codes of an N line"]


def test_the_values_of_an_attribute_are_each_there_once() -> None:
    pairs: list[tuple[str, str | bool]] = [("A", True), ("B", "x"), ("A", "y"), ("B", "z")]
    assert gathered([*pairs, ("B", "x")]) == (("A", "y"), ("B", "x|z"))


def test_order_by_start_then_by_end_then_as_given() -> None:
    spans = [(3, 5), (0, 9), (3, 4), (0, 2), (3, 5)]
    mentions = [mention(*span, str(index)) for index, span in enumerate(spans)]
    assert [m.text for m in in_document_order(mentions)] == ["3", "1", "2", "0", "4"]
