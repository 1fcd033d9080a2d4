"""The engine's scheduling and memory, with a decoder that answers by a script. No torch.

A prompt's ids are its characters, so that what the decoder was asked can be read.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.engine import EngineOptions, LinkingEngine, Truncation, max_prompt_tokens
from longbel_cli.model.decoders import Beam, DecodeStats, OutOfMemoryError, Request
from longbel_cli.prompting.formats import PROMPT_FORMATS, Prompt
from longbel_cli.prompting.sentences import splitter
from longbel_cli.types import Document, Mention, Passage, Prediction, Span
from tests.support.examples import some

NAMES = [f"Name {row}" for row in range(50)]


class Names:
    """Stands for a knowledge base: names and codes by row."""

    def name(self, row: int) -> str:
        return NAMES[row]

    def code(self, row: int) -> str:
        return f"C{97 - row}"


Script = Callable[[str], list[Beam]]


def by_hash(prompt: str) -> list[Beam]:
    """Up to three beams that depend on every character of the prompt."""
    bits = zlib.crc32(prompt.encode())
    return [Beam(((bits + n) % 50,), -1.0 - n, 3) for n in range(bits % 4)]


class ScriptedDecoder:
    """Answers `per_step` requests a step, in an order of its own; out of memory beyond
    `capacity` prompt tokens. Checks what a decoder may rely on."""

    def __init__(
        self,
        script: Script = by_hash,
        per_step: int = 100,
        shuffle: int | None = None,
        capacity: int | None = None,
        fails_in_submit: bool = False,
    ) -> None:
        self.stats = DecodeStats()
        self.bytes_per_token = 8
        self.submitted: list[tuple[Hashable, str]] = []
        self.most_in_flight = 0
        self._script, self._per_step, self._capacity = script, per_step, capacity
        self._random = None if shuffle is None else np.random.default_rng(shuffle)
        self._fails_in_submit = fails_in_submit
        self.queue: list[Request] = []
        self.kept: dict[Hashable, int] = {}

    def submit(self, request: Request) -> None:
        assert all(other.key != request.key for other in self.queue)
        self.submitted.append((request.key, "".join(map(chr, request.prompt_ids))))
        self.queue.append(request)
        self.kept[request.key] = len(request.prompt_ids)
        self.most_in_flight = max(self.most_in_flight, len(self.kept))
        if self._fails_in_submit:
            self._check_capacity()

    def step(self) -> list[tuple[Hashable, list[Beam]]]:
        assert self.queue
        self._check_capacity()
        if self._random is not None:
            self._random.shuffle(cast(Any, self.queue))
        done, self.queue = self.queue[: self._per_step], self.queue[self._per_step :]
        return [
            (request.key, self._script("".join(map(chr, request.prompt_ids)))) for request in done
        ]

    def release(self, key: Hashable) -> None:
        assert all(request.key != key for request in self.queue)
        self.kept.pop(key, None)

    def reset(self) -> None:
        self.queue.clear()
        self.kept.clear()

    def _check_capacity(self) -> None:
        if self._capacity is not None and sum(self.kept.values()) > self._capacity:
            raise OutOfMemoryError


def engine_of(
    decoder: ScriptedDecoder,
    form: str = "hybrid_long",
    longest: int = 10**6,
    budget: int = 10**6,
    on_prompt: Callable[[Document, Mention, Prompt], None] | None = None,
) -> LinkingEngine:
    split = splitter("en") if PROMPT_FORMATS[form].context == "sentence" else None
    options = EngineOptions(PROMPT_FORMATS[form], longest, budget)

    def encode(prompt: Prompt) -> list[int]:
        return list(map(ord, prompt.text))

    return LinkingEngine(
        cast(KnowledgeBase, Names()), decoder, encode, options, split, on_prompt
    )  # fmt: skip


def document(name: str, text: str, *words: str, group: str = "Disorders") -> Document:
    """A document of one passage whose mentions are `words`, each at its first place."""
    mentions = []
    for ordinal, word in enumerate(words, start=1):
        start = text.index(word)
        span = Span(start, start + len(word))
        mentions.append(Mention(f"T{ordinal}", (span,), word, group))
    return Document(name, (Passage(text),), tuple(mentions), f"{name}.txt")


FEVER = document("a", "Fever, cough and chills.", "Fever", "cough", "chills")
PAIN = document("b", "Pain and ache", "Pain", "ache")


def answers(**names: int) -> Script:
    """A script: which row is answered for a mention's text."""

    def script(prompt: str) -> list[Beam]:
        mention = prompt.rpartition("[")[2].partition("]")[0]
        return [Beam((names[mention],), -1.0, 2)] if mention in names else []

    return script


