"""Fresh models: marks that are tokens, words that are the same token everywhere, copying heads."""

from __future__ import annotations

import pytest
import torch

from kb_builder.trie.tokenization import FORMAT_MARKS, AnswerTokenizer
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.training.base.fresh import (
    FreshSize,
    as_pretrained,
    fresh_model,
    train_tokenizer,
)
from tests.support.tiny import TEXTS

SIZE = FreshSize(hidden=128, intermediate=128, layers=2, heads=2, vocabulary=600)


@pytest.fixture(scope="module")
def tokenizer():
    words = "heart attack Heart Attack kidney fever élevée Épilepsie non-Hodgkin HIV"
    return as_pretrained(train_tokenizer([*TEXTS, words, words.lower()], SIZE.vocabulary), 512)


@pytest.mark.parametrize("mark", FORMAT_MARKS)
def test_each_mark_is_one_token_wherever_it_stands(tokenizer, mark):
    plain = tokenizer.encode("a", add_special_tokens=False)
    index = tokenizer.convert_tokens_to_ids(mark)
    assert tokenizer.encode(f"a{mark}a", add_special_tokens=False) == [*plain, index, *plain]
    assert tokenizer.encode(mark + mark, add_special_tokens=False) == [index, index]


def test_the_special_tokens(tokenizer):
    assert tokenizer.encode("")[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in tokenizer.encode("fever </ s>")
    assert tokenizer.sep_token == "<SEP>"
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}) == 3


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("heart attack", " heart attack"),  # opening a mention, and inside a sentence
        ("Heart attack", " Heart attack"),
    ],
)
def test_a_word_is_the_same_token_everywhere(tokenizer, first, other):
    encode = tokenizer.backend_tokenizer.encode
    assert (
        encode(first, add_special_tokens=False).ids == encode(other, add_special_tokens=False).ids
    )


def test_a_capital_costs_one_token_and_leaves_the_word(tokenizer):
    small = tokenizer.encode("heart attack", add_special_tokens=False)
    capital = tokenizer.encode("Heart attack", add_special_tokens=False)
    assert capital == [tokenizer.convert_tokens_to_ids("Ď"), *small]


@pytest.mark.parametrize(
    "text",
    ["Heart Attack", "HIV-1 in Épilepsie", "non-Hodgkin lymphoma (NHL)", "α2 ≥ 3 µg", "a  b\n\nC",
     "élevée, ÉLEVÉE", "X", "pH 7.4 mRNA McArdle", "日本"],
)  # fmt: skip
def test_text_comes_back_whole(tokenizer, text):
    """But for the one blank before it: no two texts are the same tokens."""
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.backend_tokenizer.decode(ids).removeprefix(" ") == text


def test_a_trie_can_be_made_for_it(tokenizer):
    answers = AnswerTokenizer(tokenizer.backend_tokenizer)
    assert answers.prefix_id == tokenizer.convert_tokens_to_ids("}")
    assert answers.encode(["Heart Attack"]) != answers.encode(["Heart attack"])


def test_it_is_saved_and_loaded_the_same(tokenizer, tmp_path):
    model = fresh_model(SIZE, tokenizer, 512, seed=0)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = Checkpoint.open(tmp_path).tokenizer
    text = "[Heart attack]{Disorders} Fever"
    assert loaded(text).input_ids == tokenizer(text).input_ids


def test_the_same_seed_gives_the_same_weights(tokenizer):
    first, same, other = (fresh_model(SIZE, tokenizer, 512, seed) for seed in (1, 1, 2))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])
    assert not torch.equal(first.get_input_embeddings().weight, other.get_input_embeddings().weight)


def test_before_any_training_a_repeated_sequence_is_continued(tokenizer):
    """The second time tokens come in the same order, most next tokens are foretold."""
    model = fresh_model(SIZE, tokenizer, 512, seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    hits = []
    for _ in range(20):
        row = torch.randperm(len(tokenizer), generator=generator)[:24]
        ids = torch.cat([row, row])[None]
        with torch.no_grad():
            best = model(input_ids=ids).logits[0].argmax(-1)
        hits.append((best[24:-1] == ids[0, 25:]).float().mean().item())
    assert sum(hits) / len(hits) > 0.3  # chance is 1 in 600
