"""Hostile inputs, small enough for every day; the large ones are in tests/benchmarks/attacks.md."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longbel_cli.corpora import Corpus
from tests.support.command_line import Longbel, write_json_lines
from tests.support.link_cases import DOCUMENTS, bigbio

LAUGHS = "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">'
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
DECLARATIONS = {
    "billion laughs": f'<!DOCTYPE c [<!ENTITY a "ha">{LAUGHS}]>',
    "a file of the machine": '<!DOCTYPE c [<!ENTITY i SYSTEM "file:///etc/passwd">]>',
    "an address": '<!DOCTYPE c [<!ENTITY i SYSTEM "http://127.0.0.1:9/x">]>',
    "a parameter": '<!DOCTYPE c [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
}
BIOC = (
    '<?xml version="1.0"?>{}<collection><source>s</source><date>d</date><key>k</key><document>'
    "<id>d1</id><passage><offset>0</offset><text>{}</text></passage></document></collection>"
)


@pytest.mark.parametrize("declared", DECLARATIONS.values(), ids=DECLARATIONS)
@pytest.mark.parametrize("text", ["&i;", "Fever"])
def test_entities_of_bioc_are_refused(
    tmp_path: Path, longbel: Longbel, declared: str, text: str
) -> None:
    (tmp_path / "c.xml").write_text(BIOC.format(declared, text))
    done = longbel("check", tmp_path / "c.xml")
    assert done.code == 3 and "declares XML entities, which are refused" in done.err
    assert "root:" not in done.out + done.err


def test_elements_within_elements_are_read_without_recursion(
    tmp_path: Path, longbel: Longbel
) -> None:
    deep = "<a>" * 20_000 + "</a>" * 20_000
    (tmp_path / "c.xml").write_text(BIOC.format("", deep))
    assert longbel("check", tmp_path / "c.xml").code in (0, 3, 5)


def test_a_pickle_in_the_metadata_of_parquet_is_not_loaded(
    tmp_path: Path, longbel: Longbel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as an extension type nor as the schema that Arrow keeps there."""
    monkeypatch.chdir(tmp_path)
    pickled = b"cposix\nsystem\n(S'touch owned'\ntR."
    table = pa.Table.from_pylist([DOCUMENTS[0]])
    extension = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickled,
    }
    fields = [field.with_metadata(extension) for field in table.schema]
    pq.write_table(table.cast(pa.schema(fields)), "extension.parquet")
    odd = {b"pandas": b'{"index_columns": [' * 1000, b"huggingface": pickled}
    pq.write_table(table.replace_schema_metadata(odd), "metadata.parquet")
    pq.write_table(table.replace_schema_metadata({b"ARROW:schema": pickled}), "schema.parquet")
    for name in ("extension", "metadata", "schema"):
        assert longbel("check", f"{name}.parquet").code in (0, 3)
    assert not Path("owned").exists()


@pytest.mark.parametrize("name", ["../owned/MRCONSO.RRF", "/tmp/owned-by-zip/MRCONSO.RRF"])
def test_an_archive_writes_nothing_and_its_names_lead_nowhere(
    tmp_path: Path, longbel: Longbel, name: str
) -> None:
    source = tmp_path / "in" / "release.zip"
    source.parent.mkdir()
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr(name, "C0000001|ENG|P|L1|PF|S1|Y|A1||||MTH|PT|1|Fever|0|N|||\n")
    assert longbel("build-kb", source, "--out", tmp_path / "kb").code == 3
    assert not (tmp_path / "owned").exists() and not Path("/tmp/owned-by-zip").exists()


def test_a_line_without_end_is_one_broken_document(tmp_path: Path, longbel: Longbel) -> None:
    (tmp_path / "c.jsonl").write_bytes(b'{"id": "' + b"Zanthoma " * 2_000_000)
    done = longbel("check", tmp_path / "c.jsonl")
    assert done.code == 3 and len(done.err) < 1000


@pytest.mark.parametrize("change", ["cut", "grown", "replaced", "removed"])
def test_a_corpus_that_changes_while_it_is_linked_gives_no_mixed_result(
    tmp_path: Path,
    longbel: Longbel,
    kb_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    write_json_lines(corpus, *DOCUMENTS, *(bigbio(f"x{n}", "Fever.", ("T1", "DISO", "Fever"))
                                           for n in range(200)))  # fmt: skip
    whole, read = corpus.read_bytes(), Corpus.read

    def changed(self, *arguments, **settings):  # type: ignore[no-untyped-def]
        for index, document in enumerate(read(self, *arguments, **settings)):
            if index == 3 and (tmp_path / "out.jsonl.run" / "run.json").exists():
                alter(corpus, whole, change)
            yield document

    monkeypatch.setattr(Corpus, "read", changed)
    out = tmp_path / "out.jsonl"
    command = (
        "link",
        corpus,
        "--kb",
        kb_folder,
        "--linker",
        "exact",
        "--window",
        "2",
        "--out",
        out,
    )
    done = longbel(*command)
    assert done.code in (3, 4), done.err
    assert not out.exists()
    monkeypatch.undo()
    corpus.write_bytes(whole)
    assert longbel(*command).code == 0
    assert len(out.read_text().splitlines()) == 208


def alter(corpus: Path, whole: bytes, change: str) -> None:
    if change == "removed":
        corpus.unlink(missing_ok=True)
        return
    altered = {
        "cut": whole[: len(whole) // 2],
        "grown": whole + json.dumps(bigbio("more", "Fever.", ("T1", "DISO", "Fever"))).encode(),
        "replaced": whole.replace(b"Fever", b"Cough"),
    }
    corpus.write_bytes(altered[change])
