"""What an example holds, token by token, and in which order and batches an epoch has them."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.engine import EngineOptions, LinkingEngine
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.decoders import Beam, DecodeStats
from longbel_cli.prompting.formats import PROMPT_FORMATS, prompt_format
from longbel_cli.prompting.sentences import splitter
from longbel_cli.training.data.batches import CHUNK, EpochPlan, Position, by_length
from longbel_cli.training.data.corpus import ItemSource, TrainingCorpus
from longbel_cli.training.data.examples import Cropping, Example, ExampleMaker
from longbel_cli.training.options import TrainOptions
from longbel_cli.types import Document, Mention, Passage, Span

TEXT = "She had fever. She had a cough."
DOCUMENT = Document(
    "d",
    (Passage(TEXT),),
    (
        Mention("T1", (Span(8, 13),), "fever", "Disorders", gold=("C1",)),
        Mention("T2", (Span(25, 30),), "cough", "Disorders", gold=("C2",)),
    ),
)
TARGETS = [("Fever",), ("Cough",)]


@pytest.fixture(scope="module")
def checkpoint(model_folder) -> Checkpoint:
    return Checkpoint.open(model_folder)


def example(checkpoint, form="hybrid_long", location=1, **options):
    maker = ExampleMaker(checkpoint, prompt_format(form), **options)
    return maker.example(DOCUMENT, TARGETS, location, random.Random(0))


def trained(checkpoint, made: Example, weight: float) -> list[str]:
    """The texts of the runs of tokens that have this weight."""
    runs: list[list[int]] = [[]]
    for token, own in zip(made.ids.tolist(), made.weights.tolist(), strict=True):
        if own == pytest.approx(weight):
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [checkpoint.tokenizer.decode(run) for run in runs if run]


@pytest.mark.parametrize("form", ["hybrid_medium", "hybrid_long", "long"])
def test_the_loss_is_on_the_completion_only(checkpoint, form):
    """Token by token: ` Cough` and the end weigh 1, all before them 0."""
    made = example(checkpoint, form)
    end = checkpoint.end_id(prompt_format(form))
    answer = [*checkpoint.encode_answer(("Cough",)), end]
    assert made.ids[-len(answer) :].tolist() == answer
    assert made.weights.tolist() == [0.0] * (len(made) - len(answer)) + [1.0] * len(answer)


class GoldDecoder:
    """Answers each request with the row that it is told."""

    bytes_per_token = 1

    def __init__(self, answers):
        self.stats = DecodeStats()
        self.asked = []
        self._answers = iter(answers)

    def submit(self, request):
        self.asked.append(request)
        self._waiting = request

    def step(self):
        return [(self._waiting.key, [Beam((next(self._answers),), -0.1, 1)])]

    def release(self, key):
        pass

    def reset(self):
        pass


@pytest.mark.parametrize("name", PROMPT_FORMATS)
def test_the_prompt_is_the_one_that_link_shows(checkpoint, kb_folder, name):
    """Whatever the format: the ids that the engine asks with, when it answers with gold."""
    form, split = prompt_format(name), splitter("en")
    knowledge_base = KnowledgeBase.open(kb_folder)
    rows = [knowledge_base.lookup(each, "Disorders") for (each,) in TARGETS]
    decoder = GoldDecoder(rows)
    options = EngineOptions(form, max_prompt_tokens=4000, token_budget=1)
    engine = LinkingEngine(knowledge_base, decoder, checkpoint.encode, options, split)
    engine.link_window([DOCUMENT])
    # The key is a document's, or a mention's own where prompts have nothing in common.
    for location, request in enumerate(sorted(decoder.asked, key=lambda request: request.key)):
        made = example(checkpoint, name, location, split=split)
        answer = [*checkpoint.encode_answer(TARGETS[location]), checkpoint.end_id(form)]
        assert made.ids.tolist() == [*request.prompt_ids, *answer]
    assert len(decoder.asked) == 2


@pytest.mark.parametrize("form", ["hybrid_long", "long"])
def test_names_in_memory_can_be_trained_too(checkpoint, form):
    made = example(checkpoint, form, memory_weight=0.5)
    assert trained(checkpoint, made, 0.5) == [" Fever"]
    assert len(trained(checkpoint, made, 1.0)) == 1


def test_a_name_that_was_predicted_wrong_is_shown_and_never_learnt(checkpoint):
    maker = ExampleMaker(checkpoint, prompt_format("hybrid_long"), memory_weight=0.5)
    for name, learnt in ((("Fever",), [" Fever"]), (("Cough",), [])):
        made = maker.example(DOCUMENT, TARGETS, 1, random.Random(0), memory=[name, None])
        assert f"{{Disorders}} {name[0]}" in checkpoint.tokenizer.decode(made.ids.tolist())
        assert trained(checkpoint, made, 0.5) == learnt


def test_a_composite_answer_is_trained_whole(checkpoint):
    maker = ExampleMaker(checkpoint, prompt_format("hybrid_medium"))
    made = maker.example(DOCUMENT, [None, ("Cough", "Fever")], 1, random.Random(0))
    (text,) = trained(checkpoint, made, 1.0)
    assert text.startswith(" Cough<+> Fever")


def test_mentions_without_a_target_are_no_memory(checkpoint):
    maker = ExampleMaker(checkpoint, prompt_format("hybrid_long"))
    made = maker.example(DOCUMENT, [None, ("Cough",)], 1, random.Random(0))
    assert "None" in checkpoint.tokenizer.decode(made.ids.tolist())


def test_cropping_keeps_whole_words_around_the_mention_and_its_memory(checkpoint):
    cropped = example(checkpoint, cropping=Cropping(characters=10))
    text = checkpoint.tokenizer.decode(cropped.ids.tolist())
    assert "[cough]" in text
    assert "fever" not in text  # neither in context nor in memory
    assert (
        example(checkpoint, cropping=Cropping(10, share=0.0)).ids.tolist()
        == example(checkpoint).ids.tolist()
    )


def test_cropped_contexts_have_an_eighth_to_all_of_the_length(checkpoint):
    words = "a " * 1000
    text = words + "cough " + words
    cough = Mention("T1", (Span(2000, 2005),), "cough", "Disorders", "Disorders", ("C1",))
    long = Document("d", (Passage(text),), (cough,), "test")
    maker = ExampleMaker(checkpoint, prompt_format("hybrid_medium"), cropping=Cropping(800))
    contexts = []
    for seed in range(60):
        made = maker.example(long, [("Cough",)], 0, random.Random(seed))
        decoded = checkpoint.tokenizer.decode(made.ids.tolist())
        contexts.append(decoded.count("a ") * 2)
    assert 90 <= min(contexts) < 200
    assert 500 < max(contexts) <= 810


@pytest.mark.parametrize("form", ["hybrid_long", "long"])
def test_a_long_example_is_shortened_and_trains_its_name_all_the_same(checkpoint, form):
    """The oldest lines of memory go first, then context far from the mention."""
    whole = example(checkpoint, form, memory_weight=0.5)
    assert example(checkpoint, form, max_length=len(whole)).ids.tolist() == whole.ids.tolist()
    without_memory = example(checkpoint, form, max_length=len(whole) - 1, memory_weight=0.5)
    assert trained(checkpoint, whole, 0.5) == [" Fever"]
    assert trained(checkpoint, without_memory, 0.5) == []
    text = checkpoint.tokenizer.decode(without_memory.ids.tolist())
    assert "She had" in text and "{Disorders} Fever" not in text
    short = example(checkpoint, form, max_length=len(without_memory) - 5)
    assert len(short) <= len(without_memory) - 5
    text = checkpoint.tokenizer.decode(short.ids.tolist())
    assert "[cough]" in text and not text.startswith("### Context\nShe had")
    assert trained(checkpoint, short, 1.0) == trained(checkpoint, whole, 1.0)


def made_of(length: int) -> Example:
    return Example(np.full(length, length, dtype=np.int32), np.ones(length, dtype=np.float32))


def test_batches_hold_near_lengths_and_no_more_tokens_than_asked():
    groups = by_length([made_of(length) for length in (5, 1, 4, 2, 9, 3)], tokens_per_batch=8)
    assert [[len(each) for each in group] for group in groups] == [[1, 2], [3, 4], [5], [9]]


def plan(n_items: int) -> EpochPlan:
    return EpochPlan(n_items, lambda item, epoch, rng: made_of(1 + item % 7), 20, 0, pad=0)


def test_an_epoch_has_every_item_once_and_epochs_differ():
    lengths = sorted(1 + item % 7 for item in range(100))
    orders = []
    for epoch in range(2):
        batches = list(plan(100).batches(epoch))
        assert all(batch.ids.size <= 20 for batch in batches)
        seen = [int((row > 0).sum()) for batch in batches for row in batch.weights]
        assert sorted(seen) == lengths
        assert batches[-1].done == 1.0
        orders.append(seen)
    assert orders[0] != orders[1]


def test_padding_stands_right_and_weighs_nothing():
    (batch,) = EpochPlan(2, lambda item, epoch, rng: made_of(1 + item), 10, 0, pad=9).batches(0)
    rows = sorted(zip(batch.ids.tolist(), batch.weights.tolist(), strict=True))
    assert rows == [([1, 9], [1.0, 0.0]), ([2, 2], [1.0, 1.0])]


def test_an_epoch_can_be_entered_at_any_batch():
    whole = list(plan(CHUNK + 50).batches(0))
    for index in (0, 7, len(whole) - 1):
        rest = list(plan(CHUNK + 50).batches(0, whole[index].position))
        assert [batch.position for batch in rest] == [batch.position for batch in whole[index:]]
        assert np.array_equal(rest[0].ids, whole[index].ids)
    assert whole[-1].position.chunk == 1
    assert Position(0, 0, 3) < Position(0, 1, 0) < Position(1, 0, 0)


def test_several_formats_are_drawn_evenly_and_one_format_draws_nothing(checkpoint, kb_folder):
    base = KnowledgeBase.open(kb_folder)
    mentions = (replace(DOCUMENT.mentions[0], gold=("C0000001",)), DOCUMENT.mentions[1])
    document = replace(DOCUMENT, mentions=mentions)

    def prompts(**options) -> list[str]:
        chosen = TrainOptions(kb="", base="b", corpora=("c",), context_format="long", **options)
        corpus = TrainingCorpus(base, iter([document]), chosen)
        source = ItemSource(corpus, chosen, checkpoint)
        made = (source.make(0, 0, random.Random(seed)) for seed in range(40))
        return [checkpoint.tokenizer.decode(each.ids.tolist()) for each in made if each is not None]

    both = prompts(also_formats=("hybrid_medium",))
    assert 10 <= sum(prompt.endswith("<SEP>") for prompt in both) <= 30
    alone = prompts()
    assert len(set(alone)) == 1
    assert alone[0] in both
