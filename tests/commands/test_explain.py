"""`longbel explain` on a run that `longbel link` made with a small random model."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from typer.testing import CliRunner, Result

from kb_builder.errors import LongbelError
from longbel_cli.app import app
from longbel_cli.commands.explain import log_outcome
from longbel_cli.explaining.html import html_fragment
from longbel_cli.explaining.replay import page_writer, saliency_maps
from longbel_cli.explaining.selection import Choice
from longbel_cli.linking.linker import Linker
from longbel_cli.linking.options import LinkOptions
from longbel_cli.types import Candidate, Prediction, Span
from tests.support.explain_cases import TEXT, checkpoint, make_case, model
from tests.support.html_cases import embedded, explanation_of

NAMES = {
    "DISO": {"Acute renal failure": "C1", "Kidney disease": "C2", "Odd <+> name": "C9"},
    "CHEM": {"Gentamicin": "C4", "Drug": "C5"},
}
MENTIONS = (
    ("T1", "DISO", "Acute kidney injury", 1, "C1"),
    ("T2", "CHEM", "gentamicin", 1, "C4"),
    ("T3", "DISO", "AKI", 2, "C1"),
    ("T4", "CHEM", "drug", 1, "C5"),
)


@dataclass(frozen=True)
class Linked:
    """A folder with a corpus, a model, a knowledge base and a finished run."""

    folder: Path

    @property
    def predictions(self) -> Path:
        return self.folder / "preds.jsonl"

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.predictions.read_text("utf-8").splitlines()]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def failure(*arguments: str | Path) -> LongbelError:
    result = run("explain", *arguments)
    assert isinstance(result.exception, LongbelError), result.output
    return result.exception


def write_corpus(folder: Path) -> None:
    folder.mkdir()
    lines = []
    for id, group, phrase, ordinal, code in MENTIONS:
        start = -1
        for _ in range(ordinal):
            start = TEXT.index(phrase, start + 1)
        lines.append(f"{id}\t{group} {start} {start + len(phrase)}\t{phrase}\n")
        lines.append(f"N{id[1:]}\tReference {id} KB:{code}\t{phrase}\n")
    (folder / "ward:7.txt").write_text(TEXT, "utf-8")
    (folder / "ward:7.ann").write_text("".join(lines), "utf-8")
    (folder / "empty.txt").write_text("Nothing here.", "utf-8")
    (folder / "empty.ann").write_text("", "utf-8")


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Linked:
    folder = tmp_path_factory.mktemp("linked")
    write_corpus(folder / "corpus")
    model().save_pretrained(folder / "model")
    checkpoint().tokenizer.save_pretrained(folder / "model")
    rows = [f"{code}\t{name}\t{group}\n" for group in NAMES for name, code in NAMES[group].items()]
    (folder / "names.tsv").write_text("code\tname\tgroup\n" + "".join(rows), "utf-8")
    assert run("build-kb", folder / "names.tsv", "--out", folder / "kb").exit_code == 0
    result = run(
        "link", folder / "corpus", "--out", folder / "preds.jsonl", "--kb", folder / "kb",
        "--model", folder / "model", "--device", "cpu", "--beams", "3", "--threads", "1",
        "--language", "en", "--prompts", folder / "prompts.jsonl", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return Linked(folder)


def test_the_prompt_is_the_one_that_was_linked(linked):
    result = run(
        "explain", linked.predictions, "--document", "ward:7", "--json", "--rank", "1",
        "--rank", "2", "--method", "integrated", "--steps", "8", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    explained = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["mention_id"] for each in explained] == ["T1", "T2", "T3", "T4"]
    rendered = {
        row["mention_id"]: row["prompt"]
        for row in map(
            json.loads, (linked.folder / "prompts.jsonl").read_text("utf-8").splitlines()
        )
    }
    for each in explained:
        first, second = each["attributions"]
        tokens = [token for token in first["tokens"] if token["text"]]
        text = rendered[each["mention_id"]]
        assert all(text[slice(*token["prompt_offsets"])] == token["text"] for token in tokens)
        assert tokens[-1]["prompt_offsets"][1] == len(text)
        # The score that the explanation starts from is the score that linking recorded.
        assert first["score"] == pytest.approx(each["beams"][0]["beam_score"], abs=2e-5)
        assert second["score"] == pytest.approx(each["beams"][1]["beam_score"], abs=2e-5)
        for token in tokens:
            if token["document_offsets"]:
                start, end = token["document_offsets"]
                assert TEXT[start:end].strip() == token["text"].strip()
    names = [line["pred_concept_name"] for line in linked.lines()]
    assert [entry["names"] for entry in explained[3]["memory"]] == [[name] for name in names[:3]]
    assert [entry["mention_id"] for entry in explained[3]["memory"]] == ["T1", "T2", "T3"]


def test_a_run_with_less_context_is_explained_with_as_much(linked, tmp_path):
    """The shortened prompt is rebuilt: its score is the one that linking recorded."""
    out, prompts = tmp_path / "preds.jsonl", tmp_path / "prompts.jsonl"
    result = run(
        "link", linked.folder / "corpus", "--out", out, "--kb", linked.folder / "kb",
        "--model", linked.folder / "model", "--device", "cpu", "--threads", "1",
        "--language", "en", "--context-tokens", "200", "--prompts", prompts,
    )  # fmt: skip
    assert result.exit_code == 0 and "longer than the context" in result.output
    result = run("explain", out, "--mention", "ward:7:T4", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    (explained,) = map(json.loads, result.stdout.splitlines())
    (attribution,) = explained["attributions"]
    *_, row = map(json.loads, prompts.read_text("utf-8").splitlines())
    whole = (linked.folder / "prompts.jsonl").read_text("utf-8").splitlines()
    assert row["prompt"] != json.loads(whole[-1])["prompt"]
    assert attribution["tokens"][-1]["prompt_offsets"][1] == len(row["prompt"])
    assert attribution["score"] == pytest.approx(explained["beams"][0]["beam_score"], abs=2e-5)


def test_a_page_with_every_method(linked, tmp_path):
    page = tmp_path / "report.html"
    result = run(
        "explain", linked.predictions, "--mention", "ward:7:T3", "--mention", "ward:7:T1",
        "--out", page, "--method", "gradient", "--method", "integrated", "--method", "ablation",
        "--steps", "4",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"2 of 2 mentions explained: {page}" in result.stderr
    data = embedded(page.read_text("utf-8"))
    names = {code: name for group in NAMES.values() for name, code in group.items()}
    assert [mention["gold_name"] for mention in data["mentions"]] == [
        names[mention["gold"]] for mention in data["mentions"]
    ]
    assert [mention["id"] for mention in data["mentions"]] == ["T1", "T3"]
    assert [each["method"] for each in data["mentions"][1]["maps"]] == [
        "gradient", "integrated", "ablation",
    ]  # fmt: skip
    assert data["documents"][0]["passages"][0]["text"] == TEXT
    # Again over the page; but never over another file.
    assert run("explain", linked.predictions, "--top", "1", "--out", page).exit_code == 0
    error = failure(linked.predictions, "--top", "1", "--out", linked.predictions)
    assert error.exit_code == 2 and linked.lines()
    # What cannot be written is said before the model is loaded.
    for nowhere, code in ((tmp_path, 2), (tmp_path / "no" / "page.html", 3)):
        error = failure(linked.predictions, "--top", "1", "--out", nowhere, "--model", "none")
        assert error.exit_code == code and str(nowhere) in error.message


@pytest.mark.parametrize(
    ("explained", "recorded", "told"),
    [
        (0.9, 0.9, None),
        (0.9, 0.895, None),
        (0.9, 0.65, "scores are up to 0.250 away from the recorded ones"),
        (None, 0.65, None),
        (0.9, math.nan, None),
    ],
)
def test_scores_other_than_the_recorded_ones_are_told(explained, recorded, told, caplog):
    explanation = explanation_of(make_case())
    (first, second) = explanation.prediction.candidates
    prediction = replace(
        explanation.prediction, candidates=(first._replace(score=recorded), second)
    )
    maps = tuple(replace(each, score=explained) for each in explanation.attributions)
    with caplog.at_level("INFO", "longbel_cli"):
        log_outcome([replace(explanation, prediction=prediction, attributions=maps)], 1, None)
    said = caplog.text
    assert "1 of 1 mentions explained" in said
    assert ("away from" in said) == (told is not None) and (told or "") in said


def test_the_terminal_and_a_contrast(linked):
    result = run("explain", linked.predictions, "--mention", "ward:7:T4", "--ansi", "--versus", "2")
    assert result.exit_code == 0, result.output
    assert "ward:7:T4  [drug] (CHEM)" in result.stdout
    assert "gradient, candidate 1 rather than 2" in result.stdout
    # The lead in log-probability per token is what the beam scores say.
    scores = [beam["beam_score"] for beam in linked.lines()[3]["beams"]]
    indices = run(
        "explain", linked.predictions, "--mention", "ward:7:T4", "--json", "--versus", "2"
    )
    (actual,) = json.loads(indices.stdout)["attributions"]

    assert actual["objective"] == pytest.approx(math.log(scores[0] / scores[1]), abs=2e-3)
    assert actual["score"] is None


def changed(linked: Linked, folder: Path) -> Linked:
    """A copy of the run whose files may be spoiled; run.json still names the first folder."""
    shutil.copytree(linked.folder, folder / "copy")
    return Linked(folder / "copy")


def test_another_model_knowledge_base_or_corpus_is_refused(linked, tmp_path):
    copy = changed(linked, tmp_path)
    choice = ("--top", "1", "--json")

    config = copy.folder / "model" / "config.json"
    values = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps(values | {"rms_norm_eps": 0.5}), "utf-8")
    error = failure(copy.predictions, *choice, "--model", copy.folder / "model")
    assert error.exit_code == 4 and error.message.startswith("model: ")

    (copy.folder / "other.tsv").write_text("code\tname\tgroup\nC1\tOther\tDISO\n", "utf-8")
    run("build-kb", copy.folder / "other.tsv", "--out", copy.folder / "other")
    error = failure(copy.predictions, *choice, "--kb", copy.folder / "other")
    assert error.exit_code == 4 and error.message.startswith("kb: ")

    error = failure(copy.predictions, *choice, "--context-format", "long")
    assert error.exit_code == 4 and error.message.startswith("context_format: ")

    text = copy.folder / "corpus" / "ward:7.txt"
    text.write_text(TEXT.replace("drug", "pill"), "utf-8")
    error = failure(copy.predictions, *choice, "--corpus", copy.folder / "corpus")
    assert error.exit_code == 4 and error.message.startswith("the corpus is not what was linked")
    assert "pill" not in str(error)


def test_what_was_fused_is_explained_by_its_parts(linked, tmp_path):
    parts = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for part in parts:
        shutil.copy(linked.predictions, part)
    assert run("fuse", *parts, "--out", tmp_path / "fused.jsonl").exit_code == 0
    error = failure(tmp_path / "fused.jsonl", "--top", "1", "--json")
    assert error.exit_code == 2 and "fused from one.jsonl, two.jsonl" in error.message


def test_without_a_record_everything_must_be_told(linked, tmp_path):
    alone = tmp_path / "preds.jsonl"
    shutil.copy(linked.predictions, alone)
    error = failure(alone, "--top", "1", "--json")
    assert error.exit_code == 2 and "--corpus, --model and --kb" in error.hint
    told = (
        "--corpus", linked.folder / "corpus", "--model", linked.folder / "model",
        "--kb", linked.folder / "kb",
    )  # fmt: skip
    result = run("explain", alone, "--top", "1", "--json", *told)
    assert result.exit_code == 0, result.output
    error = failure(alone, "--top", "1", "--json", *told[:5], linked.folder / "none")
    assert error.exit_code == 3
    # A document of another corpus, and names of another knowledge base.
    lines = alone.read_text("utf-8").replace("Acute renal failure", "Acute renal injury")
    alone.write_text(lines.replace("Kidney disease", "Kidney diseases"), "utf-8")
    error = failure(alone, "--document", "ward:7", "--json", *told)
    assert error.exit_code == 4 and "not in the knowledge base" in error.message
    alone.write_text(linked.predictions.read_text("utf-8").replace("ward:7", "ward:8"), "utf-8")
    error = failure(alone, "--top", "1", "--json", *told)
    assert "the corpus has no document ward:8" in error.message


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--json",), 2, "no mention is chosen"),
        (("--mention", "T1", "--json"), 2, "not of the form DOC:ID"),
        (("--top", "1"), 2, "no output was chosen"),
        (("--top", "1", "--json", "--ansi"), 2, "only one of"),
        (("--top", "0", "--json"), 2, "--top 0"),
        (("--top", "1", "--json", "--method", "magic"), 2, "--method magic: choose gradient"),
        (("--top", "1", "--json", "--baseline", "noise"), 2, "--baseline noise: choose pad"),
        (("--top", "1", "--json", "--versus", "1"), 2, "compared with itself"),
        (("--top", "1", "--json", "--rank", "0"), 2, "ranks begin at 1"),
        (("--top", "1", "--json", "--steps", "0"), 2, "0 steps"),
        (("--mention", "ward:7:T9", "--json"), 3, "not in the predictions: ward:7:T9"),
        (("--document", "nobody", "--json"), 3, "not in the predictions: nobody"),
        (("--below", "0.0", "--json"), 3, "no mention with candidates meets"),
        (("--below", "nan", "--json"), 2, "--below nan"),
        (("--below", "inf", "--json"), 2, "--below inf"),
        (("--top", "1", "--json", "--rank", "77"), 3, "none of the chosen mentions has"),
    ],
)
def test_what_cannot_be_explained_is_said(linked, arguments, code, message):
    error = failure(linked.predictions, *arguments)
    assert (error.exit_code, message in error.message) == (code, True), error.message


def prediction(
    id: str, score: float, code: str = "C1", gold: str | None = "C1", rank: int = 1
) -> Prediction:
    candidates = (Candidate(rank, code, "x", score),) if score else ()
    return Prediction("d:1", id, "m", "G", (Span(0, 1),), candidates, gold)


PREDICTIONS = [
    prediction("T1", 0.9),
    prediction("T2", 0.2, code="C2"),
    prediction("T3", 0.4),
    prediction("T4", 0.0),
    prediction("T5", 0.1, code="C2", gold="NO_CODE"),
    prediction("T6", 0.3, code="C2", gold=None),
    prediction("e:7", 0.8),
]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(documents=("d:1",)), "T1 T2 T3 T5 T6 e:7"),
        (Choice(mentions=("d:1:T3", "d:1:T1")), "T1 T3"),
        (Choice(mentions=("d:1:e:7",)), "e:7"),
        (Choice(below=0.35), "T2 T5 T6"),
        (Choice(wrong=True), "T2"),
        (Choice(top=2), "T2 T5"),
        (Choice(below=0.5, top=1), "T5"),
        (Choice(documents=("d:1",), wrong=True), "T2"),
    ],
)
def test_choosing_mentions(choice, expected):
    assert " ".join(each.mention_id for each in choice.of(PREDICTIONS)) == expected


def test_where_rank_1_says_no_concept_the_second_is_no_answer():
    no_answer, weak = prediction("T7", 0.9, rank=2), PREDICTIONS[1]
    for choice in (Choice(wrong=True), Choice(below=0.5), Choice(top=1)):
        assert no_answer in choice.of([PREDICTIONS[0], no_answer, weak]), choice


def test_pages_while_linking(linked, tmp_path):
    linker = Linker.open(
        linked.folder / "model", linked.folder / "kb", LinkOptions(device="cpu", language="en")
    )
    from longbel_cli.corpora import read_corpus
    from longbel_cli.corpora.predictions import read_predictions

    documents = list(read_corpus([linked.folder / "corpus"]))
    predictions = read_predictions(linked.predictions).predictions
    # The model that is explained is the one that links, before and after.
    first = list(linker.link(documents))
    page_writer(linker, tmp_path / "pages")(documents, predictions)
    (page,) = (tmp_path / "pages").iterdir()
    assert page.name.startswith("ward-7-")
    assert len(embedded(page.read_text("utf-8"))["mentions"]) == 4
    assert list(linker.link(documents)) == first
    maps = list(saliency_maps(linker)(documents, predictions))
    assert [each.mention.id for each in maps] == ["T1", "T2", "T3", "T4"]
    assert "<details open>" in html_fragment(maps[0])


def test_a_mention_of_no_group_is_explained_by_the_names_of_all(linked, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("AKI again", "utf-8")
    (tmp_path / "corpus" / "a.ann").write_text("T1\tOdd 0 3\tAKI\n", "utf-8")
    preds = tmp_path / "preds.jsonl"
    result = run(
        "link", tmp_path / "corpus", "--out", preds, "--kb", linked.folder / "kb",
        "--model", linked.folder / "model", "--unknown-group", "all", "--threads", "1", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    result = run("explain", preds, "--mention", "a:T1", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["semantic_group"] == "Odd"


def test_stdout_is_stdout_whatever_files_there_are(linked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_text("no page")
    result = run("explain", linked.predictions, "--top", "1", "--out", "-", "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("<!DOCTYPE html>")
