"""`longbel train` from the command line: what it says, its exit codes, what it leaves."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from kb_builder.errors import LongbelError
from longbel_cli.app import app
from longbel_cli.training.options import DEFAULTS
from tests.support.train_cases import (
    FOUR_DOCUMENTS,
    write_corpus,
)


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus.jsonl", FOUR_DOCUMENTS)


def edit(path, old, new):
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def command(*arguments: object):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--synthetic", 3), "--base MODEL or --fresh SIZE"),
        (("--fresh", "nano", "--base", "x", "--synthetic", 3), "--base MODEL or --fresh SIZE"),
        (("--fresh", "nano"), "CORPUS"),
        (("--fresh", "huge", "--synthetic", 3), "huge"),
        (("--fresh", "nano", "--synthetic", 3, "--context-format", "best"), "hybrid_long"),
        (
            ("--fresh", "nano", "--synthetic", 3, "--target", "best"),
            "document, nearest or preferred",
        ),
        (("--fresh", "nano", "--synthetic", 3, "--epochs", 0), "--epochs"),
        (("--fresh", "nano", "--synthetic", 3, "--dtype", "int8"), "--dtype"),
        (("--fresh", "nano", "--synthetic", 3, "--context-format", "short"), "--language"),
        (("--fresh", "nano", "--synthetic", 3, "--folds", 3), "--folds needs a CORPUS"),
        (("--fresh", "nano", "--synthetic", 3, "--memory", "predicted"), "needs --folds K"),
        (("--fresh", "nano", "--synthetic", 3, "--lora"), "--lora"),
        (("--fresh", "nano", "--synthetic", 3, "--accumulate", 0), "--accumulate"),
        (("--fresh", "nano", "--synthetic", 3, "--threads", 0), "--threads"),
        (("--fresh", "nano", "--synthetic", 3, "--validate-every", 0), "--validate-every"),
        (("--fresh", "nano", "--synthetic", 3, "--unknown-group", "al"), "error, skip or all"),
        (("--fresh", "nano", "--synthetic", 3, "--seed", -1), "--seed"),
        (("--fresh", "nano", "--synthetic", 3, "--seed", 1 << 64), "--seed"),
        (("--fresh", "nano", "-"), "files or folders in place of -"),
        (("--fresh", "nano", "--synthetic", 3, "--validate", "-"), "in place of -"),
    ],
)
def test_usage_errors_leave_nothing_behind(arguments, message, kb_folder, tmp_path):
    result = command(*arguments, "--kb", kb_folder, "--out", tmp_path / "m")
    assert isinstance(result.exception, LongbelError)
    assert result.exception.exit_code == 2
    assert message in str(result.exception)
    assert not (tmp_path / "m").exists()
    assert not (tmp_path / "m.run").exists()


@pytest.mark.parametrize("base", ["nowhere", "empty"])
def test_a_base_that_is_no_model(base, kb_folder, corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    result = command(corpus, "--base", tmp_path / base, "--kb", kb_folder, "--out", tmp_path / "m")
    assert isinstance(result.exception, LongbelError)
    assert result.exception.exit_code == 3
    assert base in result.exception.message
    assert not (tmp_path / "m").exists()


def test_the_command_trains_with_robust_memory(kb_folder, model_folder, corpus, tmp_path):
    out = tmp_path / "m"
    result = command(
        corpus, "--base", model_folder, "--kb", kb_folder, "--out", out, "--steps", 2, "--folds", 2,
        "--validate", corpus, "--validate-every", 1, "--accumulate", 2, "--device", "cpu",
        "--keep-folds",
    )  # fmt: skip
    assert result.exception is None
    told = [line.removeprefix("longbel: ") for line in result.stderr.splitlines()]
    stages = [line for line in told if line.endswith(("training", "predicting"))]
    assert stages == [
        "fold 1 of 2: training", "fold 1 of 2: predicting",
        "fold 2 of 2: training", "fold 2 of 2: predicting",
        "the final model: training",
    ]  # fmt: skip
    assert json.loads((out / "longbel_training.json").read_text())["options"] == {
        **DEFAULTS, "kb": str(kb_folder),
        "corpora": [str(corpus)], "base": str(model_folder), "steps": 2, "folds": 2,
        "memory": "predicted", "validate": [str(corpus)], "validate_every": 1,
    }  # fmt: skip
    assert (tmp_path / "m.run" / "fold-2" / "model" / "model.safetensors").exists()


def test_what_is_left_out_shows_in_the_exit_code(kb_folder, corpus, tmp_path):
    edit(corpus, '"type": "T047"', '"type": "Unheard of"')
    result = command(
        corpus, "--fresh", "nano", "--kb", kb_folder, "--out", tmp_path / "m", "--steps", 1,
        "--unknown-group", "skip", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 5
    assert "1 documents or mentions quarantined" in result.stderr
    assert (tmp_path / "m" / "config.json").exists()


def test_a_corpus_without_gold_in_the_knowledge_base(kb_folder, corpus, tmp_path):
    text = corpus.read_text().replace("C00000", "X00000")
    corpus.write_text(text)
    result = command(corpus, "--fresh", "nano", "--kb", kb_folder, "--out", tmp_path / "m")
    assert isinstance(result.exception, LongbelError)
    assert result.exception.exit_code == 3
    assert "knowledge base" in result.exception.message


def test_a_missing_corpus_and_a_missing_knowledge_base(kb_folder, tmp_path):
    for arguments in (
        (tmp_path / "none.jsonl", "--kb", kb_folder),
        ("--synthetic", 3, "--kb", tmp_path / "none"),
    ):
        result = command(*arguments, "--fresh", "nano", "--out", tmp_path / "m")
        assert isinstance(result.exception, LongbelError)
        assert result.exception.exit_code == 3
        assert "none" in result.exception.message
