"""`longbel detect`, and `link` with a detector: from texts to mentions to concepts."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longbel_cli.corpora.formats import CORPUS_FORMATS
from tests.support.command_line import Longbel, json_lines, write_json_lines
from tests.support.paths import SAMPLE

NOTES = {
    "a": "Asthma and gout.\r\n\r\nNo 😀 dyspnea.",
    "b": "Nothing else.",
    "c": "Acute myocardial infarction (AMI). Later AMI.",
    "d": "Metformin for type 2 diabetes.",
}


def note(name: str, text: str, *entities: dict[str, Any]) -> dict[str, Any]:
    passage = {"id": "p", "type": "text", "text": [text], "offsets": [[0, len(text)]]}
    return {"id": name, "document_id": name, "passages": [passage], "entities": list(entities),
            "events": [], "coreferences": [], "relations": []}  # fmt: skip


def entity(name: str, kind: str, text: str, start: int) -> dict[str, Any]:
    return {"id": name, "type": kind, "text": [text], "offsets": [[start, start + len(text)]],
            "normalized": [{"db_name": "UMLS", "db_id": "C1"}]}  # fmt: skip


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return write_json_lines(
        tmp_path / "notes.jsonl", *(note(name, text) for name, text in NOTES.items())
    )


def mentions_of(path: Path) -> dict[str, list[str]]:
    return {
        document["document_id"]: [each["text"][0] for each in document["entities"]]
        for document in json_lines(path)
    }


def test_mentions_are_where_the_text_says(longbel: Longbel, notes: Path, tmp_path: Path) -> None:
    out = tmp_path / "mentions.jsonl"
    assert longbel("detect", notes, "--out", out).code == 0
    assert mentions_of(out) == {
        "a": ["Asthma", "gout", "dyspnea"], "b": [],
        "c": ["Acute myocardial infarction", "AMI", "AMI"], "d": ["Metformin", "type 2 diabetes"],
    }  # fmt: skip
    for document in json_lines(out):
        text = document["passages"][0]["text"][0]
        assert text == NOTES[document["document_id"]]
        for each in document["entities"]:
            ((start, end),) = each["offsets"]
            assert text[start:end] == each["text"][0]
            assert (each["score"], each["detector"]) == (1.0, "dictionary")
    assert longbel("check", out).code == 0


def test_stdout_gets_the_same_lines(longbel: Longbel, notes: Path, tmp_path: Path) -> None:
    out = tmp_path / "mentions.jsonl"
    assert longbel("detect", notes, "--out", out).code == 0
    done = longbel("detect", "-", "--out", "-", stdin=notes.read_text())
    assert done.code == 0 and done.out == out.read_text()
    assert longbel("detect", notes, "--out", "-", "--shard", "1/2").code == 2


def test_own_mentions_are_replaced_or_kept(longbel: Longbel, tmp_path: Path) -> None:
    own = [entity("D1", "DISO", "No", 0), entity("T2", "Disorders", "gout", 3)]
    corpus = write_json_lines(tmp_path / "c.jsonl", note("x", "No gout, asthma.", *own))
    out, kept = tmp_path / "out.jsonl", tmp_path / "kept.jsonl"
    assert longbel("detect", corpus, "--out", out).code == 0
    assert mentions_of(out) == {"x": ["gout", "asthma"]}
    assert longbel("detect", corpus, "--out", kept, "--keep").code == 0
    entities = json_lines(kept)[0]["entities"]
    assert [(each["id"], each["text"], each.get("detector")) for each in entities] == [
        ("D1", ["No"], None), ("T2", ["gout"], None), ("D2", ["asthma"], "dictionary"),
    ]  # fmt: skip
    assert entities[1]["normalized"][0]["db_id"] == "C1"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--semantic-groups", "CHEM"], ["Metformin"]),
        (["--semantic-types", "T047"], ["type 2 diabetes"]),
    ],
)
def test_filters(
    longbel: Longbel, notes: Path, tmp_path: Path, flags: list[str], expected: list[str]
) -> None:
    out = tmp_path / "out.jsonl"
    assert longbel("detect", notes, "--out", out, *flags).code == 0
    assert mentions_of(out)["d"] == expected


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--semantic-groups", "Smurfs"], "no group of"),
        (["--semantic-types", "T999"], "no semantic type T999"),
        (["--vocabularies", "MSH"], "it does not say which vocabulary"),
        (["--detector", "smurf"], "choose dictionary"),
        (["--window", "0"], "neither a positive number nor auto"),
    ],
)
def test_refusals(
    longbel: Longbel, notes: Path, tmp_path: Path, flags: list[str], says: str
) -> None:
    done = longbel("detect", notes, "--out", tmp_path / "out.jsonl", *flags)
    assert done.code == 2 and says in done.err


def test_a_stop_file_and_annotated_names(longbel: Longbel, notes: Path, tmp_path: Path) -> None:
    stop, out, taught = tmp_path / "stop.txt", tmp_path / "out.jsonl", tmp_path / "taught.jsonl"
    stop.write_text("# none of these\nGout\n", encoding="utf-8")
    assert longbel("detect", notes, "--out", out, "--stop", stop).code == 0
    assert mentions_of(out)["a"] == ["Asthma", "dyspnea"]
    examples = write_json_lines(
        tmp_path / "train.jsonl", note("t", "Nothing: asthma", entity("T1", "DISO", "Nothing", 0))
    )
    assert longbel("detect", notes, "--out", taught, "--names-from", examples).code == 0
    assert mentions_of(taught)["a"] == ["gout", "dyspnea"]
    assert mentions_of(taught)["b"] == ["Nothing"]
    done = longbel("detect", notes, "--out", tmp_path / "x.jsonl", "--names-from", notes)
    assert done.code == 3 and "no mention of a semantic group" in done.err


def test_shards_make_the_same_file(longbel: Longbel, notes: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    assert longbel("detect", notes, "--out", whole).code == 0
    for shard in ("2/3", "1/3", "3/3"):
        command = ("detect", notes, "--out", parts, "--window", 1, "--shard", shard)
        assert longbel(*command).code == 0
    assert longbel("merge", parts).code == 0
    assert parts.read_bytes() == whole.read_bytes()


def test_a_stop_is_resumed_to_the_same_bytes(
    longbel: Longbel, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert longbel("detect", notes, "--out", whole, "--window", 1).code == 0
    _stop_at_the_second_document(monkeypatch)
    assert longbel("detect", notes, "--out", out, "--window", 1).code == 75
    assert not out.exists()
    monkeypatch.undo()
    assert longbel("detect", notes, "--out", out, "--window", 1).code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert longbel("detect", notes, "--out", out, "--window", 1, "--nested").code == 4


def _stop_at_the_second_document(monkeypatch: pytest.MonkeyPatch) -> None:
    from longbel_cli.detecting.dictionary import DictionaryDetector

    detect, calls = DictionaryDetector.detect, []

    def counted(self: DictionaryDetector, document: Any) -> Any:
        calls.append(document.id)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return detect(self, document)

    monkeypatch.setattr(DictionaryDetector, "detect", counted)


LINK = ("--detector", "dictionary", "--linker", "exact")


def test_link_detects_and_keeps_the_mentions(longbel: Longbel, notes: Path, tmp_path: Path) -> None:
    detected, linked, out = (tmp_path / f"{name}.jsonl" for name in ("m", "two", "one"))
    assert longbel("detect", notes, "--out", detected).code == 0
    assert longbel("link", detected, "--linker", "exact", "--out", linked).code == 0
    assert longbel("link", notes, *LINK, "--out", out).code == 0
    assert out.read_bytes() == linked.read_bytes()
    mentions = out.with_name("one.jsonl.mentions.jsonl")
    assert mentions.read_bytes() == detected.read_bytes()
    assert longbel("link", notes, *LINK, "--out", out).code == 0
    assert longbel("link", notes, *LINK, "--out", out, "--semantic-groups", "DISO").code == 4


def test_shards_of_link_merge_both_files(longbel: Longbel, notes: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    assert longbel("link", notes, *LINK, "--out", whole).code == 0
    for shard in ("2/2", "1/2"):
        command = ("link", notes, *LINK, "--out", parts, "--window", 1, "--shard", shard)
        assert longbel(*command).code == 0
    assert longbel("merge", parts).code == 0
    for end in ("", ".mentions.jsonl"):
        merged = parts.with_name(parts.name + end)
        assert merged.read_bytes() == whole.with_name(whole.name + end).read_bytes()


def test_link_resumes_both_files(
    longbel: Longbel, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert longbel("link", notes, *LINK, "--out", whole, "--window", 1).code == 0
    _stop_at_the_second_document(monkeypatch)
    assert longbel("link", notes, *LINK, "--out", out, "--window", 1).code == 75
    monkeypatch.undo()
    assert longbel("link", notes, *LINK, "--out", out, "--window", 1).code == 0
    for end in ("", ".mentions.jsonl"):
        assert (
            out.with_name(out.name + end).read_bytes()
            == whole.with_name(whole.name + end).read_bytes()
        )


def test_a_file_of_other_origin_is_not_replaced(
    longbel: Longbel, notes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    foreign = tmp_path / "out.jsonl.mentions.jsonl"
    foreign.write_text("mine\n")
    assert longbel("link", notes, *LINK, "--out", out).code == 4
    assert foreign.read_text() == "mine\n"
    assert longbel("link", notes, *LINK, "--out", out, "--overwrite").code == 0
    assert foreign.read_text() != "mine\n"


def test_texts_without_mentions_name_the_detector(
    longbel: Longbel, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = replace(CORPUS_FORMATS["bigbio"], annotated=False)
    monkeypatch.setitem(CORPUS_FORMATS, "bigbio", texts)
    done = longbel("link", notes, "--linker", "exact", "--out", tmp_path / "out.jsonl")
    assert done.code == 3 and "--detector dictionary" in done.err


def test_slurm_takes_detect(longbel: Longbel, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    done = longbel("slurm", "--tasks", 2, "--", "detect", "notes/", "--out", out)
    assert done.code == 0 and "gpus" not in done.out
    assert f"srun longbel detect notes/ --out {out} --shard auto" in done.out


def test_the_sample_notes_are_detected(longbel: Longbel, tmp_path: Path) -> None:
    """Of the notes that come along each has mentions of disorders and chemicals."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (SAMPLE / "notes").iterdir()}
    assert len(texts) == 3
    corpus = write_json_lines(
        tmp_path / "n.jsonl", *(note(*each) for each in sorted(texts.items()))
    )
    out = tmp_path / "out.jsonl"
    assert longbel("detect", corpus, "--out", out).code == 0
    for line in out.read_text().splitlines():
        types = {each["type"] for each in json.loads(line)["entities"]}
        assert {"Disorders", "Chemicals & Drugs"} <= types


