"""Slots of the packed decoder: whose row is whose, what is kept, and when memory is given back."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch

from longbel_cli.model.decoders.row_pools import KeyValueCache, RowPool, Slot

SHAPE = (2, 3, 4)  # layers, kv heads, size


def cache(pool_tokens: int = 0) -> KeyValueCache:
    return KeyValueCache(SHAPE, torch.empty(0), pool_tokens)


def fill(slot: Slot, value: float) -> None:
    slot.keys.fill_(value)
    slot.values.fill_(-value)


@pytest.mark.parametrize(
    ("pool_tokens", "locations", "capacity", "rows"),
    [
        (0, 1, 128, 1),
        (0, 128, 128, 1),
        (0, 700, 768, 1),
        (0, 1500, 1536, 1),
        (4096, 1, 128, 8),
        (4096, 129, 256, 4),
        (4096, 257, 384, 2),
        (4096, 700, 768, 1),
        (4096, 5000, 6144, 1),
    ],
)
def test_sizes(pool_tokens: int, locations: int, capacity: int, rows: int) -> None:
    slot = cache(pool_tokens).slot(locations)
    assert (slot.capacity, slot.pool.rows) == (capacity, rows)
    assert slot.keys.shape == slot.values.shape == (2, 3, capacity, 4)
    assert not slot.keys.any() and not slot.values.any()


def test_capacities_waste_less_than_a_half() -> None:
    for locations in range(128, 5000, 37):
        capacity = KeyValueCache((1, 1, 1), torch.empty(0), 1 << 14).slot(locations).capacity
        assert locations <= capacity <= 1.5 * (locations + 127)


def test_row_pools_grow_with_what_is_wanted() -> None:
    """Never more than twice the rows in use, but for the first pool of a size."""
    shared = cache(4096)
    slots = [shared.slot(250) for _ in range(40)]
    assert [pool.rows for pool in shared.pools] == [4, 4, 8, 16, 16]
    assert len({(id(slot.pool), slot.row) for slot in slots}) == 40


def test_a_pool_is_as_large_as_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    make = RowPool.__init__

    def short_of_memory(self: RowPool, shape: Any, rows: int, *others: Any) -> None:
        asked.append(rows)
        if rows > limit:
            raise torch.OutOfMemoryError
        make(self, shape, rows, *others)

    monkeypatch.setattr(RowPool, "__init__", short_of_memory)
    shared, limit = cache(4096), 2
    assert shared.slot(100).pool.rows == 2 and asked == [8, 4, 2]
    limit = 0
    with pytest.raises(torch.OutOfMemoryError):
        shared.slot(1000)
    assert len(shared.pools) == 1


def test_slots_of_one_pool_are_rows_of_their_own() -> None:
    shared = cache(2048)
    slots = [shared.slot(100) for _ in range(4)]
    assert len({id(slot.pool) for slot in slots}) == 1
    assert sorted(slot.row for slot in slots) == [0, 1, 2, 3]
    for index, slot in enumerate(slots, start=1):
        fill(slot, index)
    for index, slot in enumerate(slots, start=1):
        assert (slot.pool.keys[:, slot.row] == index).all()
        assert (slot.pool.values[:, slot.row] == -index).all()
    assert shared.slot(100).pool is not slots[0].pool


@pytest.mark.parametrize("pool_tokens", [0, 1024])
def test_a_slot_that_grows_keeps_what_it_holds(pool_tokens: int) -> None:
    shared = cache(pool_tokens)
    slot, other = shared.slot(100), shared.slot(100)
    fill(slot, 7)
    fill(other, 9)
    slot.ids = [1, 2, 3]
    before = slot.pool
    shared.reserve(slot, 128)
    assert slot.pool is before
    shared.reserve(slot, 300)
    assert slot.capacity == 384 and slot.pool is not before and slot.ids == [1, 2, 3]
    assert (slot.keys[:, :, :128] == 7).all() and (slot.values[:, :, :128] == -7).all()
    assert not slot.keys[:, :, 128:].any()
    assert (other.keys == 9).all()


def test_a_row_that_was_left_is_given_to_the_next() -> None:
    shared = cache(1024)
    slots = [shared.slot(100) for _ in range(2)]
    pool, row = slots[0].pool, slots[0].row
    shared.reserve(slots[0], 200)
    again = shared.slot(100)
    assert again.pool is pool and again.row == row


def test_a_released_slot_goes_to_a_document_of_its_size() -> None:
    shared = cache(512)
    slot = shared.slot(100)
    slot.ids = [5, 6]
    shared.release(slot)
    assert shared.slot(90) is slot and slot.ids == [5, 6]
    assert shared.slot(90) is not slot


@pytest.mark.parametrize("pool_tokens", [0, 512])
def test_released_memory_goes_before_more_is_taken(
    pool_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = cache(pool_tokens)
    for _ in range(3):
        shared.release(shared.slot(100))  # one after the other: one slot
    assert len(shared.pools) == 1
    gone = [weakref.ref(pool) for pool in shared.pools]
    alive: list[bool] = []
    make = RowPool.__init__

    def watched(self: RowPool, *given: Any) -> None:
        alive.append(any(pool() is not None for pool in gone))
        make(self, *given)

    monkeypatch.setattr(RowPool, "__init__", watched)
    shared.slot(1000)
    assert [pool.capacity for pool in shared.pools] == [1024]
    assert alive == [False]


def test_a_pool_with_a_document_stays() -> None:
    shared = cache(2048)
    kept, gone = shared.slot(100), shared.slot(100)
    shared.release(gone)
    shared.slot(1000)
    assert kept.pool in shared.pools and len(kept.pool.free) == 3


def test_a_slot_holds_zeros_beyond_its_prompt() -> None:
    shared = cache(2048)
    slot, _ = shared.slot(100), shared.slot(100)
    fill(slot, torch.nan)
    slot.ids = [5, 6]
    shared.release(slot)
    again = shared.slot(100)
    assert again is slot and again.keys[:, :, :2].isnan().all()
    assert not again.keys[:, :, 2:].any() and not again.values[:, :, 2:].any()
    row, pool = again.row, again.pool
    fill(again, torch.nan)
    shared.reserve(again, 200)
    other = next(each for each in (shared.slot(100) for _ in range(4)) if each.row == row)
    assert other.pool is pool and not other.keys.any() and not other.values.any()


def test_clearing_forgets_all() -> None:
    shared = cache(512)
    slot = shared.slot(100)
    shared.release(slot)
    shared.clear()
    assert not shared.pools and shared.slot(100) is not slot
