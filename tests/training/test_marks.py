"""Marks in a base's tokenizer: each has an id that nothing else has."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from transformers import LlamaConfig, PreTrainedTokenizerFast

from kb_builder.errors import LongbelError
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.tokenizing import size_of
from longbel_cli.prompting.segments import Mark
from longbel_cli.training.base.marks import with_marks
from longbel_cli.training.train import train
from tests.support.examples import some
from tests.support.tiny import EOS, save_model_folder, tiny_tokenizer
from tests.support.train_cases import FOUR_DOCUMENTS, nano_options, write_corpus

MARKS = ["[", "]", "{", "}", "<+>", "<SEP>"]


def with_gaps(left_out, added=()):
    """The tiny tokenizer, none of whose pieces has one of these ids; `added` are special tokens
    that take the first of them."""
    tokenizer = tiny_tokenizer(marks=())
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    free = iter(index for index in range(1000) if index not in left_out)
    vocabulary = state["model"]["vocab"]
    special = {token["content"] for token in state["added_tokens"]}
    ids = {piece: next(free) for piece in sorted(vocabulary, key=vocabulary.__getitem__)}
    state["model"]["vocab"] = ids
    for token in state["added_tokens"]:
        token["id"] = ids[token["content"]]
    state["post_processor"] = None
    backend = Tokenizer.from_str(json.dumps(state))
    backend.add_tokens([AddedToken(text, special=True, normalized=False) for text in added])
    assert special
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=EOS)


@settings(max_examples=some(25), deadline=None)
@given(st.sets(st.integers(60, 410), max_size=12))
def test_a_mark_has_an_id_of_its_own(left_out):
    tokenizer = with_gaps(left_out)
    texts = ["Fever and cough.", "<left out 99> in a text"]
    before = tokenizer(texts, add_special_tokens=False).input_ids
    pieces = {index: piece for piece, index in tokenizer.get_vocab().items()}
    marked = with_marks(tokenizer, MARKS, LlamaConfig())
    ids = marked.get_added_vocab()
    assert set(MARKS) <= ids.keys()
    assert all(pieces.get(ids[mark], mark) == mark for mark in MARKS)
    assert len({ids[mark] for mark in MARKS}) == len(MARKS)
    assert marked(texts, add_special_tokens=False).input_ids == before
    assert marked.eos_token_id == tokenizer.eos_token_id


def test_where_no_id_is_left_out_nothing_is_added_but_marks():
    tokenizer = tiny_tokenizer(marks=())
    before = tokenizer.get_vocab()
    after = with_marks(tokenizer, MARKS, LlamaConfig()).get_vocab()
    assert {text for text in after if text not in before} == {"<+>", "<SEP>"}
    assert {text: after[text] for text in before} == before


def test_a_base_whose_ids_have_gaps_is_trained(kb_folder, tmp_path):
    tokenizer = with_gaps({300, 350, 399})
    base = save_model_folder(tmp_path / "base", tokenizer=tokenizer, vocab_size=size_of(tokenizer))
    corpus = write_corpus(tmp_path / "corpus.jsonl", FOUR_DOCUMENTS)
    options = nano_options(kb_folder, corpus, base=str(base), fresh=None, synthetic=0, steps=1)
    train(options, tmp_path / "model")
    checkpoint = Checkpoint.open(tmp_path / "model")
    model = checkpoint.load_model("cpu")
    assert len(model.get_input_embeddings().weight) == size_of(checkpoint.tokenizer)


def test_gpt_2_is_a_base(kb_folder, tmp_path):
    """Its architecture is GPT2LMHeadModel, as that of BioMedLM."""
    base = save_model_folder(tmp_path / "base", "gpt2", tokenizer=tiny_tokenizer(marks=()))
    assert json.loads((base / "config.json").read_text())["architectures"] == ["GPT2LMHeadModel"]
    corpus = write_corpus(tmp_path / "corpus.jsonl", FOUR_DOCUMENTS)
    options = nano_options(kb_folder, corpus, base=str(base), fresh=None, synthetic=0, steps=1)
    train(options, tmp_path / "model")
    assert Checkpoint.open(tmp_path / "model").load_model("cpu").config.model_type == "gpt2"


def test_a_checkpoint_whose_mark_is_a_piece_as_well_is_refused(tmp_path):
    """As a base with gaps was given its marks before."""
    tokenizer = with_gaps({300})
    marks = [AddedToken(mark, special=True, normalized=False) for mark in MARKS]
    tokenizer.add_tokens(marks, special_tokens=True)
    folder = save_model_folder(tmp_path / "m", tokenizer=tokenizer, vocab_size=450)
    with pytest.raises(LongbelError, match="a piece of text as well") as raised:
        Checkpoint.open(folder).mark_id(Mark("<+>"))
    assert raised.value.exit_code == 3
