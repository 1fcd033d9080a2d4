"""Models, names and requests for the tests of the decoders, and how their beams are compared.

The scores of all beams are recomputed by a plain forward pass over prompt and answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from kb_builder.trie.trie import Trie
from longbel_cli.model.decoders import Beam, Request
from longbel_cli.model.decoders.attention import AttentionBackend
from longbel_cli.model.decoders.backends import cascade, masked
from longbel_cli.model.decoders.packed import PackedDecoder
from longbel_cli.model.decoders.reference import ReferenceDecoder
from longbel_cli.model.decoders.search import SearchOptions
from tests.support.emulated_flash import EmulatedFlash
from tests.support.search_cases import plain_search, trie_of
from tests.support.tiny import tiny_model

END, PLUS, CLOSE = 90, 91, 92
DEVICE = os.environ.get("LONGBEL_TEST_DEVICE", "cpu")
NEAR = 1e-5  # beams closer than this may change places in float32
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Names:
    """Groups of names as tokens; rows number them in order."""

    groups: dict[str, list[Tokens]]

    @property
    def all(self) -> list[Tokens]:
        return [name for group in self.groups.values() for name in group]

    @property
    def trie(self) -> Trie:
        return trie_of(self.groups)

    def group_of(self, row: int) -> str:
        for group, names in self.groups.items():
            if row < len(names):
                return group
            row -= len(names)
        raise AssertionError

    def answer(self, rows: Sequence[int]) -> Tokens:
        """The tokens that the model wrote for a beam, the end included."""
        tokens: list[int] = []
        for index, row in enumerate(rows):
            tokens += [PLUS] if index else []
            tokens += self.all[row]
        return (*tokens, END)


@dataclass
class Differences:
    """How many prompts were compared, and what came of it."""

    prompts: int = 0
    near_ties: int = 0
    composite: int = 0
    reused: int = 0
    details: list[str] = field(default_factory=list)


def on_device(*given: Any, **changes: Any) -> PreTrainedModel:
    return tiny_model(*given, **changes).to(DEVICE)  # type: ignore[arg-type]  # a device's name


@cache
def model_of(name: str, seed: int = 0) -> PreTrainedModel:
    return on_device(name, seed=seed)


@cache
def copy_of(name: str, seed: int = 0) -> PreTrainedModel:
    """The same weights again: the decoders set the model's attention, each its own."""
    return on_device(name, seed=seed)


@torch.inference_mode()
def logprobs_after(model: PreTrainedModel, prompt: Sequence[int], answer: Tokens) -> Tensor:
    """float64 log-softmax over the vocabulary before each token of the answer."""
    model.set_attn_implementation("sdpa")
    ids = torch.tensor([[*prompt, *answer]], device=DEVICE)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return logits.cpu().double().log_softmax(-1)


def recomputed(model: PreTrainedModel, prompt: Sequence[int], answer: Tokens) -> float:
    logprobs = logprobs_after(model, prompt, answer)
    return float(logprobs[torch.arange(len(answer)), torch.tensor(answer)].sum())


def finish(decoder: PackedDecoder | ReferenceDecoder, requests: Sequence[Request]) -> list[Any]:
    """Submit all at once and step until all are answered, in the order of the requests."""
    for request in requests:
        decoder.submit(request)
    answers: dict[Any, list[Beam]] = {}
    while len(answers) < len(requests):
        answers.update(decoder.step())
    return [answers[request.key] for request in requests]


def smallest_gap(
    model: PreTrainedModel, names: Names, request: Request, options: SearchOptions
) -> float:
    """How close two candidates of the search come where it decides between them."""
    known: dict[Tokens, Tensor] = {}
    group = names.groups[request.semantic_group]
    gaps: list[float] = []

    def logprob(path: Tokens, token: int) -> float:
        if path not in known:
            known[path] = logprobs_after(model, request.prompt_ids, (*path, END))[-1]
        return float(known[path][token])

    plain_search(
        group, logprob, options.n_beams, options.max_new_tokens,
        options.composite_id is not None, gaps,
    )  # fmt: skip
    return min((gap for gap in gaps if gap > 0), default=1.0)


