"""Exact beam search for many documents at once: the fast decoder.

Every forward pass packs the tokens of all documents under way into one row: the new part of
prompts (what a document's previous prompt does not share), and the search trees of mentions
whose prompts are in the cache. Linear layers therefore see no padding, and each document's keys
and values lie once in a slot of its own, prompt first, then the tree of its current mention.
Beams are branches of that tree: a token sees the prompt and its own ancestors, so no cache is
ever copied or reordered. One result a forward pass travels to the host: the log-probabilities
of the trie's moves, from which `BeamSearch` decides what is fed next.

Works with every decoder-only model of `transformers` whose attention goes through its attention
interface. Sliding windows are applied; soft-capping and attention sinks are refused.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from kb_builder.errors import LongbelError
from kb_builder.trie import Trie
from longbel_cli.decoders import Beam, DecodeStats, OutOfMemoryError, Request
from longbel_cli.decoders.search import BeamSearch, Path, SearchOptions, best_moves
from longbel_cli.decoders.spaces import Spaces

ATTENTION = "longbel_packed"
_WIDE = 512  # moves of a path from which their best are chosen on the device
_CHUNK = 2048  # prompt tokens of one document in one forward pass
_LAYERS = {"full_attention", "sliding_attention"}
_ROTARY_BY_LENGTH = {"dynamic", "longrope"}
_QUERY_BLOCK = 128  # prompt tokens whose attention is computed together
_SPARE_PER_BEAM = 12  # places for the search tree that a new slot has beyond its prompt


@contextmanager
def _telling_lack_of_memory() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError from error


class _Slot:
    """One document's keys and values, each (layers, kv heads, capacity, head size)."""

    def __init__(self, shape: tuple[int, int, int], like: Tensor) -> None:
        self._shape, self._like = shape, like
        self.ids: list[int] = []
        self.capacity = 0
        self.keys = self.values = like.new_empty(0)

    def reserve(self, places: int) -> None:
        """Make room for `places` tokens, keeping what is there."""
        if places <= self.capacity:
            return
        layers, heads, size = self._shape
        capacity = _capacity(places)
        keys, values = (self._like.new_zeros(layers, heads, capacity, size) for _ in range(2))
        if self.capacity:
            keys[:, :, : self.capacity] = self.keys
            values[:, :, : self.capacity] = self.values
        self.keys, self.values, self.capacity = keys, values, capacity


class _Block(NamedTuple):
    """Queries `[first, last)` of a segment, which see the first `keys` places through `bias`
    (groups * (last - first), keys): 0 where a key is seen, minus infinity elsewhere."""

    first: int
    last: int
    keys: int
    bias: Tensor


@dataclass
class _Segment:
    """Tokens of one document in a packed forward pass.

    They stand at `[start, start + n)` of the packed row and are written to the slot from `place`
    on. Of the places before and of their own they see `visible` (n, place + n); None: all up to
    themselves. Positions are rotary positions, which differ from places inside a search tree.
    """

    slot: _Slot
    start: int
    place: int
    ids: list[int]
    positions: list[int]
    visible: Tensor | None
    key_positions: Tensor
    _blocks: dict[tuple[int, int | None], list[_Block]] = field(default_factory=dict)

    def blocks(self, groups: int, window: int | None, dtype: torch.dtype) -> list[_Block]:
        """The queries in blocks, each with the keys that it needs, within a sliding window.

        A prompt's early tokens see few keys: cut into blocks, the later ones are not computed.
        """
        if (groups, window) not in self._blocks:
            n = len(self.ids)
            size = n if self.visible is not None else _QUERY_BLOCK
            self._blocks[groups, window] = [
                self._block(first, min(first + size, n), groups, window, dtype)
                for first in range(0, n, size)
            ]
        return self._blocks[groups, window]

    def _block(
        self, first: int, last: int, groups: int, window: int | None, dtype: torch.dtype
    ) -> _Block:
        keys, device = self.place + last, self.key_positions.device
        if self.visible is None:
            seen = torch.ones(last - first, keys, dtype=torch.bool, device=device)
            seen = seen.tril(self.place + first)
        else:
            seen = self.visible
        if window is not None:
            queries = self.key_positions[self.place + first : keys]
            seen = seen & (queries[:, None] - self.key_positions[None, :keys] < window)
        bias = torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, -torch.inf)
        return _Block(first, last, keys, bias.repeat(groups, 1))


