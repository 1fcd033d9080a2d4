"""The log-probabilities that the searches of a pass need, out of the model's logits.

Of what is forced and of few moves, all; of many moves the best, chosen on the device, so that what
travels to the host are some numbers a token and nothing as wide as the vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from longbel_cli.model.decoders.search import BeamSearch, Chain, Stretch

_WIDE = 512  # moves that are kept on the device, for those who come to their node again
_WIDE_ROWS = 64  # tokens at one node whose best moves are chosen together
_LOGIT_ROWS = 1024  # that are normalized together
_NOT_A_TOKEN = -1


class WideMoves:
    """The tokens of nodes with many moves, on the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._tokens: dict[tuple[int, int], Tensor] = {}

    def of(self, search: BeamSearch, chain: Chain) -> Tensor:
        """The tokens of `search.moves(chain)`."""
        key = id(search.names), chain.node  # the names outlive a decoder
        if key not in self._tokens:
            self._tokens[key] = torch.from_numpy(search.moves(chain).tokens).to(self._device)
        return self._tokens[key]


class Scoring:
    """What the searches of one pass need; first `add` all of it."""

    def __init__(self, n_beams: int, wide: WideMoves) -> None:
        self._keep, self._wide_tokens = 2 * n_beams, wide
        self._rows: list[int] = []  # of single log-probabilities
        self._columns: list[int] = []
        self._forced: list[tuple[BeamSearch, Stretch]] = []
        self._few: list[tuple[BeamSearch, Chain, int]] = []
        self._some: list[tuple[BeamSearch, Chain, int]] = []
        # By node; the names of a search outlive it.
        self._many: dict[tuple[int, int], list[tuple[BeamSearch, Chain, int]]] = defaultdict(list)

    def add(self, search: BeamSearch, stretch: Stretch, row: int) -> None:
        """Tokens whose logits are rows `row` and following."""
        forced = stretch.forced
        if forced:
            self._forced.append((search, stretch))
            self._rows.extend(range(row, row + len(forced)))
            self._columns += forced
        if stretch.has_choice:
            self._add_choice(search, stretch.chain, row + len(forced))

    def _add_choice(self, search: BeamSearch, chain: Chain, row: int) -> None:
        tokens = search.moves(chain).tokens
        if len(tokens) <= self._keep:
            self._few.append((search, chain, row))
        elif len(tokens) < _WIDE:
            self._some.append((search, chain, row))
        else:
            self._many[id(search.names), chain.node].append((search, chain, row))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What is to be on the device before the logits are."""
        few = [search.moves(chain).tokens for search, chain, _ in self._few]
        counts = [len(tokens) for tokens in few]
        rows = np.repeat(np.array([row for _, _, row in self._few], np.int64), counts)
        arrays = {
            "rows": np.concatenate([np.array(self._rows, np.int64), rows]),
            "columns": np.concatenate([np.array(self._columns, np.int64), *few]),
        }
        if self._some:
            arrays["some_rows"] = np.array([row for _, _, row in self._some])
            arrays["some_tokens"] = self._some_tokens()
        if self._many:
            arrays["many_rows"] = np.array([row for *_, row in self._each_of_many()])
        return arrays

    def _some_tokens(self) -> npt.NDArray[np.int64]:
        tokens = [search.moves(chain).tokens for search, chain, _ in self._some]
        padded = np.full((len(tokens), max(map(len, tokens))), _NOT_A_TOKEN)
        for line, row in zip(padded, tokens, strict=True):
            line[: len(row)] = row
        return padded

    def _each_of_many(self) -> Iterator[tuple[BeamSearch, Chain, int]]:
        for group in self._many.values():
            yield from group

    def computed(self, logits: Tensor, arrays: Mapping[str, Tensor]) -> list[Tensor]:
        """From logits (rows, vocabulary): single log-probabilities, then of many moves the best
        ones and their numbers, both (tokens, 2 x beams)."""
        # A part at a time: in float32 they may be gigabytes.
        totals = torch.cat([part.float().logsumexp(-1) for part in logits.split(_LOGIT_ROWS)])
        rows = arrays["rows"]
        results = [logits[rows, arrays["columns"]].float() - totals[rows]]
        best: list[tuple[Tensor, Tensor]] = []
        if self._some:
            rows, tokens = arrays["some_rows"], arrays["some_tokens"]
            logprobs = logits[rows[:, None], tokens.clamp(min=0)].float() - totals[rows, None]
            best.append(best_of(logprobs, tokens, self._keep))
        first = 0
        for group in self._many.values():
            tokens = self._wide_tokens.of(*group[0][:2])
            for some in arrays["many_rows"][first : first + len(group)].split(_WIDE_ROWS):
                logprobs = logits[some[:, None], tokens].float() - totals[some, None]
                best.append(best_of(logprobs, tokens, self._keep))
            first += len(group)
        if best:
            results += [torch.cat(column) for column in zip(*best, strict=True)]
        return results

    def deliver(self, results: Sequence[npt.NDArray[Any]]) -> None:
        """Feed the searches with what was computed."""
        single, first = results[0].tolist(), 0
        for search, stretch in self._forced:
            n = len(stretch.forced)
            search.feed(stretch, single[first : first + n])
            first += n
        for search, chain, _ in self._few:
            n = len(search.moves(chain).tokens)
            search.feed_moves(chain, single[first : first + n])
            first += n
        if len(results) > 1:
            choices = (*self._some, *self._each_of_many())
            for (search, chain, _), values, chosen in zip(choices, *results[1:], strict=True):
                search.feed_moves(chain, values.tolist(), chosen)


def best_of(logprobs: Tensor, tokens: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """Of each row's moves the best `keep` and their numbers; of equal ones those with smaller
    tokens. `tokens` (rows, moves) or (moves,); a negative one is none."""
    if logprobs.device.type != "cpu":
        return best_by_key(logprobs, tokens, keep)
    if tokens.dim() == 2:
        logprobs = logprobs.masked_fill(tokens < 0, -torch.inf)
    best = logprobs.topk(keep + 1)
    values, chosen = best.values[:, :keep], best.indices[:, :keep]
    # Equals on both sides of the cut, as bfloat16 has them often: tokens decide.
    tied = (best.values[:, keep - 1] == best.values[:, keep]).nonzero()[:, 0]
    if len(tied):
        of_tied = tokens[tied] if tokens.dim() == 2 else tokens
        values, chosen = values.clone(), chosen.clone()
        values[tied], chosen[tied] = best_by_key(logprobs[tied], of_tied, keep)
    return values, chosen


def best_by_key(logprobs: Tensor, tokens: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """By whole numbers that order as log-probabilities and then tokens do, without a look at what
    was computed: the device is not waited for."""
    bits = logprobs.view(torch.int32).long()
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    keys = torch.where(tokens < 0, torch.iinfo(torch.int64).min, (ordered << 21) - tokens)
    chosen = keys.topk(keep).indices
    return logprobs.gather(1, chosen), chosen
