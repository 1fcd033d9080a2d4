"""The flat pool of keys and values, and attention in parts over it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longbel_cli.model.decoders import backends, flash
from longbel_cli.model.decoders.backends import backend_for, cascade
from longbel_cli.model.decoders.cascade import CascadeAttention
from longbel_cli.model.decoders.flash import CpuFlash, cuda_flash, largest_difference
from longbel_cli.model.decoders.masked import MaskedAttention
from longbel_cli.model.decoders.pool import KeyValuePool, Slot
from longbel_cli.model.decoders.row import Segment, Tree
from tests.support.emulated_flash import varlen
from tests.support.examples import some
from tests.support.tiny import tiny_model

SHAPE = (2, 3, 4)  # layers, kv heads, size


def fill(pool: KeyValuePool, slot: Slot, value: float) -> None:
    for tensor in (*pool.keys, *pool.values):
        tensor[slot.start : slot.start + slot.capacity] = value


def holds(pool: KeyValuePool, slot: Slot, locations: int, value: float) -> bool:
    return all(
        bool((tensor[slot.start : slot.start + locations] == value).all())
        for tensor in (*pool.keys, *pool.values)
    )


STEPS = st.tuples(st.sampled_from(["new", "new", "grow", "release"]), st.integers(1, 900))


@settings(max_examples=some(40), deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_slots_keep_what_they_hold_whatever_comes_and_goes(steps: list[tuple[str, int]]) -> None:
    pool = KeyValuePool(SHAPE, torch.empty(0))
    held: list[tuple[Slot, int, float]] = []  # with what was written, in how many places
    for index, (step, size) in enumerate(steps, start=1):
        if step == "new":
            slot = pool.slot(size)
            fill(pool, slot, index)
            held.append((slot, slot.capacity, index))
        elif held:
            slot, locations, value = held.pop(size % len(held))
            if step == "grow":
                pool.reserve(slot, slot.capacity + size)
                held.append((slot, locations, value))
            else:
                pool.release(slot)
        taken = sorted((slot.start, slot.start + slot.capacity) for slot, _, _ in held)
        assert all(stop <= start for (_, stop), (start, _) in pairwise(taken))
        assert all(start >= 0 and stop <= pool.places for start, stop in taken)
        assert all(holds(pool, slot, locations, value) for slot, locations, value in held)


def test_a_released_slot_goes_to_a_document_of_its_size_until_its_places_are_wanted() -> None:
    pool = KeyValuePool(SHAPE, torch.empty(0))
    slot = pool.slot(4000)
    slot.ids = [5, 6]
    pool.release(slot)
    assert pool.slot(3990) is slot and slot.ids == [5, 6]
    pool.release(slot)
    assert pool.slot(8000).start == 0 and pool.places == 8192
    assert pool.slot(3990) is not slot


def test_the_pool_grows_by_a_half_or_as_far_as_there_is_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = KeyValuePool(SHAPE, torch.empty(0))
    first = pool.slot(8000)
    fill(pool, first, 7)
    second = pool.slot(128 + 64)
    assert (first.start, second.start, pool.places) == (0, 8064, 12_288)
    empty, limit = Tensor.new_empty, 12_288 + 256

    def short_of_memory(self: Tensor, *size: int) -> Tensor:
        if size[0] > limit:
            raise torch.OutOfMemoryError
        return empty(self, *size)

    monkeypatch.setattr(Tensor, "new_empty", short_of_memory)
    third = pool.slot(pool.places - second.start - second.capacity + 200)
    assert pool.places == limit and third.start == second.start + second.capacity
    with pytest.raises(torch.OutOfMemoryError):
        pool.slot(1000)
    assert pool.places == limit and holds(pool, first, 8064, 7)
    pool.clear()
    assert pool.places == 0 and all(len(tensor) == 0 for tensor in (*pool.keys, *pool.values))


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> flash.CudaFlash:
    """The adapter of CUDA, over what its operator promises."""
    monkeypatch.setattr(flash, "_varlen", varlen)
    return flash.CudaFlash()


@pytest.mark.parametrize(("heads", "kv_heads", "size"), [(8, 2, 16), (3, 3, 64), (6, 1, 8)])
def test_flash_attention_on_a_cpu_is_plain_attention(heads: int, kv_heads: int, size: int) -> None:
    """Grouped heads, fewer queries than keys, documents that lie apart."""
    assert largest_difference(CpuFlash(), heads, kv_heads, size, torch.empty(0)) < 1e-5
    half = torch.empty(0, dtype=torch.bfloat16)
    assert largest_difference(CpuFlash(), heads, kv_heads, size, half) < 0.03


def test_the_adapter_of_cuda_is_tried_before_it_is_used(emulated: flash.CudaFlash) -> None:
    half = torch.empty(0, dtype=torch.bfloat16)
    assert isinstance(cuda_flash(8, 2, 16, half), flash.CudaFlash)
    with pytest.raises(ValueError, match="no float32"):
        cuda_flash(8, 2, 16, torch.empty(0))
    with pytest.raises(ValueError, match="larger than 256"):
        cuda_flash(8, 2, 512, half)


def test_an_operator_that_computes_something_else_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def aligned_at_the_start(*given: Any, causal: bool) -> tuple[Tensor, Tensor]:
        return varlen(*given, causal=False)

    monkeypatch.setattr(flash, "_varlen", aligned_at_the_start)
    with pytest.raises(ValueError, match="differs from plain attention by"):
        cuda_flash(8, 2, 16, torch.empty(0, dtype=torch.bfloat16))


def test_without_the_operator_there_is_a_note_and_another_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Here torch has the operator for CUDA alone."""
    model = tiny_model("llama", dtype="bfloat16")
    with pytest.raises(ValueError, match="this torch or card has none"):
        cuda_flash(4, 2, 8, torch.empty(0, dtype=torch.bfloat16))
    monkeypatch.setattr(type(model), "device", torch.device("meta"))
    caplog.set_level(logging.INFO, "longbel_cli")
    backends._note.cache_clear()  # it is told once a process
    assert isinstance(backend_for(model), MaskedAttention)
    assert "attention goes without FlashAttention" in caplog.text


