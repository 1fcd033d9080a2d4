"""A training as a whole: the same weights for the same seed, killed and resumed, taken over."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kb_builder.errors import LongbelError
from kb_builder.files import Disk, is_draft
from longbel_cli.training.folder import RunFolder
from longbel_cli.training.optimise import fitting
from longbel_cli.training.optimise.state import read_note, write_tensors
from longbel_cli.training.train import Callbacks, Computing, Outcome, train
from tests.support.train_cases import (
    FOUR_DOCUMENTS,
    KilledError,
    kill_at,
    losses,
    nano_options,
    weights,
    write_corpus,
)


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus.jsonl", FOUR_DOCUMENTS)


@pytest.fixture
def fresh(kb_folder, corpus):
    return nano_options(kb_folder, corpus)


@pytest.fixture
def options(fresh, model_folder):
    return replace(fresh, base=str(model_folder), fresh=None, epochs=1)


def test_the_same_seed_gives_the_same_weights_and_a_kill_changes_nothing(fresh, tmp_path):
    options = fresh
    whole, again, killed = (tmp_path / name for name in ("whole", "again", "killed"))
    assert train(options, whole) is Outcome.FINISHED
    assert train(options, again) is Outcome.FINISHED
    n_steps = len(losses(whole))
    assert n_steps > 6

    # Killed between two saved states, then asked to stop, then run to the end.
    with pytest.raises(KilledError):
        train(options, killed, Computing(save_every=2), Callbacks(on_step=kill_at(5)))
    assert not killed.exists()
    seen = []
    stop = iter([False, True])
    callbacks = Callbacks(on_step=seen.append, should_stop=lambda: next(stop))
    assert train(options, killed, Computing(save_every=2), callbacks) is Outcome.STOPPED
    assert [step.step for step in seen] == [5]
    assert train(options, killed, Computing(save_every=2)) is Outcome.FINISHED
    assert losses(killed) == losses(again) == losses(whole)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(again)[name]), name
        assert torch.equal(tensor, weights(killed)[name]), name


def test_another_seed_gives_other_weights_and_the_loss_falls(options, tmp_path):
    options = replace(options, epochs=3)
    train(options, tmp_path / "one")
    train(replace(options, seed=1), tmp_path / "other")
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(weights(tmp_path / "one")[name], weights(tmp_path / "other")[name])
    curve = [line["loss"] for line in losses(tmp_path / "one")]
    assert sum(curve[-3:]) < sum(curve[:3])


@pytest.fixture(scope="module")
def trained(kb_folder, tmp_path_factory):
    """The options of a training from scratch, and its model; others may read none of its files."""
    folder = tmp_path_factory.mktemp("trained")
    corpus = write_corpus(folder / "corpus.jsonl", FOUR_DOCUMENTS)
    options = nano_options(kb_folder, corpus, language="en", save_dtype="float16", epochs=1)
    before = os.umask(0o077)
    try:
        train(options, folder / "model")
    finally:
        os.umask(before)
    return options, folder / "model"


def test_what_the_model_folder_holds(trained):
    options, out = trained
    config = json.loads((out / "config.json").read_text())
    assert config["longbel_context_format"] == "hybrid_long"
    assert config["lang"] == "en"
    assert config["dtype"] == "float16"
    generation = json.loads((out / "generation_config.json").read_text())
    assert generation["do_sample"] is False
    assert generation["eos_token_id"] == config["eos_token_id"]
    assert not list(out.glob("*.bin")) + list(out.glob("*.pt"))
    card = json.loads((out / "longbel_training.json").read_text())
    assert card["options"]["seed"] == 0
    assert train(options, out) is Outcome.ALREADY_FINISHED


def test_a_model_may_be_read_by_whom_the_umask_says(trained):
    _, out = trained
    modes = {file.name: file.stat().st_mode & 0o777 for file in out.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_base_model_gets_the_marks_and_is_trained(options, tmp_path):
    """The base here has the marks as tokens already, but for what it is trained to write."""
    out = tmp_path / "model"
    options = replace(options, epochs=1, context_format="long")
    assert train(options, out) is Outcome.FINISHED
    from longbel_cli.model.checkpoint import Checkpoint

    checkpoint = Checkpoint.open(out)
    assert checkpoint.context_format == "long"
    assert checkpoint.tokenizer.sep_token == "<SEP>"
    assert checkpoint.load_model("cpu").config.longbel_context_format == "long"


def test_a_state_is_on_the_disk_before_it_replaces_the_last(tmp_path, monkeypatch):
    done = []
    sync, replace_ = os.fsync, Path.replace

    def synced(fd):
        done.append(("sync", os.fstat(fd).st_ino))
        sync(fd)

    def replaced(path, target):
        done.append(("replace", path.stat().st_ino))
        return replace_(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    path = tmp_path / "state.safetensors"
    write_tensors({"one": torch.ones(2)}, path, {"step": 3})
    assert read_note(path) == {"step": 3}
    file, folder = path.stat().st_ino, tmp_path.stat().st_ino
    assert done == [("sync", file), ("replace", file), ("sync", folder)]


def test_another_command_does_not_go_on_with_this_training(options, tmp_path):
    out = tmp_path / "model"

    def stop(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(options, out, callbacks=Callbacks(on_step=stop))
    with pytest.raises(LongbelError, match="learning_rate") as caught:
        train(replace(options, learning_rate=2e-3), out)
    assert caught.value.exit_code == 4
    assert train(replace(options, learning_rate=2e-3), out, restart=True) is Outcome.FINISHED


def test_a_folder_that_is_there_is_not_replaced_unasked(options, tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    (out / "README.md").write_text("mine")
    with pytest.raises(LongbelError, match="exists already") as caught:
        train(options, out)
    assert caught.value.exit_code == 4
    train(replace(options, epochs=1), out, overwrite=True)
    assert (out / "README.md").read_text() == "mine"  # a model card outlives a new training


def test_what_an_older_version_began_goes_on(options, tmp_path):
    """Options that it did not know had their defaults."""
    out = tmp_path / "model"
    with pytest.raises(KilledError):
        train(options, out, callbacks=Callbacks(on_step=kill_at(2)))
    kept = tmp_path / "model.run" / "options.json"
    known = json.loads(kept.read_text())
    for name in ("memory", "folds", "validate", "lora", "lora_rank"):
        del known[name]
    kept.write_text(json.dumps(known))
    with pytest.raises(LongbelError, match=r"other options \(lora\)"):
        train(replace(options, lora=True), out)
    assert train(options, out) is Outcome.FINISHED


@pytest.mark.parametrize(
    ("held", "overwrite", "message"),
    [
        (("notes.txt", "README.md"), True, "not a model"),
        (("notes.txt",), False, "exists already"),
        (("config.json", "README.md"), False, "exists already"),
        (("config.json", "README.md"), True, None),
        (("longbel_training.json",), True, None),
        (("README.md",), True, None),
        ((), False, None),
    ],
)
def test_what_may_be_replaced(options, tmp_path, held, overwrite, message):
    """Told before the training, not after it."""
    out, steps = tmp_path / "model", []
    out.mkdir()
    for name in held:
        (out / name).write_text("{}")
    callbacks = Callbacks(on_step=steps.append)
    if message is None:
        train(replace(options, steps=1), out, callbacks=callbacks, overwrite=overwrite)
        assert (out / "model.safetensors").exists()
        assert not (out / "notes.txt").exists()
        assert not (tmp_path / "model.part").exists()
        return
    with pytest.raises(LongbelError, match=message) as caught:
        train(options, out, callbacks=callbacks, overwrite=overwrite)
    assert caught.value.exit_code == 4
    assert not steps
    assert sorted(path.name for path in out.iterdir()) == sorted(held)


def test_a_model_in_the_working_directory(options, tmp_path, monkeypatch):
    out = tmp_path / "model"
    out.mkdir()
    monkeypatch.chdir(out)
    assert train(replace(options, steps=1), Path()) is Outcome.FINISHED
    assert (out / "config.json").exists()
    assert (tmp_path / "model.run" / "finished.json").exists()


def test_a_link_stays_a_link(options, tmp_path):
    target, out = tmp_path / "models" / "v1", tmp_path / "model"
    target.mkdir(parents=True)
    (target / "config.json").write_text("{}")
    out.symlink_to(target)
    train(replace(options, steps=1), out, overwrite=True)
    assert out.is_symlink()
    assert (target / "model.safetensors").exists()
    assert [path.name for path in target.parent.iterdir()] == ["v1"]


def stopped(options, out):
    with pytest.raises(KilledError):
        train(options, out, callbacks=Callbacks(on_step=kill_at(2)))


def edit(path, old, new):
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("corpus.jsonl", "a cough", "one cough", r"other options \(the content of corpora\)"),
        ("kb/kb.json", '"signature": "', '"signature": "0', r"\(the content of kb\)"),
    ],
)
def test_contents_tell_a_training_by(options, tmp_path, kb_folder, file, old, new, message):
    """Of what it reads, whatever lies under the same paths; a path alone may change."""
    options = replace(options, kb=str(shutil.copytree(kb_folder, tmp_path / "kb")), steps=3)
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    train(options, whole)
    stopped(options, begun)
    moved = shutil.copytree(tmp_path / "kb", tmp_path / "moved")
    assert train(replace(options, kb=str(moved)), whole) is Outcome.ALREADY_FINISHED
    edit(tmp_path / file, old, new)
    with pytest.raises(LongbelError, match=message):
        train(options, begun)
    with pytest.raises(LongbelError, match="exists already"):
        train(options, whole)


def test_a_base_model_is_told_by_its_content(options, tmp_path, model_folder):
    base = shutil.copytree(model_folder, tmp_path / "base")
    options, out = replace(options, base=str(base), steps=1), tmp_path / "model"
    train(options, out)
    moved = shutil.copytree(base, tmp_path / "moved")
    assert train(replace(options, base=str(moved)), out) is Outcome.ALREADY_FINISHED
    weights = base / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    message = r"exists already, made with other options \(the content of base\)"
    with pytest.raises(LongbelError, match=message):
        train(options, out)


@pytest.mark.parametrize("name", ["options.json", "state.safetensors"])
def test_a_damaged_state_is_told(options, tmp_path, name):
    out = tmp_path / "model"
    with pytest.raises(KilledError):
        train(options, out, Computing(save_every=1), Callbacks(on_step=kill_at(3)))
    (tmp_path / "model.run" / name).write_bytes(b"")
    with pytest.raises(LongbelError, match=name) as caught:
        train(options, out)
    assert caught.value.exit_code == 3
    assert "--restart" in caught.value.hint


def test_a_finished_training_is_no_hindrance(options, tmp_path):
    out = tmp_path / "model"
    train(replace(options, steps=1), out)
    assert train(replace(options, steps=2), out, overwrite=True) is Outcome.FINISHED
    assert len(losses(out)) == 2
    # Killed when the model was out, and nothing else.
    finished = tmp_path / "model.run" / "finished.json"
    finished.unlink()
    (tmp_path / "model.run" / "state.safetensors").touch()
    assert train(replace(options, steps=2), out) is Outcome.ALREADY_FINISHED
    assert finished.exists()
    assert not (tmp_path / "model.run" / "state.safetensors").exists()


def test_a_finished_training_leaves_nothing_to_go_on_from(options, tmp_path):
    """With --overwrite it is done anew, from its first step."""
    out = tmp_path / "model"
    steps = []
    for _ in range(2):
        train(options, out, callbacks=Callbacks(on_step=steps.append), overwrite=True)
    assert [step.step for step in steps] == [*range(1, len(losses(out)) + 1)] * 2


def test_from_python_nothing_is_printed(options, corpus, tmp_path, capsys):
    assert train(replace(options, steps=2, validate=(str(corpus),)), tmp_path / "model")
    assert capsys.readouterr() == ("", "")


def without_a_layer(base):
    file = base / "model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "layers.1" not in k}, file)


def cut_in_half(base):
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def an_encoder(base):
    edit(base / "config.json", "LlamaForCausalLM", "BertModel")
    edit(base / "config.json", '"model_type": "llama"', '"model_type": "bert"')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_a_layer, "hold no weights for"),
        (cut_in_half, "cannot be loaded"),
        (an_encoder, "not a causal language model"),
    ],
)
def test_a_base_that_link_would_refuse_is_not_trained(
    damage, message, options, model_folder, tmp_path
):
    base = shutil.copytree(model_folder, tmp_path / "base")
    damage(base)
    with pytest.raises(LongbelError, match=message) as caught:
        train(replace(options, base=str(base)), tmp_path / "m")
    assert caught.value.exit_code == 3


def test_a_training_that_cannot_begin_leaves_the_one_before(options, tmp_path):
    out = tmp_path / "model"
    with pytest.raises(KilledError):
        train(options, out, Computing(save_every=1), Callbacks(on_step=kill_at(2)))
    before = {path: path.read_bytes() for path in out.with_name("model.run").glob("*.*")}
    with pytest.raises(LongbelError):
        train(options, out, Computing(device="cuda:99"), restart=True)
    assert {path: path.read_bytes() for path in before} == before
    assert train(options, out) is Outcome.FINISHED


def test_one_process_trains_at_a_time(options, tmp_path):
    out = tmp_path / "model"
    with (
        RunFolder.of(out).held(),
        pytest.raises(LongbelError, match=f"process {os.getpid()}") as caught,
    ):
        train(options, out)
    assert caught.value.exit_code == 4
    assert train(options, out) is Outcome.FINISHED


@pytest.mark.parametrize("at", ["a step", "the end"])
def test_a_training_that_was_taken_over_writes_nothing_more(options, tmp_path, monkeypatch, at):
    """As after a long freeze, when a process of another machine took it for dead."""
    out = tmp_path / "model"
    state = RunFolder.of(out).final.state

    def taken_over(*_):
        leases = RunFolder.of(out).path / "claims"
        (leases / "training.000002.json").write_text("{}")
        with contextlib.suppress(FileNotFoundError):
            kept.append(state.read_bytes())

    kept: list[bytes] = []
    fit = fitting.fit

    def fit_and_freeze(*arguments):
        fitted = fit(*arguments)
        taken_over()
        return fitted

    if at == "the end":
        monkeypatch.setattr(fitting, "fit", fit_and_freeze)
    on_step = (lambda step: step.step == 2 and taken_over()) if at == "a step" else lambda _: None
    with pytest.raises(LongbelError, match="taken this run over") as caught:
        train(options, out, Computing(save_every=1), Callbacks(on_step=on_step))
    assert caught.value.exit_code == 4
    assert [state.read_bytes()] == kept
    assert not out.exists()


@pytest.mark.parametrize("finished", [False, True])
def test_a_kill_while_an_earlier_training_is_dropped(options, tmp_path, monkeypatch, finished):
    """At every file: then the same command goes on, and the model is the same."""
    options, out, kept = replace(options, steps=3), tmp_path / "model", tmp_path / "kept"
    if finished:
        train(options, out)
    else:
        with pytest.raises(KilledError):
            train(options, out, Computing(save_every=1), Callbacks(on_step=kill_at(2)))
    shutil.copytree(tmp_path / "model.run", kept)
    whole = tmp_path / "whole"
    train(options, whole)
    moves, move = 0, Disk.replace

    def moved(disk, path, target):
        nonlocal moves
        moves += is_draft(target.parent)  # the folder that an earlier training is dropped into
        if moves > survived and is_draft(target.parent):
            raise KilledError
        return move(disk, path, target)

    dropped = [path for path in kept.iterdir() if path.name != "claims"]
    for survived in range(len(dropped)):  # noqa: B007, `moved` asks for it
        shutil.rmtree(tmp_path / "model.run")
        shutil.copytree(kept, tmp_path / "model.run")
        moves = 0
        with monkeypatch.context() as patched, pytest.raises(KilledError):
            patched.setattr(Disk, "replace", moved)
            train(options, out, restart=True, overwrite=True)
        again = train(options, out, overwrite=finished)
        assert again is Outcome.FINISHED
        assert losses(out) == losses(whole)
        assert all(torch.equal(first, weights(out)[name]) for name, first in weights(whole).items())
        if not finished:
            shutil.rmtree(out)
    assert not list(tmp_path.glob(".model.run.*"))


def test_a_folder_beside_the_model_is_not_touched(options, tmp_path):
    mine = tmp_path / "model.part" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    train(replace(options, steps=1), tmp_path / "model")
    assert mine.read_text() == "mine"


def test_what_the_model_has_no_place_for_is_shortened(options, model_folder, tmp_path):
    base = shutil.copytree(model_folder, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 40}))
    steps = []
    train(
        replace(options, base=str(base), epochs=1, tokens_per_batch=1),
        tmp_path / "m",
        callbacks=Callbacks(on_step=steps.append),
    )
    assert max(step.tokens for step in steps) <= 40
