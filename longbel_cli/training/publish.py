"""The finished model folder, and the card in it that says how it was made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from kb_builder.files import whole_folder
from longbel_cli.training.base.start import describe
from longbel_cli.training.folder import CARD_FILE
from longbel_cli.training.optimise.finite import require_finite_weights
from longbel_cli.training.options import TrainOptions
from longbel_cli.version import package_version


def publish(
    model: PreTrainedModel,
    tokenizer: Any,
    options: TrainOptions,
    out: Path,
    facts: Mapping[str, Any],
) -> None:
    """The model folder, whole or not at all, with `facts` in its card; LongbelError where a weight
    is not finite.

    It takes the place of what is at `out`, but a README.md that lies there is kept. The model is
    left in the type it is saved in.
    """
    model = model.to(getattr(torch, _dtype(options))).eval()
    require_finite_weights(model)
    describe(model, tokenizer, options)
    with whole_folder(out, overwrite=True) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        card = json.dumps(_card(options, facts), indent=2, sort_keys=True, allow_nan=False)
        (folder / CARD_FILE).write_text(card + "\n", encoding="utf-8")
        readme = out / "README.md"
        if readme.exists():
            shutil.copy(readme, folder / "README.md")
        mode = (folder / CARD_FILE).stat().st_mode & 0o777  # as the umask says
        for file in folder.iterdir():
            file.chmod(mode)  # safetensors writes for its owner alone


def _dtype(options: TrainOptions) -> str:
    if options.save_dtype != "auto":
        return options.save_dtype
    return "float16" if options.fresh is not None else "bfloat16"


def _card(options: TrainOptions, facts: Mapping[str, Any]) -> dict[str, Any]:
    names = ["longbel", "torch", "transformers", "tokenizers", *(["peft"] if options.lora else [])]
    return {
        "options": asdict(options),
        "versions": {name: package_version(name) for name in names},
        **facts,
    }
