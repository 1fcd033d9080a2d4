"""Robust memory: no fold sees its own documents, and a kill anywhere changes nothing."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import longbel_cli.training.base.fresh
from kb_builder.build import BuildOptions, build_kb
from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.app import app
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.prompting.formats import prompt_format
from longbel_cli.training.data import predicted
from longbel_cli.training.data.corpus import (
    ItemSource,
    TrainingCorpus,
    TrainingDocument,
    gold_documents,
)
from longbel_cli.training.data.examples import ExampleMaker
from longbel_cli.training.identity import Identity, Inputs
from longbel_cli.training.optimise import folds
from longbel_cli.training.train import Callbacks, Computing, Outcome, train
from longbel_cli.types import Candidate, Concept, Document, Mention, Passage, Prediction, Span
from tests.support.train_cases import (
    WITH_MEMORY,
    KilledError,
    kill_at,
    losses,
    nano_options,
    weights,
    write_corpus,
)

MENTIONS = {"d0": 2, "d1": 3, "d2": 3, "d3": 2, "d4": 2}


@pytest.fixture
def options(kb_folder, model_folder, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.jsonl", WITH_MEMORY)
    return nano_options(
        kb_folder, corpus, base=str(model_folder), fresh=None, synthetic=0, epochs=2,
        memory="predicted", folds=2, tokens_per_batch=300,
    )  # fmt: skip


def documents(*ids: str) -> list[TrainingDocument]:
    return [TrainingDocument(Document(each, (Passage("x"),), ()), (), ()) for each in ids]


def test_documents_are_dealt_evenly():
    dealt = folds.split_folds(documents(*"abcde"), 3, seed=0)
    ids = [[each.document.id for each in fold] for fold in dealt]
    assert sorted(len(fold) for fold in ids) == [1, 2, 2]
    assert sorted(each for fold in ids for each in fold) == list("abcde")


def test_there_may_be_as_many_folds_as_documents():
    """Leaving one out, the most that a small corpus allows."""
    assert [len(fold) for fold in folds.split_folds(documents(*"abc"), 3, seed=0)] == [1, 1, 1]


def test_a_predicted_answer_is_as_many_names_as_it_has_codes(tmp_path):
    """Names may spell the mark that stands between those of a composite answer."""
    table = tmp_path / "names.tsv"
    rows = ["code\tname\tgroup", "C1\tA<+>B\tDISO", "C2\tA\tDISO", "C3\tC\tDISO"]
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    build_kb(BuildOptions(table, tmp_path / "kb"))
    base = KnowledgeBase.open(tmp_path / "kb")

    def names(*concepts: tuple[str, str], group: str = "DISO") -> object:
        answer = Candidate.of(1, [Concept(*concept) for concept in concepts], "<+>", 0.5)
        candidates = (answer,) if concepts else ()
        prediction = Prediction("d", "T1", "x", group, (), candidates)
        return predicted.names_of({"d": [prediction]}, base)["d"][0]

    assert names(("C1", "A<+>B")) == ("A<+>B",)
    assert names(("C3", "C"), ("C2", "A")) == ("C", "A")
    assert names(("C3", "C"), ("C1", "A<+>B"), group="unknown") == ("C", "A<+>B")
    assert names() is None


def test_the_seed_deals():
    dealt = [folds.split_folds(documents(*"abcdefgh"), 2, seed) for seed in (0, 0, 1)]
    ids = [[[each.document.id for each in fold] for fold in folds_] for folds_ in dealt]
    assert ids[0] == ids[1] != ids[2]


def test_more_folds_than_documents(options, tmp_path):
    with pytest.raises(LongbelError, match="only 5 documents"):
        train(replace(options, folds=6), tmp_path / "model")
    assert not (tmp_path / "model.run").exists()


@pytest.fixture
def trainings(monkeypatch):
    """What each training of a fold is given, by the name of its folder."""
    given = {}

    def spy(setting, corpus, files):
        given[files.folder.name] = corpus.documents
        return fit(setting, corpus, files)

    fit = folds.fit
    monkeypatch.setattr(folds, "fit", spy)
    return given


@pytest.fixture
def remembered(monkeypatch):
    """What each call's final training remembers, by document."""
    kept = []

    def spy(self, predicted):
        corpus = remembering(self, predicted)
        kept.append({each.document.id: list(each.memory) for each in corpus.documents})
        return corpus

    remembering = TrainingCorpus.remembering
    monkeypatch.setattr(TrainingCorpus, "remembering", spy)
    return kept


