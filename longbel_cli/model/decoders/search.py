"""Beam search over a trie for one mention, fed with log-probabilities from outside.

The search is the one that `transformers` 5 defines for `do_sample=False`, `length_penalty=1`,
`early_stopping=False` and one end token. It keeps a tree of the token paths that were scored.
Whatever log-probabilities it needs next it names in `wanted`, together with tokens that are
likely to be needed soon (look-ahead); which of those are fed, and when, cannot change the
result. Knows nothing of models or tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from longbel_cli.model.decoders import MAX_NEW_TOKENS, Beam
from longbel_cli.model.decoders.spaces import Names

_END = -1


class Moves(NamedTuple):
    """What may follow a path: token ids (int64, ascending within each kind of child), the trie
    node each leads to (-1: the answer ends), and the row of the name that ends here or -1."""

    tokens: npt.NDArray[np.int64]
    nodes: npt.NDArray[np.int64]
    row: int


@dataclass(eq=False, slots=True)
class Path:
    """A token path from the prompt's end: a node of the search tree."""

    node: int
    token: int
    depth: int
    rows: tuple[int, ...] = ()
    parent: Path | None = None
    forced: bool = False
    place: int = -1  # its number among the tokens that were fed, -1 before
    moves: Moves | None = None
    children: list[Child] | None = None
    following: dict[int, Path] = field(default_factory=dict)

    def ancestors(self) -> list[int]:
        """Places of the path's tokens, its own first."""
        places = []
        path: Path | None = self
        while path is not None and path.token >= 0:
            places.append(path.place)
            path = path.parent
        return places


class Child(NamedTuple):
    logprob: float
    token: int
    node: int


class _Hypothesis(NamedTuple):
    score: float
    path: Path


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


def best_moves(
    logprobs: npt.NDArray[np.float32], tokens: npt.NDArray[np.int64], keep: int
) -> npt.NDArray[np.int64]:
    """Numbers of the best `keep` moves, best first; of equal ones those with smaller tokens."""
    return np.lexsort((tokens, -logprobs))[:keep]


class BeamSearch:
    """The search for one mention. Feed `root` first, then whatever `wanted` names."""

    def __init__(self, names: Names, root: int, options: SearchOptions) -> None:
        self.names = names
        self._options = options
        self._root_node = root
        self.root = Path(node=root, token=-1, depth=0)
        self._live = [_Hypothesis(0.0, self.root)]
        self._finished: list[tuple[float, Beam | None]] = []  # None: cut off, unfinished
        self._length = 0
        self.done = False

    def moves(self, path: Path) -> Moves:
        """What may follow `path`, the end and the composite mark included."""
        if path.moves is None:
            tokens, nodes = self.names.children(path.node)
            row = self.names.leaf(path.node)
            tokens, nodes = tokens.astype(np.int64), nodes.astype(np.int64)
            if row >= 0:
                tokens = np.where(tokens == _END, self._options.end_id, tokens)
                if self._options.composite_id is not None:
                    tokens = np.append(tokens, self._options.composite_id)
                    nodes = np.append(nodes, self._root_node)
            path.moves = Moves(tokens, nodes, row)
        return path.moves

    def feed(
        self,
        path: Path,
        logprobs: npt.NDArray[np.float32],
        chosen: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Log-probabilities of `moves(path)`, or of those numbered in `chosen`, which must hold
        the best 2 x beams of them."""
        tokens, nodes, _ = self.moves(path)
        keep = 2 * self._options.n_beams
        if chosen is None and len(logprobs) > keep:
            chosen = best_moves(logprobs, tokens, keep)
            logprobs = logprobs[chosen]
        if chosen is not None:
            tokens, nodes = tokens[chosen], nodes[chosen]
        # Only the best 2 x beams moves of a path can be among the best 2 x beams of them all.
        path.children = [
            Child(*child)
            for child in zip(logprobs.tolist(), tokens.tolist(), nodes.tolist(), strict=True)
        ]

    def advance(self) -> None:
        """Search on as far as the log-probabilities at hand allow."""
        while not self.done and all(path.children is not None for _, path in self._live):
            self._extend()

    def wanted(self, look_ahead: bool = True) -> list[Path]:
        """The paths to feed next, parents before children: live ones and their look-ahead."""
        live = [path for _, path in self._live if path.children is None]
        if not look_ahead:
            return live
        return [ahead for path in live for ahead in self._look_ahead(path)]

    def beams(self) -> list[Beam]:
        """The finished answers, best first."""
        return [beam for _, beam in self._finished if beam is not None]

    def _extend(self) -> None:
        """One step: every live path by one token."""
        n_beams = self._options.n_beams
        self._length += 1
        last = self._length >= self._options.max_new_tokens
        candidates = [
            (hypothesis.score + child.logprob, number, child)
            for number, hypothesis in enumerate(self._live)
            for child in hypothesis.path.children or ()
        ]
        candidates.sort(key=lambda item: (-item[0], item[1], item[2].token))
        live: list[_Hypothesis] = []
        for rank, (score, number, child) in enumerate(candidates[: 2 * n_beams]):
            path = self._live[number].path
            if rank < n_beams and (last or child.node == _END):
                # At the last token `generate` keeps what is unfinished as if it were a result.
                self._finish(score, path if child.node == _END else None)
            if child.node != _END and len(live) < n_beams:
                live.append(_Hypothesis(score, self._follow(path, child.token, child.node)))
        self._live = live
        self._finished = self._finished[:n_beams]
        self.done = (
            not live
            or last
            or (
                len(self._finished) == n_beams
                and not live[0].score / self._length > self._finished[-1][0]
            )
        )

    def _finish(self, score: float, path: Path | None) -> None:
        beam = None if path is None else self._answer(path, score)
        self._finished.append((score / self._length, beam))
        self._finished.sort(key=lambda item: -item[0])

    def _answer(self, path: Path, score: float) -> Beam:
        return Beam((*path.rows, self.moves(path).row), score, self._length)

    def _follow(self, path: Path, token: int, node: int) -> Path:
        following = path.following.get(token)
        if following is None:
            moves = self.moves(path)
            composite = token == self._options.composite_id
            rows = (*path.rows, moves.row) if composite else path.rows
            forced = len(moves.tokens) == 1
            following = Path(node, token, path.depth + 1, rows, parent=path, forced=forced)
            path.following[token] = following
        return following

    def _look_ahead(self, path: Path) -> list[Path]:
        """`path`, all that it forces, and whole small sets of continuations."""
        allowance = self._options.lookahead
        queue = [path]
        for path in queue:
            if path.depth >= self._options.max_new_tokens - 1:
                continue
            tokens, nodes, _ = self.moves(path)
            inner = [
                (token, node)
                for token, node in zip(tokens.tolist(), nodes.tolist(), strict=True)
                if node != _END and token != self._options.composite_id
            ] if len(tokens) <= allowance + 2 else []  # fmt: skip
            cost = 0 if len(tokens) == 1 else len(inner)
            if inner and cost <= allowance:
                allowance -= cost
                queue.extend(self._follow(path, token, node) for token, node in inner)
        return queue
