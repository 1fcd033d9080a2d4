"""Tiny random models and tokenizers for the tests: a few thousand weights, a few hundred tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MARKS = ("[", "]", "{", "}", "<+>", "<SEP>")
BOS, EOS = "<|begin|>", "<|end|>"
TEXTS = (
    "### Context\n### Prediction\n### Predictions\n### Previous Normalizations\nNone\n",
    "Fever and cough in a patient with systemic lupus erythematosus and lupus nephritis.",
    "She had fever.\n\n### Prediction\nShe had a cough.\n\n### Previous Normalizations\n",
    "La fièvre élevée du patient, la néphrite lupique. Disorders Anatomy Procedures.",
    "Fiebre alta, nefritis lúpica; kidney disease, renal failure, heart failure. 1 2 3 4 5",
)
# How Llama 3 cuts text before BPE: among others, line breaks go with punctuation before them.
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    # Far from uniform, so that beams lie apart.
    "initializer_range": 0.35,
    "tie_word_embeddings": False,
}
# Architectures that the decoders are tested with, and what their configurations have of their own.
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"use_sliding_window": False},
    "mistral": {"sliding_window": None, "head_dim": 8},
    "mistral_sliding": {"model_type": "mistral", "sliding_window": 7, "head_dim": 8},
}


def tiny_model(
    name: str,
    vocab_size: int = 96,
    seed: int = 0,
    dtype: str = "float32",
    attention: str | None = "sdpa",
    **changes: Any,
) -> PreTrainedModel:
    """A random causal language model; the same for the same arguments."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    own = dict(MODELS.get(name, {}))
    config = AutoConfig.for_model(
        own.pop("model_type", name),
        **{**SIZES, "vocab_size": vocab_size, **own, **changes},
        bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    torch.manual_seed(seed)
    # Drawn in float32 whatever the type: some releases draw other numbers in another type.
    model = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation=attention
    )
    return model.to(getattr(torch, dtype)).eval()


def tiny_tokenizer(
    bos: bool = True,
    marks: tuple[str, ...] = MARKS,
    prefix_space: bool = False,
    pattern: str | None = None,
) -> Any:
    """A byte-level BPE of about 400 tokens with the format's marks as added special tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    if pattern is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[BOS, EOS],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 2, trainer)
    if bos:
        index = tokenizer.token_to_id(BOS)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, index)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=EOS, **({"bos_token": BOS} if bos else {})
    )
    fast.add_special_tokens({"additional_special_tokens": list(marks)})
    return fast


def save_model_folder(
    path: Path, name: str = "llama", seed: int = 0, tokenizer: Any = None, **changes: Any
) -> Path:
    """A model folder as `save_pretrained` writes it: configuration, tokenizer, safetensors."""
    tokenizer = tokenizer or tiny_tokenizer()
    changes = {"vocab_size": len(tokenizer), **changes}
    model = tiny_model(name, seed=seed, **changes)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
