"""Reading: order, places to read on from, standard input, named formats, and real corpora."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from longbel_cli.corpora import Corpus, Position, Problem, fail, ignore, read_corpus
from longbel_cli.corpora import stored as stored_bytes
from longbel_cli.corpora.bigbio import documents_of
from longbel_cli.corpora.seen import SeenIds
from longbel_cli.types import Document
from tests.corpora.nasty.cases import BIOC_PAGE, FEVER, bioc_document, entity, lines, page, parquet
from tests.support.files import stored
from tests.support.paths import SHARED

CORPORA = SHARED / "corpora"
needs_shared = pytest.mark.skipif(not CORPORA.is_dir(), reason="the shared corpora are not here")


def arrow(*values: dict[str, Any], as_file: bool = False) -> bytes:
    import pyarrow as pa

    sink, whole = io.BytesIO(), pa.Table.from_pylist(list(values))
    with (pa.ipc.new_file if as_file else pa.ipc.new_stream)(sink, whole.schema) as writer:
        writer.write_table(whole, max_chunksize=4)
    return sink.getvalue()


def titled(document_id: str) -> str:
    return f"{document_id}|t|Fever\n{document_id}\t0\t5\tFever\tDisease\tD1\n\n"


PAGES = [page(entity(), document_id=f"e{index}") for index in (0, 1, 2, 1, 3, 4)]
# The same documents in each way of storing them; the second e1 is a duplicate.
STORED: dict[str, dict[str, bytes]] = {
    "jsonl": {"c.jsonl": lines(*PAGES)},
    "jsonl with bom": {"c.jsonl": b"\xef\xbb\xbf" + lines(*PAGES)},
    "jsonl in two files": {"a.jsonl": lines(*PAGES[:3]), "b.jsonl": lines(*PAGES[3:])},
    "json array": {"c.json": json.dumps(PAGES, indent=1).encode()},
    "json one after another": {"c.json": b"\n".join(json.dumps(p).encode() for p in PAGES)},
    "parquet": {"c.parquet": parquet(*PAGES)},
    "arrow stream": {"c.arrow": arrow(*PAGES)},
    "arrow file": {"c.arrow": arrow(*PAGES, as_file=True)},
    "datasets on disk": {
        "d/dataset_dict.json": b'{"splits": ["train"]}',
        "d/train/data-00000-of-00001.arrow": arrow(*PAGES),
        "d/train/cache-1a2b.arrow": arrow(*PAGES),
        "d/train/state.json": b"{}",
        "d/train/dataset_info.json": b"{}",
    },
    "pubtator": {
        "c.pubtator": "".join(titled(f"e{index}") for index in (0, 1, 2, 1, 3, 4)).encode()
    },
    "bioc xml": {
        "c.xml": "".join(
            ["<collection>"]
            + [bioc_document("", f"<id>e{index}</id>\n") for index in (0, 1, 2, 1, 3, 4)]
            + ["</collection>"]
        ).encode()
    },
    "bioc json": {
        "c.json": json.dumps(
            {"documents": [{**BIOC_PAGE, "id": f"e{index}"} for index in (0, 1, 2, 1, 3, 4)]}
        ).encode()
    },
    "bioc json list of collections": {
        "c.json": json.dumps(
            [
                {"documents": [{**BIOC_PAGE, "id": f"e{index}"} for index in some], "key": "k"}
                for some in ((0, 1, 2), (1, 3), (), (4,))
            ]
        ).encode()
    },
    "brat": {
        f"e{index}{suffix}": content
        for index in range(5)
        for suffix, content in ((".txt", b"Fever"), (".ann", FEVER.encode()))
    },
}


@pytest.mark.parametrize("way", STORED)
def test_reading_on_from_any_document_gives_the_same_rest(way: str, tmp_path: Path) -> None:
    folder = stored(STORED[way], tmp_path / "corpus")
    corpus = Corpus([folder])
    told: list[Problem] = []
    everything = list(corpus.read(told.append))
    assert [document.id for _, document in everything] == ["e0", "e1", "e2", "e3", "e4"]
    assert [problem.document_id for problem in told] == ([] if way == "brat" else ["e1"])
    for index, (position, _) in enumerate(everything):
        back = Position(*json.loads(json.dumps(position)))
        # With what the first read knows of duplicates, from a stored set of them, and without.
        again = list(corpus.read(ignore, start=back))
        fresh = list(Corpus([folder]).read(ignore, start=back))
        kept = Corpus(
            [folder], duplicates=[tuple(location) for location in corpus.duplicates or ()]
        )
        assert again == everything[index:]
        assert fresh == everything[index:]
        assert list(kept.read(ignore, start=back)) == everything[index:]


def test_problems_before_the_start_are_not_told_again(tmp_path: Path) -> None:
    content = b"broken\n" + lines(page(entity())) + b"broken\n" + lines(page(document_id="e"))
    folder = stored({"c.jsonl": content}, tmp_path / "corpus")
    told: list[Problem] = []
    corpus = Corpus([folder])
    (_, (second, _)) = list(corpus.read(told.append))
    assert [problem.line for problem in told] == [1, 3]
    told.clear()
    list(corpus.read(told.append, start=second))
    assert told == []


def test_a_chunk_that_ends_inside_a_json_document(tmp_path: Path) -> None:
    """Documents of a JSON array are found whole wherever the file's chunks end."""
    pages = [
        page(document_id=f"é{index}", about='é\U0001f600\\"' * (index * 997 % 5000))
        for index in range(60)
    ]
    for ascii_only in (True, False):
        path = tmp_path / f"{ascii_only}.json"
        path.write_text(json.dumps(pages, ensure_ascii=ascii_only), encoding="utf-8")
        result = list(Corpus([path]).read())
        assert [document.id for _, document in result] == [f"é{index}" for index in range(60)]
        position, document = result[41]
        assert next(Corpus([path]).read(start=position)) == (position, document)


