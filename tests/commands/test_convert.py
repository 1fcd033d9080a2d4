"""`longbel convert`: what it writes, what it says of the rest, and its exit codes."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from longbel_cli.corpora import read_corpus
from longbel_cli.types import Candidate, Prediction, Span
from tests.corpora.nasty.cases import TEXT, code, entity, lines, page
from tests.support.command_line import Longbel
from tests.support.files import stored

# The command ------------------------------------------------------------------------------------


def predicted(document_id: str, mention_id: str, start: int, end: int, answer: str | None) -> str:
    best = (Candidate(1, answer, f"name of {answer}", 0.5),) if answer else ()
    prediction = Prediction(document_id, mention_id, "m", "DISO", (Span(start, end),), best)
    return json.dumps(prediction.to_json()) + "\n"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    ann = b"T1\tDISO 0 5\tFever\nT2\tDISO 10 15\tcough\nR1\tX Arg1:T1 Arg2:T2\n"
    return stored({"a/x.txt": TEXT.encode(), "a/x.ann": ann}, tmp_path / "corpus")


@pytest.mark.parametrize(
    ("to", "name", "content_"),
    [
        (
            "brat",
            "a/x.ann",
            "T1\tDISO 0 5\tFever\nT2\tDISO 10 15\tcough\nR1\tX Arg1:T1 Arg2:T2\n"
            "N1\tReference T1 MESH:C1\tname of C1\n",
        ),
        (
            "pubtator",
            "corpus.pubtator",
            "a/x|t|Fever and cough after Zanthoma.\na/x|a|\n"
            "a/x\t0\t5\tFever\tDISO\tC1\na/x\t10\t15\tcough\tDISO\t-1\n\n",
        ),
    ],
)
def test_convert(
    longbel: Longbel, to: str, name: str, content_: str, corpus: Path, tmp_path: Path
) -> None:
    preds = tmp_path / "preds.jsonl"
    preds.write_text(predicted("a/x", "T2", 10, 15, None) + predicted("a/x", "T1", 0, 5, "C1"))
    out = tmp_path / "out"
    done = longbel("convert", preds, corpus, "--to", to, "--out", out, "--database", "MESH")
    assert done.code == 0
    assert (out / name).read_text() == content_
    assert "1 documents, 1 of 2 mentions with a concept, 0 predictions" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "out", "preds.jsonl"]


def test_convert_to_bigbio_reads_back_as_gold(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    preds = tmp_path / "preds.jsonl"
    preds.write_text(predicted("a/x", "T1", 0, 5, "C2+C1"))
    out = tmp_path / "out"
    assert longbel("convert", preds, corpus, "--to", "bigbio", "--out", out).code == 0
    (document,) = read_corpus([out])
    assert [mention.gold for mention in document.mentions] == [("C1", "C2"), None]


GOLD = b"N1\tReference T1 UMLS:C9\tx\nN2\tReference T2 UMLS:NIL\tx\n"


@pytest.mark.parametrize(
    ("to", "flags", "gold", "dropped"),
    [
        ("bigbio", [], [("C9",), ("NO_CODE",)], 0),
        ("bigbio", ["--replace-gold"], [("C1",), None], 2),
        ("brat", [], [("C1", "C9"), ("NO_CODE",)], 0),
        ("pubtator", [], [("C1",), None], 2),
    ],
)
def test_convert_keeps_the_gold_or_says_what_it_drops(
    longbel: Longbel, to: str, flags: list[str], gold: Any, dropped: int, corpus: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    annotations = corpus / "a/x.ann"
    annotations.write_bytes(annotations.read_bytes() + GOLD)
    preds, out = tmp_path / "preds.jsonl", tmp_path / "out"
    preds.write_text(predicted("a/x", "T1", 0, 5, "C1"))
    done = longbel("convert", preds, corpus, "--to", to, "--out", out, *flags)
    assert done.code == 0
    (document,) = read_corpus([out])
    assert [mention.gold for mention in document.mentions] == gold
    told = f"{annotations}: the corpus's own codes of 2 mentions are not written"
    assert (told in done.err) == bool(dropped)


def test_convert_replaces_gold_where_a_format_could_keep_it(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    preds, out = tmp_path / "preds.jsonl", tmp_path / "out"
    preds.write_text(predicted("a/x", "T1", 0, 5, "C1"))
    done = longbel("convert", preds, corpus, "--to", "pubtator", "--out", out, "--replace-gold")
    assert done.code == 2
    assert "--replace-gold does not go with --to pubtator" in done.err


def test_convert_puts_predictions_beside_the_gold_of_bigbio(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    annotations = corpus / "a/x.ann"
    annotations.write_bytes(annotations.read_bytes() + GOLD)
    preds, out = tmp_path / "preds.jsonl", tmp_path / "out"
    preds.write_text(predicted("a/x", "T1", 0, 5, "C1"))
    assert longbel("convert", preds, corpus, "--to", "bigbio", "--out", out).code == 0
    first, second = json.loads((out / "corpus.jsonl").read_text())["entities"]
    assert first["normalized"] == [{"db_name": "", "db_id": "C9"}]
    assert first["predicted"] == [{"db_name": "UMLS", "db_id": "C1"}]
    assert "predicted" not in second


def test_gold_that_is_dropped_is_counted_over_a_whole_file(
    longbel: Longbel, tmp_path: Path
) -> None:
    made = [page(entity(normalized=code("C9")), document_id=name) for name in ("a", "b")]
    corpus = stored({"c.jsonl": lines(*made)}, tmp_path / "corpus") / "c.jsonl"
    preds, out = tmp_path / "preds.jsonl", tmp_path / "out"
    preds.write_text(predicted("a", "T1", 0, 5, "C1"))
    done = longbel("convert", preds, corpus, "--to", "brat", "--out", out)
    assert f"{corpus}: the corpus's own codes of 2 mentions are not written" in done.err


def test_files_whose_gold_is_dropped_are_named_up_to_ten(longbel: Longbel, tmp_path: Path) -> None:
    ann = b"T1\tDISO 0 5\tFever\nN1\tReference T1 UMLS:C9\tx\n"
    files = {f"{n:02}.{end}": data for n in range(12) for end, data in
             (("txt", TEXT.encode()), ("ann", ann))}  # fmt: skip
    corpus = stored(files, tmp_path / "corpus")
    preds, out = tmp_path / "preds.jsonl", tmp_path / "out"
    preds.write_text(predicted("00", "T1", 0, 5, "C9"))
    done = longbel("convert", preds, corpus, "--to", "pubtator", "--out", out)
    assert done.err.count("own codes of 1 mentions are not written") == 10
    assert "and so in 1 more files; the own codes of 11 mentions are not written" in done.err


def test_convert_reads_predictions_as_score_does(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    beam = {"rank": 1, "pred_concept_code": 42, "pred_concept_name": None, "beam_score": None}
    about = {"document_id": "a/x", "semantic_group": "Disorders"}
    records = [
        {**about, "mention_id": "T1", "spans": [["0", "5"]], "beams": [beam]},
        {**about, "mention_id": "T2", "spans": [[10, 15]], "pred_concept_code": None},
    ]
    preds = tmp_path / "preds.jsonl"
    preds.write_text("".join(json.dumps(record) + "\n" for record in records))
    out = tmp_path / "out"
    assert longbel("convert", preds, corpus, "--to", "bigbio", "--out", out).code == 0
    (document,) = read_corpus([out])
    assert [mention.gold for mention in document.mentions] == [("42",), None]


def test_convert_leaves_the_data_of_an_unfinished_run_alone(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    preds, growing = tmp_path / "preds.jsonl", tmp_path / "out.part"
    preds.write_text(predicted("a/x", "T1", 0, 5, "C1"))
    growing.write_text("linked so far")
    assert longbel("convert", preds, corpus, "--to", "brat", "--out", tmp_path / "out").code == 0
    assert growing.read_text() == "linked so far"


def test_convert_tells_predictions_without_a_place(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    preds = tmp_path / "preds.jsonl"
    preds.write_text(
        predicted("a/x", "T1", 0, 5, "C1")
        + predicted("b/y", "T1", 0, 5, "C1")
        + predicted("a/x", "T9", 0, 5, "C1")
        + predicted("a/x", "T2", 0, 5, "C1")
        + predicted("a/x", "T1", 0, 5, "C2")
    )
    out = tmp_path / "out"
    done = longbel("convert", preds, corpus, "--to", "brat", "--out", out)
    assert done.code == 0
    told = done.err
    assert "document b/y: its 1 predictions find no such document" in told
    assert "its prediction for T9 finds no such mention" in told
    assert "the prediction for T2 has other offsets" in told
    assert "a second prediction for T1 is left out" in told
    assert "4 predictions without a mention" in told
    assert (out / "a" / "x.ann").read_text().count("Reference") == 1


def test_convert_joins_fragments_in_whatever_order_they_are_named(
    longbel: Longbel, tmp_path: Path
) -> None:
    """Other tools sort the fragments of a mention that BRAT names backwards."""
    ann = b"T1\tDISO 10 15;0 5\tcough Fever\n"
    corpus = stored({"x.txt": TEXT.encode(), "x.ann": ann}, tmp_path / "corpus")
    line = json.loads(predicted("x", "T1", 0, 5, "C1"))
    line["spans"] = [[0, 5], [10, 15]]
    preds = tmp_path / "preds.jsonl"
    preds.write_text(json.dumps(line) + "\n")
    assert longbel("convert", preds, corpus, "--to", "brat", "--out", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "x.ann").read_text().count("Reference T1 ") == 1


def test_convert_leaves_with_5_where_the_corpus_is_not_whole(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    (corpus / "a" / "y.ann").write_text("T1\tDISO 0 5\tFever\n")
    preds = tmp_path / "preds.jsonl"
    preds.write_text(predicted("a/x", "T1", 0, 5, "C1"))
    assert longbel("convert", preds, corpus, "--to", "brat", "--out", tmp_path / "out").code == 5


@pytest.mark.parametrize(
    ("preds", "reason"),
    [
        (predicted("z", "T1", 0, 5, "C1"), "none of its 1 predictions belongs"),
        # Two of one document: each of them counts as lost.
        (
            predicted("z", "T1", 0, 5, "C1") + predicted("z", "T2", 0, 5, "C1"),
            "none of its 2 predictions belongs",
        ),
        ('{"document_id": "a/x"}\n', "preds.jsonl:1: key 'pred_concept_code' is missing"),
        ('{"mention_id": "T1", "beams": []}\n', "preds.jsonl:1: key 'document_id' is missing"),
        (predicted("a/x", "T1", 0, 5, "\ud800"), "preds.jsonl:1: half of a surrogate pair"),
        ("[1]\n", "preds.jsonl:1: a prediction must be a JSON object"),
        ('{"document_id": "a/x", \n', "preds.jsonl:1: not a whole JSON object"),
        (None, "preds.jsonl: the file cannot be read (No such file or directory)"),
    ],
)
def test_convert_refuses_and_writes_nothing(
    longbel: Longbel, preds: str | None, reason: str, corpus: Path, tmp_path: Path
) -> None:
    if preds is not None:
        (tmp_path / "preds.jsonl").write_text(preds)
    out = tmp_path / "out"
    done = longbel("convert", tmp_path / "preds.jsonl", corpus, "--to", "brat", "--out", out)
    assert done.code == 3
    assert reason in done.err
    assert not [path for path in tmp_path.iterdir() if path.name not in ("corpus", "preds.jsonl")]


@pytest.mark.parametrize("stream", ["-", "pipe"])
def test_convert_refuses_predictions_that_can_be_read_only_once(
    longbel: Longbel, stream: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read twice: the second time a stream is empty, and every answer was lost."""
    line = predicted("a/x", "T1", 0, 5, "C1").encode()
    reading, writing = os.pipe()
    os.write(writing, line)
    os.close(writing)
    preds = "-" if stream == "-" else f"/dev/fd/{reading}"  # as a shell's `<(...)`
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line)))
    try:
        done = longbel("convert", preds, corpus, "--to", "brat", "--out", tmp_path / "out")
    finally:
        os.close(reading)
    assert done.code == 2
    told = done.err
    assert f"{preds}: predictions are read twice, a stream only once" in told
    assert "Write them to a file first." in told
    assert not (tmp_path / "out").exists()


def test_convert_takes_the_empty_device_for_no_predictions(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    """Nothing is lost there, so a corpus goes into another format without any answers."""
    out = tmp_path / "out"
    assert longbel("convert", os.devnull, corpus, "--to", "bigbio", "--out", out).code == 0
    assert [len(document.mentions) for document in read_corpus([out])] == [2]


def test_convert_never_writes_over_anything(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "preds.jsonl").write_text(predicted("a/x", "T1", 0, 5, "C1"))
    assert (
        longbel("convert", tmp_path / "preds.jsonl", corpus, "--to", "brat", "--out", corpus).code
        == 2
    )
    assert sorted(path.name for path in (corpus / "a").iterdir()) == ["x.ann", "x.txt"]
