"""Names as answer tokens: what a model writes after the prompt's closing `}`.

Knows `tokenizers` and its file format; knows nothing of models or of transformers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from kb_builder.errors import LongbelError
from kb_builder.files import sha256_of
from kb_builder.trie.parallel import ordered_map
from kb_builder.trie.trie import TokenRuns
from kb_builder.trie.words import BLANK_FIRST_PATTERNS, assembled, cut_at_blanks, inner_state

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
    return _hash_of(json.loads(tokenizer.to_str()))


def _hash_of(state: dict[str, Any]) -> str:
    model = state["model"]
    # The two long lists one text each: dumping them as JSON would take most of the opening time.
    vocabulary = _joined(_pieces(model.get("vocab", ())))
    merges = _joined(_merge_text(merge) for merge in model.get("merges", ()))
    # `null`, empty and false mean "not set" here, and writers differ in which they write.
    lists = ("vocab", "merges")
    settings = {key: value for key, value in model.items() if value and key not in lists}
    added = sorted(state["added_tokens"], key=lambda token: token["id"])
    rest = [settings, state["normalizer"], state["pre_tokenizer"], added]
    return sha256_of(vocabulary, merges, json.dumps(rest, sort_keys=True).encode())[:16]


def _joined(texts: Iterable[str]) -> bytes:
    return "\0".join(texts).encode("utf-8", "surrogatepass") + b"\1"


def _pieces(vocab: dict[str, int] | list[list[Any]]) -> Iterator[str]:
    """Token and number, by number; Unigram models list tokens and their scores in order."""
    if isinstance(vocab, dict):
        for token, id in sorted(vocab.items(), key=lambda item: item[1]):
            yield f"{token}\0{id}"
    else:
        for token, score in vocab:
            yield f"{token}\0{score!r}"


def _merge_text(merge: str | list[str]) -> str:
    return merge if isinstance(merge, str) else " ".join(merge)


def plain_text_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that reads every text as text: special tokens and format marks are not matched."""
    text = tokenizer.to_str()
    return _plain(text, json.loads(text))


def _plain(text: str, state: dict[str, Any]) -> Tokenizer:
    ordinary = [token for token in state["added_tokens"] if not token["special"]]
    marks = [token for token in ordinary if token["content"] in FORMAT_MARKS]
    for token in marks:
        token["special"] = True
    copy = Tokenizer.from_str(json.dumps(state) if marks else text)
    for token in marks:
        token["special"] = False
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = True
    return copy