def prompts(decoder: ScriptedDecoder, key: int) -> list[str]:
    return [prompt for ordinal, prompt in decoder.submitted if ordinal == key]


def test_memory_holds_the_predicted_names_before() -> None:
    decoder = ScriptedDecoder(answers(Fever=3, cough=7, chills=9, Pain=11, ache=13))
    engine_of(decoder).link_window([FEVER, PAIN])
    assert prompts(decoder, 0) == [
        "### Context\n[Fever], cough and chills.\n\n### Previous Normalizations\nNone\n\n"
        "### Prediction\n[Fever]{Disorders}",
        "### Context\nFever, [cough] and chills.\n\n### Previous Normalizations\n"
        "[Fever]{Disorders} Name 3\n\n### Prediction\n[cough]{Disorders}",
        "### Context\nFever, cough and [chills].\n\n### Previous Normalizations\n"
        "[Fever]{Disorders} Name 3\n[cough]{Disorders} Name 7\n\n"
        "### Prediction\n[chills]{Disorders}",
    ]
    assert prompts(decoder, 1)[1].endswith(
        "### Previous Normalizations\n[Pain]{Disorders} Name 11\n\n"
        "### Prediction\n[ache]{Disorders}"
    )


def test_inline_memory_grows_at_its_end() -> None:
    decoder = ScriptedDecoder(answers(Fever=3, cough=7, chills=9))
    engine_of(decoder, "long").link_window([FEVER])
    first, second, third = prompts(decoder, 0)
    assert first.endswith("### Predictions\n[Fever]{Disorders}")
    assert second == first + " Name 3<SEP>[cough]{Disorders}"
    assert third == second + " Name 7<SEP>[chills]{Disorders}"


def test_a_mention_without_beams_leaves_no_memory_line() -> None:
    decoder = ScriptedDecoder(answers(Fever=3, chills=9))
    predictions = engine_of(decoder).link_window([FEVER])
    assert [prediction.candidates == () for prediction in predictions] == [False, True, False]
    assert "[Fever]{Disorders} Name 3\n\n### Prediction\n[chills]" in prompts(decoder, 0)[2]
    line = predictions[1].to_json()
    assert line["beams"] == [] and line["pred_concept_code"] is None and line["beam_score"] is None


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_scores_that_are_not_finite_end_the_window(score: float) -> None:
    def script(prompt: str) -> list[Beam]:
        broken = prompt.endswith("[cough]{Disorders}")
        return [Beam((1,), score if broken else -1.0, 1)]

    engine = engine_of(ScriptedDecoder(script))
    documents = [document("d1", "Fever.", "Fever"), document("d2", "A cough.", "cough")]
    with pytest.raises(LongbelError, match=r"document d2: mention T1: .* not finite") as raised:
        engine.link_window(documents)
    assert raised.value.exit_code == 3
    assert len(engine.link_window(documents[:1])) == 1


def test_memory_is_the_top_beam_alone() -> None:
    decoder = ScriptedDecoder(lambda prompt: [Beam((1,), -1.0, 2), Beam((2,), -3.0, 2)])
    predictions = engine_of(decoder).link_window([PAIN])
    assert [candidate.concept_name for candidate in predictions[0].candidates] == [
        "Name 1",
        "Name 2",
    ]
    assert [candidate.rank for candidate in predictions[0].candidates] == [1, 2]
    assert "Name 1" in prompts(decoder, 0)[1] and "Name 2" not in prompts(decoder, 0)[1]


def test_composite_answers() -> None:
    """Codes sorted and joined by +, names in the order written, also in memory."""
    decoder = ScriptedDecoder(lambda prompt: [Beam((5, 20), -4.0, 8)])
    predictions = engine_of(decoder).link_window([PAIN])
    best = predictions[0].candidates[0]
    assert (best.concept_code, best.concept_name) == ("C77+C92", "Name 5<+>Name 20")
    assert best.score == pytest.approx(np.exp(-0.5))
    assert "[Pain]{Disorders} Name 5<+> Name 20\n" in prompts(decoder, 0)[1]


