"""The packed decoder on documents: what prompts share, what is left behind, how long they are."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from longbel_cli.model.decoders import Beam, Request
from longbel_cli.model.decoders.packed import PackedDecoder
from longbel_cli.model.decoders.pool import KeyValuePool
from longbel_cli.model.decoders.reference import ReferenceDecoder
from longbel_cli.model.decoders.search import SearchOptions
from tests.support.decoder_cases import (
    CLOSE,
    END,
    SOME_NAMES,
    Differences,
    Packed,
    compare,
    copy_of,
    documents_of,
    finish,
    link_all,
    model_of,
    prompts_of,
)
from tests.support.tiny import MODELS

pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def expected_beams(name: str) -> list[list[Beam]]:
    """What `generate` answers to the mentions of six documents."""
    decoder = ReferenceDecoder(copy_of(name), SOME_NAMES.trie, SearchOptions(END, 5))
    return [beams for requests in documents_of(7, 6, 5) for beams in decoder.generate(requests)]


@pytest.mark.parametrize("name", MODELS)
def test_prompts_of_one_document_reuse_what_they_share(name: str, packed: Packed) -> None:
    options = SearchOptions(END, 5)
    documents = documents_of(7, 6, 5)
    expected = expected_beams(name)
    requests = [request for document in documents for request in document]
    for at_once in (1, 4, 16):
        decoder = packed(model_of(name), SOME_NAMES.trie, options)
        answers = link_all(decoder, documents, at_once)
        result = [beams for index in range(len(documents)) for beams in answers[index]]
        counts = Differences()
        compare(copy_of(name), SOME_NAMES, options, requests, expected, result, counts)
        assert counts.near_ties == 0
        stats = decoder.stats
        assert stats.reused_tokens > 0
        assert stats.prefill_tokens + stats.reused_tokens == sum(
            len(request.prompt_ids) for request in requests
        )
        assert stats.mentions == len(requests)


def test_a_released_document_lends_its_heading_and_no_memory_to_the_next(packed: Packed) -> None:
    """Documents of one size follow each other in one slot; another size takes a new one."""
    options = SearchOptions(END, 5)
    requests = [
        Request(0, [7, 8, 9, 1, 2, CLOSE], "A"),
        Request(1, [7, 8, 9, 5, CLOSE], "B"),
        Request(2, [7, 8, 9, *(80 * [4]), *(80 * [6]), CLOSE], "A"),
        Request(3, [7, 8, 9, 5, 6, CLOSE], "A"),
    ]
    expected = ReferenceDecoder(copy_of("llama"), SOME_NAMES.trie, options).generate(requests)
    decoder = packed(model_of("llama"), SOME_NAMES.trie, options)
    result, reused = [], []
    for request in requests:
        result += finish(decoder, [request])
        reused.append(decoder.stats.reused_tokens)
        decoder.release(request.key)
    compare(copy_of("llama"), SOME_NAMES, options, requests, expected, result, Differences())
    # The last may find what the second left, where nothing had to go to make room for the third.
    assert reused[:3] == [0, 3, 3] and reused[3] in (3, 7)


def test_a_prompt_that_is_the_one_before_or_shorter(packed: Packed) -> None:
    """The cache is cut back: the same prompt again, its beginning, and one that differs at once."""
    long = [*range(40), CLOSE]
    prompts = [long, long, [*range(10), CLOSE], long[:5], [50, *range(30), CLOSE], [CLOSE], long]
    options = SearchOptions(END, 5)
    decoder = packed(model_of("llama"), SOME_NAMES.trie, options)
    result = [finish(decoder, [Request("d", prompt, "A")])[0] for prompt in prompts]
    requests = [Request(index, prompt, "A") for index, prompt in enumerate(prompts)]
    expected = ReferenceDecoder(copy_of("llama"), SOME_NAMES.trie, options).generate(requests)
    compare(
        copy_of("llama"), SOME_NAMES, options, requests, expected, result, Differences()
    )  # fmt: skip
    assert decoder.stats.reused_tokens == 40 + 10 + 4 + 0 + 0 + 0


@pytest.mark.parametrize("name", ["llama", "mistral_sliding"])
def test_a_prompt_longer_than_a_chunk(
    name: str, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long prompts are fed in pieces, beside documents whose searches are under way."""
    for attribute in ("_CHUNK", "CHUNK"):
        monkeypatch.setattr(f"longbel_cli.model.decoders.packed.{attribute}", 16, raising=False)
    random = np.random.default_rng(3)
    requests = [
        Request(index, [*random.integers(0, 90, size).tolist(), CLOSE], "A")
        for index, size in enumerate((100, 3, 16, 15, 47))
    ]
    options = SearchOptions(END, 4)
    expected = ReferenceDecoder(copy_of(name), SOME_NAMES.trie, options).generate(requests)
    result = finish(packed(model_of(name), SOME_NAMES.trie, options), requests)
    compare(copy_of(name), SOME_NAMES, options, requests, expected, result, Differences())


def test_what_another_document_left_does_no_harm(packed: Packed) -> None:
    """Not even where its numbers overflowed."""
    options = SearchOptions(END, 5)
    requests = prompts_of(9, 4)
    expected = finish(packed(model_of("llama"), SOME_NAMES.trie, options), requests)
    decoder = packed(model_of("llama"), SOME_NAMES.trie, options)
    finish(decoder, requests)
    for request in requests:
        slot = decoder._slots[request.key]
        with torch.inference_mode():
            for values in values_of(decoder, slot):
                values[len(slot.ids) :] = torch.nan
        decoder.release(request.key)
    again = finish(decoder, [replace(request, key=request.key + 10) for request in requests])
    assert [[beam.rows for beam in beams] for beams in again] == [
        [beam.rows for beam in beams] for beams in expected
    ]
    assert all(0 < beam.score <= 1 for beams in again for beam in beams)


def values_of(decoder: PackedDecoder, slot: Any) -> list[Tensor]:
    """Of each layer and what else there is, with the slot's places first."""
    if isinstance(decoder._cache, KeyValuePool):
        locations = slice(slot.start, slot.start + slot.capacity)
        return [values[locations] for values in decoder._cache.values]
    return [slot.values.movedim(2, 0)]


def test_reset_forgets_what_was_under_way(packed: Packed) -> None:
    options = SearchOptions(END, 5)
    requests = prompts_of(8, 3)
    expected = finish(packed(model_of("llama"), SOME_NAMES.trie, options), requests)
    for decoder in (
        packed(model_of("llama"), SOME_NAMES.trie, options),
        ReferenceDecoder(copy_of("llama"), SOME_NAMES.trie, options),
    ):
        for request in prompts_of(9, 3):
            decoder.submit(request)
        decoder.step()
        decoder.submit(Request(77, [1, 2, CLOSE], "A"))
        decoder.reset()
        result = finish(decoder, requests)
        compare(
            copy_of("llama"), SOME_NAMES, options, requests, expected, result, Differences()
        )  # fmt: skip
