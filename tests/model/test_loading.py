"""Weights: all that a model has and nothing else, else a refusal that says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from kb_builder.errors import LongbelError
from longbel_cli.linking.baselines.folder import PublishedModel
from longbel_cli.model.checkpoint import Checkpoint
from tests.support.tiny import save_model_folder, tiny_model, tiny_tokenizer


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model's folder, to be spoilt."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def refusal(folder: Path) -> LongbelError:
    with pytest.raises(LongbelError) as raised:
        Checkpoint.open(folder).load_model("cpu", "float32")
    assert raised.value.exit_code == 3 and str(folder) in raised.value.message
    return raised.value


def test_a_layer_that_the_configuration_lacks(folder: Path) -> None:
    edit_config(folder, num_hidden_layers=1)
    error = refusal(folder)
    assert "9 tensors that are no part of the model" in error.message
    assert "model.layers.1.input_layernorm.weight" in error.message


@pytest.mark.parametrize("name", ["weight_scale_inv", "weight_scale", "input_scale", "qzeros"])
def test_scales_of_quantized_weights_are_not_dropped(folder: Path, name: str) -> None:
    """FP8 weights alone would be numbers of another size."""
    key = f"model.layers.0.self_attn.q_proj.{name}"
    edit_weights(folder, lambda weights: weights.update({key: torch.ones(1)}))
    error = refusal(folder)
    assert key in error.message and "quantized" in error.hint


HARMLESS = (
    "model.layers.0.self_attn.rotary_emb.inv_freq",
    "model.layers.1.attn.masked_bias",
    "model.embeddings.position_ids",
)


def test_what_a_model_computes_by_itself_is_listed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit_weights(folder, lambda weights: weights.update({k: torch.ones(1) for k in HARMLESS}))
    with caplog.at_level("INFO", logger="longbel"):
        Checkpoint.open(folder).load_model("cpu", "float32")
    assert all(key in caplog.text for key in HARMLESS[1:])  # the first, transformers expects


def test_causal_masks_of_gpt_2(tmp_path: Path) -> None:
    """As the files of GPT-2 and BioMedLM hold them."""
    model = tiny_model("gpt2", 420, n_embd=32, n_layer=1, n_head=2, n_positions=64)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    mask = torch.ones(1, 1, 64, 64, dtype=torch.uint8)
    edit_weights(tmp_path, lambda weights: weights.update({"transformer.h.0.attn.bias": mask}))
    ids = torch.arange(9)[None]
    loaded = Checkpoint.open(tmp_path).load_model("cpu", "float32")
    assert torch.equal(loaded(ids).logits, model(ids).logits)


def encoder(folder: Path, kind: str) -> Path:
    """A tiny BERT as that class saves it."""
    import transformers

    tokenizer = tiny_tokenizer(marks=())
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32, num_labels=3,
    )  # fmt: skip
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "kind", ["BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForTokenClassification"]
)
def test_an_encoder_is_loaded_without_what_lies_above_it(tmp_path: Path, kind: str) -> None:
    model = PublishedModel.open(encoder(tmp_path, kind))
    model.load("AutoModel", "cpu", ignore_missing="pooler")


@pytest.mark.parametrize("kind", ["BertModel", "BertForMaskedLM"])
def test_an_encoder_with_fewer_layers_than_its_files(tmp_path: Path, kind: str) -> None:
    edit_config(encoder(tmp_path, kind), num_hidden_layers=1)
    with pytest.raises(LongbelError, match=r"encoder\.layer\.1") as raised:
        PublishedModel.open(tmp_path).load("AutoModel", "cpu", ignore_missing="pooler")
    assert raised.value.exit_code == 3


# A kind of quantization, and the package that has to be installed for it.
QUANTIZED = {
    "bitsandbytes": ({"load_in_4bit": True}, "bitsandbytes"),
    "awq": ({"bits": 4, "group_size": 128}, "gptqmodel"),
    "gptq": ({"bits": 4, "group_size": 128}, "gptqmodel"),
    "compressed-tensors": ({"config_groups": {}, "format": "float-quantized"},
                           "compressed-tensors"),
    "hqq": ({"weight_quant_params": {}}, "hqq"),
    "aqlm": ({}, "aqlm"),
    "quanto": ({"weights": "int8"}, "optimum-quanto"),
    "torchao": ({"quant_type": "int8_weight_only"}, "torchao"),
}  # fmt: skip


@pytest.mark.parametrize("method", QUANTIZED)
def test_a_quantized_model_without_its_package(folder: Path, method: str) -> None:
    settings, package = QUANTIZED[method]
    edit_config(folder, quantization_config={"quant_method": method, **settings})
    error = refusal(folder)
    assert f"quantized ({method})" in error.message and package in error.message


def test_what_is_no_causal_model(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert "not a causal language model" in refusal(tmp_path).message


def test_a_device_without_memory_is_no_broken_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    def load(*arguments: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", load)
    with pytest.raises(LongbelError, match="no memory for the model") as raised:
        Checkpoint.open(folder).load_model("cpu")
    assert raised.value.exit_code == 1


def test_ids_with_gaps_need_weights_up_to_the_highest(tmp_path: Path) -> None:
    """There are as many tokens as rows, and one of them has an id beyond."""
    tokenizer = tiny_tokenizer()
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocab = state["model"]["vocab"]
    last = max(vocab, key=vocab.__getitem__)
    vocab[last] += 50
    folder = save_model_folder(tmp_path / "m", tokenizer=tokenizer)
    (folder / "tokenizer.json").write_text(json.dumps(state))
    assert len(Checkpoint.open(folder).tokenizer) == len(tokenizer)
    assert "ids up to" in refusal(folder).message