@pytest.mark.parametrize(
    ("content", "ids", "broken_at_line"),
    [
        ("[]", [], None),
        ("[A, B]", ["A", "B"], None),
        ("[A]\n[B]", ["A", "B"], None),
        ("A\nB\n", ["A", "B"], None),
        ('{"documents": [A, B], "more": [1]}', ["A", "B"], None),
        ('{"more": {"documents": [7]}, "documents": [A]}', ["A"], None),
        ('{"documents": [A]}\n{"documents": [B]}', ["A", "B"], None),
        ('{"documents": [A], "documents": [B]}', ["A", "B"], None),
        ("[A,\nB", ["A", "B"], 2),  # cut between two documents
        ("[A,\n", ["A"], 2),
        ("[A\nB]", ["A"], 2),
        ("[A,]", ["A"], 1),
        ("[A] x", ["A"], 1),
        ('{"documents": [A]', ["A"], 1),
        ('{"documents": [A] "more": 1}', ["A"], 1),
        ('{"documents" [A]}', [], 1),
    ],
)
def test_json_files_of_every_shape(
    content: str, ids: list[str], broken_at_line: int | None, tmp_path: Path
) -> None:
    for name in ("A", "B"):
        content = re.sub(rf"\b{name}\b", json.dumps(page(document_id=f"<{name}>")), content)
    path = tmp_path / "c.json"
    path.write_text(content)
    told: list[Problem] = []
    result: list[tuple[Position, Document]] = []
    if ids:
        corpus = Corpus([path])
        result = list(corpus.read(told.append))
        for index, (position, _) in enumerate(result):
            assert list(corpus.read(ignore, start=position)) == result[index:]
    else:
        with pytest.raises(LongbelError):
            list(Corpus([path]).read(told.append))
    assert [document.id for _, document in result] == [f"<{name}>" for name in ids]
    assert [problem.line for problem in told] == ([broken_at_line] if broken_at_line else [])


def test_a_large_document_before_many_small_ones(tmp_path: Path) -> None:
    """The work is linear: the small ones are not copied with what is left of the large window."""
    pages = [page(document_id="large", about=["x" * 1000] * 3000)]
    pages += [page(document_id=f"e{index}") for index in range(3000)]
    for name, opener in (("c.json", open), ("c.json.gz", gzip.open)):
        with opener(tmp_path / name, "wt", encoding="utf-8") as handle:  # type: ignore[operator]
            json.dump(pages, handle)
        assert sum(1 for _ in read_corpus([tmp_path / name])) == 3001


def test_files_are_read_by_name_below_folders_and_as_given_on_the_line(tmp_path: Path) -> None:
    folder = stored(
        {f"{name}.txt": b"Fever" for name in ("b", "a/z", "a-1", "c/y/x")}
        | {f"{name}.ann": b"" for name in ("b", "a/z", "a-1", "c/y/x")},
        tmp_path / "corpus",
    )
    assert [d.id for d in read_corpus([folder])] == ["a/z", "a-1", "b", "c/y/x"]
    assert [d.id for d in read_corpus([folder / "c", folder / "a"])] == ["y/x", "z"]


