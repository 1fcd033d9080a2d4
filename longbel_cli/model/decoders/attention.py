"""Attention of a packed row: new tokens of many documents over each one's own keys and values.

Registered with `transformers` as an attention of its own. What a token may see is not a mask over
all documents but the business of its segment; how that is computed is the business of a backend:
`masked` computes everything that has a mask, on any device, and is the oracle; `cascade` computes
full attention through FlashAttention, in as many kernels for a hundred documents as for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy.typing as npt
from torch import Tensor, nn
from transformers import AttentionInterface

from kb_builder.errors import LongbelError
from longbel_cli.model.decoders.row import Segment

ATTENTION = "longbel_packed"


class Cache(Protocol):
    """Keys and values of the documents under way, each document's in a slot of its own."""

    def slot(self, tokens: int) -> Any:
        """A slot for a new document, which may hold the beginning of a released one's prompt: its
        `ids` say which."""

    def reserve(self, slot: Any, tokens: int) -> None:
        """Make room for `places` tokens, keeping what is there."""

    def release(self, slot: Any) -> None:
        """Keep the slot for a document to come, until memory is wanted."""

    def clear(self) -> None:
        """Forget everything; slots that were given are not to be used any more."""


class PassAttention(Protocol):
    """The attention of one pass. Its `arrays` travel to the device with all else of the pass."""

    @property
    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """What is to be on the device before the first layer."""

    def receive(self, arrays: Mapping[str, Tensor]) -> None:
        """The same arrays, on the device."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None,
        window: int | None,
    ) -> Tensor:  # fmt: skip
        """Write keys and values (kv heads, N, size) of the row's tokens to their slots; what its
        queries (heads, N, size) find, (N, heads, size)."""


class AttentionBackend(Protocol):
    """A way to compute attention, and the cache that goes with it."""

    @property
    def name(self) -> str:
        """What a run calls it: numbers differ between ways in their last bits."""

    @property
    def cache(self) -> Cache:
        """Its keys and values."""

    @property
    def spare(self) -> float:
        """How many times the memory of the tokens in flight the cache may take."""

    def order(self, slot: Any, is_tree: bool) -> tuple[int, ...]:
        """What the segments of a pass are sorted by; equal ones stay as they are."""

    def plan(self, segments: Sequence[Segment]) -> PassAttention:
        """The attention of a pass over these segments."""


_pass: ContextVar[PassAttention] = ContextVar("pass")
_windows: ContextVar[set[int | None] | None] = ContextVar("windows", default=None)


@contextmanager
def attention_of(plan: PassAttention) -> Iterator[None]:
    """Within, the model's one row is attended to as planned."""
    token = _pass.set(plan)
    try:
        yield
    finally:
        _pass.reset(token)


@contextmanager
def windows_passed() -> Iterator[set[int | None]]:
    """The sliding windows that layers pass to their attention within the block, None for a layer
    without one."""
    windows: set[int | None] = set()
    token = _windows.set(windows)
    try:
        yield windows
    finally:
        _windows.reset(token)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of the packed row: query (1, heads, N, size), key and value (1, kv heads, N,
    size) of the new tokens alone. Returns (1, N, heads, size)."""
    for name in ("softcap", "s_aux", "head_mask"):
        if options.get(name) is not None:
            raise LongbelError(
                f"this model's attention uses {name}, which the packed decoder does not compute",
                "Use --decoder reference.",
            )
    _check_window(module, sliding_window)
    windows = _windows.get()
    if windows is not None:
        windows.add(sliding_window)
    layer: int = module.layer_idx  # type: ignore[assignment]  # every attention module has it
    output = _pass.get().attend(layer, query[0], key[0], value[0], scaling, sliding_window)
    return output[None], None


AttentionInterface.register(ATTENTION, _attend)


def _check_window(module: nn.Module, sliding_window: int | None) -> None:
    """Refuse a layer that is windowed by its configuration but does not say so here."""
    config = getattr(module, "config", None)
    kinds = getattr(config, "layer_types", None)
    layer = getattr(module, "layer_idx", None)
    if kinds and layer is not None and sliding_window is None and "sliding" in kinds[layer]:
        raise LongbelError(
            "this model does not pass its sliding window to its attention",
            "Use --decoder reference.",
        )
