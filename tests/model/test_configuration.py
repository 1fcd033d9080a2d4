"""Configurations that may come from anywhere: what they may not say, and what they must be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.linking.baselines.folder import PublishedModel
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.configuration import is_causal, read_configuration
from tests.support.tiny import save_model_folder


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model's folder, to be spoilt."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def edit(folder: Path, changes: dict[str, Any], name: str = "config.json") -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize(
    "changes",
    [
        {"_attn_implementation": "kernels-community/nowhere"},
        {"_attn_implementation_internal": "kernels-community/nowhere"},
        {"attn_implementation": "kernels-community/nowhere"},
        {"experts_implementation": "kernels-community/nowhere"},
        {"fusion_config": {"patch_embeddings": True}},
        {"transformers_weights": "../other.safetensors"},
        {"auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}},
        {"return_dict": False},
        {"output_attentions": True, "output_hidden_states": True},
        {"configuration_files": ["config.4.0.0.json"]},
    ],
)
def test_what_is_not_the_files_to_say(folder: Path, changes: dict[str, Any]) -> None:
    """Whichever it says, the same model is loaded and computed in the same way."""
    import torch

    ids = torch.arange(9)[None]
    expected = Checkpoint.open(folder).load_model("cpu", "float32")(ids).logits
    edit(folder, changes)
    model = Checkpoint.open(folder).load_model("cpu", "float32")
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(model(ids).logits, expected)


def test_nor_is_it_a_part_s(tmp_path: Path) -> None:
    told = {"model_type": "x", "text_config": {"_attn_implementation": "k/n", "layers": [{}]}}
    told["text_config"]["layers"] = [{"attn_implementation": "k/n", "size": 2}]
    (tmp_path / "config.json").write_text(json.dumps(told))
    kept = {"model_type": "x", "text_config": {"layers": [{"size": 2}]}}
    assert read_configuration(tmp_path) == kept


HOSTILE: dict[str, Any] = {
    "no kind of model": {"model_type": None},
    "a kind that is a list": {"model_type": ["llama"]},
    "no layers": {"num_hidden_layers": 0},
    "fewer than no layers": {"num_hidden_layers": -1},
    "a number of layers that is a word": {"num_hidden_layers": "many"},
    "no width": {"hidden_size": 0},
    "no heads": {"num_attention_heads": 0},
    "a language that is a list": {"lang": ["fr"]},
    "a format that is a list": {"longbel_context_format": ["long"]},
    "architectures that are a number": {"architectures": 3},
    "architectures that are numbers": {"architectures": [3]},
    "rotary positions of nobody's": {"rope_parameters": {"rope_type": "nobody's"}},
    "a number type of nobody's": {"dtype": "nobody's"},
    "a quantization of nobody's": {"quantization_config": {"quant_method": ["x"]}},
    "an activation of nobody's": {"hidden_act": "nobody's"},
    "parts in parts": {"text_config": json.loads(nested(40))},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_configuration_is_refused(folder: Path, name: str) -> None:
    edit(folder, HOSTILE[name])
    with pytest.raises(LongbelError) as raised:
        Checkpoint.open(folder).load_model("cpu")
    assert raised.value.exit_code == 3 and str(folder) in raised.value.message


@pytest.mark.parametrize("value", ["a text", 3, [], ["x"]])
def test_a_part_that_is_none(tmp_path: Path, value: Any) -> None:
    folder = save_model_folder(tmp_path / "m")
    edit(folder, {"model_type": "gemma3", "text_config": value})
    with pytest.raises(LongbelError) as raised:
        Checkpoint.open(folder).load_model("cpu")
    assert raised.value.exit_code == 3


@pytest.mark.parametrize("depth", [30, 5000, 200_000])
@pytest.mark.parametrize("name", ["config.json", "adapter_config.json"])
def test_nested_deeply(folder: Path, name: str, depth: int) -> None:
    (folder / name).write_text(nested(depth))
    with pytest.raises(LongbelError, match=f"{name}: nested") as raised:
        Checkpoint.open(folder)
    assert raised.value.exit_code == 3


def test_a_format_that_is_none(folder: Path) -> None:
    """Another can still be asked for."""
    edit(folder, {"longbel_context_format": "nobody's"})
    checkpoint = Checkpoint.open(folder)
    with pytest.raises(LongbelError, match="nobody's") as raised:
        _ = checkpoint.context_format
    assert raised.value.exit_code == 3 and "--context-format" in raised.value.hint


@pytest.mark.parametrize("value", ["long", [512], {"a": 1}])
def test_a_longest_input_that_is_no_number(folder: Path, value: Any) -> None:
    edit(folder, {"model_max_length": value}, "tokenizer_config.json")
    with pytest.raises(LongbelError) as raised:
        _ = PublishedModel.open(folder).input_tokens
    assert raised.value.exit_code == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../other.safetensors", "outside of its folder"),
        ("a/../../other.safetensors", "outside of its folder"),
        ("/etc/passwd", "outside of its folder"),
        (["model.safetensors"], "cannot be read as an index"),
        (7, "cannot be read as an index"),
    ],
)
def test_a_weight_map_that_leads_elsewhere(folder: Path, name: Any, message: str) -> None:
    (folder / "model.safetensors").rename(folder.parent / "other.safetensors")
    index = {"metadata": {}, "weight_map": {"a": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(LongbelError, match=message) as raised:
        Checkpoint.open(folder)
    assert raised.value.exit_code == 3


def test_the_state_of_a_sharded_training(folder: Path) -> None:
    """transformers would read it in place of the weights."""
    (folder / "shard-00000-model-00001-of-00001.safetensors").write_bytes(b"")
    with pytest.raises(LongbelError, match="sharded training") as raised:
        Checkpoint.open(folder)
    assert raised.value.exit_code == 3


# Which models read from left to right alone


@pytest.mark.parametrize(
    ("kind", "settings", "causal"),
    [
        ("llama", {}, True),
        ("llama", {"architectures": ["LlamaForCausalLM"]}, True),
        ("gpt2", {"architectures": ["GPT2LMHeadModel"]}, True),  # as BioMedLM says it
        ("gpt2", {"architectures": ["GPT2Model"]}, True),
        ("gemma3", {"architectures": ["Gemma3ForConditionalGeneration"]}, True),
        ("bert", {"architectures": ["BertModel"]}, False),
        ("bert", {"architectures": ["BertForMaskedLM"]}, False),
        ("bert", {}, False),
        ("bert", {"architectures": ["BertLMHeadModel"], "is_decoder": True}, True),
        ("bert", {"architectures": ["BertLMHeadModel"]}, False),  # sees what follows
        ("deberta-v2", {"architectures": ["DebertaV2Model"]}, False),
        ("bart", {"architectures": ["BartModel"]}, False),
        ("bart", {"architectures": ["BartForConditionalGeneration"]}, False),
        ("t5", {"architectures": ["T5ForConditionalGeneration"]}, False),
        ("gemma3_text", {"architectures": ["Gemma3TextModel"],
                         "use_bidirectional_attention": True}, False),
    ],
)  # fmt: skip
def test_which_models_are_causal(kind: str, settings: dict[str, Any], causal: bool) -> None:
    from transformers import AutoConfig

    assert is_causal(AutoConfig.for_model(kind, **settings)) is causal
