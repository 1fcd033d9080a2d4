"""Exact beam search for many documents at once: the fast decoder.

Every forward pass packs the tokens of all documents under way into one row: the new part of
prompts (what a document's previous prompt does not share), and the search trees of mentions
whose prompts are in the cache. Linear layers therefore see no padding, and each document's keys
and values lie once in a slot of its own, prompt first, then the tree of its current mention.
Beams are branches of that tree: a token sees the prompt and its own ancestors, so no cache is
ever copied or reordered. What travels to the host after a forward pass are the log-probabilities
of the trie's moves, of many moves the best, from which `BeamSearch` decides what is fed next.

With two halves, documents are shared out between two rows that take turns: while the device
computes one, the host decides the other. Who is in which half follows from what was submitted and
released before, never from time.

Works with every decoder-only model of `transformers` whose attention goes through its attention
interface. Sliding windows are applied; soft-capping and attention sinks are refused.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from kb_builder.errors import LongbelError
from kb_builder.trie.trie import Trie
from longbel_cli.model.decoders import Beam, DecodeStats, OutOfMemoryError, Request
from longbel_cli.model.decoders.attention import ATTENTION, AttentionBackend, attention_of
from longbel_cli.model.decoders.backends import backend_for, key_value_shape, passes_over
from longbel_cli.model.decoders.norms import fuse_norms
from longbel_cli.model.decoders.row import Segment, Tree
from longbel_cli.model.decoders.scopes import Scopes
from longbel_cli.model.decoders.scoring import Scoring, WideMoves
from longbel_cli.model.decoders.search import BeamSearch, MoveTable, SearchOptions, Stretch
from longbel_cli.model.decoders.staging import Returning, sent

_CHUNK = 2048  # prompt tokens of one document in one forward pass
_LAYERS = {"full_attention", "sliding_attention"}
_ROTARY_BY_LENGTH = {"dynamic", "longrope"}
_HALF = (
    8  # documents of the first half before there is a second: small passes cost as much as large
)
_COMPARED = 256  # ids of two prompts at a time
_SPARE_PER_BEAM = 12  # places for the search tree that a new slot has beyond its prompt


@contextmanager
def _explaining_lack_of_memory() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError from error


class _Job:
    """A request under way: first its prompt is fed, in chunks, then its search tree."""

    def __init__(self, request: Request, slot: Any, search: BeamSearch, half: int) -> None:
        self.request, self.slot, self.search, self.half = request, slot, search, half
        ids = request.prompt_ids
        self.fed = min(_common_prefix(slot.ids, ids), len(ids) - 1)
        self.reused = self.fed
        slot.ids = slot.ids[: self.fed]
        self.tree_positions: list[int] = []

    @property
    def prompt_fed(self) -> bool:
        return self.fed == len(self.request.prompt_ids)


class _Feed(NamedTuple):
    """What a job feeds in a pass: tokens that are written from `offset` on, and of which of them
    the log-probabilities of what follows are needed."""

    job: _Job
    offset: int
    ids: list[int]
    positions: Sequence[int]
    tree: Tree | None
    stretches: Sequence[Stretch]


@dataclass
class _Flight:
    """A pass that the device computes: whose it is, and what will come of it."""

    jobs: list[_Job]
    scoring: Scoring
    results: Returning


class PackedDecoder:
    """The fast decoder; gives the beams of `ReferenceDecoder`. `backend` computes the attention
    (None: what suits the model and its device); `halves` (1 or 2) rows take turns. `max_active` is
    how many documents keep the device at work, if that is known."""

    def __init__(
        self,
        model: PreTrainedModel,
        trie: Trie,
        options: SearchOptions,
        backend: AttentionBackend | None = None,
        halves: int = 1,
        max_active: int | None = None,
    ) -> None:
        _check_model(model)
        self._model, self._scopes, self._options = model, Scopes(trie), options
        self._device, self.max_active = model.device, max_active
        self._backend = backend or backend_for(model)
        self._cache = self._backend.cache
        self._slots: dict[Hashable, Any] = {}
        self._halves, self._half_of = halves, dict[Hashable, int]()
        self._in_half = [0, 0]  # documents of each
        self._turn = 0
        self._flight: _Flight | None = None
        self._jobs: list[_Job] = []
        self._tables: dict[str, MoveTable] = {}
        self._wide = WideMoves(self._device)
        self.stats = DecodeStats()
        model.set_attn_implementation(ATTENTION)
        model.eval()
        fuse_norms(model)

    @property
    def attention(self) -> str:
        """The way that attention is computed."""
        return self._backend.name

    @property
    def bytes_per_token(self) -> int:
        """Cache memory of one token, with what stands empty."""
        layers, heads, size = key_value_shape(self._model)
        exact = 2 * layers * heads * size * self._model.dtype.itemsize
        return int(self._backend.spare * exact)

    @_explaining_lack_of_memory()
    @torch.inference_mode()
    def submit(self, request: Request) -> None:
        spare = _SPARE_PER_BEAM * self._options.n_beams
        tokens = len(request.prompt_ids) + spare
        if request.key not in self._slots:
            self._slots[request.key] = self._cache.slot(max(tokens, request.longest + spare))
            half = self._half_of[request.key] = self._smaller_half()
            self._in_half[half] += 1
        slot = self._slots[request.key]
        self._cache.reserve(slot, tokens)
        search = BeamSearch(self._table(request.semantic_group))
        job = _Job(request, slot, search, self._half_of[request.key])
        self.stats.reused_tokens += job.reused
        self._jobs.append(job)

    def _table(self, semantic_group: str) -> MoveTable:
        if semantic_group not in self._tables:
            names, root = self._scopes.of(semantic_group)
            self._tables[semantic_group] = MoveTable(names, root, self._options)
        return self._tables[semantic_group]

    def _smaller_half(self) -> int:
        first, second = self._in_half
        return int(self._halves == 2 and first >= _HALF and second < first)

    def release(self, key: Hashable) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._in_half[self._half_of.pop(key)] -= 1
            self._cache.release(slot)

    @_explaining_lack_of_memory()
    @torch.inference_mode()
    def logits(self, ids: Sequence[int], n_branch: int) -> torch.Tensor:
        """(n_branch + 1, vocabulary): what the model says after the last tokens of `ids`, of which
        `n_branch` are fed as a branch of a search tree, beside another branch that they do not see.
        For a decoder with nothing under way; leaves no trace."""
        n = len(ids) - n_branch
        slot = self._cache.slot(n + 2 * n_branch)
        prompt = Segment(slot, 0, 0, ids[:n], range(n))
        # The other branch is the same tokens backwards; its places come first, one by one.
        both = [token for pair in zip(ids[n:][::-1], ids[n:], strict=True) for token in pair]
        positions = [n + index // 2 for index in range(2 * n_branch)]
        alternate = sum(1 << index for index in range(0, 2 * n_branch, 2))
        seen = [(alternate << index % 2) & ((2 << index) - 1) for index in range(2 * n_branch)]
        branches = Segment(slot, 0, n, both, positions, Tree(seen, positions))
        try:
            of_prompt = self._logits_of(prompt, [n - 1])
            return torch.cat([of_prompt, self._logits_of(branches, range(1, 2 * n_branch, 2))])
        finally:
            self._cache.clear()

    def _logits_of(self, segment: Segment, rows: Sequence[int]) -> torch.Tensor:
        """(rows, vocabulary) of a pass that consists of one segment."""
        plan = self._backend.plan([segment])
        arrays = {
            "ids": np.array([segment.ids]),
            "positions": np.array([segment.positions]),
            "scored": np.array(rows, np.int64),
            **plan.arrays,
        }
        on_device = sent(arrays, self._device)
        plan.receive(on_device)
        with attention_of(plan):
            output = self._model(
                input_ids=on_device["ids"],
                position_ids=on_device["positions"],
                use_cache=False,
                logits_to_keep=on_device["scored"],
            )
        logits: torch.Tensor = output.logits[0]
        return logits

    def reset(self) -> None:
        self._jobs.clear()
        self._slots.clear()
        self._half_of.clear()
        self._in_half = [0, 0]
        self._turn, self._flight = 0, None
        self._cache.clear()

    @_explaining_lack_of_memory()
    @torch.inference_mode()
    def step(self) -> list[tuple[Hashable, list[Beam]]]:
        """One forward pass over everything that is ready; of halves, one is begun and the other
        decided."""
        jobs = [job for job in self._jobs if job.half == self._turn]
        begun = self._launched(jobs) if jobs else None
        if self._halves == 1:
            return self._settled(begun)
        self._turn = 1 - self._turn
        before, self._flight = self._flight, begun
        return self._settled(before)

    def _launched(self, jobs: list[_Job]) -> _Flight:
        """A forward pass begun over what these jobs are ready for."""
        building = time.perf_counter()
        scoring = Scoring(self._options.n_beams, self._wide)
        segments, scored = self._row(jobs, scoring)
        plan = self._backend.plan(segments)
        arrays = {
            "ids": _joined(segment.ids for segment in segments),
            "positions": _joined(segment.positions for segment in segments),
            "scored": np.array(scored, np.int64),
            **scoring.arrays(),
            **plan.arrays,
        }
        modelling = time.perf_counter()
        on_device = sent(arrays, self._device)
        plan.receive(on_device)
        with attention_of(plan):
            output = self._model(
                input_ids=on_device["ids"],
                position_ids=on_device["positions"],
                use_cache=False,
                logits_to_keep=on_device["scored"],
            )
        results = Returning(scoring.computed(output.logits[0], on_device))
        self.stats.forwards += 1
        self.stats.seconds_trie += modelling - building
        self.stats.seconds_model += time.perf_counter() - modelling
        return _Flight(jobs, scoring, results)

    def _row(self, jobs: Sequence[_Job], scoring: Scoring) -> tuple[list[Segment], list[int]]:
        """The segments of a pass in the order that the attention wants, and the packed tokens
        whose logits are needed."""
        look_ahead = self._options.looks_ahead(len(jobs))
        feeds = [
            self._tree(job, look_ahead) if job.prompt_fed else self._prompt(job) for job in jobs
        ]
        feeds.sort(key=lambda feed: self._backend.order(feed.job.slot, feed.tree is not None))
        segments: list[Segment] = []
        scored: list[int] = []
        start = 0
        for job, offset, ids, positions, tree, stretches in feeds:
            row = len(scored)
            for stretch in stretches:
                scoring.add(job.search, stretch, row)
                row += stretch.last - stretch.first
            stop = start + len(ids)
            scored.extend(range(stop - (row - len(scored)), stop))
            segments.append(Segment(job.slot, start, offset, ids, positions, tree))
            start = stop
        return segments, scored

    def _settled(self, flight: _Flight | None) -> list[tuple[Hashable, list[Beam]]]:
        """What a pass has finished; its jobs are ready for another."""
        if flight is None:
            return []
        waiting = time.perf_counter()
        results = flight.results.arrays()
        feeding = time.perf_counter()
        flight.scoring.deliver(results)
        for job in flight.jobs:
            if job.prompt_fed:
                job.search.advance()
        finished = [job for job in flight.jobs if job.search.done]
        self._jobs = [job for job in self._jobs if not job.search.done]
        self.stats.mentions += len(finished)
        self.stats.seconds_model += feeding - waiting
        self.stats.seconds_trie += time.perf_counter() - feeding
        return [(job.request.key, job.search.beams()) for job in finished]

    def _prompt(self, job: _Job) -> _Feed:
        """The next chunk of a prompt; each token sees all before it."""
        offset = job.fed
        ids = job.request.prompt_ids[offset : offset + _CHUNK]
        job.fed += len(ids)
        job.slot.ids += ids
        self.stats.prefill_tokens += len(ids)
        scored = [job.search.prompt_end] if job.prompt_fed else []
        return _Feed(job, offset, ids, range(offset, job.fed), None, scored)

    def _tree(self, job: _Job, look_ahead: bool) -> _Feed:
        """What a search wants fed; each token sees the prompt and its ancestors."""
        stretches = job.search.wanted(look_ahead)
        old = size = len(job.tree_positions)
        ids: list[int] = []
        seen: list[int] = []
        for branch, first, last in stretches:
            ids += branch.tokens[first:last]
            at = job.fed + branch.depth - 1
            job.tree_positions.extend(range(at + first, at + last))
            visible = branch.seen if first or branch.parent is None else branch.parent.seen
            for _ in range(first, last):
                visible |= 1 << size
                seen.append(visible)
                size += 1
            branch.seen = visible
            self.stats.forced_tokens += last - max(first, 1)
        self._cache.reserve(job.slot, job.fed + size)
        self.stats.tree_tokens += len(ids)
        self.stats.decode_forwards += 1
        tree = Tree(seen, job.tree_positions)
        return _Feed(job, job.fed + old, ids, job.tree_positions[old:], tree, stretches)


def packed_decoder(model: PreTrainedModel, trie: Trie, options: SearchOptions) -> PackedDecoder:
    """The packed decoder with the attention and the passes that suit the model and its device,
    whatever `options` say of look-ahead."""
    _check_model(model)
    backend = backend_for(model)
    passes = passes_over(backend, model.device)
    options = replace(
        options, lookahead=passes.lookahead, lookahead_searches=passes.lookahead_searches
    )
    return PackedDecoder(model, trie, options, backend, passes.halves, passes.max_active)


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many leading ids two prompts share."""
    length = min(len(left), len(right))
    for first in range(0, length, _COMPARED):
        if left[first : first + _COMPARED] != right[first : first + _COMPARED]:
            pairs = enumerate(zip(left[first:], right[first:], strict=False), start=first)
            return next((index for index, (token, other) in pairs if token != other), length)
    return length


def _joined(sequences: Iterable[Sequence[int]]) -> npt.NDArray[np.int64]:
    """(1, N): all of them, one after the other."""
    return np.fromiter(chain.from_iterable(sequences), np.int64)[None]


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
    raise LongbelError(reason, "Use --decoder reference.")
