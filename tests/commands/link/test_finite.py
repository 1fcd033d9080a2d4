"""Scores that are none: `longbel link` ends at their window, and `longbel score` refuses them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from longbel_cli.model.checkpoint import Checkpoint
from tests.support.command_line import Longbel, json_lines, write_json_lines
from tests.support.link_cases import DOCUMENTS, bigbio

SEVEN = bigbio("d5", "On day x7, fever.", ("T1", "DISO", "fever"))


@pytest.fixture
def broken(model_folder: Path, tmp_path: Path) -> Path:
    """The tiny model with NaN in the embedding of a token that only the document SEVEN has."""
    folder = Path(shutil.copytree(model_folder, tmp_path / "broken"))
    tokenizer = Checkpoint.open(folder).tokenizer
    token = tokenizer.convert_tokens_to_ids("7")
    assert token in tokenizer(SEVEN["passages"][0]["text"][0]).input_ids
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][token] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("decoder", ["packed", "reference"])
@pytest.mark.parametrize("beams", [1, 3])
def test_linking_ends_at_the_first_window_without_scores(
    longbel: Longbel, tmp_path: Path, broken: Path, decoder: str, beams: int
) -> None:
    corpus = write_json_lines(tmp_path / "corpus.jsonl", *DOCUMENTS[:2], SEVEN)
    out = tmp_path / "p.jsonl"
    options = ("--model", broken, "--decoder", decoder, "--beams", beams, "--window", 1)
    done = longbel("link", corpus, "--out", out, *options)
    assert done.code == 3 and not out.exists()
    assert "document d5: mention T1: the model's scores are not finite" in done.err
    part = tmp_path / "p.jsonl.part"
    assert {line["document_id"] for line in json_lines(part)} == {"d1", "d2"}
    assert "NaN" not in part.read_text() and "null" not in part.read_text()
    # What it shares a window with is not kept either.
    streamed = longbel("link", corpus, "--out", "-", *options[:-2])
    assert streamed.code == 3 and streamed.out == ""


def test_score_refuses_what_0_1_0_wrote_of_them(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    """Names with `beam_score: null`."""
    out = tmp_path / "p.jsonl"
    assert longbel("link", corpus, "--out", out).code == 0
    lines = json_lines(out)
    lines[3]["beams"][0]["beam_score"] = lines[3]["beam_score"] = None
    write_json_lines(out, *lines)
    done = longbel("score", out, "--gold", corpus)
    assert done.code == 3 and "document d2, mention T1: no finite beam_score" in done.err
    alone = write_json_lines(tmp_path / "another.jsonl", *lines)
    assert longbel("score", alone, "--gold", corpus).code == 0  # a tool that knows no scores


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_score_refuses_what_is_no_json_number(
    longbel: Longbel, corpus: Path, tmp_path: Path, value: str
) -> None:
    line = longbel("link", corpus, "--out", "-").lines[0]
    line["beams"][0]["beam_score"] = 12345
    text = json.dumps(line).replace("12345", value)
    predictions = write_json_lines(tmp_path / "p.jsonl", text)
    done = longbel("score", predictions, "--gold", corpus)
    assert done.code == 3 and "p.jsonl:1: a value of the wrong type or range" in done.err