def compare(
    model: PreTrainedModel,
    names: Names,
    options: SearchOptions,
    requests: Sequence[Request],
    expected: Sequence[list[Beam]],
    result: Sequence[list[Beam]],
    counts: Differences,
) -> None:
    """Equal rows, order and scores, or a near-tie."""
    for request, left, right in zip(requests, expected, result, strict=True):
        counts.prompts += 1
        counts.composite += any(len(beam.rows) > 1 for beam in right)
        same = [beam.rows for beam in left] == [beam.rows for beam in right]
        if not same:
            counts.details.append(f"{request}: {left} and {right}")
            gap = smallest_gap(model, names, request, options)
            assert gap < NEAR, (request, left, right, gap)
            counts.near_ties += 1
            continue
        for first, other in zip(left, right, strict=True):
            assert first.length == other.length
            assert abs(first.logprob - other.logprob) < 1e-4
            assert abs(first.score - other.score) < 1e-4


def check_beams(
    model: PreTrainedModel, names: Names, request: Request, beams: list[Beam], n_beams: int
) -> None:
    """Every beam is a name of the group, once, and its score is what the model gives it."""
    assert len(beams) <= n_beams
    assert len({beam.rows for beam in beams}) == len(beams)
    scores = [beam.score for beam in beams]
    assert scores == sorted(scores, reverse=True)
    for beam in beams:
        assert {names.group_of(row) for row in beam.rows} == {request.semantic_group}
        answer = names.answer(beam.rows)
        assert beam.length == len(answer)
        assert beam.logprob == pytest.approx(
            recomputed(model, request.prompt_ids, answer), abs=2e-4
        )


# Every way to attend that this machine offers.
BACKENDS: dict[str, Callable[[PreTrainedModel], AttentionBackend]] = {
    "masks": lambda model: masked(model, 0),
    "pools": lambda model: masked(model, 512),
    "large pools": lambda model: masked(model, 4096),
    "cascade": cascade,
    "cascade, flash emulated": lambda model: cascade(model, EmulatedFlash()),
}
Packed = Callable[..., PackedDecoder]


def decoder_over(
    backend: str, model: PreTrainedModel, trie: Trie, options: SearchOptions, halves: int = 1
) -> PackedDecoder:
    """A decoder that attends as told; as it can, where the model has sliding windows."""
    try:
        attention = BACKENDS[backend](model)
    except ValueError:
        attention = masked(model, 0)
    return PackedDecoder(model, trie, options, attention, halves)


def prompts_of(seed: int, index: int) -> list[Request]:
    """Prompts of uneven length, as two groups' mentions have them, ending in the same token."""
    random = np.random.default_rng(seed)
    return [
        Request(
            key,
            [*random.integers(0, 90, int(random.integers(1, 24))).tolist(), CLOSE],
            "AB"[int(random.integers(2))],
        )
        for key in range(index)
    ]


def documents_of(seed: int, index: int, mentions: int) -> list[list[Request]]:
    """Documents whose prompts share long beginnings: a context with moving marks, then memory."""
    random = np.random.default_rng(seed)
    documents = []
    for key in range(index):
        context = random.integers(0, 90, int(random.integers(5, 40))).tolist()
        memory: list[int] = []
        requests = []
        for _ in range(mentions):
            at = int(random.integers(0, len(context) + 1))
            prompt = [*context[:at], 93, *context[at:], 94, *memory, CLOSE]
            requests.append(Request(key, prompt, "AB"[int(random.integers(2))]))
            memory += random.integers(0, 90, int(random.integers(1, 6))).tolist()
        documents.append(requests)
    return documents


def link_all(decoder: PackedDecoder, documents: Sequence[Sequence[Request]], at_once: int) -> Any:
    """Each document's prompts in order, `at_once` documents under way."""
    waiting = list(range(len(documents)))
    answers: dict[int, list[list[Beam]]] = {index: [] for index in waiting}
    active = 0
    while waiting or active:
        while waiting and active < at_once:
            decoder.submit(documents[waiting.pop(0)][0])
            active += 1
        for key, beams in decoder.step():
            assert isinstance(key, int)
            answers[key].append(beams)
            if len(answers[key]) == len(documents[key]):
                decoder.release(key)
                active -= 1
            else:
                decoder.submit(documents[key][len(answers[key])])
    return answers


SOME_NAMES = Names(
    {
        "A": [(1,), (1, 2), (1, 2, 3), (4, 5, 6, 7), (4, 5, 8), (9,), (2, 2, 2, 2, 2)],
        "B": [(3, 1), (3, 2, 2), (7,), (10, 11, 1, 2, 3)],
    }
)
