"""A model folder or hub id: which of its files are read, and which kinds of folder are refused.

Knows file names and JSON; knows no tokenizer, no weights and no transformers.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError

CONFIGURATION = "config.json"
GENERATION = "generation_config.json"
ADAPTER = "adapter_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# transformers reads files of these names in place of all others: a state of a sharded training.
_TRAINING_SHARDS = "shard-[0-9]*-model-[0-9]*-of-[0-9]*.safetensors"
# Nested deeper than any configuration is; what walks through one recurses.
_DEEPEST = 24


def model_folder(model: str | Path) -> Path:
    """The folder of a model: a path, or a hub id that is downloaded or already in the cache."""
    path = Path(model)
    if path.is_dir():
        return path
    if path.exists() or str(model).count("/") != 1 or str(model).startswith((".", "/", "~")):
        raise LongbelError(f"{model}: no such model folder", "Give a folder or a hub id.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(model), ignore_patterns=["*.bin", "*.pkl", "*.pt"]))
    except Exception as error:
        raise LongbelError(
            f"{model}: no such folder, and the hub gave no model of that id"
            f" ({type(error).__name__})",
            "Give a folder on disk; on an offline machine download the model beforehand.",
        ) from error


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object of a file that may come from anywhere; LongbelError where it is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise _too_deep(file) from error
    except (OSError, ValueError) as error:
        raise LongbelError(f"{file}: cannot be read as JSON", "Copy the file anew.") from error
    if not isinstance(content, dict):
        raise LongbelError(f"{file}: not a JSON object", "Copy the file anew.")
    if _depth_exceeds(content, _DEEPEST):
        raise _too_deep(file)
    return content


def _depth_exceeds(content: Any, levels: int) -> bool:
    parts = [content]
    for _ in range(levels):
        parts = [
            inner
            for part in parts
            if isinstance(part, dict | list)
            for inner in (part.values() if isinstance(part, dict) else part)
        ]
    return any(isinstance(part, dict | list) for part in parts)


def _too_deep(file: Path) -> LongbelError:
    return LongbelError(f"{file}: nested more than {_DEEPEST} deep", "Copy the file anew.")


def weight_files(folder: Path, extra: tuple[str, ...] = ()) -> list[Path]:
    """The safetensors files that transformers reads of a folder, sorted; LongbelError where there
    are none. `extra` are further names that a kind of model has for some of its weights.

    A whole file goes before an index, whatever the index says.
    """
    if any(folder.glob(_TRAINING_SHARDS)):
        raise LongbelError(
            f"{folder}: holds the state of a sharded training (shard-*.safetensors)",
            "Save the model whole with save_pretrained, and give that folder.",
        )
    if (folder / WEIGHTS).exists():
        files = [folder / WEIGHTS]
    elif (folder / INDEX).exists():
        files = _indexed(folder)
    else:
        raise _without_weights(folder)
    further = [folder / name for name in extra if (folder / name).exists()]
    return sorted({*files, *further})


def _indexed(folder: Path) -> list[Path]:
    index = folder / INDEX
    try:
        names = sorted(set(read_object(index)["weight_map"].values()))
        outside = [name for name in names if ".." in Path(name).parts or Path(name).is_absolute()]
    except (KeyError, TypeError, AttributeError) as error:
        raise LongbelError(
            f"{index}: cannot be read as an index of weights", "Copy the file anew."
        ) from error
    if outside:
        raise LongbelError(
            f"{index}: names a file outside of its folder, {outside[0]}",
            "A model is read from its own folder alone: copy the file anew.",
        )
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise LongbelError(
            f"{folder}: the index names weight files that are missing: {', '.join(missing)}",
            "Copy the whole model folder.",
        )
    return [folder / name for name in names]


def _without_weights(folder: Path) -> LongbelError:
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        code = (
            "from transformers import AutoModelForCausalLM as M; "
            f"M.from_pretrained({str(folder)!r}, use_safetensors=False)"
            f".save_pretrained({str(folder)!r})"
        )
        return LongbelError(
            f"{folder}: weights are pickled (.bin), which can run code when read",
            f"Convert them once, on a machine you trust: {python_line(code)}",
        )
    return LongbelError(
        f"{folder}: no weights, neither {WEIGHTS} nor {INDEX} is there",
        "Give a folder that holds the model's safetensors files.",
    )


def refuse_adapter(folder: Path) -> None:
    """LongbelError where a folder holds an adapter, alone or beside the weights of its base.

    Whether transformers would use it depends on whether peft is installed.
    """
    if not (folder / ADAPTER).exists():
        return
    base = read_object(folder / ADAPTER).get("base_model_name_or_path")
    merged = f"{folder.resolve().name}-merged"
    beside = (folder / CONFIGURATION).exists()
    merge = _merge_beside(str(folder), merged) if beside else _merge_alone(str(folder), merged)
    raise LongbelError(
        f"{folder}: holds an adapter ({ADAPTER}) "
        + ("beside a model's weights" if beside else f"alone; its base is {base}"),
        f"Merge it: {python_line(merge)} and give {merged}."
        + (f" Or move {ADAPTER} away, to use the weights without it." if beside else ""),
    )


def _merge_alone(folder: str, merged: str) -> str:
    return (
        "from peft import AutoPeftModelForCausalLM as P; from transformers import AutoTokenizer "
        f"as T; P.from_pretrained({folder!r}).merge_and_unload().save_pretrained({merged!r}); "
        f"T.from_pretrained({folder!r}).save_pretrained({merged!r})"
    )


def _merge_beside(folder: str, merged: str) -> str:
    # With peft at hand transformers would load the adapter with its base, unless told to look
    # for it where it is not.
    return (
        "from peft import PeftModel as P; from transformers import AutoModelForCausalLM as M, "
        f"AutoTokenizer as T; m = M.from_pretrained({folder!r}, adapter_kwargs={{'subfolder': "
        f"'none'}}); P.from_pretrained(m, {folder!r}).merge_and_unload().save_pretrained("
        f"{merged!r}); T.from_pretrained({folder!r}).save_pretrained({merged!r})"
    )


def python_line(code: str) -> str:
    """A line for a shell that runs the code."""
    plain = not any(sign in code for sign in '"$`\\!')
    return f'python -c "{code}"' if plain else f"python -c {shlex.quote(code)}"
