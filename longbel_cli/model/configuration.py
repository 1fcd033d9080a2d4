"""A model's configuration: the file as it lies there, and what transformers makes of it.

The file may come from anywhere. What in it would decide how a model is computed or loaded is
dropped, whoever wrote it: that is for the caller to say.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kb_builder.errors import LongbelError
from longbel_cli.model.folder import CONFIGURATION, read_object

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# At any depth: which kernels compute, which code and files are loaded, what a forward returns.
_NOT_THE_FILES_TO_SAY = frozenset(
    {
        "attn_implementation", "_attn_implementation", "_attn_implementation_internal",
        "_attn_implementation_autoset", "_flash_attn_2_enabled", "experts_implementation",
        "_experts_implementation", "_experts_implementation_internal", "fusion_config",
        "kernel_config", "use_kernels", "distributed_config", "device_map", "auto_map",
        "configuration_files", "transformers_weights", "name_or_path", "_name_or_path",
        "_commit_hash", "output_attentions", "output_hidden_states", "return_dict",
        "use_return_dict", "torchscript", "gradient_checkpointing",
    }
)  # fmt: skip
_SIZES = ("num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size")
_UNLIMITED = 1 << 20


def read_configuration(folder: Path) -> dict[str, Any]:
    """The folder's config.json without what is not its to say; LongbelError where it is none."""
    file = folder / CONFIGURATION
    if not file.exists():
        raise LongbelError(
            f"{folder}: not a model folder, {CONFIGURATION} is missing",
            "Give the folder that holds config.json, tokenizer.json and *.safetensors.",
        )
    content: dict[str, Any] = _kept(read_object(file))
    for key in ("lang", "longbel_context_format", "model_type"):
        if not isinstance(content.get(key), str | None):
            raise LongbelError(f"{file}: {key} is not text", "Copy the file anew.")
    names = content.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LongbelError(f"{file}: architectures is not a list of names", "Copy the file anew.")
    return content


def _kept(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _kept(inner) for key, inner in value.items() if key not in _NOT_THE_FILES_TO_SAY
        }
    return [_kept(inner) for inner in value] if isinstance(value, list) else value


def transformers_configuration(folder: Path, content: dict[str, Any]) -> PreTrainedConfig:
    """What transformers makes of a configuration; LongbelError where it can make nothing of it."""
    import transformers

    file, kind = folder / CONFIGURATION, content.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        raise LongbelError(
            f"{file}: model_type {kind} is unknown to transformers {transformers.__version__}",
            "A newer transformers may know it. Code that lies beside weights is never run.",
        )
    try:
        configuration = _as_transformers_reads(content)
        text = configuration.get_text_config()
        sizes = {name: getattr(text, name, None) for name in _SIZES}
        empty = [name for name, size in sizes.items() if size is not None and int(size) < 1]
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise LongbelError(
            f"{file}: not a valid configuration of a {kind} ({type(error).__name__}: {reason})",
            "Copy the file anew.",
        ) from error
    if empty:
        raise LongbelError(f"{file}: {empty[0]} is {sizes[empty[0]]}", "Copy the file anew.")
    return configuration


def _as_transformers_reads(content: dict[str, Any]) -> PreTrainedConfig:
    # From a file, since it tells some kinds of model apart by more than their `model_type`.
    from transformers import AutoConfig

    with tempfile.TemporaryDirectory(prefix="longbel-") as folder:
        (Path(folder) / CONFIGURATION).write_text(json.dumps(content), encoding="utf-8")
        configuration: PreTrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
    return configuration


def max_positions(configuration: PreTrainedConfig) -> int:
    """Tokens that a model has positions for. Its kind knows its own word for them, and whether
    there is a limit: T5 has an `n_positions` that is none."""
    known = getattr(configuration.get_text_config(), "max_position_embeddings", None)
    return known if isinstance(known, int) and known > 0 else _UNLIMITED


def is_causal(configuration: PreTrainedConfig) -> bool:
    """Whether transformers has the model as a language model that reads from left to right alone.

    A kind of model that also fills in masked words (BERT) is one only where it says so itself.
    """
    from transformers.models.auto import modeling_auto as auto

    kind = configuration.model_type
    named = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind, ())
    heads = {named} if isinstance(named, str) else set(named)
    if kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        reads_on = bool(getattr(configuration, "is_decoder", False))
        return reads_on and bool(heads & set(configuration.architectures or ()))
    return bool(heads) and not configuration.is_encoder_decoder and not _sees_ahead(configuration)


def _sees_ahead(configuration: PreTrainedConfig) -> bool:
    """Whether a causal kind of model was made an encoder of by its configuration."""
    text = configuration.get_text_config()
    # Gemma 4 says "vision" where images alone are read ahead.
    ahead = getattr(text, "use_bidirectional_attention", False)
    return getattr(text, "is_causal", True) is False or ahead in (True, "all")


def kind_of(configuration: PreTrainedConfig) -> str:
    """What a configuration calls its model, for messages."""
    return ", ".join(configuration.architectures or [str(configuration.model_type)])