_segments: ContextVar[Sequence[_Segment]] = ContextVar("segments")


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
    """Attention of packed segments: query (1, heads, N, size), key and value (1, kv heads, N,
    size) of the new tokens alone. Returns (1, N, heads, size)."""
    for name in ("softcap", "s_aux", "head_mask"):
        if options.get(name) is not None:
            raise LongbelError(
                f"this model's attention uses {name}, which the packed decoder does not compute",
                "Use --decoder reference.",
            )
    _check_window(module, sliding_window)
    layer: int = module.layer_idx  # type: ignore[assignment]  # every attention module has it
    heads, kv_heads, size = query.shape[1], key.shape[1], query.shape[3]
    groups = heads // kv_heads
    output = query.new_empty(query.shape[2], heads, value.shape[3])
    for segment in _segments.get():
        n, place, slot = len(segment.ids), segment.place, segment.slot
        packed = slice(segment.start, segment.start + n)
        slot.keys[layer, :, place : place + n] = key[0, :, packed]
        slot.values[layer, :, place : place + n] = value[0, :, packed]
        for block in segment.blocks(groups, sliding_window, query.dtype):
            rows = slice(segment.start + block.first, segment.start + block.last)
            # Query heads of one key head are folded into the query axis, so that keys and
            # values are read in place and never repeated.
            folded = query[0, :, rows].reshape(1, kv_heads, len(block.bias), size)
            attended = nn.functional.scaled_dot_product_attention(
                folded,
                slot.keys[layer, None, :, : block.keys],
                slot.values[layer, None, :, : block.keys],
                attn_mask=block.bias,
                scale=scaling,
            )
            output[rows] = attended.view(heads, block.last - block.first, -1).transpose(0, 1)
    return output[None], None


AttentionInterface.register(ATTENTION, _attend)


def _check_window(module: nn.Module, sliding_window: int | None) -> None:
    """Refuse a layer that is windowed by its configuration but does not say so here."""
    config = getattr(module, "config", None)
    kinds = getattr(config, "layer_types", None)
    layer = getattr(module, "layer_idx", None)
    if kinds and layer is not None and sliding_window is None and "sliding" in kinds[layer]:
        raise LongbelError(
            "this model's sliding window is not told to its attention", "Use --decoder reference."
        )


class _Job:
    """A request under way: first its prompt is fed, in chunks, then its search tree."""

    def __init__(self, request: Request, slot: _Slot, search: BeamSearch) -> None:
        self.request, self.slot, self.search = request, slot, search
        ids = request.prompt_ids
        self.fed = min(_common_prefix(slot.ids, ids), len(ids) - 1)
        self.reused = self.fed
        slot.ids = slot.ids[: self.fed]
        self.tree_size = 0
        self.tree_positions: list[int] = []

    @property
    def prompt_fed(self) -> bool:
        return self.fed == len(self.request.prompt_ids)


