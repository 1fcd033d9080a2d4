"""What a corpus says of a mention beside its concept goes through to every output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from longbel_cli.corpora import read_corpus
from longbel_cli.corpora.attributes import attributes_of, gathered
from longbel_cli.types import Attributes
from tests.support.command_line import Longbel, write_json_lines

SAID: Attributes = (("Negation", True), ("Certainty", "very low"))
ENTITY = {"id": "T1", "type": "DISO", "text": ["fever"], "offsets": [[0, 5]], "normalized": []}
PAGE = {
    "id": "d", "document_id": "d",
    "passages": [{"id": "p", "type": "text", "text": ["fever"], "offsets": [[0, 5]]}],
    "entities": [{**ENTITY, "attributes": dict(SAID)}],
    "events": [], "coreferences": [], "relations": [],
}  # fmt: skip
ANN = "T1\tDISO 0 5\tfever\nA1\tNegation T1\nM2\tCertainty T1 very low\n"
BIOC = {
    "documents": [{
        "id": "d", "infons": {},
        "passages": [{"offset": 0, "infons": {}, "text": "fever", "annotations": [{
            "id": "T1", "text": "fever", "locations": [{"offset": 0, "length": 5}],
            "infons": {"type": "DISO", "identifier": "C1", "database": "MSH", "valid": "True",
                       "Negation": "yes", "Certainty": "very low"},
        }]}],
    }],
}  # fmt: skip


def brat(folder: Path, annotations: str) -> Path:
    folder.mkdir()
    (folder / "d.txt").write_text("fever")
    (folder / "d.ann").write_text(annotations)
    return folder


def written(folder: Path) -> dict[str, tuple[Path, Attributes]]:
    """A corpus in each format that can say such things, and what it says."""
    write_json_lines(folder / "c.jsonl", PAGE)
    (folder / "c.json").write_text(json.dumps(BIOC))
    return {
        "bigbio": (folder / "c.jsonl", SAID),
        "brat": (brat(folder / "brat", ANN), SAID),
        "bioc": (folder / "c.json", (("Negation", "yes"), ("Certainty", "very low"))),
    }


@pytest.mark.parametrize("form", ["bigbio", "brat", "bioc"])
def test_readers(tmp_path: Path, form: str) -> None:
    path, said = written(tmp_path)[form]
    (document,) = read_corpus([path])
    assert document.mentions[0].attributes == said


# lines after T1, what they say, and whether a remark is due
LINES: list[tuple[str, Attributes, bool]] = [
    ("A1\tNegation T1\n", (("Negation", True),), False),
    ("A1\tCertainty T1 low\nA2\tCertainty T1 low\n", (("Certainty", "low"),), False),
    ("A1\tCertainty T1 low\nA2\tCertainty T1 high\n", (("Certainty", "low|high"),), False),
    ("A1\tNegation T1\nA2\tNegation T1 partly\n", (("Negation", "partly"),), False),
    ("A1\tNegation E1\nE1\tEvent:T1\n", (), False),
    ("A1\tNegation T9\n", (), False),
    ("A1\tNegation\n", (), True),
    ("A1 Negation T1\n", (), True),
]


@pytest.mark.parametrize(("lines", "said", "is_remarked"), LINES)
def test_lines_of_brat(tmp_path: Path, lines: str, said: Attributes, is_remarked: bool) -> None:
    remarks: list[Any] = []
    path = brat(tmp_path / "c", "T1\tDISO 0 5\tfever\n" + lines)
    (document,) = read_corpus([path], on_remark=remarks.append)
    assert document.mentions[0].attributes == said
    assert bool(remarks) is is_remarked


def test_values_of_json() -> None:
    values = {"a": True, "b": False, "c": "x", "d": 3, "e": None, "f": [1], "g": "", "h": {}}
    assert attributes_of(values) == (("a", True), ("b", False), ("c", "x"), ("d", "3"))
    assert attributes_of(["a"]) == attributes_of(None) == ()
    assert gathered([("a", False), ("a", True)]) == (("a", False),)


@pytest.mark.parametrize("linker", ["exact", "sample"])
@pytest.mark.parametrize("form", ["bigbio", "brat", "bioc"])
def test_from_corpus_to_outputs(
    longbel: Longbel, kb_folder: Path, tmp_path: Path, form: str, linker: str
) -> None:
    """They stand in preds.jsonl, and in a fused and a converted corpus."""
    path, said = written(tmp_path)[form]
    how = ("--linker", "exact", "--kb", kb_folder) if linker == "exact" else ()
    for name in ("p.jsonl", "q.jsonl"):
        done = longbel("link", path, *how, "--out", tmp_path / name, "--beams", "1",
                       "--unknown-group", "all")  # fmt: skip
        assert done.code == 0, done.err
    line = json.loads((tmp_path / "p.jsonl").read_text())
    assert line["attributes"] == dict(said)
    fused = tmp_path / "f.jsonl"
    assert longbel("fuse", tmp_path / "p.jsonl", tmp_path / "q.jsonl", "--out", fused).code == 0
    assert json.loads(fused.read_text())["attributes"] == dict(said)
    for target in ("bigbio", "brat"):
        out = tmp_path / f"to-{target}"
        assert longbel("convert", fused, path, "--to", target, "--out", out).code == 0
        (document,) = read_corpus([out])
        assert document.mentions[0].attributes == said


def test_without_attributes_a_line_is_as_it_was(
    longbel: Longbel, kb_folder: Path, tmp_path: Path
) -> None:
    write_json_lines(tmp_path / "c.jsonl", {**PAGE, "entities": [ENTITY]})
    out = tmp_path / "p.jsonl"
    done = longbel("link", tmp_path / "c.jsonl", "--kb", kb_folder, "--linker", "exact",
                   "--unknown-group", "all", "--out", out)  # fmt: skip
    assert done.code == 0 and "attributes" not in out.read_text()