def test_two_documents_with_the_same_id_share_no_memory() -> None:
    twin = document("a", "Pain and ache", "Pain", "ache")
    decoder = ScriptedDecoder(answers(Fever=3, cough=7, chills=9, Pain=11, ache=13))
    predictions = engine_of(decoder).link_window([FEVER, twin])
    assert [prediction.document_id for prediction in predictions] == ["a"] * 5
    assert all("Name 11" not in prompt for prompt in prompts(decoder, 0))
    assert all("Name 3" not in prompt for prompt in prompts(decoder, 1))


def test_a_second_window_does_not_remember_the_first() -> None:
    decoder = ScriptedDecoder(answers(Fever=3, cough=7, chills=9))
    engine = engine_of(decoder)
    engine.link_window([FEVER])
    engine.link_window([FEVER])
    seen = prompts(decoder, 0)
    assert seen[:3] == seen[3:]


def test_predictions_carry_what_the_corpus_says() -> None:
    mention = Mention(
        "T9", (Span(0, 4), Span(9, 13)), "Pain ache", "Disorders", "DISO", ("C2", "C1")
    )
    doc = Document("d", (Passage("Pain and ache"),), (mention,))
    (result,) = engine_of(ScriptedDecoder(answers(Fever=1))).link_window([doc])
    assert result == Prediction(
        "d", "T9", "Pain ache", "Disorders", (Span(0, 4), Span(9, 13)), (), "C1+C2"
    )


def test_sentences_fly_together_where_there_is_no_memory() -> None:
    """The mentions of one follow each other: their prompts begin alike."""
    text = "Pain and ache. Fever, then chills and cough. Nausea."
    mentions = ["Pain", "ache", "Fever", "chills", "cough", "Nausea"]
    decoder = ScriptedDecoder(per_step=3)
    result = engine_of(decoder, "short").link_window([document("d", text, *mentions)])
    assert [one.mention for one in result] == mentions
    assert sorted(key for key, _ in decoder.submitted) == [0, 0, 1, 1, 1, 2]
    assert sorted(key for key, _ in decoder.submitted[:3]) == [0, 1, 2] and decoder.kept == {}


def test_longest_first_and_predictions_in_the_order_of_the_corpus() -> None:
    documents = [
        document("short", "Pain.", "Pain"),
        document("longest", "Pain " + "and so on " * 20, "Pain"),
        document("none", "Nothing to link"),
        document("longer", "Pain " + "and so on " * 10, "Pain"),
        document("as short", "Pain.", "Pain"),
    ]
    decoder = ScriptedDecoder(per_step=1)
    predictions = engine_of(decoder, budget=1).link_window(documents)
    assert [key for key, _ in decoder.submitted] == [1, 3, 0, 4]
    assert [prediction.document_id for prediction in predictions] == [
        "short",
        "longest",
        "longer",
        "as short",
    ]


def test_nothing_to_link() -> None:
    decoder = ScriptedDecoder()
    engine = engine_of(decoder)
    assert engine.link_window([]) == []
    assert engine.link_window([document("none", "Nothing to link")]) == []
    assert decoder.submitted == []


PROMPT = (
    "### Context\n[Pain] and more\n\n### Previous Normalizations\nNone\n\n"
    "### Prediction\n[Pain]{Disorders}"
)


PLACES = len(PROMPT) + 64  # of a prompt and the beams of its answer


@pytest.mark.parametrize(
    ("budget", "most"),
    [(1, 1), (2 * PLACES - 1, 1), (2 * PLACES, 2), (5 * PLACES + 9, 5), (10**6, 6)],
)
def test_the_budget_bounds_what_is_in_flight(budget: int, most: int) -> None:
    """Six documents of one mention each; one document is always let in."""
    documents = [document(f"d{ordinal}", "Pain and more", "Pain") for ordinal in range(6)]
    decoder = ScriptedDecoder(per_step=1)
    engine_of(decoder, budget=budget).link_window(documents)
    assert [prompt for _, prompt in decoder.submitted] == [PROMPT] * 6
    assert decoder.most_in_flight == most


