"""Adapters are refused, whether peft is installed or not, with a line that merges them."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.linking.baselines.folder import PublishedModel
from longbel_cli.model.checkpoint import Checkpoint


@pytest.fixture
def base(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "base"))


def adapted(base: Path) -> Any:
    """peft's model of the base with an adapter of large random weights."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear")
    wrapped = peft.get_peft_model(model, config).eval()
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.3)
    return wrapped


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(torch.arange(12)[None]).logits


def follow(hint: str, folder: Path) -> Path:
    """Run the program of a hint's line, as a shell reads it; the folder that it made."""
    line = hint[hint.index("python -c") :].partition(" and give ")[0]
    python, flag, program = shlex.split(line)
    assert (python, flag) == ("python", "-c")
    with contextlib.chdir(folder):
        exec(program, {})
    name = hint.partition(" and give ")[2].partition(".")[0]
    return folder / name


@pytest.mark.parametrize("kind", [Checkpoint, PublishedModel])
def test_an_adapter_beside_its_base(base: Path, tmp_path: Path, kind: type[Checkpoint]) -> None:
    plain = logits(Checkpoint.open(base).load_model("cpu", "float32"))
    wrapped = adapted(base)
    expected = logits(wrapped)
    wrapped.save_pretrained(base)
    with pytest.raises(LongbelError, match="adapter") as raised:
        kind.open(base)
    assert raised.value.exit_code == 3 and str(base) in raised.value.message
    merged = follow(raised.value.hint, tmp_path)
    result = logits(kind.open(merged).load_model("cpu", "float32"))
    assert (result - expected).abs().max() < 1e-4 < (plain - expected).abs().max()
    (base / "adapter_config.json").unlink()  # the other way that the hint names
    assert (logits(kind.open(base).load_model("cpu", "float32")) == plain).all()


def test_an_adapter_alone(base: Path, tmp_path: Path) -> None:
    wrapped = adapted(base)
    expected = logits(wrapped)
    alone = tmp_path / "alone"
    wrapped.save_pretrained(alone)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, alone / name)
    with pytest.raises(LongbelError, match=f"its base is {base}") as raised:
        Checkpoint.open(alone)
    assert raised.value.exit_code == 3
    merged = follow(raised.value.hint, tmp_path)
    result = logits(Checkpoint.open(merged).load_model("cpu", "float32"))
    assert (result - expected).abs().max() < 1e-4


def test_without_peft_as_with_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapted(base).save_pretrained(base)
    messages = []
    for installed in (True, False):
        answer = bool if not installed else lambda: True
        for module in ("models.auto.auto_factory", "integrations.peft"):
            monkeypatch.setattr(f"transformers.{module}.is_peft_available", answer)
        with pytest.raises(LongbelError) as raised:
            Checkpoint.open(base)
        messages.append(str(raised.value))
    assert len(set(messages)) == 1
