"""Tries of token ids, and the plain definition of the beam search over names as tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from kb_builder.trie.trie import TokenRuns, Trie, build_trie
from longbel_cli.model.decoders import Beam

END, PLUS = 90, 91
Tokens = tuple[int, ...]
LogProb = Callable[[Tokens, int], float]


def trie_of(groups: dict[str, Sequence[Tokens]]) -> Trie:
    """The trie of names given as tokens; rows number the names in the order given."""
    names = [name for group in groups.values() for name in group]
    lengths = [len(name) for name in names]
    runs = TokenRuns(
        np.array([token for name in names for token in name], dtype=np.int32),
        np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
    )
    firsts = np.concatenate(([0], np.cumsum([len(group) for group in groups.values()])))
    return build_trie(list(groups), firsts.tolist(), runs)


def plain_search(
    names: Sequence[Tokens],
    logprob: LogProb,
    n_beams: int,
    max_new_tokens: int,
    composite: bool = False,
    gaps: list[float] | None = None,
) -> list[Beam]:
    """The search as it is defined: see the module's docstring.

    `gaps` receives how far apart those lie between which the search decides.
    """
    row_of = {name: row for row, name in enumerate(names)}

    def standing(path: Tokens) -> tuple[tuple[int, ...], Tokens]:
        """Names completed before the last composite mark, and the tokens after it."""
        rows: list[int] = []
        while PLUS in path:
            at = path.index(PLUS)
            rows.append(row_of[path[:at]])
            path = path[at + 1 :]
        return tuple(rows), path

    def moves(path: Tokens) -> set[int]:
        _, rest = standing(path)
        following = {
            name[len(rest)]
            for name in names
            if len(name) > len(rest) and name[: len(rest)] == rest
        }  # fmt: skip
        if rest in row_of:
            following |= {END, PLUS} if composite else {END}
        return following

    live: list[tuple[Tokens, float]] = [((), 0.0)]
    finished: list[tuple[float, Beam | None]] = []
    for step in range(max_new_tokens):
        candidates = [
            (score + logprob(path, token), ordinal, token)
            for ordinal, (path, score) in enumerate(live)
            for token in moves(path)
        ]
        candidates.sort(key=lambda item: (-item[0], item[1], item[2]))
        best = candidates[: 2 * n_beams]
        if gaps is not None:
            deciding = [score for score, _, _ in candidates[: 2 * n_beams + 1]]
            gaps += [before - after for before, after in pairwise(deciding)]
        last = step == max_new_tokens - 1
        for score, ordinal, token in best[:n_beams]:
            if token == END:
                rows, rest = standing(live[ordinal][0])
                finished.append((score / (step + 1), Beam((*rows, row_of[rest]), score, step + 1)))
            elif last:
                finished.append((score / (step + 1), None))
        finished.sort(key=lambda item: -item[0])
        if gaps is not None:
            gaps += [before - after for (before, _), (after, _) in pairwise(finished)]
            if finished and best:
                gaps += [abs(score / (step + 1) - finished[-1][0]) for score, _, _ in best]
        del finished[n_beams:]
        live = [
            ((*live[ordinal][0], token), score) for score, ordinal, token in best if token != END
        ][:n_beams]
        if not live or last:
            break
        if len(finished) == n_beams and not live[0][1] / (step + 1) > finished[-1][0]:
            break
    return [beam for _, beam in finished if beam is not None]