def corpus(seed: int, ordinal: int) -> list[Document]:
    """Documents of zero to six mentions and some sentences, all different."""
    random = np.random.default_rng(seed)
    documents = []
    for index in range(ordinal):
        words = [f"w{index}x{at}" for at in range(int(random.integers(0, 7)))]
        filler = " ".join(["word"] * int(random.integers(1, 20)))
        documents.append(document(f"d{index}", f"{filler}. " + " and ".join(words) + ".", *words))
    return documents


@settings(max_examples=some(60), deadline=None)
@given(
    seed=st.integers(0, 1000),
    form=st.sampled_from(sorted(PROMPT_FORMATS)),
    per_step=st.integers(1, 9),
    shuffle=st.integers(0, 1000),
    budget=st.sampled_from([1, 150, 400, 1000, 10**6]),
    longest=st.sampled_from([10**6, 160, 110]),
)
def test_what_is_in_flight_together_changes_no_prompt(
    seed: int, form: str, per_step: int, shuffle: int, budget: int, longest: int
) -> None:
    """Each document's prompts and predictions are those of a window of its own."""
    documents = corpus(seed, 7)
    decoder = ScriptedDecoder(per_step=per_step, shuffle=shuffle)
    engine = engine_of(decoder, form, longest, budget)
    predictions = engine.link_window(documents)
    truncated = dict(engine.truncated)
    alone: list[Prediction] = []
    prompts_alone: list[str] = []
    for one in documents:
        single = ScriptedDecoder()
        engine = engine_of(single, form, longest)
        alone += engine.link_window([one])
        prompts_alone += [prompt for _, prompt in single.submitted]
        assert engine.truncated.get(one.id) == truncated.get(one.id)
    assert predictions == alone
    assert sorted(prompt for _, prompt in decoder.submitted) == sorted(prompts_alone)
    assert decoder.kept == {}


@pytest.mark.parametrize("fails_in_submit", [False, True])
def test_out_of_memory_halves_the_budget_and_starts_again(fails_in_submit: bool) -> None:
    documents = corpus(3, 12)
    expected = engine_of(ScriptedDecoder()).link_window(documents)
    shown: list[tuple[str, str, str]] = []
    decoder = ScriptedDecoder(capacity=700, fails_in_submit=fails_in_submit)
    engine = engine_of(
        decoder,
        budget=6400,
        on_prompt=lambda doc, mention, prompt: shown.append((doc.id, mention.id, prompt.text)),
    )
    assert engine.link_window(documents) == expected
    assert 400 <= engine.token_budget <= 800  # a half of what was in flight, again and again
    # Each prompt is told once, in the order of the predictions.
    assert [(name, mention) for name, mention, _ in shown] == [
        (prediction.document_id, prediction.mention_id) for prediction in expected
    ]
    assert {text for _, _, text in shown} <= {text for _, text in decoder.submitted}
    # The next window starts from the budget asked for, or from the one it is told.
    lowered = engine.token_budget
    engine.link_window(documents[:1])
    assert engine.token_budget == lowered
    engine.link_window(documents[:1], token_budget=200)
    assert engine.token_budget == 200


def test_a_window_replayed_with_its_budget_is_the_same() -> None:
    documents = corpus(4, 9)
    engine = engine_of(ScriptedDecoder(capacity=600), budget=5000)
    first = engine.link_window(documents)
    again = engine_of(ScriptedDecoder(capacity=600), budget=5000)
    assert again.link_window(documents, token_budget=engine.token_budget) == first
    assert again.token_budget == engine.token_budget


def test_no_memory_for_a_single_document() -> None:
    engine = engine_of(ScriptedDecoder(capacity=10))
    with pytest.raises(LongbelError, match="document a: the device has no memory") as raised:
        engine.link_window([FEVER])
    assert raised.value.exit_code == 1
    assert "cough" not in str(raised.value)


class StopError(Exception):
    pass


def test_what_on_step_raises_ends_the_window_and_leaves_the_engine_ready() -> None:
    documents = corpus(5, 8)
    expected = engine_of(ScriptedDecoder()).link_window(documents)
    decoder = ScriptedDecoder(per_step=2)
    shown: list[str] = []
    engine = engine_of(decoder, on_prompt=lambda doc, mention, prompt: shown.append(doc.id))
    steps = 0

    def on_step(finished: int) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise StopError

    with pytest.raises(StopError):
        engine.link_window(documents, on_step)
    assert shown == []  # an aborted window tells no prompts: it is linked again later
    assert engine.link_window(documents) == expected
    assert len(shown) == len(expected)