def test_a_pair_named_by_both_its_files_is_one_document(tmp_path: Path) -> None:
    folder = stored({"x.txt": b"Fever", "x.ann": FEVER.encode()}, tmp_path / "corpus")
    for paths in ([folder / "x.txt"], [folder / "x.ann"], [folder / "x.ann", folder / "x.txt"]):
        assert [(d.id, len(d.mentions)) for d in read_corpus(paths)] == [("x", 1)]


def test_ids_that_clash_between_two_corpora_are_quarantined(tmp_path: Path) -> None:
    pair = {"x.txt": b"Fever", "x.ann": FEVER.encode()}
    first, two = stored(pair, tmp_path / "one"), stored(pair, tmp_path / "two")
    told: list[Problem] = []
    assert len(list(read_corpus([first, two], on_problem=told.append))) == 1
    assert [(p.source, p.document_id, p.whole_document) for p in told] == [
        (str(two / "x.ann"), "x", True)
    ]


def test_a_text_of_brat_without_annotations_is_a_broken_document(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("Fever")
    told: list[Problem] = []
    with pytest.raises(LongbelError, match="no document can be read"):
        list(read_corpus([path], "brat", on_problem=told.append))
    assert [problem.reason for problem in told] == ["its .ann file is missing"]


def test_links_to_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    folder = stored({"a/x.txt": b"Fever", "a/x.ann": FEVER.encode()}, tmp_path / "corpus")
    elsewhere = stored({"y.txt": b"Fever", "y.ann": FEVER.encode()}, tmp_path / "elsewhere")
    (folder / "a" / "loop").symlink_to(folder)
    (folder / "b").symlink_to(elsewhere)
    assert [document.id for document in read_corpus([folder])] == ["a/x", "b/y"]


def test_a_broken_link_is_a_broken_document(tmp_path: Path) -> None:
    folder = stored({"c.jsonl": lines(page(entity()))}, tmp_path / "corpus")
    (folder / "z.jsonl").symlink_to(tmp_path / "nowhere")
    told: list[Problem] = []
    assert [d.id for d in read_corpus([folder], on_problem=told.append)] == ["d"]
    assert [Path(problem.source).name for problem in told] == ["z.jsonl"]


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.jsonl")
    with pytest.raises(LongbelError, match="no regular file"):
        list(read_corpus([tmp_path / "c.jsonl"]))


def test_the_default_stops_at_the_first_problem(tmp_path: Path) -> None:
    folder = stored({"c.jsonl": lines(page(entity(end=4)))}, tmp_path / "corpus")
    with pytest.raises(LongbelError) as caught:
        list(read_corpus([folder]))
    assert caught.value.message == (
        f"{folder}/c.jsonl:1: document d: mention T1: its text is not the document's at 0-4; "
        "that text stands at 0-5"
    )
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("paths", "form", "reason", "exit_code"),
    [
        (["none"], "auto", "none: no such file or folder", 3),
        (["notes.docx"], "auto", "the format cannot be told", 3),
        (["."], "wav", "corpus format wav: choose auto, bigbio", 2),
        (["."], "parquet", "corpus format parquet: choose", 2),
        (["."], "pubtator", "no corpus file found of format pubtator", 3),
        ([], "auto", "no corpus was given", 2),
        (["-"], "brat", "brat cannot be read from standard input", 2),
    ],
)
def test_corpora_that_are_refused(
    paths: Sequence[str],
    form: str,
    reason: str,
    exit_code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "notes.docx").write_bytes(b"PK")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LongbelError) as caught:
        Corpus(paths, form)
    assert reason in caught.value.message
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        ({"c.zip": b"PK\x03\x04"}, "there is 1 of .zip; c.zip is a zip archive", "Unpack it"),
        ({"x.ann.txt": b""}, "1 of .txt; x.ann.txt is named", "ends in .ann"),
        ({"x.norm": b"N1"}, "x.norm is concept labels of n2c2", "N lines of BRAT"),
        ({"x.xmi": b"<xmi:XMI/>", "y.xmi": b""}, "2 of .xmi; x.xmi is a UIMA CAS", "BioC"),
        ({"x.tsv": b"#FORMAT=WebAnno TSV 3.3"}, "x.tsv is a WebAnno", "BioC"),
        ({"x.docx": b"PK\x03\x04"}, "x.docx is an Office document", "Save its text"),
        ({"x.dat": b"", "y": b""}, "1 of .dat, 1 of no suffix", "A corpus is a folder or files of"),
    ],
)
def test_a_folder_without_a_corpus_says_what_it_holds(
    tmp_path: Path, files: dict[str, bytes], message: str, hint: str
) -> None:
    with pytest.raises(LongbelError) as caught:
        Corpus([stored(files, tmp_path / "corpus")])
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert "--format" not in (caught.value.hint or "")