class AnswerTokenizer:
    """Turns names into the token ids that follow the prompt's `}`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.prefix_id = _prefix_id(tokenizer)
        text = tokenizer.to_str()
        state = json.loads(text)
        self.hash = _hash_of(state)
        self._plain = _plain(text, state)
        self._inner = self._inner_tokenizer(state)
        self._check_what_follows_the_brace()

    def _inner_tokenizer(self, state: dict[str, Any]) -> Tokenizer | None:
        """What encodes words that do not open a name; None where names are encoded whole."""
        inner = None if _matches_text(state) else inner_state(state)
        if inner is None or inner is state:
            return self._plain if inner is state else None
        return _plain(json.dumps(inner), inner)

    @property
    def word_wise(self) -> bool:
        """Whether columns are encoded word by word."""
        return self._inner is not None

    def _check_what_follows_the_brace(self) -> None:
        """Refuse a tokenizer to which the text after `}` looks different than on its own."""
        alone_ids = self.encode(_PROBES)
        self._plain.encode_special_tokens = False  # for once with `}` as the mark it is
        prompts = [f"{ANSWER_PREFIX} {probe}" for probe in _PROBES]
        prompt_ids = [self._plain.encode(text, add_special_tokens=False).ids for text in prompts]
        self._plain.encode_special_tokens = True
        for joined, alone in zip(prompt_ids, alone_ids, strict=True):
            if joined != [self.prefix_id, *alone]:
                raise LongbelError(
                    "the tokenizer does not keep `}` apart from the name that follows it",
                    hint="Use a tokenizer to which `}` was added as a token of its own, "
                    "without stripping the blank after it.",
                )

    def encode(self, names: Iterable[str]) -> list[list[int]]:
        """The answer ids of each name, without `}` and without the end."""
        return _ids(self._plain, names)

    def encode_column(self, names: pa.ChunkedArray) -> TokenRuns:
        """The answer ids of a whole column.

        Where the tokenizer always begins anew at a blank, each distinct word is encoded once
        and the names are put together from words; the ids are the same.
        """
        if self._inner is None:
            return _encode_distinct(self._plain, names)
        words, first = cut_at_blanks(names)
        encoded = words.dictionary_encode()
        del words
        word, distinct = encoded.indices.to_numpy(), pa.chunked_array([encoded.dictionary])
        runs = _encode_distinct(self._inner, distinct)
        if self._inner is not self._plain:
            opening = _encode_distinct(self._plain, distinct)
            word = word.copy()
            word[first[:-1]] += len(encoded.dictionary)
            runs = _joined_runs(runs, opening)
        return assembled(runs, word, first)


def _ids(tokenizer: Tokenizer, names: Iterable[str]) -> list[list[int]]:
    texts = [f" {name}" for name in names]
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def _encode_distinct(tokenizer: Tokenizer, texts: pa.ChunkedArray) -> TokenRuns:
    """Ids of every text, batches encoded while others are collected."""
    tokens: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    encode = partial(_encode_batch, tokenizer)
    for flat, lengths_of_batch in ordered_map(encode, _batches(texts)):
        tokens.append(flat)
        lengths.append(lengths_of_batch)
    counts = np.concatenate([np.zeros(1, np.int64), *lengths])
    return TokenRuns(np.concatenate([np.zeros(0, np.int32), *tokens]), np.cumsum(counts))


def _encode_batch(
    tokenizer: Tokenizer, names: pa.LargeStringArray
) -> tuple[np.ndarray, np.ndarray]:
    ids = _ids(tokenizer, names.to_pylist())
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(lengths.sum()))
    return flat, lengths


def _joined_runs(first: TokenRuns, second: TokenRuns) -> TokenRuns:
    offsets = np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]])
    return TokenRuns(np.concatenate([first.tokens, second.tokens]), offsets)


def _batches(texts: pa.ChunkedArray) -> Iterator[pa.LargeStringArray]:
    for chunk in texts.chunks:
        for start in range(0, len(chunk), _BATCH):
            yield chunk.slice(start, _BATCH)


def splits_at_blanks(tokenizer: Tokenizer) -> bool:
    """Whether the ids of a text are those of its parts, cut before single blanks between characters
    that are no white space."""
    return _splits_at_blanks(json.loads(tokenizer.to_str()))


def _splits_at_blanks(state: dict[str, Any]) -> bool:
    if state["model"]["type"] != "BPE" or state["normalizer"] is not None or _matches_text(state):
        return False
    splitter = state["pre_tokenizer"] or {}
    if splitter.get("type") == "ByteLevel":
        return bool(splitter["use_regex"] and not splitter["add_prefix_space"])
    steps = splitter.get("pretokenizers", [])
    if [step["type"] for step in steps] != ["Split", "ByteLevel"]:
        return False
    split, bytes_ = steps
    return (
        split["pattern"].get("Regex") in BLANK_FIRST_PATTERNS
        and split["behavior"] == "Isolated"
        and not split["invert"]
        and not bytes_["use_regex"]
        and not bytes_["add_prefix_space"]
    )


def _matches_text(state: dict[str, Any]) -> bool:
    """Whether added tokens are looked for in text."""
    return any(
        not token["special"] and token["content"] not in FORMAT_MARKS
        for token in state["added_tokens"]
    )


def _prefix_id(tokenizer: Tokenizer) -> int:
    decoder = tokenizer.get_added_tokens_decoder()
    added = {token.content: (index, token) for index, token in decoder.items()}
    of_prefix = added.get(ANSWER_PREFIX)
    if of_prefix is None:
        raise LongbelError(
            "the tokenizer has no added token `}`, which the prompt ends with",
            hint="Train with `longbel train`, which adds the format's marks to the tokenizer.",
        )
    index, token = of_prefix
    if token.single_word or token.rstrip:
        raise LongbelError("the tokenizer's `}` strips blanks or stands only as a word of its own")
    return index
