"""Weights from safetensors files into a model of transformers, all of them and nothing else.

Runs no code that lies beside them. Knows nothing of prompts, tries or decoders.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kb_builder.errors import LongbelError
from longbel_cli.model.configuration import is_causal, kind_of
from longbel_cli.model.devices import resolve_device, resolve_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

log = logging.getLogger(__name__)

# Tensors that files hold though the model computes them by itself: rotary frequencies, the causal
# masks of GPT-2 and its kin, position ids, the version that fairseq writes.
_COMPUTED = re.compile(
    r"(^|\.)(rotary_emb\.inv_freq|attn(ention)?\.(masked_)?bias|position_ids|version)$"
)
_SCALES = re.compile(r"(scale|scale_inv|scales|qzeros|zero_point|absmax|g_idx)$")
# What reads the weights of a kind of quantization, by its name in config.json.
_PACKAGES = {
    "aqlm": "aqlm",
    "auto-round": "auto-round",
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "eetq": "kernels",
    "fbgemm_fp8": "fbgemm-gpu",
    "fouroversix": "fouroversix",
    "fp_quant": "fp-quant",
    "gptq": "gptqmodel",
    "higgs": "flute-kernel",
    "hqq": "hqq",
    "metal": "kernels",
    "mxfp4": "kernels",
    "nvfp4": "kernels",
    "quanto": "optimum-quanto",
    "quark": "amd-quark",
    "sinq": "sinq",
    "spqr": "spqr-quant",
    "torchao": "torchao",
    "vptq": "vptq",
}


def load_causal(
    folder: Path, configuration: PreTrainedConfig, n_tokens: int, device: str, dtype: str
) -> PreTrainedModel:
    """A causal language model on `device`, ready to decode; `n_tokens` are those of its tokenizer.

    Attention is computed by SDPA, or as the model's own code does where it has no other.
    """
    import torch
    from transformers import GenerationConfig

    if not is_causal(configuration):
        raise LongbelError(
            f"{folder}: not a causal language model, its config.json says {kind_of(configuration)} "
            f"({configuration.model_type})",
            "Give the folder of a causal model (`longbel train` makes one).",
        )
    resolved = resolve_device(device)
    number_type = getattr(torch, resolve_dtype(dtype, resolved))
    model = load_weights(
        "AutoModelForCausalLM", folder, configuration, dtype=number_type, device_map={"": resolved}
    )
    embeddings: Any = model.get_input_embeddings()
    if len(embeddings.weight) < n_tokens:
        raise LongbelError(
            f"{folder}: the tokenizer has ids up to {n_tokens - 1}, the model fewer",
            "Tokenizer and weights are not of the same checkpoint.",
        )
    # A model's own generation config (Llama 3.1 Instruct samples by default) is never used.
    model.generation_config = GenerationConfig(do_sample=False)
    return model


def load_weights(
    kind: str,
    folder: Path,
    configuration: PreTrainedConfig,
    ignore_missing: str = "",
    **options: Any,
) -> PreTrainedModel:
    """The weights as `transformers.{kind}`, for evaluation.

    Parameters named with `ignore_missing` may lack; LongbelError for any other, and for tensors
    of the files that are no part of the model.
    """
    import torch
    import transformers
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    load: Any = getattr(transformers, kind).from_pretrained
    try:
        model, report = load(
            folder,
            config=configuration,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except torch.OutOfMemoryError as error:
        raise LongbelError(
            f"{folder}: the device has no memory for the model",
            "Use a larger device, or --dtype bfloat16.",
            exit_code=1,
        ) from error
    except Exception as error:  # whatever its code makes of files that may come from anywhere
        raise _not_loaded(folder, configuration, error) from error
    missing = [
        name for name in report["missing_keys"] if not ignore_missing or ignore_missing not in name
    ]
    if missing:
        raise LongbelError(
            f"{folder}: the files hold no weights for {len(missing)} parameters of the "
            f"model, {min(missing)} among them",
            "Copy the whole model folder: what is missing would be random numbers.",
        )
    _refuse_unexpected(folder, model, report["unexpected_keys"], kind == "AutoModel")
    loaded: PreTrainedModel = model.eval()
    return loaded


def _not_loaded(folder: Path, configuration: PreTrainedConfig, error: Exception) -> LongbelError:
    reason = " ".join(str(error).split())[:300]
    method = quantization_of(configuration)
    if method is not None:
        package = _PACKAGES.get(method)
        needs = f", for which the package {package} has to be installed" if package else ""
        return LongbelError(
            f"{folder}: the weights are quantized ({method}) and cannot be loaded here{needs} "
            f"({type(error).__name__}: {reason})",
            "Install what is named, or give a folder with weights that are not quantized.",
        )
    return LongbelError(
        f"{folder}: the model cannot be loaded ({type(error).__name__}: {reason})",
        "Check that config.json and the safetensors files belong together and are whole.",
    )


def quantization_of(configuration: PreTrainedConfig) -> str | None:
    """The name of the quantization that a configuration tells of."""
    for part in (configuration, configuration.get_text_config()):
        settings = getattr(part, "quantization_config", None)
        if settings is not None:
            method = (
                settings.get("quant_method")
                if isinstance(settings, dict)
                else settings.quant_method
            )
            return str(getattr(method, "value", method))
    return None


def _refuse_unexpected(
    folder: Path, model: Any, unexpected: Collection[str], headless: bool
) -> None:
    """LongbelError where tensors of the files would be dropped that are part of what was trained.

    `headless`: the layers above the model proper may be there, they are not asked for.
    """
    dropped = {name for name in unexpected if not _COMPUTED.search(name)}
    heads = {name for name in dropped if headless and _above(model, name)}
    if dropped - heads:
        quantized = any(_SCALES.search(name) for name in dropped)
        raise LongbelError(
            f"{folder}: the files hold {len(dropped - heads)} tensors that are no part of the "
            f"model, {min(dropped - heads)} among them",
            "They are scales of quantized weights, which config.json does not mention: give a "
            "folder with weights that are not quantized."
            if quantized
            else "config.json and the safetensors files are not of the same model.",
        )
    if unexpected:
        log.info(
            "%s: %d tensors are not needed: %s",
            folder,
            len(unexpected),
            ", ".join(sorted(unexpected)[:5]),
        )


def _above(model: Any, name: str) -> bool:
    """Whether a tensor belongs to neither the model nor its parts."""
    own = {model.base_model_prefix, *(child for child, _ in model.named_children())}
    return name.partition(".")[0] not in own
