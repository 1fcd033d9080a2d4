"""Names as answer tokens: what a model writes after the prompt's closing `}`.

Knows `tokenizers` and its file format; knows nothing of models or of transformers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
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
        self._splits_at_blanks = _splits_at_blanks(state)
        self._check_what_follows_the_brace()

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
        texts = [f" {name}" for name in names]
        return [
            encoding.ids
            for encoding in self._plain.encode_batch_fast(texts, add_special_tokens=False)
        ]

    def encode_column(self, names: pa.ChunkedArray) -> TokenRuns:
        """The answer ids of a whole column.

        Where the tokenizer always begins anew at a blank, each distinct word is encoded once
        and the names are put together from words; the ids are the same.
        """
        if not self._splits_at_blanks:
            return self._encode_distinct(names)
        words, first = _words(names)
        encoded = words.dictionary_encode()
        del words
        return _assembled(
            self._encode_distinct(pa.chunked_array([encoded.dictionary])),
            encoded.indices.to_numpy(),
            first,
        )

    def _encode_distinct(self, texts: pa.ChunkedArray) -> TokenRuns:
        """Ids of every text, batches encoded while others are collected."""
        tokens: list[np.ndarray] = []
        lengths: list[np.ndarray] = []
        for flat, lengths_of_batch in ordered_map(self._encode_batch, _batches(texts)):
            tokens.append(flat)
            lengths.append(lengths_of_batch)
        counts = np.concatenate([np.zeros(1, np.int64), *lengths])
        return TokenRuns(np.concatenate([np.zeros(0, np.int32), *tokens]), np.cumsum(counts))

    def _encode_batch(self, names: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
        ids = self.encode(names.to_pylist())
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(lengths.sum()))
        return flat, lengths


def _batches(texts: pa.ChunkedArray) -> Iterator[pa.LargeStringArray]:
    for chunk in texts.chunks:
        for start in range(0, len(chunk), _BATCH):
            yield chunk.slice(start, _BATCH)


# Published split patterns in which every match that holds a blank after a non-blank begins with
# it, and nothing looks back: GPT-2's (which ByteLevel has built in), Llama 3's and Qwen 2's.
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_BLANK_FIRST_PATTERNS = tuple(
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+" + digits + _REST
    for digits in (r"|\p{N}{1,3}", r"|\p{N}")
)


def splits_at_blanks(tokenizer: Tokenizer) -> bool:
    """Whether the ids of a text are those of its parts, cut before single blanks between characters
    that are no white space."""
    return _splits_at_blanks(json.loads(tokenizer.to_str()))


def _splits_at_blanks(state: dict[str, Any]) -> bool:
    """Whether ids of words, each with the blank before it, make up the ids of the whole text."""
    matched = [
        token
        for token in state["added_tokens"]
        if not token["special"] and token["content"] not in FORMAT_MARKS
    ]
    if state["model"]["type"] != "BPE" or state["normalizer"] is not None or matched:
        return False
    splitter = state["pre_tokenizer"] or {}
    if splitter.get("type") == "ByteLevel":
        return bool(splitter["use_regex"] and not splitter["add_prefix_space"])
    steps = splitter.get("pretokenizers", [])
    if [step["type"] for step in steps] != ["Split", "ByteLevel"]:
        return False
    split, bytes_ = steps
    return (
        split["pattern"].get("Regex") in _BLANK_FIRST_PATTERNS
        and split["behavior"] == "Isolated"
        and not split["invert"]
        and not bytes_["use_regex"]
        and not bytes_["add_prefix_space"]
    )


def _words(names: pa.ChunkedArray) -> tuple[pa.LargeStringArray, np.ndarray]:
    """All names cut before single blanks between characters that are surely no white space.

    Returns the pieces and int64[n + 1], where each name's pieces begin. The first piece of a
    name lacks the blank before it, which `encode` adds, so the others are cut without theirs.
    """
    text = names.combine_chunks()
    if isinstance(text, pa.ChunkedArray):
        text = pa.concat_arrays(text.chunks) if text.num_chunks else pa.array([], text.type)
    n = len(text)
    _, offsets_buffer, data_buffer = text.buffers()
    starts = np.frombuffer(offsets_buffer, np.int64)[text.offset : text.offset + n + 1]
    data = np.frombuffer(data_buffer or b"", np.uint8)
    blank = np.flatnonzero(data[1:-1] == ord(" ")) + 1
    blank = blank[(blank >= starts[0]) & (blank < starts[-1])]
    before, after = data[blank - 1], data[blank + 1]
    solid = (before > ord(" ")) & (before < 0x7F)
    # Of two bytes, U+00C0 to U+07FF: letters and marks, no white space.
    two = (before >= 0x80) & (before < 0xC0) & (blank > 1)
    lead = data[blank - 2]
    solid |= two & (lead >= 0xC3) & (lead < 0xE0)
    solid &= ((after > ord(" ")) & (after < 0x7F)) | ((after >= 0xC3) & (after < 0xE0))
    blank = blank[solid]
    edge = np.zeros(len(data) + 1, dtype=bool)
    edge[starts] = True
    blank = blank[~edge[blank] & ~edge[blank + 1]]  # a blank at a name's edge is no cut
    # Pieces and the blanks between them alternate, except across names, where none is between.
    piece_start = np.sort(np.concatenate([starts[:-1], blank + 1]))
    piece_end = np.sort(np.concatenate([starts[1:], blank]))
    edges = np.empty(2 * len(piece_start), dtype=np.int64)
    edges[0::2], edges[1::2] = piece_start, piece_end
    first = np.searchsorted(piece_start, starts[:-1], side="left")
    if len(edges) == 0:
        return pa.array([], pa.large_string()), np.zeros(1, np.int64)
    both = pa.LargeStringArray.from_buffers(len(edges) - 1, pa.py_buffer(edges), data_buffer)
    pieces = both.take(pa.array(np.arange(0, len(edges), 2)))
    return pieces, np.append(first, len(piece_start)).astype(np.int64)


def _assembled(words: TokenRuns, word: np.ndarray, first: np.ndarray) -> TokenRuns:
    """The ids of texts whose words are `word[first[i]:first[i + 1]]`."""
    length = np.diff(words.offsets)[word]
    start = np.concatenate(([0], np.cumsum(length)))
    tokens = np.empty(int(start[-1]), dtype=np.int32)
    step = 1 << 21  # words at a time, for the memory of the index
    for low in range(0, len(word), step):
        high = min(low + step, len(word))
        shift = np.repeat(words.offsets[word[low:high]] - start[low:high], length[low:high])
        tokens[start[low] : start[high]] = words.tokens[np.arange(start[low], start[high]) + shift]
    return TokenRuns(tokens, start[first])


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
