"""Beam search over a trie for one mention, fed with log-probabilities from outside.

The search is the one that `transformers` 5 defines for `do_sample=False`, `length_penalty=1`,
`early_stopping=False` and one end token. It keeps a tree of the token paths that were scored, in
which the tokens between two choices are one chain. Whatever log-probabilities it needs next it
names in `wanted`, together with tokens that are likely to be needed soon (look-ahead); which of
those are fed, and when, cannot change the result. Knows nothing of models or tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from longbel_cli.model.decoders import MAX_NEW_TOKENS, NOT_FINITE, Beam
from longbel_cli.model.decoders.scopes import Names

_END = -1
_FORCED = -2  # in place of a node: the next token of the chain
_REMEMBERED_MOVES = 1 << 20  # of all nodes together; 16 MB


@dataclass(frozen=True)
class SearchOptions:
    """`end_id` ends an answer; `composite_id` (None: no composite answers) starts another name.
    `lookahead` is how many tokens beyond forced ones are fed speculatively for each live beam,
    while no more than `lookahead_searches` searches share a pass (None: always). Where more do,
    a pass costs by its tokens, and nothing is fed but the live beams themselves."""

    end_id: int
    n_beams: int = 5
    max_new_tokens: int = MAX_NEW_TOKENS
    composite_id: int | None = None
    lookahead: int = 2
    lookahead_searches: int | None = None

    def looks_ahead(self, searches: int) -> bool:
        """Whether each of so many searches that share a pass feeds more than its live beams."""
        return self.lookahead_searches is None or searches <= self.lookahead_searches


class Moves(NamedTuple):
    """What may follow a node: token ids (int64, ascending but for the composite mark) and the
    trie node each leads to (-1: the answer ends)."""

    tokens: npt.NDArray[np.int64]
    nodes: npt.NDArray[np.int64]


class MoveTable:
    """The moves of a scope, the end and the composite mark bound; those of nodes that were asked
    for lately are remembered, since mentions share the beginnings of their answers."""

    def __init__(self, names: Names, root: int, options: SearchOptions) -> None:
        self.names, self.root, self.options = names, root, options
        self._moves: dict[int, Moves] = {}
        self._held = 0

    def after(self, node: int) -> Moves:
        """What may follow an answer that stands at `node`."""
        moves = self._moves.get(node)
        if moves is None:
            moves = self._moves[node] = self._bound(node)
            self._held += len(moves.tokens)
            while self._held > _REMEMBERED_MOVES and len(self._moves) > 1:
                self._held -= len(self._moves.pop(next(iter(self._moves))).tokens)
        return moves

    def _bound(self, node: int) -> Moves:
        tokens, nodes = self.names.children(node)
        tokens, nodes = tokens.astype(np.int64), nodes.astype(np.int64)
        if len(tokens) and tokens[0] == _END:
            tokens[0] = self.options.end_id
            if self.options.composite_id is not None:
                tokens = np.append(tokens, self.options.composite_id)
                nodes = np.append(nodes, self.root)
        return Moves(tokens, nodes)


Child = tuple[float, int, int]
"""A move that was scored: its log-probability, token and node."""


@dataclass(eq=False, slots=True)
class Chain:
    """Tokens of an answer between two choices: the first was chosen, the others are forced.

    `depth` is how many tokens the answer has with the first of them. Where nothing but the end may
    follow, the end is the last of them (`ends`); else `node` is where they lead. `row` is the name
    that they complete, or -1. The root's first token is the prompt's end. `seen` is for whoever
    feeds: a bit for each place that the last token fed sees.
    """

    tokens: list[int]
    depth: int
    node: int
    row: int
    ends: bool
    rows: tuple[int, ...] = ()
    parent: Chain | None = None
    moves: Moves | None = None
    logprobs: list[float] = field(default_factory=list)  # of each token but the first
    children: Sequence[Child] | None = None  # what may follow the last
    following: dict[int, Chain] = field(default_factory=dict)
    seen: int = 0

    def is_known(self, offset: int) -> bool:
        """Whether it is known what follows the token at `offset`, and how likely."""
        if offset + 1 < len(self.tokens):
            return offset < len(self.logprobs)
        return self.children is not None


class Stretch(NamedTuple):
    """Tokens `[first, last)` of a chain, to be fed together."""

    chain: Chain
    first: int
    last: int

    @property
    def tokens(self) -> list[int]:
        return self.chain.tokens[self.first : self.last]

    @property
    def forced(self) -> list[int]:
        """The one token that may follow each, but for the last where there is a choice."""
        return self.chain.tokens[self.first + 1 : self.last + 1]

    @property
    def has_choice(self) -> bool:
        """Whether it ends where the chain does, so that the moves after it are to be scored."""
        return self.last == len(self.chain.tokens)


_Hypothesis = tuple[float, Chain, int]
"""Its score, and the chain in which it stands at an offset."""

_Candidate = tuple[float, int, int, int]
"""A continuation: negated score, number of the hypothesis, token, and node."""


class BeamSearch:
    """The search for one mention. Feed `prompt_end` first, then whatever `wanted` names."""

    def __init__(self, table: MoveTable) -> None:
        self._table, self._options = table, table.options
        self.root = self._chain([-1], 0, table.root, (), None)
        self._live: list[_Hypothesis] = [(0.0, self.root, 0)]
        self._finished: list[tuple[float, Beam | None]] = []  # None: cut off, unfinished
        self._length = 0
        self.done = False
        self._finite = True

    @property
    def names(self) -> Names:
        """What may be written."""
        return self._table.names

    @property
    def prompt_end(self) -> Stretch:
        """The token before the answer, which is the prompt's last."""
        return Stretch(self.root, 0, 1)

    def moves(self, chain: Chain) -> Moves:
        """What may follow the chain's last token, the end and the composite mark included."""
        if chain.moves is None:
            chain.moves = self._table.after(chain.node)
        return chain.moves

    def feed(self, stretch: Stretch, logprobs: Sequence[float]) -> None:
        """Log-probabilities of what the stretch forces (`Stretch.forced`). NaN ends the search."""
        self._heed(logprobs)
        stretch.chain.logprobs.extend(logprobs)

    def feed_moves(
        self,
        chain: Chain,
        logprobs: Sequence[float],
        chosen: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Log-probabilities of `moves(chain)`, or of those numbered in `chosen`, which must hold
        the best 2 x beams of them: no other can be among the best 2 x beams of all paths. NaN ends
        the search."""
        self._heed(logprobs)
        tokens, nodes = self.moves(chain)
        if chosen is not None:
            tokens, nodes = tokens[chosen], nodes[chosen]
        chain.children = list(zip(logprobs, tokens.tolist(), nodes.tolist(), strict=True))

    def _heed(self, logprobs: Sequence[float]) -> None:
        if math.isnan(sum(logprobs)):
            self._finite, self.done = False, True

    def advance(self) -> None:
        """Search on as far as the log-probabilities at hand allow."""
        while not self.done and (candidates := self._candidates()) is not None:
            self._extend(candidates)

    def wanted(self, look_ahead: bool = True) -> list[Stretch]:
        """What to feed next, parents before children: live tokens and their look-ahead."""
        live = [(c, offset) for _, c, offset in self._live if not c.is_known(offset)]
        if not look_ahead:
            return [Stretch(chain, offset, offset + 1) for chain, offset in live]
        return [ahead for chain, offset in live for ahead in self._look_ahead(chain, offset)]

    def beams(self) -> list[Beam]:
        """The finished answers, best first."""
        if not self._finite:
            return list(NOT_FINITE)
        return [beam for _, beam in self._finished if beam is not None]

    def _extend(self, candidates: Sequence[_Candidate]) -> None:
        """One step: every live hypothesis by one token."""
        n_beams, before = self._options.n_beams, self._live
        self._length += 1
        last = self._length >= self._options.max_new_tokens
        live: list[_Hypothesis] = []
        for rank, (loss, index, token, node) in enumerate(candidates[: 2 * n_beams]):
            _, chain, offset = before[index]
            if rank < n_beams and (last or node == _END):
                # At the last token `generate` keeps what is unfinished as if it were a result.
                self._finish(-loss, chain if node == _END else None)
            if node == _END or len(live) == n_beams:
                continue
            if node == _FORCED:
                live.append((-loss, chain, offset + 1))
            else:
                live.append((-loss, self._follow(chain, token, node), 0))
        self._live = live
        self._finished = self._finished[:n_beams]
        self.done = (
            not live
            or last
            or (
                len(self._finished) == n_beams
                and not live[0][0] / self._length > self._finished[-1][0]
            )
        )

    def _candidates(self) -> list[_Candidate] | None:
        """All continuations, the likeliest first; of equal scores those of the earlier hypothesis
        and the smaller token. None where some are not known."""
        candidates: list[_Candidate] = []
        for index, (score, chain, offset) in enumerate(self._live):
            tokens, following = chain.tokens, offset + 1
            if following < len(tokens):
                if offset >= len(chain.logprobs):
                    return None
                loss = -(score + chain.logprobs[offset])
                node = _END if chain.ends and following + 1 == len(tokens) else _FORCED
                candidates.append((loss, index, tokens[following], node))
            elif chain.children is None:
                return None
            else:
                candidates += [
                    (-(score + logprob), index, token, node)
                    for logprob, token, node in chain.children
                ]
        candidates.sort()
        return candidates

    def _finish(self, score: float, chain: Chain | None) -> None:
        beam = None if chain is None else Beam((*chain.rows, chain.row), score, self._length)
        self._finished.append((score / self._length, beam))
        self._finished.sort(key=lambda item: -item[0])

    def _follow(self, chain: Chain, token: int, node: int) -> Chain:
        following = chain.following.get(token)
        if following is None:
            composite = token == self._options.composite_id
            rows = (*chain.rows, chain.row) if composite else chain.rows
            depth = chain.depth + len(chain.tokens)
            following = self._chain([token], depth, node, rows, chain)
            chain.following[token] = following
        return following

    def _chain(
        self, first: list[int], depth: int, node: int, rows: tuple[int, ...], parent: Chain | None
    ) -> Chain:
        tokens, end, row, ends = self._table.names.run(node)
        ends = ends and self._options.composite_id is None
        last = [self._options.end_id] if ends else []
        return Chain(first + tokens + last, depth, end, row, ends, rows, parent)

    def _look_ahead(self, chain: Chain, offset: int) -> list[Stretch]:
        """The rest of a chain from `offset` on, and whole small sets of continuations."""
        allowance = self._options.lookahead
        stretches = [self._rest(chain, offset)]
        for stretch in stretches:
            if not allowance or not self._may_branch(stretch):
                continue
            tokens, nodes = self.moves(stretch.chain)
            if len(tokens) > allowance + 2:
                continue
            inner = [
                (token, node)
                for token, node in zip(tokens.tolist(), nodes.tolist(), strict=True)
                if node != _END and token != self._options.composite_id
            ]
            if len(inner) <= allowance:
                allowance -= len(inner)
                following = (self._follow(stretch.chain, *move) for move in inner)
                stretches.extend(self._rest(child, 0) for child in following)
        return stretches

    def _rest(self, chain: Chain, offset: int) -> Stretch:
        """As much of a chain as an answer has room for; the end itself is never fed."""
        room = self._options.max_new_tokens - chain.depth
        return Stretch(chain, offset, min(len(chain.tokens) - chain.ends, room))

    def _may_branch(self, stretch: Stretch) -> bool:
        chain = stretch.chain
        room = chain.depth + len(chain.tokens) < self._options.max_new_tokens
        return stretch.has_choice and room