def test_a_corpus_without_a_document_says_what_its_files_are(tmp_path: Path) -> None:
    cas = b'<?xml version="1.0"?><xmi:XMI xmlns:xmi="http://www.omg.org/XMI"/>'
    folder = stored({"a.xml": cas}, tmp_path / "corpus")
    with pytest.raises(LongbelError, match=r"there is 1 of .xml; a.xml is a UIMA CAS") as caught:
        list(read_corpus([folder]))
    assert "BioC" in (caught.value.hint or "")


@pytest.mark.parametrize("named", ["x.TXT", "x.ANN", "."])
def test_suffixes_in_capitals(tmp_path: Path, named: str) -> None:
    folder = stored({"x.TXT": b"Fever", "x.ANN": FEVER.encode()}, tmp_path / "corpus")
    (document,) = read_corpus([folder / named])
    assert (document.id, document.text, len(document.mentions)) == ("x", "Fever", 1)


def test_json_of_another_schema_says_its_keys(tmp_path: Path) -> None:
    told: list[Problem] = []
    page_of = {"pmid": 1, "abstract": "Zanthoma", "Zanthoma of": 1}
    (tmp_path / "c.jsonl").write_bytes(lines(page_of, page(entity())))
    list(Corpus([tmp_path]).read(told.append))
    assert "(keys: pmid, abstract; needed: document_id, passages, entities)" in told[0].reason


def test_a_named_format_decides_where_names_do_not(tmp_path: Path) -> None:
    (tmp_path / "corpus.data").write_text("7|t|Fever\n")
    assert [d.id for d in read_corpus([tmp_path / "corpus.data"], "pubtator")] == ["7"]
    (tmp_path / "corpus.dat").write_bytes(lines(page(entity())))
    assert [d.id for d in read_corpus([tmp_path / "corpus.dat"], "bigbio")] == ["d"]