def test_robust_memory_whole_and_killed(options, tmp_path, trainings, remembered):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    stages = []
    assert train(options, whole, callbacks=Callbacks(on_stage=stages.append)) is Outcome.FINISHED
    assert stages == [
        "fold 1 of 2: training", "fold 1 of 2: predicting",
        "fold 2 of 2: training", "fold 2 of 2: predicting",
        "the final model: training",
    ]  # fmt: skip

    # A fold trains with gold memory on exactly the documents that it does not predict.
    predicted = {}
    for fold in ("fold-1", "fold-2"):
        text = (tmp_path / "whole.run" / fold / "preds.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        ids = {line["document_id"] for line in lines}
        trained = {each.document.id for each in trainings[fold]}
        assert trained | ids == set(MENTIONS)
        assert not trained & ids
        assert all(each.memory == each.targets for each in trainings[fold])
        for line in lines:
            predicted.setdefault(line["document_id"], []).append(line["pred_concept_name"])
        assert not (tmp_path / "whole.run" / fold / "model").exists()
    # Every mention is predicted once, and the final training remembers just that.
    assert {key: len(names) for key, names in predicted.items()} == MENTIONS
    assert remembered[0] == {key: [(each,) for each in names] for key, names in predicted.items()}
    assert (
        json.loads((whole / "longbel_training.json").read_text())["out_of_fold"]["mentions"] == 12
    )

    stop_in_prediction = iter(["no"] * 100)

    def stop_once_predicting(stage):
        nonlocal stop_in_prediction
        if stage == "fold 1 of 2: predicting":
            stop_in_prediction = iter(["no", "stop"])

    # Killed in the first training; stopped while predicting; killed between training and
    # predicting; killed in the second fold's training, in the final one; then left alone.
    often = Computing(save_every=2)
    with pytest.raises(KilledError):
        train(options, killed, often, Callbacks(on_step=kill_at(3)))
    callbacks = Callbacks(
        on_stage=stop_once_predicting,
        should_stop=lambda: next(stop_in_prediction, "no") == "stop",
    )
    assert train(options, killed, often, callbacks) is Outcome.STOPPED
    assert (tmp_path / "killed.run" / "fold-1" / "model").exists()
    assert not (tmp_path / "killed.run" / "fold-1" / "preds.jsonl").exists()
    seen = []
    for stage in ("fold 2 of 2: predicting", "the final model: training"):

        def kill(name, stage=stage):
            seen.append(name)
            if name == stage:
                raise KilledError

        with pytest.raises(KilledError):
            train(options, killed, often, Callbacks(on_stage=kill))
    with pytest.raises(KilledError):
        train(options, killed, often, Callbacks(on_step=kill_at(3)))
    assert seen == [
        "fold 1 of 2: predicting", "fold 2 of 2: training", "fold 2 of 2: predicting",
        "fold 2 of 2: predicting", "the final model: training",
    ]  # fmt: skip
    assert train(options, killed, often) is Outcome.FINISHED
    assert losses(killed) == losses(whole)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(killed)[name]), name


def test_folds_and_final_model_have_one_tokenizer_and_one_start(options, tmp_path, monkeypatch):
    made = []

    def spy(texts, vocabulary):
        made.append(vocabulary)
        return train_tokenizer(texts, vocabulary)

    train_tokenizer = longbel_cli.training.base.fresh.train_tokenizer
    monkeypatch.setattr(longbel_cli.training.base.fresh, "train_tokenizer", spy)
    options = replace(options, base=None, fresh="nano", steps=1, learning_rate=1e-9)
    out = tmp_path / "model"
    train(options, out, Computing(keep_folds=True))
    assert len(made) == 1
    folders = [out, *(tmp_path / "model.run" / fold / "model" for fold in ("fold-1", "fold-2"))]
    tokenizers = {(folder / "tokenizer.json").read_text() for folder in folders}
    assert len(tokenizers) == 1
    # After a step of next to no length all are still where they started.
    name = "model.layers.0.mlp.up_proj.weight"
    for folder in folders[1:]:
        assert torch.allclose(weights(folder)[name], weights(out)[name], atol=1e-6)


TEXT = "fever, cough, rash, then fever"
DOCUMENT = Document(
    "d",
    (Passage(TEXT),),
    tuple(
        Mention(f"T{index}", (Span(start, start + len(word)),), word, "Disorders")
        for index, (start, word) in enumerate(
            [(0, "fever"), (7, "cough"), (14, "rash"), (25, "fever")]
        )
    ),
)
TARGETS = [("Fever",), ("Cough",), None, ("Fever",)]