def test_on_step_hears_of_every_mention_once() -> None:
    documents = corpus(6, 8)
    heard: list[int] = []
    decoder = ScriptedDecoder(per_step=3)
    predictions = engine_of(decoder, budget=300).link_window(documents, heard.append)
    assert sum(heard) == len(predictions) and max(heard) <= 3


# The prompt of FEVER's first mention has 105 characters, and each line of memory 26 or more.
LONG = document(
    "long",
    "one two three four five six seven eight nine ten",
    "one", "three", "five", "seven", "nine",
)  # fmt: skip


def memory_lines(prompt: str) -> list[str]:
    section = prompt.partition("### Previous Normalizations\n")[2].partition("\n\n###")[0]
    return [] if section == "None" else section.split("\n")


def test_the_oldest_memory_lines_are_dropped_first() -> None:
    script = answers(one=1, three=3, five=5, seven=7, nine=9)
    whole = ScriptedDecoder(script)
    engine_of(whole).link_window([LONG])
    complete = prompts(whole, 0)
    longest = len(complete[2])  # two lines fit, one more does not
    decoder = ScriptedDecoder(script)
    engine = engine_of(decoder, longest=longest)
    engine.link_window([LONG])
    seen = prompts(decoder, 0)
    assert seen[:3] == complete[:3]
    dropped = 0
    for ordinal in (3, 4):
        lines = memory_lines(complete[ordinal])
        kept = memory_lines(seen[ordinal])
        assert 0 < len(kept) < len(lines)
        assert kept == lines[-len(kept) :]
        assert len(seen[ordinal]) <= longest
        # One line more would not have fitted.
        assert len(seen[ordinal]) + len(lines[-len(kept) - 1]) + 1 > longest
        dropped += len(lines) - len(kept)
    assert engine.truncated == {"long": Truncation(memory_lines=dropped, contexts=0)}


@pytest.mark.parametrize("form", ["long", "echoed"])
def test_inline_memory_is_dropped_by_groups_so_that_prompts_share_their_beginning(form) -> None:
    words = [f"w{ordinal:02}" for ordinal in range(40)]
    doc = document("long", "Of " + ", ".join(words) + ".", *words)
    script = answers(**{word: ordinal for ordinal, word in enumerate(words)})
    whole = ScriptedDecoder(script)
    engine_of(whole, form).link_window([doc])
    longest = len(prompts(whole, 0)[20])
    decoder = ScriptedDecoder(script)
    engine = engine_of(decoder, form, longest=longest)
    engine.link_window([doc])
    seen = prompts(decoder, 0)
    assert seen[:21] == prompts(whole, 0)[:21] and all(len(one) <= longest for one in seen)
    left = [len(re.findall("<SEP>", prompt)) for prompt in seen]
    dropped = [ordinal - lines for ordinal, lines in enumerate(left)]
    assert set(dropped) <= {0, 8, 16, 24, 32} and dropped == sorted(dropped) and max(dropped) >= 16
    changes = sum(before != after for before, after in pairwise(dropped))
    apart = sum(not after.startswith(before) for before, after in pairwise(seen))
    assert apart == changes
    assert engine.truncated == {"long": Truncation(memory_lines=sum(dropped), contexts=0)}


@pytest.mark.parametrize("form", ["hybrid_long", "long", "hybrid_medium"])
def test_then_the_context_is_cut_around_the_mention(form: str) -> None:
    text = "before " * 40 + "FEVER" + " after" * 40
    doc = document("d", text, "before", "FEVER", "after")
    longest = 150
    decoder = ScriptedDecoder(answers(FEVER=1))
    engine = engine_of(decoder, form, longest)
    predictions = engine.link_window([doc])
    assert len(predictions) == 3
    for prompt, mention in zip(prompts(decoder, 0), ("before", "FEVER", "after"), strict=True):
        assert longest - 2 <= len(prompt) <= longest
        context = prompt.removeprefix("### Context\n").partition("\n\n###")[0]
        assert f"[{mention}]" in context
        assert context.replace("[", "").replace("]", "") in text
    if form == "hybrid_medium":
        middle = prompts(decoder, 0)[1].removeprefix("### Context\n").partition("\n\n###")[0]
        left, _, right = middle.partition("[FEVER]")
        assert abs(len(left) - len(right)) <= 2
    # FEVER's line of memory was left out of the prompt after it; `hybrid_medium` has none.
    lines = 0 if form == "hybrid_medium" else 1
    assert engine.truncated == {"d": Truncation(memory_lines=lines, contexts=3)}


