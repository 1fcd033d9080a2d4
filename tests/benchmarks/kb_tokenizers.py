"""Tokenizers to measure with: Llama 3's from the `llama-models` package, or a BPE trained here.

pip install --no-deps llama-models      # optional: only its tokenizer file is read
"""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

MARKS = ("[", "]", "{", "}", "<+>")
# Llama 3's own split pattern, as its published tokenizer states it.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def llama3_model_file() -> Path | None:
    """The tokenizer.model of an installed `llama-models`, without importing it."""
    spec = importlib.util.find_spec("llama_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / "llama3" / "tokenizer.model"
        if file.is_file():
            return file
    return None


def from_tiktoken(file: Path) -> Tokenizer:
    """A byte-level BPE from a tiktoken rank file, with the format's marks added."""
    ranks = {}
    for line in file.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    letters = _byte_letters()
    spell = {token: "".join(letters[byte] for byte in token) for token in ranks}
    merges = []
    for token, rank in ranks.items():
        splits = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        held = [(left, right) for left, right in splits if left in ranks and right in ranks]
        held.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [(rank, spell[left], spell[right]) for left, right in held]
    merges.sort(key=lambda merge: merge[0])
    tokenizer = Tokenizer(
        models.BPE(
            {spell[token]: rank for token, rank in ranks.items()},
            [(left, right) for _, left, right in merges],
            ignore_merges=True,
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", *MARKS])
    return tokenizer


def _byte_letters() -> dict[int, str]:
    """The printable letter that byte-level BPE writes for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in plain}
    others = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(256 + location) for location, byte in enumerate(others)}


def trained(texts: list[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE trained on `texts`, with the format's marks added."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in MARKS])
    return tokenizer


def save_model_folder(tokenizer: Tokenizer, folder: Path) -> Path:
    """A folder that holds the tokenizer as a model folder does."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    return folder


def benchmark_tokenizer(folder: Path, texts: list[str]) -> tuple[Path, str]:
    """A model folder with Llama 3's tokenizer where it is to be had, else a trained one."""
    file = llama3_model_file()
    if file is not None:
        return save_model_folder(from_tiktoken(file), folder), "Llama 3 (128k BPE)"
    return save_model_folder(trained(texts, 32_000), folder), "BPE of 32k trained on the names"
