"""Exact beam search for many documents at once: the fast decoder.

Every forward pass packs the tokens of all documents under way into one row: the new part of
prompts (what a document's previous prompt does not share), and the search trees of mentions
whose prompts are in the cache. Linear layers therefore see no padding, and each document's keys
and values lie once in a slot of its own, prompt first, then the tree of its current mention.
Beams are branches of that tree: a token sees the prompt and its own ancestors, so no cache is
ever copied or reordered. What travels to the host after a forward pass are the log-probabilities
of the trie's moves, of many moves the best, from which `BeamSearch` decides what is fed next.

Works with every decoder-only model of `transformers` whose attention goes through its attention
interface. Sliding windows are applied; soft-capping and attention sinks are refused.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from kb_builder.errors import LongbelError
from kb_builder.trie.trie import Trie
from longbel_cli.model.decoders import Beam, DecodeStats, OutOfMemoryError, Request
from longbel_cli.model.decoders.attention import ATTENTION, Segment, Tree, packed
from longbel_cli.model.decoders.cache import KeyValueCache, Slot
from longbel_cli.model.decoders.search import BeamSearch, Path, SearchOptions
from longbel_cli.model.decoders.spaces import Spaces

_WIDE = 512  # moves of a path from which their best are chosen on the device
_WIDE_ROWS = 64  # paths at one node whose best moves are chosen together
_LOGIT_ROWS = 1024  # that are normalized together
_CHUNK = 2048  # prompt tokens of one document in one forward pass
_LAYERS = {"full_attention", "sliding_attention"}
_ROTARY_BY_LENGTH = {"dynamic", "longrope"}
_SPARE_PER_BEAM = 12  # places for the search tree that a new slot has beyond its prompt
# Where a call costs more than what it computes, documents share arenas of up to so many places
# (2 GB of an 8B model).
ARENA_TOKENS = 16_384


@contextmanager
def _telling_lack_of_memory() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError from error


class _Job:
    """A request under way: first its prompt is fed, in chunks, then its search tree."""

    def __init__(self, request: Request, slot: Slot, search: BeamSearch) -> None:
        self.request, self.slot, self.search = request, slot, search
        ids = request.prompt_ids
        self.fed = min(_common_prefix(slot.ids, ids), len(ids) - 1)
        self.reused = self.fed
        slot.ids = slot.ids[: self.fed]
        self.tree_positions: list[int] = []

    @property
    def prompt_fed(self) -> bool:
        return self.fed == len(self.request.prompt_ids)


class PackedDecoder:
    """The fast decoder; gives the beams of `ReferenceDecoder`. Documents whose slots share an
    arena of `arena_tokens` places are attended to together (None: as suits the device)."""

    def __init__(
        self,
        model: PreTrainedModel,
        trie: Trie,
        options: SearchOptions,
        arena_tokens: int | None = None,
    ) -> None:
        _check_model(model)
        self._model, self._spaces, self._options = model, Spaces(trie), options
        self._device = model.device
        if arena_tokens is None:
            arena_tokens = 0 if self._device.type == "cpu" else ARENA_TOKENS
        like = torch.empty(0, dtype=model.dtype, device=self._device)
        self._shared = arena_tokens > 0
        self._cache = KeyValueCache(self._slot_shape, like, arena_tokens)
        self._slots: dict[Hashable, Slot] = {}
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
        """Cache memory of one token; where arenas are shared, with the rows that stand empty."""
        layers, heads, size = self._slot_shape
        return (2 if self._shared else 1) * 2 * layers * heads * size * self._model.dtype.itemsize

    @_telling_lack_of_memory()
    @torch.inference_mode()
    def submit(self, request: Request) -> None:
        places = len(request.prompt_ids) + _SPARE_PER_BEAM * self._options.n_beams
        if request.key not in self._slots:
            self._slots[request.key] = self._cache.slot(places)
        slot = self._slots[request.key]
        self._cache.reserve(slot, places)
        names, root = self._spaces.of(request.semantic_group)
        job = _Job(request, slot, BeamSearch(names, root, self._options))
        self.stats.reused_tokens += job.reused
        self._jobs.append(job)

    def release(self, key: Hashable) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._cache.release(slot)

    def reset(self) -> None:
        self._jobs.clear()
        self._slots.clear()
        self._cache.clear()

    @_telling_lack_of_memory()
    @torch.inference_mode()
    def step(self) -> list[tuple[Hashable, list[Beam]]]:
        """One forward pass over everything that is ready."""
        segments: list[Segment] = []
        scored: list[tuple[_Job, Path, int]] = []  # whose moves are scored at which packed token
        start = 0
        for job in self._jobs:
            if job.prompt_fed:
                segment, paths = self._tree_segment(job, start)
                scored += [(job, path, start + number) for number, path in enumerate(paths)]
            else:
                segment = self._prompt_segment(job, start)
                if job.prompt_fed:
                    scored.append((job, job.search.root, start + segment.n - 1))
            segments.append(segment)
            start += segment.n
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

    def _prompt_segment(self, job: _Job, start: int) -> Segment:
        """The next chunk of a prompt; each token sees all before it."""
        place = job.fed
        ids = job.request.prompt_ids[place : place + _CHUNK]
        job.fed += len(ids)
        job.slot.ids += ids
        self.stats.prefill_tokens += len(ids)
        return Segment(job.slot, start, place, ids, list(range(place, job.fed)))

    def _tree_segment(self, job: _Job, start: int) -> tuple[Segment, list[Path]]:
        """The wanted paths of a search; each sees the prompt and its ancestors."""
        paths = job.search.wanted(self._options.looks_ahead(len(self._jobs)))
        old = len(job.tree_positions)
        positions = [job.fed + path.depth - 1 for path in paths]
        for number, path in enumerate(paths):
            path.place = old + number
        job.tree_positions += positions
        self._cache.reserve(job.slot, job.fed + len(job.tree_positions))
        seen = np.zeros((len(paths), len(job.tree_positions)), dtype=np.bool_)
        for number, path in enumerate(paths):
            seen[number, path.ancestors()] = True
        self.stats.tree_tokens += len(paths)
        self.stats.forced_tokens += sum(path.forced for path in paths)
        self.stats.decode_forwards += 1
        tree = Tree(seen, np.array(job.tree_positions))
        tokens = [path.token for path in paths]
        return Segment(job.slot, start, job.fed + old, tokens, positions, tree), paths

    def _forward(self, segments: Sequence[Segment], rows: Sequence[int]) -> Tensor:
        """Logits (len(rows), vocabulary) at the packed tokens `rows`, in the model's type."""
        ids = [token for segment in segments for token in segment.ids]
        positions = [position for segment in segments for position in segment.positions]
        with packed(segments, self._device), self._kernels():
            output = self._model(
                input_ids=torch.tensor([ids], device=self._device),
                position_ids=torch.tensor([positions], device=self._device),
                use_cache=False,
                logits_to_keep=torch.tensor(rows, dtype=torch.long, device=self._device),
            )
        return output.logits[0]

    def _kernels(self) -> AbstractContextManager[Any]:
        """On CUDA those that are made for shapes that change with every pass: cuDNN would first
        make a plan for each."""
        if self._device.type != "cuda":
            return nullcontext()
        return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])

    def _logprobs(
        self, logits: Tensor, scored: Sequence[tuple[_Job, Path, int]]
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """For each scored path the log-probabilities of its moves, or of its best moves and
        their numbers where the moves are many."""
        results: list[tuple[np.ndarray, np.ndarray | None] | None] = [None] * len(scored)
        if not scored:
            return []
        # A part at a time: in float32 they may be gigabytes.
        totals = torch.cat([part.float().logsumexp(-1) for part in logits.split(_LOGIT_ROWS)])
        narrow: list[tuple[int, np.ndarray]] = []
        wide: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, (job, path, _) in enumerate(scored):
            tokens = job.search.moves(path).tokens
            if len(tokens) < _WIDE:
                narrow.append((number, tokens))
            else:
                wide[id(job.search.names), path.node].append(number)
        for numbers in wide.values():
            for first in range(0, len(numbers), _WIDE_ROWS):
                some = numbers[first : first + _WIDE_ROWS]
                job, path, _ = scored[some[0]]
                tokens = job.search.moves(path).tokens
                allowed = self._tokens_on_device(job.search, path.node, tokens)
                chosen = torch.tensor(some, device=self._device)
                logprobs = logits[chosen[:, None], allowed].float() - totals[chosen, None]
                best = self._best_of(logprobs, allowed)
                for number, result in zip(some, best, strict=True):
                    results[number] = result
        if narrow:
            counts = [len(tokens) for _, tokens in narrow]
            rows = torch.from_numpy(np.repeat([number for number, _ in narrow], counts))
            columns = torch.from_numpy(np.concatenate([tokens for _, tokens in narrow]))
            rows, columns = rows.to(self._device), columns.to(self._device)
            gathered = (logits[rows, columns].float() - totals[rows]).cpu().numpy()
            for (number, _), piece in zip(
                narrow, np.split(gathered, np.cumsum(counts)[:-1]), strict=True
            ):
                results[number] = (piece, None)
        return [result for result in results if result is not None]

    def _best_of(self, logprobs: Tensor, tokens: Tensor) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each row the best 2 x beams of many moves, chosen on the device, and their
        numbers; of equal ones those with smaller tokens."""
        keep = 2 * self._options.n_beams
        best = logprobs.topk(keep + 1)
        values, chosen = best.values.cpu().numpy(), best.indices.cpu().numpy()
        # Equals on both sides of the cut, as bfloat16 has them often: tokens decide.
        tied = np.flatnonzero(values[:, keep - 1] == values[:, keep])
        if len(tied):
            bits = logprobs[torch.from_numpy(tied).to(self._device)].view(torch.int32).long()
            ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # as the numbers are
            chosen[tied, :keep] = ((ordered << 21) - tokens).topk(keep).indices.cpu().numpy()
        return zip(values[:, :keep], chosen[:, :keep], strict=True)

    def _tokens_on_device(self, search: BeamSearch, node: int, tokens: np.ndarray) -> Tensor:
        key = id(search.names), node  # the names outlive this decoder
        if key not in self._wide_tokens:
            self._wide_tokens[key] = torch.from_numpy(tokens).to(self._device)
        return self._wide_tokens[key]


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