def test_a_run_keeps_the_window_that_it_began_with(
    longbel: Longbel, notes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    assert longbel("detect", notes, "--out", out, "--window", "2").code == 0
    again = longbel("detect", notes, "--out", out)
    assert again.code == 0 and "already finished" in again.err
    other = longbel("detect", notes, "--out", out, "--window", "3")
    assert other.code == 4 and "window" in other.err


NOTE = "Non small cell lung carcinoma (NSCLC) was found. NSCLC of the left lung, with gout."


@pytest.fixture
def linked(longbel: Longbel, tmp_path: Path) -> Path:
    """A note whose mentions were detected in the run that linked them."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text(NOTE, encoding="utf-8")
    done = longbel("link", tmp_path / "notes", "--detector", "dictionary", "--linker", "tfidf",
                   "--out", tmp_path / "p.jsonl")  # fmt: skip
    assert done.code == 0, done.err
    return tmp_path / "p.jsonl"


def test_the_flags_of_detect_are_those_of_link(longbel: Longbel, linked: Path) -> None:
    """Each filter gives the mentions that `detect` gives, and belongs to the run."""
    notes, folder = linked.parent / "notes", linked.parent
    for index, flags in enumerate((("--nested",), ("--semantic-types", "T191,T047"))):
        out, mentions = folder / f"p{index}.jsonl", folder / f"m{index}.jsonl"
        words = (notes, "--detector", "dictionary", *flags)
        done = longbel("link", *words, "--linker", "tfidf", "--out", out)
        assert done.code == 0, done.err
        assert longbel("detect", *words, "--out", mentions).code == 0
        assert Path(f"{out}.mentions.jsonl").read_bytes() == mentions.read_bytes()
        other = longbel("link", notes, "--detector", "dictionary", "--linker", "tfidf",
                        "--out", out)  # fmt: skip
        assert other.code == 4 and "detector_" in other.err


@pytest.mark.parametrize("flags", [("--nested",), ("--vocabularies", "MSH"), ("--stop", "s.txt")])
def test_flags_of_detection_need_a_detector(
    longbel: Longbel, linked: Path, flags: tuple[str, ...]
) -> None:
    done = longbel("link", f"{linked}.mentions.jsonl", "--linker", "tfidf", "--out",
                   linked.parent / "q.jsonl", *flags)  # fmt: skip
    assert done.code == 2 and f"{flags[0]} is for mentions that are detected" in done.err


def test_the_texts_of_a_detecting_run_are_no_corpus_to_convert(
    longbel: Longbel, linked: Path
) -> None:
    """The message names the corpus that is one, which works."""
    words = ("convert", linked, linked.parent / "notes", "--to", "table", "--out")
    refused = longbel(*words, linked.parent / "t.csv")
    assert refused.code == 3 and f"give {linked}.mentions.jsonl as the corpus" in refused.err
    mentions = f"{linked}.mentions.jsonl"
    done = longbel("convert", linked, mentions, "--to", "table", "--out", linked.parent / "t.csv")
    assert done.code == 0


def test_texts_hold_no_gold(longbel: Longbel, linked: Path) -> None:
    """Formats without mentions are offered where mentions may be missing, and nowhere else."""
    for command in ("score", "train", "convert", "explain"):
        flag = "--gold-format" if command == "score" else "--format"
        refused = longbel(command, linked, flag, "texts", "--out", "x") if command != "score" else (
            longbel(command, linked, flag, "texts"))  # fmt: skip
        assert refused.code == 2 and "choose auto, bigbio, brat" in refused.err, refused.err
    assert longbel("check", linked.parent / "notes", "--format", "text").code == 0


def test_scores_of_abbreviations(longbel: Longbel, linked: Path) -> None:
    """By what the look-up expanded, and by the text of a corpus."""
    gold = [json.loads(line) for line in Path(f"{linked}.mentions.jsonl").read_text().splitlines()]
    for document in gold:
        for entity in document["entities"]:
            entity["normalized"] = [{"db_name": "UMLS", "db_id": "C0007131"}]
    path = linked.parent / "gold.jsonl"
    path.write_text("".join(json.dumps(document) + "\n" for document in gold))
    by_text = json.loads(longbel("score", linked, "--gold", path, "--json").out)["by"]
    n_short = by_text["abbreviation"]["abbreviation"]["n"]
    assert n_short >= 1 and by_text["abbreviation"]["other"]["n"] >= 2
    counted = json.loads(longbel("check", path, "--json").out)["abbreviated_mentions"]
    assert counted == n_short
    table = longbel("score", linked, "--gold", path, "--by", "abbreviation").out
    assert "abbreviation: other" in table