@pytest.mark.parametrize("form", ["short", "hybrid_short"])
def test_a_sentence_longer_than_the_context_is_cut(form: str) -> None:
    text = "before " * 40 + "FEVER" + " after" * 40
    decoder = ScriptedDecoder()
    engine = engine_of(decoder, form, 150)
    assert len(engine.link_window([document("d", text, "FEVER")])) == 1
    (prompt,) = prompts(decoder, 0)
    assert len(prompt) <= 150 and "[FEVER]" in prompt.partition("###")[2].partition("###")[0]


def test_all_sentences_that_were_cut_are_counted() -> None:
    """Without memory each sentence is linked by itself, but a document is told of once."""
    text = " ".join(f"{'before ' * 30}{word} came{' after' * 30}." for word in ("Fever", "Cough"))
    engine = engine_of(ScriptedDecoder(), "short", 150)
    engine.link_window([document("d", text, "Fever", "Cough")])
    assert engine.truncated == {"d": Truncation(contexts=2)}


def test_what_a_window_shortened_is_not_told_of_the_next() -> None:
    engine = engine_of(ScriptedDecoder(), "hybrid_medium", 150)
    engine.link_window([document("d", "before " * 40 + "FEVER", "FEVER")])
    assert engine.truncated == {"d": Truncation(contexts=1)}
    engine.link_window([PAIN])
    assert engine.truncated == {}


@pytest.mark.parametrize("backwards", [False, True])
def test_fragments_too_far_apart_keep_the_first(backwards: bool) -> None:
    """The first in the text, in whatever order the corpus names them."""
    text = "left " + "and so on " * 40 + "kidney"
    spans = (Span(0, 4), Span(len(text) - 6, len(text)))
    spans = spans[::-1] if backwards else spans
    doc = Document("d", (Passage(text),), (Mention("T1", spans, "left kidney", "Disorders"),), "f")
    decoder = ScriptedDecoder()
    engine = engine_of(decoder, longest=130)
    engine.link_window([doc])
    (prompt,) = prompts(decoder, 0)
    assert prompt.startswith("### Context\n[left] and so")
    assert prompt.endswith("[left kidney]{Disorders}") and len(prompt) <= 130
    assert engine.truncated == {"d": Truncation(contexts=1)}


def test_a_mention_longer_than_the_context_gets_no_candidates() -> None:
    """The document's others are linked, and so are those of the next document."""
    long = "secret " * 59 + "secret"
    doc = document("d", f"Pain {long} then ache", "Pain", long, "ache")
    engine = engine_of(ScriptedDecoder(), longest=200)
    result = engine.link_window([document("only", long, long), doc, document("e", "Pain", "Pain")])
    assert [bool(one.candidates) for one in result] == [False, True, False, True, True]
    assert engine.truncated.keys() == {"only", "d"}


def test_a_prompt_that_just_fits_is_left_as_it_is() -> None:
    doc = document("d", "Pain and ache", "Pain")
    whole = ScriptedDecoder()
    engine_of(whole).link_window([doc])
    (complete,) = prompts(whole, 0)
    for longest, truncated in ((len(complete), False), (len(complete) - 1, True)):
        decoder = ScriptedDecoder()
        engine = engine_of(decoder, longest=longest)
        engine.link_window([doc])
        assert (prompts(decoder, 0) == [complete]) != truncated
        assert bool(engine.truncated) == truncated


def test_room_is_left_for_the_answer() -> None:
    assert max_prompt_tokens(2048) == 1920
    assert max_prompt_tokens(100) == 1


def test_the_engine_loads_no_torch() -> None:
    code = (
        "import sys, longbel_cli.linking.engine, longbel_cli.model.decoders.search\n"
        "print([name for name in ('torch', 'transformers', 'typer') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_engine_takes_any_sequence_of_documents() -> None:
    documents: Sequence[Document] = (FEVER, PAIN)
    assert len(engine_of(ScriptedDecoder()).link_window(documents)) == 5
