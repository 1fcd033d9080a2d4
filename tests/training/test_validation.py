"""Validation on the way: it changes no loss, measures what `link` would, and the best is kept."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from kb_builder.errors import LongbelError
from longbel_cli import Linker
from longbel_cli.corpora import read_corpus
from longbel_cli.training.optimise import validation
from longbel_cli.training.train import Callbacks, Computing, Outcome, train
from tests.support.train_cases import (
    WITH_MEMORY,
    KilledError,
    kill_at,
    log_lines,
    losses,
    nano_options,
    weights,
    write_corpus,
)


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus.jsonl", WITH_MEMORY)


@pytest.fixture
def options(kb_folder, model_folder, corpus):
    return nano_options(
        kb_folder, corpus, base=str(model_folder), fresh=None, synthetic=0, steps=10,
        tokens_per_batch=300, validate=(str(corpus),), validate_every=4, learning_rate=3e-3,
    )  # fmt: skip


def recalls(out):
    return [(line["step"], line["recall@1"]) for line in log_lines(out) if "recall@1" in line]


def test_it_changes_no_loss_and_measures_what_link_predicts(
    options, corpus, kb_folder, tmp_path, caplog
):
    out, without = tmp_path / "model", tmp_path / "without"
    with caplog.at_level("INFO", "longbel_cli"):
        assert train(options, out) is Outcome.FINISHED
    assert train(replace(options, validate=()), without) is Outcome.FINISHED
    assert losses(out) == losses(without)
    assert not recalls(without)
    assert [step for step, _ in recalls(out)] == [4, 8, 10]
    assert sum("Recall@1" in line for line in caplog.messages) == 3

    # The last model, linked as a user would, has the measured share of the 12 mentions right.
    linker = Linker.load(tmp_path / "model.run" / "last", kb_folder, dtype="float32")
    predictions = list(linker.link(read_corpus([corpus])))
    right = [
        each.candidates[0].concept_code == each.gold_concept_code
        for each in predictions
        if each.gold_concept_code
    ]
    assert len(right) == 12
    assert any(right)
    assert recalls(out)[-1][1] == pytest.approx(sum(right) / 12, abs=1e-6)
    for name, tensor in weights(without).items():
        assert torch.equal(tensor, weights(tmp_path / "model.run" / "last")[name])
    assert not (tmp_path / "model.run" / "state.safetensors").exists()


@pytest.fixture
def scripted(monkeypatch):
    """Scripted recalls instead of measured ones, and the weights that each was asked for."""

    def script(*values):
        seen, left = [], list(values)

        def recall(self, model):
            if left[0] is None:
                left.pop(0)
                raise KilledError
            seen.append(
                {name: each.detach().cpu().clone() for name, each in model.named_parameters()}
            )
            return left.pop(0)

        monkeypatch.setattr(validation.Validator, "recall", recall)
        return seen

    return script


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ((0.2, 0.9, 0.1), 1),
        ((0.9, 0.9, 0.1), 1),  # of equally good ones the later
        ((0.9, 0.2, 0.1), 0),
        ((0.0, 0.0, 0.0), 2),
    ],
)
def test_out_is_the_best_and_last_the_last(options, tmp_path, scripted, values, best):
    seen = scripted(*values)
    out = tmp_path / "model"
    train(options, out)
    last = tmp_path / "model.run" / "last"
    for folder, index in ((out, best), (last, 2)):
        for name, tensor in weights(folder).items():
            assert torch.equal(tensor, seen[index][name]), (folder.name, name)
    facts = json.loads((out / "longbel_training.json").read_text())["validation"]
    step = (4, 8, 10)[best]
    assert facts["best"] == {"step": step, "recall@1": values[best]}
    assert facts["last"] == {"step": 10, "recall@1": values[-1]}
    assert facts["mentions"] == 12
    assert not (tmp_path / "model.run" / "best.safetensors").exists()


def test_killed_on_the_way_and_while_validating(options, tmp_path, scripted):
    scripted(0.2, 0.9, 0.1)
    train(options, tmp_path / "whole")
    killed = tmp_path / "killed"
    scripted(0.2, None, 0.9, None, 0.1)  # None: killed while it measures
    with pytest.raises(KilledError):
        train(options, killed, Computing(save_every=3), Callbacks(on_step=kill_at(5)))
    for _ in range(2):
        with pytest.raises(KilledError):
            train(options, killed, Computing(save_every=3))
    assert train(options, killed, Computing(save_every=3)) is Outcome.FINISHED
    assert log_lines(killed) == log_lines(tmp_path / "whole")
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(killed)[name]), name


def test_a_stop_is_heeded_while_documents_are_linked(options, tmp_path):
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) == 6  # four steps ask, then the fifth, which validates first

    out = tmp_path / "model"
    options = replace(options, validate_every=4)
    assert train(options, out, callbacks=Callbacks(should_stop=should_stop)) is Outcome.STOPPED
    assert [line["step"] for line in log_lines(out)] == [1, 2, 3, 4]
    assert train(options, out) is Outcome.FINISHED
    assert [step for step, _ in recalls(out)] == [4, 8, 10]


@pytest.mark.parametrize(("mentions", "documents"), [(1, 1), (6, 3), (100, 5)])
def test_the_sample_is_whole_documents_until_there_are_enough(options, mentions, documents):
    options = replace(options, validate_mentions=mentions)
    groups = ("Disorders", "Anatomy", "Chemicals & Drugs")
    sample = validation.draw_sample(options, groups)
    again = validation.draw_sample(options, groups)
    assert sample == again
    counted = [len(document.mentions) for document in sample.documents]
    assert sample.mentions == sum(counted) >= min(mentions, 12)
    assert sum(counted[:-1]) < mentions
    if mentions != 6:
        assert len(counted) == documents


def test_a_corpus_without_gold_cannot_validate(options, tmp_path):
    corpus = write_corpus(tmp_path / "bare.jsonl", [("She had fever.", [])])
    with pytest.raises(LongbelError, match="gold concept"):
        train(replace(options, validate=(str(corpus),)), tmp_path / "model")
    assert not (tmp_path / "model.run").exists()