def shown(checkpoint, seed=0, memory=None, **options):
    maker = ExampleMaker(checkpoint, prompt_format("hybrid_long"), **options)
    made = maker.example(DOCUMENT, TARGETS, 3, random.Random(seed), memory)
    text = checkpoint.tokenizer.decode(made.ids.tolist())
    return text.partition("Normalizations\n")[2].partition("\n\n###")[0].splitlines(), made


def test_predicted_names_stand_in_memory_and_gold_is_the_target(model_folder):
    checkpoint = Checkpoint.open(model_folder)
    memory = [("Pyrexia",), ("Cough",), ("Rash",), ("Aspirin",)]
    lines, made = shown(checkpoint, memory=memory, memory_weight=0.5)
    assert lines == [
        "[fever]{Disorders} Pyrexia", "[cough]{Disorders} Cough", "[rash]{Disorders} Rash",
    ]  # fmt: skip
    weighed = {
        weight: checkpoint.tokenizer.decode(
            [int(token) for token, own in zip(made.ids, made.weights, strict=True) if own == weight]
        )
        for weight in (0.5, 1.0)
    }
    assert weighed[0.5] == " Cough"  # of memory only what was predicted right is learnt
    assert weighed[1.0].startswith(" Fever")


def test_a_mention_that_nothing_was_predicted_for_is_no_line(model_folder):
    lines, _ = shown(Checkpoint.open(model_folder), memory=[None, ("Cough",), None, None])
    assert lines == ["[cough]{Disorders} Cough"]


def test_dropout_leaves_lines_out_anew_each_time(model_folder):
    checkpoint = Checkpoint.open(model_folder)
    whole = ["[fever]{Disorders} Fever", "[cough]{Disorders} Cough"]
    drawn = [shown(checkpoint, seed, memory_dropout=0.3)[0] for seed in range(60)]
    kept = [sum(line in lines for lines in drawn) for line in whole]
    assert all(30 <= count <= 54 for count in kept)  # 42 expected, +- 3.4 standard deviations
    assert {tuple(lines) for lines in drawn} == {
        tuple(whole), (whole[0],), (whole[1],), ("None",),
    }  # fmt: skip
    assert shown(checkpoint, 1)[0] == whole


def test_gold_is_the_successor_of_a_retired_code(options, tmp_path):
    """What a training learns from, and what says whether it is the same training."""
    knowledge_base = KnowledgeBase.open(options.kb)
    before = [
        mention.gold
        for document in gold_documents(options.corpora, options, knowledge_base.groups, print)
        for mention in document.mentions
    ]
    old = next(gold for gold in before if gold)[0]
    table = tmp_path / "retired.csv"
    table.write_text(f"{old},C0000009\n")
    changed = replace(options, retired=str(table))
    after = [
        mention.gold
        for document in gold_documents(options.corpora, changed, knowledge_base.groups, print)
        for mention in document.mentions
    ]
    assert after == [
        gold and tuple(sorted({"C0000009" if code == old else code for code in gold}))
        for gold in before
    ]
    kept = json.loads(json.dumps(Identity(changed, Inputs.read(changed)).record()))
    table.write_text(f"old,new\n{old},C0000009\n")  # the same successors
    assert not Identity(changed, Inputs.read(changed)).changed(kept)
    table.write_text(f"{old},C0000008\n")
    assert Identity(changed, Inputs.read(changed)).changed(kept) == ["the content of retired"]


@pytest.mark.parametrize(("memory", "lengths"), [("gold", 1), ("dropout", 4)])
def test_the_options_say_whether_lines_are_left_out(options, model_folder, memory, lengths):
    """Of a document's third mention: memory has two lines, of which none, either or both go."""
    options = replace(options, memory=memory, folds=None, memory_dropout=0.5)
    knowledge_base = KnowledgeBase.open(options.kb)
    documents = gold_documents(options.corpora, options, knowledge_base.groups, print)
    corpus = TrainingCorpus(knowledge_base, documents, options)
    source = ItemSource(corpus, options, Checkpoint.open(model_folder))
    item = 4  # d0 has two mentions, d1 three
    made = [source.make(item, epoch, random.Random(epoch)) for epoch in range(40)]
    assert len({len(each) for each in made if each is not None}) == lengths


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folds": 1}, "--folds"),
        ({"folds": None}, "--memory predicted needs --folds K or --predictions FILE"),
        ({"predictions": "p.jsonl"}, "not both"),
        ({"folds": None, "predictions": "p.jsonl", "memory": "gold"}, "--predictions puts"),
        (
            {"folds": None, "predictions": "p.jsonl", "corpora": (), "synthetic": 3},
            "--predictions needs a CORPUS",
        ),
        ({"memory": "gold"}, "does not go with --memory gold"),
        ({"memory": "best", "folds": None}, "gold, predicted or dropout"),
        ({"context_format": "hybrid_medium"}, "no memory"),
        ({"memory": "dropout", "folds": None, "memory_dropout": 1.0}, "--memory-dropout"),
        ({"corpora": (), "synthetic": 3}, "--folds needs a CORPUS"),
    ],
)
def test_what_does_not_go_together(options, given, message):
    with pytest.raises(LongbelError, match=message) as caught:
        replace(options, **given)
    assert caught.value.exit_code == 2


