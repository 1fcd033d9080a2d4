"""Sliding windows that a model has in its masks, and those that it passes to its attention.

A mask says of two places whether one sees the other, so that it can be asked about places that no
short prompt has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

Mask = Callable[[Tensor, Tensor, Tensor, Tensor], Any]
"""Of batch, head, query and key: whether the query sees the key."""


@contextmanager
def masks_asked_for(attention: str, queries: int) -> Iterator[list[Mask]]:
    """The masks that models ask for within the block, for an attention that needs none; those of
    passes of so many tokens, which are a prompt from its start."""
    masks: list[Mask] = []

    def note(q_length: int, mask_function: Mask, **options: Any) -> None:
        if q_length == queries:
            masks.append(mask_function)

    known = ALL_MASK_ATTENTION_FUNCTIONS._global_mapping
    assert attention not in known
    ALL_MASK_ATTENTION_FUNCTIONS.register(attention, note)
    try:
        yield masks
    finally:
        del known[attention]


def windows_differ(
    masks: Sequence[Mask], reported: set[int | None], length: int, in_vain: bool
) -> bool:
    """Whether the masks of a model hide other keys than the windows that its attention was told,
    within so many places. Nothing is known of a model that asks for no mask.

    A mask without a window may be asked for in vain, where all layers have one; with `in_vain`
    so may any, as each layer says which it is for.
    """
    windows = [window for window in reported if window is not None]
    distances = {0, length - 1, *(1 << power for power in range(length.bit_length()))}
    distances |= {window - 1 for window in windows} | set(windows)
    # Seen from several places: chunks end where windows slide on.
    pairs = [
        (query, distance)
        for query in (length - 1, length - 2, length * 2 // 3)
        for distance in sorted(distances)
        if distance <= query
    ]
    asked = {tuple(_sees(mask, *pair) for pair in pairs) for mask in masks}
    applied = {
        tuple(window is None or distance < window for _, distance in pairs) for window in reported
    }
    unused = set() if in_vain else asked - applied - {(True,) * len(pairs)}
    return bool(masks) and not (applied <= asked and not unused)


def _sees(mask: Mask, query: int, distance: int) -> bool:
    tensors = (torch.tensor(index) for index in (0, 0, query, query - distance))
    return bool(mask(*tensors))
