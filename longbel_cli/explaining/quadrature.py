"""Where on the way from a baseline to a prompt integrated gradients are evaluated, and the weights.

Knows nothing of models: the objective is a function of the share of the way that was gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

_NODES_A_PIECE = 4


def pieces(value_at: Callable[[float], float], steps: int) -> list[float]:
    """Edges of pieces of [0, 1], four nodes each: the piece over which the objective changes most
    is halved until there are enough. One forward an edge."""
    count = max(1, steps // _NODES_A_PIECE)
    known = {step / min(count, 4): 0.0 for step in range(min(count, 4) + 1)}
    known = {edge: value_at(edge) for edge in known}
    while len(known) <= count:
        edges = sorted(known)
        widest = max(pairwise(edges), key=lambda piece: abs(known[piece[1]] - known[piece[0]]))
        middle = sum(widest) / 2
        if middle in known:
            break
        known[middle] = value_at(middle)
    return sorted(known)


def quadrature(edges: Sequence[float], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights of `steps` points spread over the pieces between edges."""
    nodes: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    count = len(edges) - 1
    for index, (start, end) in enumerate(pairwise(edges)):
        share = steps // count + (index < steps % count)
        nodes_of_piece, shares = np.polynomial.legendre.leggauss(share)
        nodes.append(start + (nodes_of_piece + 1) / 2 * (end - start))
        weights.append(shares / 2 * (end - start))
    return np.concatenate(nodes), np.concatenate(weights)
