"""Where an answer may lie: one semantic group of a trie, or all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np

from kb_builder.trie.trie import END, NO_ROW, Children, Run, Trie


class Names(Protocol):
    """What a search needs of a trie."""

    def children(self, node: int) -> Children:
        """The edges out of a node."""

    def leaf(self, node: int) -> int:
        """The row of the name that ends at a node, or -1."""

    def run(self, node: int) -> Run:
        """The tokens that a node forces, and where they lead."""


class AllGroups:
    """The groups of a trie as one: a node is a set of nodes that the same tokens lead to.

    Of names with the same tokens in several groups, that of the first group stands.
    """

    def __init__(self, trie: Trie) -> None:
        self._trie = trie
        self._sets: list[tuple[int, ...]] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self._children: dict[int, Children] = {}
        self.root = self._number(tuple(trie.roots.values()))

    def children(self, node: int) -> Children:
        if node not in self._children:
            self._children[node] = self._merged(self._sets[node])
        return self._children[node]

    def leaf(self, node: int) -> int:
        rows = (self._trie.leaf(node_of_group) for node_of_group in self._sets[node])
        return next((row for row in rows if row != NO_ROW), NO_ROW)

    def run(self, node: int) -> Run:
        tokens: list[int] = []
        while len(nodes := self._sets[node]) != 1:
            following = self.children(node)
            if len(following.tokens) != 1 or following.tokens[0] == END:
                ends = following.tokens.tolist() == [END]
                return Run(tokens, node, self.leaf(node), ends)
            tokens.append(int(following.tokens[0]))
            node = int(following.nodes[0])
        run = self._trie.run(nodes[0])
        return run._replace(tokens=tokens + run.tokens, node=self._number((run.node,)))

    def _number(self, nodes: tuple[int, ...]) -> int:
        if nodes not in self._numbers:
            self._numbers[nodes] = len(self._sets)
            self._sets.append(nodes)
        return self._numbers[nodes]

    def _merged(self, nodes: Sequence[int]) -> Children:
        leading: dict[int, list[int]] = {}
        for node in nodes:
            for token, child in zip(
                *map(np.ndarray.tolist, self._trie.children(node)), strict=True
            ):
                leading.setdefault(token, []).append(child)
        tokens = sorted(leading)
        nodes = [END if token == END else self._number(tuple(leading[token])) for token in tokens]
        return Children(np.array(tokens, dtype=np.int64), np.array(nodes, dtype=np.int64))


class Scopes:
    """The names of each semantic group, and all names for a group that the trie does not have."""

    def __init__(self, trie: Trie) -> None:
        self._trie = trie

    def of(self, semantic_group: str) -> tuple[Names, int]:
        """The names to search and the node to start from."""
        root = self._trie.roots.get(semantic_group)
        return (self._trie, root) if root is not None else (self._all, self._all.root)

    @cached_property
    def _all(self) -> AllGroups:
        return AllGroups(self._trie)