def link_by_tfidf(options, out) -> list[dict]:
    words = ["link", *options.corpora, "--kb", options.kb, "--linker", "tfidf", "--out", str(out)]
    result = CliRunner().invoke(app, [*words, "--threads", "1"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture
def by_tfidf(options, tmp_path):
    """The same, with what the baseline writes for the corpus as memory."""
    link_by_tfidf(options, tmp_path / "tfidf.jsonl")
    return replace(options, folds=None, predictions=str(tmp_path / "tfidf.jsonl"))


def test_memory_is_what_another_linker_wrote(by_tfidf, tmp_path, remembered, caplog):
    stages = []
    callbacks = Callbacks(on_stage=stages.append)
    with caplog.at_level("INFO", "longbel_cli"):
        assert train(by_tfidf, tmp_path / "model", callbacks=callbacks) is Outcome.FINISHED
    assert stages == []  # one training
    predicted = {}
    for line in map(json.loads, Path(by_tfidf.predictions).read_text().splitlines()):
        name = line["pred_concept_name"]
        predicted.setdefault(line["document_id"], []).append((name,) if name else None)
    assert remembered == [predicted]
    # No name is like "rash", whose gold the knowledge base lacks.
    assert predicted["d2"] == [("Heart",), None, ("Aspirin",)]
    assert f"{by_tfidf.predictions} in memory: Recall@1 1.0000 of 11 mentions" in caplog.messages


def test_a_training_goes_on_with_the_same_predictions_wherever_they_lie(by_tfidf, tmp_path):
    out, moved = tmp_path / "model", tmp_path / "moved.jsonl"
    with pytest.raises(KilledError):
        train(by_tfidf, out, Computing(save_every=1), Callbacks(on_step=kill_at(2)))
    moved.write_bytes(Path(by_tfidf.predictions).read_bytes())
    elsewhere = replace(by_tfidf, predictions=str(moved))
    moved.write_text(moved.read_text().replace("Fever", "Cough"))
    with pytest.raises(LongbelError, match="content of predictions"):
        train(elsewhere, out)
    moved.write_bytes(Path(by_tfidf.predictions).read_bytes())
    assert train(elsewhere, out) is Outcome.FINISHED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[2:], "document d0 are missing"),
        (lambda lines: lines[1:], "document d0 are not those of its mentions"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "document d0 are not those"),
    ],
)
def test_predictions_of_another_corpus_are_refused(by_tfidf, tmp_path, change, message):
    path = Path(by_tfidf.predictions)
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    with pytest.raises(LongbelError, match=message):
        train(by_tfidf, tmp_path / "model")
    assert not (tmp_path / "model.run").exists()


def test_a_predicted_name_of_another_knowledge_base(by_tfidf, tmp_path):
    path = Path(by_tfidf.predictions)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for candidate in (lines[3], *lines[3]["beams"]):
        candidate["pred_concept_name"] = "no name here"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    where = f"document {lines[3]['document_id']}, mention {lines[3]['mention_id']}"
    with pytest.raises(LongbelError, match=f"{where}.* none of this knowledge base") as caught:
        train(by_tfidf, tmp_path / "m")
    assert caught.value.exit_code == 3
    assert not (tmp_path / "m.run").exists()


def test_the_command_takes_predictions(by_tfidf, tmp_path):
    words = ["train", *by_tfidf.corpora, "--kb", by_tfidf.kb, "--base", by_tfidf.base, "--epochs",
             "1", "--predictions", by_tfidf.predictions, "--out", str(tmp_path / "m")]  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    card = json.loads((tmp_path / "m" / "longbel_training.json").read_text())
    assert card["options"]["memory"] == "predicted"
    missing = CliRunner().invoke(app, [*words[:-3], str(tmp_path / "no.jsonl"), *words[-2:]])
    assert missing.exception.exit_code == 3
    assert "no.jsonl" in str(missing.exception)
