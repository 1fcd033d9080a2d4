"""`longbel fuse --tune`: weights chosen on one corpus, used on others, and said by scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Longbel, write_json_lines
from tests.support.score_cases import prediction, write_predictions

GOLD = "C0000001"


def page(document: str) -> dict[str, object]:
    """A BigBio document of one mention, whose gold is GOLD."""
    return {
        "id": document, "document_id": document,
        "passages": [{"id": "p", "type": "text", "text": ["fever"], "offsets": [[0, 5]]}],
        "entities": [{"id": "T0", "type": "Disorders", "text": ["f"], "offsets": [[0, 1]],
                      "normalized": [{"db_name": "UMLS", "db_id": GOLD}]}],
        "events": [], "coreferences": [], "relations": [],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four documents and two systems: the second is right, and its scores are small."""
    monkeypatch.chdir(tmp_path)
    documents = [f"d{index}" for index in range(4)]
    write_json_lines(tmp_path / "gold.jsonl", *map(page, documents))
    for name, codes, scores in (("a.jsonl", ("X", GOLD), (0.9, 0.5)),
                                ("b.jsonl", (GOLD, "X"), (0.2, 0.1))):  # fmt: skip
        rows = [prediction(f"{document}:0", *codes, scores=scores) for document in documents]
        write_predictions(tmp_path / name, *rows)
    return tmp_path


TUNE = ("fuse", "a.jsonl", "b.jsonl", "--by", "score", "--tune", "gold.jsonl")


def test_tuned_weights_are_kept_used_and_said(longbel: Longbel, folder: Path) -> None:
    tuned = longbel(*TUNE, "--write-weights", "weights.json")
    assert tuned.code == 0 and "weights: a.jsonl 1, b.jsonl 5" in tuned.err
    weights = json.loads(Path("weights.json").read_text())
    assert (weights["weights"], weights["threshold"], weights["by"]) == ([1, 5], None, "score")
    assert weights["measured"]["recall@1"]["value"] == 1.0
    assert weights["measured"]["gain"]["value"] == 0  # the second system alone is as good
    assert "within chance" in tuned.err
    assert "d0" not in json.dumps(weights["documents"])  # hashes: ids may say who a patient is

    used = longbel(
        "fuse", "a.jsonl", "b.jsonl", "--weights-from", "weights.json", "--out", "f.jsonl"
    )
    assert used.code == 0, used.err
    scored = longbel("score", "f.jsonl", "--gold", "gold.jsonl", "--n-boot", "20")
    assert scored.out.splitlines()[0] == (
        "f.jsonl: its weights were tuned on 4 of the 4 documents scored here, so this score is too "
        "good"
    )
    as_json = json.loads(longbel("score", "f.jsonl", "--gold", "gold.jsonl", "--json").out)
    gold = as_json["signature"].split("|gold:")[1].split("|")[0]
    assert as_json["n_tuned_documents"] == 4 and f"|tuned:{gold}|" in as_json["signature"]
    assert as_json["recall@1"]["value"] == 1.0


def test_a_score_on_other_documents_is_none_too_good(longbel: Longbel, folder: Path) -> None:
    assert longbel(*TUNE, "--write-weights", "weights.json").code == 0
    write_json_lines(folder / "other.jsonl", page("e0"), page("e1"))
    for name in ("c.jsonl", "e.jsonl"):
        rows = [prediction(f"e{index}:0", GOLD, scores=(0.5,)) for index in range(2)]
        write_predictions(folder / name, *rows)
    done = longbel(
        "fuse", "c.jsonl", "e.jsonl", "--weights-from", "weights.json", "--out", "f.jsonl"
    )
    assert done.code == 0
    scored = longbel("score", "f.jsonl", "--gold", "other.jsonl", "--n-boot", "20").out
    assert "too good" not in scored and "|tuned:" in scored


def test_tuning_and_fusing_at_once(longbel: Longbel, folder: Path) -> None:
    assert longbel(*TUNE, "--write-weights", "weights.json", "--out", "f.jsonl").code == 0
    again = longbel(
        "fuse", "a.jsonl", "b.jsonl", "--weights-from", "weights.json", "--out", "g.jsonl"
    )
    assert again.code == 0
    assert (folder / "f.jsonl").read_bytes() == (folder / "g.jsonl").read_bytes()


def change(folder: Path, **changed: object) -> None:
    content = json.loads((folder / "weights.json").read_text())
    (folder / "weights.json").write_text(json.dumps(content | changed))


def test_weights_of_other_systems_are_refused(longbel: Longbel, folder: Path) -> None:
    assert longbel(*TUNE, "--write-weights", "weights.json").code == 0
    systems = json.loads((folder / "weights.json").read_text())["systems"]
    use = ("fuse", "a.jsonl", "b.jsonl", "--weights-from", "weights.json", "--out", "f.jsonl")
    change(folder, systems=[systems[0], systems[1] | {"linker": "tfidf"}])
    refused = longbel(*use)
    assert refused.code == 4 and "b.jsonl" in refused.err and "tuned for tfidf" in refused.err
    change(folder, systems=[systems[0], systems[1] | {"kb": "another"}])
    hinted = longbel(*use)
    assert hinted.code == 0 and "another kb than when the weights were tuned" in hinted.err
    three = longbel("fuse", "a.jsonl", "b.jsonl", "a.jsonl", *use[3:], "--overwrite")
    assert three.code == 2 and "for 2 systems, 3 files" in three.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((*TUNE, "--weights", "1,2", "--write-weights", "w.json"), 2, "--weights does not go with"),
        ((*TUNE, "--weights-from", "w.json", "--out", "f.jsonl"), 2, "--weights-from does not go"),
        (("fuse", "a.jsonl", "b.jsonl", "--write-weights", "w.json"), 2, "--tune"),
        (("fuse", "a.jsonl", "b.jsonl"), 2, "--out"),
        (TUNE, 2, "--out"),
        ((*TUNE, "--write-weights", "gold.jsonl"), 2, "gold.jsonl"),
        ((*TUNE, "--write-weights", "a.jsonl"), 2, "a.jsonl"),
        (("fuse", "a.jsonl", "b.jsonl", "--weights-from", "a.jsonl", "--out", "f.jsonl"), 3,
         "no weights of a fusion"),
        (("fuse", "a.jsonl", "b.jsonl", "--weights-from", "none", "--out", "f.jsonl"), 3, "none"),
        (("fuse", "a.jsonl", "--tune", "gold.jsonl", "--write-weights", "w.json"), 2,
         "at least two"),
    ],
)  # fmt: skip
def test_wrong_flags(
    longbel: Longbel, folder: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = longbel(*words)
    assert done.code == code and message in done.err, done.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