def test_a_named_format_reads_that_format_alone(tmp_path: Path) -> None:
    folder = stored(
        {"x.txt": b"Fever", "x.ann": b"", "c.jsonl": lines(page(entity()))}, tmp_path / "corpus"
    )
    assert [d.id for d in read_corpus([folder], "brat")] == ["x"]
    assert [d.id for d in read_corpus([folder], "bigbio")] == ["d"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("before", [5_000, 20_000, 65_000])
def test_a_key_of_bioc_is_found_far_behind_the_start(
    before: int, packed: bool, tmp_path: Path
) -> None:
    value = {"source": "x" * before, "infons": {}, "documents": [BIOC_PAGE]}
    data = json.dumps(value).encode()
    path = tmp_path / ("c.json.gz" if packed else "c.json")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert [file.format for file in Corpus([path]).files] == ["bioc"]
    assert stored_bytes.head(str(path)) == data[:65_536]
    assert stored_bytes.head(str(path), 4096) == data[:4096]


def test_of_damaged_gzip_the_head_is_what_was_unpacked(tmp_path: Path) -> None:
    # Digits of a counter: little enough is gained by packing that a part of them fits in a half.
    data = b'{"infons": "' + b"".join(b"%d" % index**5 for index in range(3000))
    path = tmp_path / "c.json.gz"
    packed = gzip.compress(data)
    path.write_bytes(packed[: len(packed) // 2])
    result = stored_bytes.head(str(path))
    assert 10_000 < len(result) < len(data)
    assert data.startswith(result)
    assert Corpus([path]).files[0].format == "bioc"
    assert stored_bytes.head(str(tmp_path / "nowhere")) == b""


def standard_input(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)))
    monkeypatch.setattr("sys.stdin", stream)


def test_standard_input_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(lines(*PAGES[:3]), monkeypatch)
    assert [document.id for document in read_corpus(["-"])] == ["e0", "e1", "e2"]


def test_pages_in_memory_are_checked_like_files() -> None:
    told: list[Problem] = []
    pages = [page(entity(), entity("T2", 0, 4)), page(document_id="e"), page()]
    result = list(documents_of(pages, told.append))
    assert [(document.id, len(document.mentions)) for document in result] == [("d", 1), ("e", 0)]
    assert [(problem.source, problem.mention_id) for problem in told] == [
        ("page 1", "T2"),
        ("page 3", None),
    ]


@given(st.lists(st.text(max_size=2), max_size=300), st.integers(1, 5))
def test_seen_ids_are_a_set(ids: list[str], batch: int) -> None:
    seen, expected = SeenIds(batch), set()
    for name in ids:
        assert seen.add(name) == (name not in expected)
        expected.add(name)


def offsets(documents: Sequence[Document]) -> dict[str, list[tuple[object, ...]]]:
    return {
        document.id: [
            (mention.spans, mention.text, mention.entity_type, mention.gold)
            for mention in document.mentions
        ]
        for document in documents
    }


def slow(*values: object) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@needs_shared
@pytest.mark.parametrize(
    ("path", "documents", "mentions"),
    [
        slow("bc5cdr/train.jsonl.gz", 500, 9385),
        ("bc5cdr/dev.jsonl.gz", 500, 9591),
        slow("ncbi_disease/train.jsonl.gz", 592, 5134),
        ("ncbi_disease/dev.jsonl.gz", 100, 787),
        slow("quaero_emea/train.jsonl.gz", 11, 2695),
        ("quaero_emea/dev.jsonl.gz", 12, 2260),
        ("quaero_emea/brat", 23, 2695 + 2260),
        slow("quaero_medline/train.jsonl.gz", 833, 2994),
        ("quaero_medline/dev.jsonl.gz", 832, 2977),
        slow("spaccc/train.jsonl.gz", 675, 17012),
        ("spaccc/dev.jsonl.gz", 75, 1961),
        slow("gsc_hpo/train.jsonl.gz", 161, 1887),
        ("gsc_hpo/dev.jsonl.gz", 23, 274),
        slow("craft/train.jsonl.gz", 16, 12164),
    ],
)
def test_real_corpora_have_no_offset_violation(path: str, documents: int, mentions: int) -> None:
    result = list(read_corpus([CORPORA / path], on_problem=fail, on_remark=fail))
    assert len(result) == documents
    assert sum(len(document.mentions) for document in result) == mentions


@needs_shared
@pytest.mark.parametrize("corpus", ["bc5cdr", "ncbi_disease"])
@pytest.mark.parametrize("split", [slow("train"), "dev"])
def test_pubtator_says_what_bigbio_says(corpus: str, split: str) -> None:
    """The two were converted by others: text, offsets, types and codes agree to the last one."""
    told: list[Problem] = []
    bigbio = list(read_corpus([CORPORA / corpus / f"{split}.jsonl.gz"]))
    pubtator = list(
        read_corpus([CORPORA / corpus / f"{split}.PubTator.txt.gz"], on_problem=told.append)
    )
    assert offsets(pubtator) == offsets(bigbio)
    assert {d.id: d.text for d in pubtator} == {d.id: d.text for d in bigbio}
    # The one abstract that NCBI's file prints twice.
    assert [problem.document_id for problem in told] == (
        ["8528200"] if (corpus, split) == ("ncbi_disease", "train") else []
    )


@needs_shared
@pytest.mark.parametrize(
    ("corpus", "split", "different"),
    [
        ("quaero_emea", "train", 4),
        ("quaero_emea", "dev", 4),
        slow("quaero_medline", "train", 15),
    ],
)
def test_brat_says_what_bigbio_says(
    corpus: str, split: str, different: int, tmp_path: Path
) -> None:
    """All agree but the codes whose notes are no CUI as published (`C00027921`, `C0557.36`),
    which are kept here as they stand and were cut or dropped in the conversion to BigBio."""
    if corpus == "quaero_medline":
        with tarfile.open(CORPORA / corpus / f"brat_{split}.tar.gz") as archive:
            archive.extractall(tmp_path, filter="data")
        folder = tmp_path / "MEDLINE" / split
    else:
        folder = CORPORA / corpus / "brat" / split
    brat = offsets(list(read_corpus([folder], on_remark=fail)))
    bigbio = offsets(list(read_corpus([CORPORA / corpus / f"{split}.jsonl.gz"])))
    assert brat.keys() == bigbio.keys()
    odd = [
        (first, other)
        for name in brat
        for first, other in zip(brat[name], bigbio[name], strict=True)
        if first != other
    ]
    assert len(odd) == different
    for first, other in odd:
        assert first[:3] == other[:3]
        assert any(re.fullmatch(r"C\d{7}", str(code)) is None for code in gold_of(first))


def gold_of(mention: tuple[object, ...]) -> tuple[str, ...]:
    gold = mention[3]
    return gold if isinstance(gold, tuple) else ()
