"""Low-rank adapters: what is trained, what is kept, and that plain weights come out."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from kb_builder.errors import LongbelError
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.training.base import lora
from longbel_cli.training.optimise import validation
from longbel_cli.training.train import Callbacks, Computing, train
from tests.support.tiny import MARKS, save_model_folder
from tests.support.train_cases import (
    WITH_MEMORY,
    KilledError,
    kill_at,
    losses,
    nano_options,
    weights,
    write_corpus,
)

RANK = 3


@pytest.fixture
def options(kb_folder, model_folder, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.jsonl", WITH_MEMORY)
    return nano_options(
        kb_folder, corpus, base=str(model_folder), fresh=None, synthetic=0, steps=6,
        tokens_per_batch=300, lora=True, lora_rank=RANK, lora_alpha=6, learning_rate=3e-3,
        context_format="long",
    )  # fmt: skip


@pytest.mark.parametrize("tied", [False, True])
def test_adapters_and_marks_are_trained_and_nothing_else(options, tmp_path, tied):
    pytest.importorskip("peft")
    base = save_model_folder(tmp_path / "base", tie_word_embeddings=tied)
    options = replace(options, base=str(base))
    out, killed = tmp_path / "model", tmp_path / "killed"
    train(options, out)
    with pytest.raises(KilledError):
        train(options, killed, Computing(save_every=2), Callbacks(on_step=kill_at(4)))
    with safe_open(tmp_path / "killed.run" / "state.safetensors", framework="pt") as file:
        kept = [name for name in file.keys() if name.startswith("weight/")]  # noqa: SIM118
    assert kept
    assert all("lora_" in name or "trainable_tokens" in name for name in kept)
    train(options, killed, Computing(save_every=2))
    assert losses(killed) == losses(out)

    before, after = weights(base), weights(out)
    assert after.keys() == before.keys()  # plain weights under plain names
    assert ("lm_head.weight" in after) is not tied
    marks = [Checkpoint.open(base).tokenizer.get_added_vocab()[mark] for mark in MARKS]
    others = [row for row in range(len(before["model.embed_tokens.weight"])) if row not in marks]
    for name, tensor in after.items():
        change = tensor - before[name]
        assert torch.equal(tensor, weights(killed)[name]), name
        if "embed_tokens" in name or "lm_head" in name:
            assert change[marks].abs().sum() > 0, name
            assert change[others].abs().sum() == 0, name
        elif tensor.ndim == 2:
            assert 1 <= torch.linalg.matrix_rank(change, rtol=1e-3) <= RANK, name
        else:
            assert change.abs().sum() == 0, name
    card = json.loads((out / "longbel_training.json").read_text())
    assert card["versions"]["peft"] != "not installed"


def test_the_best_adapters_are_merged_into_out(options, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    values, seen = [0.2, 0.9, 0.1], []
    ids = torch.arange(20)[None]

    def recall(self, model):
        with torch.no_grad():
            seen.append(model.eval()(input_ids=ids.to(model.device)).logits.cpu())
        return values[len(seen) - 1]

    monkeypatch.setattr(validation.Validator, "recall", recall)
    out = tmp_path / "model"
    train(replace(options, validate=options.corpora, validate_every=2), out)
    for folder, index in ((out, 1), (tmp_path / "model.run" / "last", 2)):
        with torch.no_grad():
            logits = Checkpoint.open(folder).load_model("cpu", "float32")(input_ids=ids).logits
        assert torch.allclose(logits, seen[index], atol=1e-4), folder.name
    assert not torch.allclose(seen[1], seen[2], atol=1e-3)


def test_a_base_in_bfloat16_has_adapters_in_float32(options, tmp_path):
    pytest.importorskip("peft")
    from longbel_cli.training.base.start import Start

    start = Start(replace(options, dtype="bfloat16"), tmp_path / "start", "cpu")
    start.make(lambda: [])
    types = {
        (each.requires_grad, each.dtype) for each in start.load().model.parameters()
    }  # fmt: skip
    assert types == {(True, torch.float32), (False, torch.bfloat16)}
    train(replace(options, dtype="bfloat16", save_dtype="auto"), tmp_path / "model")
    assert {each.dtype for each in weights(tmp_path / "model").values()} == {torch.bfloat16}


def test_without_peft_the_command_to_install_it_is_told(options, tmp_path, monkeypatch):
    monkeypatch.setattr(lora, "find_spec", lambda name: None)
    with pytest.raises(LongbelError, match="peft") as caught:
        train(options, tmp_path / "model")
    assert "pip install peft" in (caught.value.hint or "")
    assert not (tmp_path / "model.run").exists()


def test_peft_is_not_needed_without_lora(options, tmp_path, monkeypatch):
    load = builtins.__import__

    def without_peft(name, *rest):
        assert not name.startswith("peft")
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_peft)
    train(replace(options, lora=False, steps=1), tmp_path / "model")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"base": None, "fresh": "nano"}, "--lora fine-tunes"),
        ({"lora_rank": 0}, "--lora-rank"),
        ({"lora_alpha": 0}, "--lora-alpha"),
    ],
)
def test_what_does_not_go_together(options, given, message):
    with pytest.raises(LongbelError, match=message) as caught:
        replace(options, **given)
    assert caught.value.exit_code == 2
