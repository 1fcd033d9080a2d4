"""Names as answer tokens: text is text, and `}` is one token of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from kb_builder.errors import LongbelError
from kb_builder.trie.tokenization import (
    AnswerTokenizer,
    load_tokenizer,
    plain_text_tokenizer,
    tokenizer_hash,
)
from tests.benchmarks.kb_tokenizers import MARKS, trained

TEXTS = ["type 2 diabetes mellitus, chronic", "asthma attack (acute) + 5 mg"] * 10


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return trained(TEXTS, 330)


def test_answers_are_what_follows_the_closing_brace(tokenizer: Tokenizer) -> None:
    answers = AnswerTokenizer(tokenizer)
    names = ["Asthma", "type 2 diabetes mellitus", "5 mg (acute)"]
    for name, ids in zip(names, answers.encode(names), strict=True):
        whole = tokenizer.encode(f"}} {name}", add_special_tokens=False).ids
        assert whole == [answers.prefix_id, *ids]


@pytest.mark.parametrize("text", ["</s>", "<+>", "a<+>b", "<s> x", "x <pad>"])
def test_text_that_spells_a_special_token_is_text(tokenizer: Tokenizer, text: str) -> None:
    special = {tokenizer.token_to_id(token) for token in ("<s>", "</s>", "<pad>", *MARKS)}
    [ids] = AnswerTokenizer(tokenizer).encode([text])
    assert not special & set(ids)
    assert tokenizer.decode(ids) == f" {text}"


def test_marks_added_as_ordinary_tokens_are_text_too(tokenizer: Tokenizer) -> None:
    ordinary = Tokenizer.from_str(tokenizer.to_str())
    ordinary.add_tokens([AddedToken("<SEP>", special=False, normalized=False)])
    ids = plain_text_tokenizer(ordinary).encode(" a<SEP>b").ids
    assert ordinary.token_to_id("<SEP>") not in ids
    assert ordinary.token_to_id("<SEP>") in ordinary.encode(" a<SEP>b").ids


def test_padding_and_truncation_do_not_matter(tokenizer: Tokenizer) -> None:
    other = Tokenizer.from_str(tokenizer.to_str())
    other.enable_truncation(2)
    other.enable_padding(length=40)
    names = ["type 2 diabetes mellitus, chronic"]
    assert AnswerTokenizer(other).encode(names) == AnswerTokenizer(tokenizer).encode(names)
    assert tokenizer_hash(other) == tokenizer_hash(tokenizer)


def test_the_hash_tells_tokenizers_apart(tokenizer: Tokenizer) -> None:
    hashes = {tokenizer_hash(tokenizer), tokenizer_hash(trained(TEXTS, 300))}
    added = Tokenizer.from_str(tokenizer.to_str())
    added.add_special_tokens(["<SEP>"])
    normalized = Tokenizer.from_str(tokenizer.to_str())
    normalized.normalizer = normalizers.NFC()
    spaced = Tokenizer.from_str(tokenizer.to_str())
    spaced.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    hashes |= {tokenizer_hash(each) for each in (added, normalized, spaced)}
    assert len(hashes) == 5


def test_the_hash_is_the_same_for_the_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"), pretty=True)
    assert tokenizer_hash(load_tokenizer(tmp_path)) == tokenizer_hash(tokenizer)
    state = json.loads((tmp_path / "tokenizer.json").read_text())
    state["model"]["merges"] = [" ".join(merge) for merge in state["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))  # as older writers spell merges
    assert tokenizer_hash(load_tokenizer(tmp_path)) == tokenizer_hash(tokenizer)


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (None, "no added token"),
        (AddedToken("}", rstrip=True), "strips blanks"),
        (AddedToken("}", single_word=True), "word of its own"),
    ],
)
def test_tokenizers_that_cannot_keep_the_brace_apart(mark: AddedToken | None, message: str) -> None:
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if mark is not None:
        plain.add_special_tokens([mark])
    with pytest.raises(LongbelError, match=message):
        AnswerTokenizer(plain)


def test_a_tokenizer_that_joins_the_brace_to_the_name(tokenizer: Tokenizer) -> None:
    other = Tokenizer.from_str(tokenizer.to_str())
    other.add_special_tokens(["} Abc"])
    with pytest.raises(LongbelError, match="does not keep `}` apart"):
        AnswerTokenizer(other)


@pytest.mark.parametrize("content", [None, "not json", '{"version": "1.0"}'])
def test_files_that_are_no_tokenizer(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(LongbelError, match="tokenizer"):
        load_tokenizer(tmp_path)
