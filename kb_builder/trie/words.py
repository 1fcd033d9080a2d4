"""Names cut into words whose ids, put together, are the ids of the names.

A name is cut before a blank between two characters that no normalizer deletes or turns into white
space. `inner_state` says whether a tokenizer begins anew at every such blank, step by step: what
it does before the blank must not depend on what follows, nor the other way round. Whatever is not
known to do so is encoded whole. Knows the file format of `tokenizers`, and no tokenizer itself.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa

from kb_builder.trie.trie import TokenRuns

# Published split patterns in which every match that holds a blank after a non-blank begins with
# it, and nothing looks back: GPT-2's (which ByteLevel has built in), Llama 3's, Qwen 2's, GPT-4o's.
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
BLANK_FIRST_PATTERNS = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST,
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST,
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
# Normalizers that act character by character, or whose context ends at a blank.
_LOCAL_NORMALIZERS = (
    "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer",
)  # fmt: skip
# A letter that opens a word, replaced; a run of blanks, of which a blank between words is none.
_WORD_START = re.compile(r"\(\?<!\\p\{L\}\)\S\(\?!\\p\{Lu\}\)")
_LOCAL_PATTERNS = (" {2,}",)


def inner_state(state: dict[str, Any]) -> dict[str, Any] | None:
    """The tokenizer, as its file has it, for words that do not open a name.

    It is `state` itself except where something is put before the whole text. None where words
    cannot be encoded apart.
    """
    if state["model"].get("dropout"):
        return None
    steps = _steps(state["normalizer"], "normalizers")
    inner = state
    if steps[:2] == [_PREPEND_BLANK, _STRIP_BLANK]:
        steps = steps[2:]  # a text that begins with a blank stays as it is
    elif steps and steps[0]["type"] == "Prepend":
        steps = steps[1:]
        inner = state | {
            "normalizer": {"type": "Sequence", "normalizers": steps} if steps else None
        }
    mark = _moved_mark(steps)
    if mark is not None:
        return inner if _local(steps[:-1]) and _splits_around(state, mark) else None
    replaces_blanks = bool(steps) and _replacement(steps[-1]) == (" ", "▁")
    if not _local(steps[:-1] if replaces_blanks else steps):
        return None
    return inner if _separates(state, replaces_blanks) else None


def _steps(part: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer in turn."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [step for inner in part[key] for step in _steps(inner, key)]


_PREPEND_BLANK = {"type": "Prepend", "prepend": " "}
_STRIP_BLANK = {"type": "Replace", "pattern": {"Regex": r"\A (?=\s)"}, "content": ""}


def _replacement(step: dict[str, Any]) -> tuple[str | None, str]:
    """The plain text that a step replaces, and by what."""
    if step["type"] != "Replace":
        return None, ""
    return step["pattern"].get("String"), step["content"]


def _local(steps: list[dict[str, Any]]) -> bool:
    """Whether normalizers treat what is before and after a blank apart and leave the blank."""
    return all(_is_local(step) for step in steps)


def _is_local(step: dict[str, Any]) -> bool:
    if step["type"] == "Strip":
        return not step["strip_left"]
    if step["type"] != "Replace":
        return step["type"] in _LOCAL_NORMALIZERS
    pattern, content = step["pattern"], step["content"]
    if pattern.get("Regex") in _LOCAL_PATTERNS:
        return True
    if not content or re.search(r"\s", content):
        return False
    if "Regex" in pattern:
        return _WORD_START.fullmatch(pattern["Regex"]) is not None
    return bool(pattern["String"]) and not re.search(r"\s", pattern["String"])


def _moved_mark(steps: list[dict[str, Any]]) -> str | None:
    """The sign that the last step moves before the blank of its word, as `train --fresh` does."""
    text, content = _replacement(steps[-1]) if steps else (None, "")
    if text is None or len(text) != 2 or text[0] != " " or text[1].isspace():
        return None
    return text[1] if content == text[1] + " " else None


def _splits_around(state: dict[str, Any], mark: str) -> bool:
    """Whether the split pattern keeps a moved sign apart, and words with their blank."""
    pattern = rf"{mark}| ?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}{mark}]+|\s+(?!\S)|\s+"
    steps = _steps(state["pre_tokenizer"], "pretokenizers")
    splits = bool(steps) and _is_split(steps[0], (pattern,))
    return splits and not mark.isprintable() and not _knows_first(steps)


def _is_split(step: dict[str, Any], patterns: tuple[str, ...]) -> bool:
    return (
        step["type"] == "Split"
        and step["pattern"].get("Regex") in patterns
        and step["behavior"] == "Isolated"
        and not step["invert"]
    )


def _separates(state: dict[str, Any], replaces_blanks: bool) -> bool:
    """Whether no token reaches across a blank between words, written `▁` if it was replaced."""
    model = state["model"]
    steps = _steps(state["pre_tokenizer"], "pretokenizers")
    if replaces_blanks:  # there is no blank to split at any more
        steps = [step for step in steps if not _splits_at(step, " ")]
    if _knows_first(steps):
        return False
    for step in steps:
        if step["type"] == "Metaspace" and step["replacement"] == "▁":
            return bool(step["split"]) or (steps == [step] and _merges_keep_words(model))
        if not replaces_blanks and _begins_words(step):
            return True
        if step["type"] != "Digits" and not _isolates_punctuation(step):
            return False
    return replaces_blanks and not steps and _merges_keep_words(model)


def _knows_first(steps: list[dict[str, Any]]) -> bool:
    """Whether a step treats the first piece of a text differently from the others."""
    return any(step.get("prepend_scheme") == "first" for step in steps[1:])


def _splits_at(step: dict[str, Any], text: str) -> bool:
    return step["type"] == "Split" and step["pattern"].get("String") == text


def _begins_words(step: dict[str, Any]) -> bool:
    """Whether a pre-tokenizer begins a new piece at, or drops, every blank after a non-blank."""
    if step["type"] == "ByteLevel":
        return bool(step["use_regex"])
    if _splits_at(step, " "):
        return step["behavior"] in ("MergedWithNext", "Isolated", "Removed") and not step["invert"]
    words = ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")
    return step["type"] in words or _is_split(step, BLANK_FIRST_PATTERNS)


def _isolates_punctuation(step: dict[str, Any]) -> bool:
    return step["type"] == "Punctuation" and step["behavior"] in ("Isolated", "Contiguous")


def _merges_keep_words(model: dict[str, Any]) -> bool:
    """Whether no merge of a BPE that reads whole texts joins a word to the `▁` after it."""
    options = ("ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")
    if model["type"] != "BPE" or any(model[option] for option in options):
        return False
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    joins = any(right[0] == "▁" and left[-1] != "▁" for left, right in pairs)
    return "▁" in model["vocab"] and not joins


def cut_at_blanks(names: pa.ChunkedArray) -> tuple[pa.LargeStringArray, np.ndarray]:
    """All names cut before single blanks between `_solid` characters.

    Returns the pieces and int64[n + 1], where each name's pieces begin. The first piece of a
    name lacks the blank before it, which encoding adds, so the others are cut without theirs.
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
    blank = blank[_solid_before(data, blank) & _solid(data[blank + 1])]
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


def _solid(lead: np.ndarray) -> np.ndarray:
    """Whether characters with these first bytes are printable ASCII or letters that stay letters
    in every normal form: U+00C0 to U+027F and U+03C0 to U+047F."""
    ascii_ = (lead > ord(" ")) & (lead < 0x7F)
    latin = (lead >= 0xC3) & (lead <= 0xC9)
    return ascii_ | latin | ((lead >= 0xCF) & (lead <= 0xD1))


def _solid_before(data: np.ndarray, blank: np.ndarray) -> np.ndarray:
    before = data[blank - 1]
    two = (before >= 0x80) & (before < 0xC0) & (blank > 1)
    return np.where(two, _solid(data[blank - 2]) & (data[blank - 2] >= 0x80), _solid(before))


def assembled(words: TokenRuns, word: np.ndarray, first: np.ndarray) -> TokenRuns:
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
