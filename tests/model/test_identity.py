"""What a model is known by: what is loaded counts, wherever it is written, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from longbel_cli.linking.baselines.folder import PublishedModel
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.folder import INDEX, WEIGHTS, weight_files
from longbel_cli.model.tokenizing import size_of
from tests.support.tiny import save_model_folder, tiny_model, tiny_tokenizer

Fingerprints = tuple[str, str]


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model's folder, to be changed."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def of(folder: Path) -> Fingerprints:
    checkpoint = Checkpoint.open(folder)
    return checkpoint.fingerprint, checkpoint.tokenizer_fingerprint


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def flip_a_bit(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-100] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(data))


def drop_a_merge(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"].pop()
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def put_bos_in_front_no_more(folder: Path) -> None:
    edit(folder / "tokenizer.json", post_processor=None)


# name: (what is done to a folder, whether the model is another, whether the tokenizer is)
CHANGES: dict[str, tuple[Callable[[Path], None], bool, bool]] = {
    "a bit of the weights": (flip_a_bit, True, False),
    "the configuration": (lambda f: edit(f / "config.json", rms_norm_eps=1e-3), True, False),
    "a merge": (drop_a_merge, False, True),
    "the leading ids": (put_bos_in_front_no_more, False, True),
    "the end-of-sequence token": (
        lambda f: edit(f / "tokenizer_config.json", eos_token="<SEP>"), False, True,
    ),
    "the padding token": (
        lambda f: edit(f / "tokenizer_config.json", pad_token="<SEP>"), False, True,
    ),
    "a file that nothing reads": (lambda f: (f / "README.md").write_text("notes"), False, False),  # type: ignore[arg-type, return-value]
    "which attention is to be used": (
        lambda f: edit(f / "config.json", _attn_implementation="eager"), False, False,
    ),
    "where it was copied from": (
        lambda f: edit(f / "config.json", _name_or_path="/elsewhere"), False, False,
    ),
    "the order of keys": (
        lambda f: (f / "config.json").write_text(
            json.dumps(dict(reversed(json.loads((f / "config.json").read_text()).items())))
        ), False, False,  # type: ignore[arg-type, return-value]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_loaded_counts(folder: Path, name: str) -> None:
    change, other_model, other_tokenizer = CHANGES[name]
    before = of(folder)
    assert of(folder) == before
    change(folder)
    after = of(folder)
    assert (after[0] != before[0], after[1] != before[1]) == (other_model, other_tokenizer)


def test_a_use_of_the_tokenizer_changes_nothing(folder: Path) -> None:
    """transformers leaves padding and truncation behind in the tokenizer."""
    checkpoint = Checkpoint.open(folder)
    checkpoint.tokenizer.pad_token = checkpoint.tokenizer.eos_token
    before = Checkpoint(folder, checkpoint.config, checkpoint.tokenizer).tokenizer_fingerprint
    checkpoint.tokenizer(["a", "a b"], padding=True, truncation=True, max_length=2)
    assert Checkpoint(folder, {}, checkpoint.tokenizer).tokenizer_fingerprint == before


# Which files are read


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("other", [(), ("adapter.safetensors", "pytorch_model.safetensors")])
def test_the_files_that_transformers_reads(
    folder: Path, tmp_path: Path, whole: bool, other: tuple[str, ...]
) -> None:
    """A whole file goes before an index, and no other file is read."""
    from transformers import AutoModelForCausalLM

    sharded = tiny_model("llama", vocab_size=len(tiny_tokenizer()), seed=1)
    sharded.save_pretrained(tmp_path / "sharded", max_shard_size="50kB")
    names = [file.name for file in weight_files(tmp_path / "sharded")]
    assert len(names) > 1
    for name in (*names, INDEX):
        shutil.copy(tmp_path / "sharded" / name, folder / name)
    for name in other:
        (folder / name).write_bytes(b"")
    if not whole:
        (folder / WEIGHTS).unlink()
    assert [file.name for file in weight_files(folder)] == ([WEIGHTS] if whole else names)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    same = torch.equal(loaded.lm_head.weight, sharded.lm_head.weight)
    assert same == (not whole)


def test_files_of_a_kind_of_model(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"")
    (tmp_path / "head.safetensors").write_bytes(b"")
    files = weight_files(tmp_path, ("head.safetensors", "not_there.safetensors"))
    assert [file.name for file in files] == ["head.safetensors", WEIGHTS]


def test_a_stale_index_hides_no_change_of_the_weights(folder: Path, tmp_path: Path) -> None:
    """Left of a model that was saved in shards before: it is not what is loaded."""
    other = save_model_folder(tmp_path / "other", seed=1)
    shutil.copy(other / WEIGHTS, folder / SHARDS[0])
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": SHARDS[0]}, "metadata": {}}))
    before = of(folder)
    shutil.copy(other / WEIGHTS, folder / WEIGHTS)
    assert of(folder)[0] != before[0]


def test_an_encoder_of_another_tokenizer_has_other_vectors(tmp_path: Path) -> None:
    """The cache of `dense` keeps vectors by both fingerprints."""
    from transformers import BertConfig, BertModel

    tokenizer = tiny_tokenizer(marks=())
    size = size_of(tokenizer)
    config = BertConfig(
        vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    before = PublishedModel.open(tmp_path)
    drop_a_merge(tmp_path)
    after = PublishedModel.open(tmp_path)
    assert after.fingerprint == before.fingerprint
    assert after.tokenizer_fingerprint != before.tokenizer_fingerprint