@pytest.mark.parametrize(
    ("name", "changes", "full"),
    [
        ("llama", {}, True),
        ("qwen2", {"use_sliding_window": False}, True),
        ("qwen2", {"use_sliding_window": True, "max_window_layers": 1}, False),
        ("mistral", {"sliding_window": 4096}, False),
        ("mistral", {"sliding_window": None}, True),
    ],
)
def test_models_with_sliding_windows_go_another_way(
    name: str, changes: dict[str, Any], full: bool
) -> None:
    model = tiny_model(name, **changes)
    if full:
        assert isinstance(cascade(model), CascadeAttention)
    else:
        with pytest.raises(ValueError, match="sliding windows"):
            cascade(model)


def segments_of(caches: Sequence[Any], random: np.random.Generator) -> list[list[Segment]]:
    """The same segments over slots of each cache: prompts first, then trees."""
    result: list[list[Segment]] = [[] for _ in caches]
    start = 0
    for index in range(6):
        is_tree, location = index >= 3, int(random.integers(1, 200))
        n, old = int(random.integers(1, 12)), int(random.integers(0, 5)) if is_tree else 0
        seen = [1 << old + row | int(random.integers(1 << old + row)) for row in range(n)]
        tree = Tree(seen, range(old + n)) if is_tree else None
        for cache, segments in zip(caches, result, strict=True):
            slot = cache.slot(location + old + n)
            segments.append(Segment(slot, start, location + old, [0] * n, range(n), tree))
        start += n
    return result


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("adapter", ["cpu", "cuda, emulated"])
def test_attention_in_parts_is_attention_through_masks(
    adapter: str, kv_heads: int, emulated: flash.CudaFlash
) -> None:
    """With the same numbers in both caches, a mixed pass gives the same, up to rounding."""
    shape, like, random = (1, kv_heads, 8), torch.empty(0), np.random.default_rng(kv_heads)
    parts = CascadeAttention(
        shape, 4 // kv_heads, like, CpuFlash() if adapter == "cpu" else emulated
    )
    masks = MaskedAttention(shape, like, 0)
    theirs, ours = segments_of((masks.cache, parts.cache), random)
    for single, other in zip(theirs, ours, strict=True):
        for name in ("keys", "values"):
            drawn = torch.randn(kv_heads, single.end, 8)
            getattr(single.slot, name)[0, :, : single.end] = drawn
            pool = getattr(parts.cache, name)[0]
            pool[other.slot.start : other.slot.start + single.end] = drawn.transpose(0, 1)
    n = ours[-1].start + ours[-1].n
    query, (key, value) = torch.randn(4, n, 8), torch.randn(2, kv_heads, n, 8)
    results = []
    for backend, segments in ((masks, theirs), (parts, ours)):
        plan = backend.plan(segments)
        plan.receive({name: torch.from_numpy(array) for name, array in plan.arrays.items()})
        results.append(plan.attend(0, query, key, value, None, None))
    assert (results[0] - results[1]).abs().max() < 2e-6
