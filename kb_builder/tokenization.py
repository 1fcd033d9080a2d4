"""Names as answer tokens: what a model writes after the prompt's closing `}`.

Knows `tokenizers` and its file format; knows nothing of models or of transformers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from kb_builder.errors import LongbelError
from kb_builder.parallel import ordered_map
from kb_builder.trie import TokenRuns

ANSWER_PREFIX = "}"
# The marks of the prompt formats. In text they are ordinary characters.
FORMAT_MARKS = ("[", "]", "{", "}", "<+>", "<SEP>")
_PROBES = ("Abc", "5-fluorouracil", "Épilepsie", "(+)-x")
_BATCH = 16_384


def load_tokenizer(path: Path | str) -> Tokenizer:
    """The tokenizer of a model folder (its tokenizer.json), or of such a file itself."""
    path = Path(path)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise LongbelError(
            f"no tokenizer at {path}",
            hint="Give a model folder that holds tokenizer.json, or that file itself.",
        )
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise LongbelError(f"{file}: not a tokenizer file ({type(error).__name__})") from error


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """16 hex digits over what decides a text's ids.

    Vocabulary, merges, normalizer, pre-tokenizer and added tokens count; padding, truncation,
    post-processor and decoder do not.
    """
    state = json.loads(tokenizer.to_str())
    model = state["model"]
    digest = hashlib.sha256()
    # The two long lists one text each: dumping them as JSON would take most of the opening time.
    digest.update(_joined(_pieces(model.pop("vocab", ()))))
    digest.update(_joined(_merge_text(merge) for merge in model.pop("merges", ())))
    # `null`, empty and false mean "not set" here, and writers differ in which they write.
    settings = {key: value for key, value in model.items() if value}
    added = sorted(state["added_tokens"], key=lambda token: token["id"])
    rest = [settings, state["normalizer"], state["pre_tokenizer"], added]
    digest.update(json.dumps(rest, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _joined(texts: Iterable[str]) -> bytes:
    return "\0".join(texts).encode("utf-8", "surrogatepass") + b"\1"


def _pieces(vocab: dict[str, int] | list[list[Any]]) -> Iterator[str]:
    """Token and number, by number; Unigram models list tokens and their scores in order."""
    if isinstance(vocab, dict):
        for token, number in sorted(vocab.items(), key=lambda item: item[1]):
            yield f"{token}\0{number}"
    else:
        for token, score in vocab:
            yield f"{token}\0{score!r}"


def _merge_text(merge: str | list[str]) -> str:
    return merge if isinstance(merge, str) else " ".join(merge)


def plain_text_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that reads every text as text: special tokens and format marks are not matched."""
    state = json.loads(tokenizer.to_str())
    for token in state["added_tokens"]:
        token["special"] = token["special"] or token["content"] in FORMAT_MARKS
    state["truncation"] = state["padding"] = None
    copy = Tokenizer.from_str(json.dumps(state))
    copy.encode_special_tokens = True
    return copy


class AnswerTokenizer:
    """Turns names into the token ids that follow the prompt's `}`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.prefix_id = _prefix_id(tokenizer)
        self._plain = plain_text_tokenizer(tokenizer)
        self._check_against(tokenizer)

    def _check_against(self, tokenizer: Tokenizer) -> None:
        """Refuse a tokenizer to which the text after `}` looks different than on its own."""
        for probe in _PROBES:
            joined = tokenizer.encode(f"{ANSWER_PREFIX} {probe}", add_special_tokens=False).ids
            alone = self._plain.encode(f" {probe}", add_special_tokens=False).ids
            if joined != [self.prefix_id, *alone]:
                raise LongbelError(
                    "the tokenizer does not keep `}` apart from the name that follows it",
                    hint="Use a tokenizer to which `}` was added as a token of its own, "
                    "without stripping the blank after it.",
                )

    def encode(self, names: Iterable[str]) -> list[list[int]]:
        """The answer ids of each name, without `}` and without the end."""
        texts = [f" {name}" for name in names]
        return [one.ids for one in self._plain.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_column(self, names: pa.LargeStringArray | pa.ChunkedArray) -> TokenRuns:
        """The answer ids of a whole column, batches encoded while others are collected."""
        tokens: list[np.ndarray] = []
        lengths: list[np.ndarray] = []
        for flat, lengths_of_batch in ordered_map(self._encode_batch, _batches(names)):
            tokens.append(flat)
            lengths.append(lengths_of_batch)
        counts = np.concatenate([np.zeros(1, np.int64), *lengths])
        return TokenRuns(np.concatenate([np.zeros(0, np.int32), *tokens]), np.cumsum(counts))

    def _encode_batch(self, names: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
        ids = self.encode(names.to_pylist())
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(lengths.sum()))
        return flat, lengths


def _batches(names: pa.LargeStringArray | pa.ChunkedArray) -> Iterator[pa.LargeStringArray]:
    chunks = names.chunks if isinstance(names, pa.ChunkedArray) else [names]
    for chunk in chunks:
        for start in range(0, len(chunk), _BATCH):
            yield chunk.slice(start, _BATCH)


def _prefix_id(tokenizer: Tokenizer) -> int:
    decoder = tokenizer.get_added_tokens_decoder()
    added = {token.content: (index, token) for index, token in decoder.items()}
    found = added.get(ANSWER_PREFIX)
    if found is None:
        raise LongbelError(
            "the tokenizer has no added token `}`, which the prompt ends with",
            hint="Train with `longbel train`, which adds the format's marks to the tokenizer.",
        )
    index, token = found
    if token.single_word or token.rstrip:
        raise LongbelError("the tokenizer's `}` strips blanks or stands only as a word of its own")
    return index
