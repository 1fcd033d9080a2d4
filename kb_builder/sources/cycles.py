"""Cycles among parents: which edges of a hierarchy go round."""

from __future__ import annotations

import numpy as np

_ROUNDS = 100  # of peeling; a deeper hierarchy is left to the search


def cyclic_edges(child: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """bool[n]: edges that lie on a cycle, a concept that is its own parent among them."""
    cyclic = np.zeros(len(child), dtype=bool)
    left = _peeled(child, parent)
    if len(left):
        nodes, ends = np.unique(np.concatenate([child[left], parent[left]]), return_inverse=True)
        first, second = np.split(ends, 2)
        component = _components(first, second, len(nodes))
        cyclic[left] = component[first] == component[second]
    return cyclic


def _peeled(child: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """Edges that are left when leaves and roots are taken off again and again."""
    left = np.arange(len(child))
    n = int(max(child.max(initial=-1), parent.max(initial=-1))) + 1
    for _ in range(_ROUNDS):
        has_parents, has_children = np.zeros((2, n), dtype=bool)
        has_parents[child[left]] = True
        has_children[parent[left]] = True
        inner = has_children[child[left]] & has_parents[parent[left]]
        if inner.all():
            break
        left = left[inner]
    return left


def _components(child: np.ndarray, parent: np.ndarray, n: int) -> np.ndarray:
    """int64[n]: the strongly connected component of every node. Tarjan's algorithm."""
    order = np.argsort(child, kind="stable")
    first = np.concatenate(([0], np.cumsum(np.bincount(child, minlength=n)))).tolist()
    parents = parent[order].tolist()
    index, low, component = [-1] * n, [0] * n, [-1] * n
    waiting: list[int] = []
    n_seen = n_components = 0
    for root in range(n):
        path = [root] if index[root] < 0 else []
        next_edge = {root: first[root]}
        while path:
            node = path[-1]
            if index[node] < 0:
                index[node] = low[node] = n_seen
                n_seen += 1
                waiting.append(node)
            edge = next_edge[node]
            if edge < first[node + 1]:
                next_edge[node] = edge + 1
                above = parents[edge]
                if index[above] < 0:
                    path.append(above)
                    next_edge[above] = first[above]
                elif component[above] < 0:
                    low[node] = min(low[node], index[above])
                continue
            path.pop()
            if path:
                low[path[-1]] = min(low[path[-1]], low[node])
            if low[node] == index[node]:
                while component[node] < 0:
                    component[waiting.pop()] = n_components
                n_components += 1
    return np.array(component, dtype=np.int64)