class PackedDecoder:
    """The fast decoder; gives the beams of `ReferenceDecoder`."""

    def __init__(self, model: PreTrainedModel, trie: Trie, options: SearchOptions) -> None:
        _check_model(model)
        self._model, self._spaces, self._options = model, Spaces(trie), options
        self._device = model.device
        self._slots: dict[Hashable, _Slot] = {}
        self._released: list[_Slot] = []
        self._jobs: list[_Job] = []
        self._wide_tokens: dict[tuple[int, int], Tensor] = {}
        self.stats = DecodeStats()
        model.set_attn_implementation(ATTENTION)
        model.eval()

    @cached_property
    def _slot_shape(self) -> tuple[int, int, int]:
        config = self._model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return config.num_hidden_layers, heads, size

    @property
    def bytes_per_token(self) -> int:
        """Cache memory of one token."""
        layers, heads, size = self._slot_shape
        return 2 * layers * heads * size * self._model.dtype.itemsize

    @_telling_lack_of_memory()
    def submit(self, request: Request) -> None:
        places = len(request.prompt_ids) + _SPARE_PER_BEAM * self._options.n_beams
        if request.key not in self._slots:
            self._slots[request.key] = self._free_slot(places)
        slot = self._slots[request.key]
        slot.reserve(places)
        names, root = self._spaces.of(request.semantic_group)
        job = _Job(request, slot, BeamSearch(names, root, self._options))
        self.stats.reused_tokens += job.reused
        self._jobs.append(job)

    def release(self, key: Hashable) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._released.append(slot)

    def reset(self) -> None:
        self._jobs.clear()
        self._slots.clear()
        self._released.clear()

    def _free_slot(self, places: int) -> _Slot:
        """A slot for a new document: a released one of just that size, whose prompt began alike,
        or a new one. Released slots go before memory is taken, so they never add to the peak."""
        for number, slot in enumerate(self._released):
            if slot.capacity == _capacity(places):
                return self._released.pop(number)
        self._released.clear()
        return _Slot(self._slot_shape, torch.empty(0, dtype=self._model.dtype, device=self._device))

    @_telling_lack_of_memory()
    @torch.inference_mode()
    def step(self) -> list[tuple[Hashable, list[Beam]]]:
        """One forward pass over everything that is ready."""
        segments: list[_Segment] = []
        scored: list[tuple[_Job, Path, int]] = []  # whose moves are scored at which packed token
        start = 0
        for job in self._jobs:
            if job.prompt_fed:
                segment, paths = self._tree_segment(job, start)
                scored += [(job, path, start + number) for number, path in enumerate(paths)]
            else:
                segment = self._prompt_segment(job, start)
                if job.prompt_fed:
                    scored.append((job, job.search.root, start + len(segment.ids) - 1))
            segments.append(segment)
            start += len(segment.ids)
        moving = time.perf_counter()
        for job, path, _ in scored:
            job.search.moves(path)
        modelling = time.perf_counter()
        logits = self._forward(segments, [row for _, _, row in scored])
        results = self._logprobs(logits, scored)
        feeding = time.perf_counter()
        for (job, path, _), (logprobs, chosen) in zip(scored, results, strict=True):
            job.search.feed(path, logprobs, chosen)
        for job in self._jobs:
            if job.prompt_fed:
                job.search.advance()
        finished = [job for job in self._jobs if job.search.done]
        self._jobs = [job for job in self._jobs if not job.search.done]
        ended = time.perf_counter()
        self.stats.mentions += len(finished)
        self.stats.forwards += 1
        self.stats.seconds_trie += modelling - moving + ended - feeding
        self.stats.seconds_model += feeding - modelling
        return [(job.request.key, job.search.beams()) for job in finished]

    def _prompt_segment(self, job: _Job, start: int) -> _Segment:
        """The next chunk of a prompt; each token sees all before it."""
        place = job.fed
        ids = job.request.prompt_ids[place : place + _CHUNK]
        n = len(ids)
        job.fed += n
        job.slot.ids += ids
        self.stats.prefill_tokens += n
        keys = torch.arange(place + n, device=self._device)
        return _Segment(job.slot, start, place, ids, list(range(place, place + n)), None, keys)

    def _tree_segment(self, job: _Job, start: int) -> tuple[_Segment, list[Path]]:
        """The wanted paths of a search; each sees the prompt and its ancestors."""
        paths = job.search.wanted(self._options.looks_ahead(len(self._jobs)))
        prompt, old = job.fed, job.tree_size
        positions = [prompt + path.depth - 1 for path in paths]
        for number, path in enumerate(paths):
            path.place = old + number
        job.tree_size += len(paths)
        job.tree_positions += positions
        job.slot.reserve(prompt + job.tree_size)
        visible = np.zeros((len(paths), prompt + job.tree_size), dtype=bool)
        visible[:, :prompt] = True
        for number, path in enumerate(paths):
            visible[number, [prompt + place for place in path.ancestors()]] = True
        keys = np.concatenate([np.arange(prompt), np.array(job.tree_positions)])
        self.stats.tree_tokens += len(paths)
        self.stats.forced_tokens += sum(path.forced for path in paths)
        self.stats.decode_forwards += 1
        segment = _Segment(
            job.slot,
            start,
            prompt + old,
            [path.token for path in paths],
            positions,
            torch.from_numpy(visible).to(self._device),
            torch.from_numpy(keys).to(self._device),
        )
        return segment, paths

    def _forward(self, segments: Sequence[_Segment], rows: Sequence[int]) -> Tensor:
        """Float32 logits (len(rows), vocabulary) at the packed tokens `rows`."""
        ids = [token for segment in segments for token in segment.ids]
        positions = [position for segment in segments for position in segment.positions]
        token = _segments.set(segments)
        try:
            output = self._model(
                input_ids=torch.tensor([ids], device=self._device),
                position_ids=torch.tensor([positions], device=self._device),
                use_cache=False,
                logits_to_keep=torch.tensor(rows, dtype=torch.long, device=self._device),
            )
        finally:
            _segments.reset(token)
        return output.logits[0].float()

    def _logprobs(
        self, logits: Tensor, scored: Sequence[tuple[_Job, Path, int]]
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """For each scored path the log-probabilities of its moves, or of its best moves and
        their numbers where the moves are many."""
        results: list[tuple[np.ndarray, np.ndarray | None] | None] = [None] * len(scored)
        if not scored:
            return []
        totals = logits.logsumexp(-1)
        narrow: list[tuple[int, np.ndarray]] = []
        for number, (job, path, _) in enumerate(scored):
            tokens = job.search.moves(path).tokens
            if len(tokens) < _WIDE:
                narrow.append((number, tokens))
                continue
            allowed = self._tokens_on_device(job.search, path.node, tokens)
            results[number] = self._best_of(logits[number, allowed] - totals[number], tokens)
        if narrow:
            counts = [len(tokens) for _, tokens in narrow]
            rows = torch.from_numpy(np.repeat([number for number, _ in narrow], counts))
            columns = torch.from_numpy(np.concatenate([tokens for _, tokens in narrow]))
            rows, columns = rows.to(self._device), columns.to(self._device)
            gathered = (logits[rows, columns] - totals[rows]).cpu().numpy()
            for (number, _), piece in zip(
                narrow, np.split(gathered, np.cumsum(counts)[:-1]), strict=True
            ):
                results[number] = (piece, None)
        return [result for result in results if result is not None]

    def _best_of(self, logprobs: Tensor, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The best 2 x beams of many moves, chosen on the device, and their numbers."""
        keep = 2 * self._options.n_beams
        best = logprobs.topk(keep + 1)
        values, chosen = best.values.cpu().numpy(), best.indices.cpu().numpy()
        if values[keep - 1] == values[keep]:  # equals on both sides of the cut: tokens decide
            chosen = best_moves(logprobs.cpu().numpy(), tokens, keep)
        return values[:keep], chosen[:keep]

    def _tokens_on_device(self, search: BeamSearch, node: int, tokens: np.ndarray) -> Tensor:
        key = id(search.names), node  # the names outlive this decoder
        if key not in self._wide_tokens:
            self._wide_tokens[key] = torch.from_numpy(tokens).to(self._device)
        return self._wide_tokens[key]


def _capacity(places: int) -> int:
    return -(-places // 128) * 128


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many leading ids two prompts share."""
    length = min(len(left), len(right))
    different = np.flatnonzero(np.array(left[:length]) != np.array(right[:length]))
    return int(different[0]) if len(different) else length


def _check_model(model: PreTrainedModel) -> None:
    """Refuse what the packed row would get wrong without an error."""
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ())
    rotary = getattr(config, "rope_parameters", None) or {}
    kinds = {part.get("rope_type") for part in (rotary, *rotary.values()) if isinstance(part, dict)}
    if not getattr(model, "_supports_attention_backend", False):
        reason = "does not go through the attention interface, as the packed decoder needs it"
    elif getattr(model, "_is_stateful", False) or layers - _LAYERS:
        reason = "has layers beside attention, in which the packed decoder would mix documents"
    elif kinds & _ROTARY_BY_LENGTH:
        reason = "has rotary positions that depend on the longest prompt of the packed decoder"
    else:
        return
    raise LongbelError(f"{type(model).__name__} {reason}", "Use --decoder reference.")
