"""Names encoded word by word: for every kind of tokenizer the ids of the names."""

from __future__ import annotations

import json
import unicodedata
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from kb_builder.trie.tokenization import AnswerTokenizer, load_tokenizer
from kb_builder.trie.words import BLANK_FIRST_PATTERNS, cut_at_blanks, inner_state
from tests.benchmarks.kb_tokenizers import MARKS
from tests.support.examples import some
from tests.support.paths import SAMPLE

TEXTS = [
    "type 2 diabetes mellitus, chronic", "asthma attack (acute) + 5 mg", "É, é, Épilepsie ß B12",
    "a b, A B; ABC aBc 中 5 55 555", "α TNF-α ω, ΑΣ İ Ŀ ŉ",
] * 10  # fmt: skip
SPECIAL = ["<s>", "</s>", "<unk>"]
_BLANK_TO_MARK = normalizers.Replace(" ", "▁")


def _bpe(normalizer: Any, pre_tokenizer: Any, **options: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, **options))
    return _trained(tokenizer, normalizer, pre_tokenizer, trainers.BpeTrainer)


def _unigram(normalizer: Any, pre_tokenizer: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    return _trained(
        tokenizer, normalizer, pre_tokenizer, trainers.UnigramTrainer, unk_token="<unk>"
    )


def _word_piece(normalizer: Any, pre_tokenizer: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    return _trained(tokenizer, normalizer, pre_tokenizer, trainers.WordPieceTrainer)


def _trained(
    tokenizer: Tokenizer, normalizer: Any, pre_tokenizer: Any, trainer: Any, **options: Any
) -> Tokenizer:
    tokenizer.normalizer = normalizer
    # Trained on words, as SentencePiece is, whatever the tokenizer then splits at.
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        TEXTS,
        trainer(vocab_size=260, special_tokens=SPECIAL, show_progress=False, **options),
    )
    state = json.loads(tokenizer.to_str())
    if pre_tokenizer is None:
        state["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in MARKS])
    return tokenizer


def _sequence(*steps: Any) -> Any:
    kind = normalizers if isinstance(steps[0], normalizers.Normalizer) else pre_tokenizers
    return kind.Sequence(list(steps))


def _byte_level(pattern: str) -> Any:
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    return _sequence(split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))


def _pre(name: str, **options: Any) -> Any:
    return getattr(pre_tokenizers, name)(**options)


def _split(behavior: str) -> Any:
    return pre_tokenizers.Split(" ", behavior)


_LLAMA2 = _sequence(normalizers.Prepend("▁"), _BLANK_TO_MARK)

WORD_WISE: dict[str, Any] = {
    "GPT-2": lambda: _bpe(None, _pre("ByteLevel", add_prefix_space=False)),
    "RoBERTa": lambda: _bpe(None, _pre("ByteLevel", add_prefix_space=True)),
    "Llama 3": lambda: _bpe(None, _byte_level(BLANK_FIRST_PATTERNS[0])),
    "Qwen 2": lambda: _bpe(normalizers.NFC(), _byte_level(BLANK_FIRST_PATTERNS[1])),
    "GPT-4o": lambda: _bpe(None, _byte_level(BLANK_FIRST_PATTERNS[2])),
    "StarCoder": lambda: _bpe(
        None,
        _sequence(
            pre_tokenizers.Digits(individual_digits=True), _pre("ByteLevel", add_prefix_space=False)
        ),
    ),
    "Falcon": lambda: _bpe(
        None,
        _sequence(
            _pre("Punctuation", behavior="contiguous"),
            _pre("ByteLevel", add_prefix_space=False),
            _pre("Digits", individual_digits=False),
            pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
        ),
    ),
    "Llama 2": lambda: _bpe(_LLAMA2, None),
    "Gemma": lambda: _bpe(_BLANK_TO_MARK, None),
    "Gemma, as published": lambda: _with_split(_bpe(_BLANK_TO_MARK, None)),
    "Metaspace": lambda: _bpe(None, _pre("Metaspace", prepend_scheme="always")),
    "Metaspace, first": lambda: _bpe(None, _pre("Metaspace", prepend_scheme="first")),
    "Metaspace, never": lambda: _bpe(None, _pre("Metaspace", prepend_scheme="never")),
    "Metaspace, whole": lambda: _unsplit(_bpe(None, _pre("Metaspace"))),
    "Unigram": lambda: _unigram(normalizers.NFKC(), _pre("Metaspace")),
    "T5": lambda: _unigram(
        _sequence(
            normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")
        ),
        _pre("Metaspace"),
    ),
    "XLM-R": lambda: _unigram(
        _sequence(normalizers.NFKD(), normalizers.StripAccents()),
        _sequence(_pre("WhitespaceSplit"), _pre("Metaspace")),
    ),
    "BERT": lambda: _word_piece(normalizers.BertNormalizer(), _pre("BertPreTokenizer")),
    "WordPiece": lambda: _word_piece(
        _sequence(normalizers.Replace("-", "+"), normalizers.Lowercase(), normalizers.NFD()),
        _pre("Whitespace"),
    ),
    "blanks first": lambda: _bpe(None, _split("merged_with_next")),
    "blanks removed": lambda: _bpe(None, _split("removed")),
    "fresh": lambda: load_tokenizer(SAMPLE / "model"),
}
WHOLE: dict[str, Any] = {
    "left blanks stripped": lambda: _bpe(normalizers.Strip(), _pre("Metaspace")),
    "blanks last": lambda: _bpe(None, _split("merged_with_previous")),
    "another pattern": lambda: _bpe(None, _byte_level(r"\s+|\S+ ?")),
    "another normalizer": lambda: _bpe(normalizers.Replace(Regex("a b"), "c"), _pre("ByteLevel")),
    "blanks replaced by blanks": lambda: _bpe(
        normalizers.Replace(",", " "), _pre("ByteLevel", add_prefix_space=False)
    ),
    "a token of two words": lambda: _two_words(WORD_WISE["Llama 2"]()),
    "an added token of two words": lambda: _added(WORD_WISE["GPT-2"]()),
    "bytes first": lambda: _bpe(
        None, _sequence(_pre("ByteLevel", use_regex=False), _split("isolated"))
    ),
    "first after a split": lambda: _bpe(
        None, _sequence(_pre("WhitespaceSplit"), _pre("Metaspace", prepend_scheme="first"))
    ),
    "Unigram of whole names": lambda: _unsplit(_unigram(None, _pre("Metaspace"))),
}


def _with_split(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.pre_tokenizer = _split("merged_with_previous")
    return tokenizer


def _unsplit(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.pre_tokenizer = _pre("Metaspace", split=False)
    return tokenizer


def _two_words(tokenizer: Tokenizer) -> Tokenizer:
    state = json.loads(tokenizer.to_str())
    state["model"]["vocab"]["a▁"] = len(state["model"]["vocab"]) + len(MARKS)
    state["model"]["merges"].insert(0, ["a", "▁"])
    return Tokenizer.from_str(json.dumps(state))


def _added(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_tokens([AddedToken("a b", special=False)])
    return tokenizer


@cache
def answers_of(name: str) -> AnswerTokenizer:
    return AnswerTokenizer((WORD_WISE | WHOLE)[name]())


def ids_of(answers: AnswerTokenizer, names: list[str]) -> list[list[int]]:
    runs = answers.encode_column(pa.chunked_array([pa.array(names, pa.large_string())]))
    return [
        runs.tokens[start:end].tolist()
        for start, end in zip(runs.offsets[:-1], runs.offsets[1:], strict=True)
    ]


_SIGNS = "aaZAB55'sé中    \u00a0\u2003\u3000\t\r\n.,(+-/\u0301ß▁İŉαΩσΣ΄˘Ŀ\x0e}\u0600"
_TEXT = st.text(_SIGNS, min_size=1, max_size=14)
_NAMES = st.lists(_TEXT, min_size=1, max_size=8)


@pytest.mark.parametrize("name", WORD_WISE)
@settings(max_examples=some(40), deadline=None)
@given(names=_NAMES)
def test_encoding_word_by_word_changes_nothing(name: str, names: list[str]) -> None:
    answers = answers_of(name)
    assert answers.word_wise
    assert ids_of(answers, names) == answers.encode(names)


@pytest.mark.parametrize("name", WHOLE)
def test_other_tokenizers_are_not_taken_apart(name: str) -> None:
    answers = answers_of(name)
    assert not answers.word_wise
    names = ["a b", "a  b", "ab, a b"]
    assert ids_of(answers, names) == answers.encode(names)


def test_a_tokenizer_that_draws_is_not_taken_apart() -> None:
    state = json.loads(WORD_WISE["GPT-2"]().to_str())
    state["model"]["dropout"] = 0.1
    assert inner_state(state) is None


def test_names_are_cut_before_single_blanks_between_letters_and_signs() -> None:
    names = pa.array(["a b  c (d)", " é ß ", "x \u0301 y", "中 a b", "\u00a0 α 1"])
    pieces, first = cut_at_blanks(pa.chunked_array([names.cast(pa.large_string())]))
    by_name = [pieces.to_pylist()[start:end] for start, end in pairwise(first)]
    assert by_name == [
        ["a", "b  c", "(d)"], [" é", "ß "], ["x \u0301 y"], ["中 a", "b"], ["\u00a0 α 1"],
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["{} a", "a {}"])
def test_cuts_lie_between_characters_that_every_normal_form_keeps(name: str) -> None:
    """Neither deleted with the accents nor white space, first and last, in any normal form."""
    characters = [chr(code) for code in range(0x21, 0x800)]
    names = pa.array([name.format(each) for each in characters], pa.large_string())
    _, first = cut_at_blanks(pa.chunked_array([names]))
    cut = [each for each, pieces in zip(characters, np.diff(first), strict=True) if pieces == 2]
    assert set("a1(ßéαя") - set(cut) == set("α") and len(cut) > 500
    for character in cut:
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            for text in (character, character.lower()):
                normal = unicodedata.normalize(form, text)
                assert not normal[0].isspace() and not normal[-1].isspace()
                kept = [c for c in normal if not unicodedata.category(c).startswith("M")]
                assert kept and normal[0] == kept[0] and not any(c.isspace() for c in kept)
