"""The trie: every name of a group can be written and no other, by whatever tokens it has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.store.tries import load_trie, save_trie
from kb_builder.trie.tokenization import AnswerTokenizer
from kb_builder.trie.trie import END, TokenRuns, Trie, build_trie
from tests.benchmarks.kb_tokenizers import trained
from tests.support.examples import some


def trie_of(groups: dict[str, list[tuple[int, ...]]]) -> Trie:
    """The trie of token sequences; rows are numbered through all groups."""
    sequences = [sequence for names in groups.values() for sequence in names]
    first = np.cumsum([0, *(len(names) for names in groups.values())])
    return build_trie(list(groups), first.tolist(), runs_of(sequences))


def runs_of(sequences: list[tuple[int, ...]]) -> TokenRuns:
    offsets = np.cumsum([0, *map(len, sequences)]).astype(np.int64)
    return TokenRuns(np.array([t for each in sequences for t in each], dtype=np.int32), offsets)


def written(trie: Trie, node: int, tokens: tuple[int, ...] = ()) -> Iterator[tuple[tuple, int]]:
    """Every answer from `node` on and the row it leads to, by walking children alone."""
    children = trie.children(node)
    assert list(children.tokens) == sorted(set(children.tokens.tolist())), "tokens ascend"
    assert (END in children.tokens) == (trie.leaf(node) >= 0)
    for token, child in zip(children.tokens.tolist(), children.nodes.tolist(), strict=True):
        if token == END:
            yield tokens, trie.leaf(node)
        else:
            yield from written(trie, child, (*tokens, token))


def test_a_trie_by_hand() -> None:
    # Rows:            0          1             2             3       4
    trie = trie_of({"A": [(1,), (1, 2, 3), (1, 2, 4, 5), (6, 7)], "B": [(1, 2)], "C": []})
    assert trie.roots == {"A": 0, "B": 1, "C": 2}
    # Inner nodes: the three roots, then A's "1" (node 3), then A's "1 2" (node 4).
    assert trie.inner_token.tolist() == [-1, -1, -1, 1, 2]
    assert trie.inner_first.tolist() == [3, 4, 4, 4, 5, 5]
    # Leaves by node: A's root has row 3; B's root row 4; "1" row 0 (ends there); "1 2" rows 1, 2.
    assert trie.leaf_first.tolist() == [0, 1, 2, 2, 3, 5]
    assert trie.leaf_row.tolist() == [3, 4, 0, 1, 2]
    assert trie.tail_start.tolist() == [0, 2, 4, 4, 5, 7]
    assert trie.tail_token.tolist() == [6, 7, 1, 2, 3, 4, 5]
    assert trie.children(0).tokens.tolist() == [1, 6]
    assert trie.children(0).nodes.tolist() == [3, 5 + 0]
    assert trie.children(3).tokens.tolist() == [END, 2]
    assert trie.children(4).nodes.tolist() == [5 + 4, 5 + 5]
    assert trie.children(5 + 5).tokens.tolist() == [5]
    assert trie.children(5 + 6).tokens.tolist() == [END]
    assert [trie.leaf(node) for node in (0, 3, 4, 5, 6, 9, 10, 11)] == [-1, 0, -1, -1, 3, 1, -1, 2]
    assert trie.children(2).tokens.tolist() == []


_SEQUENCE = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple)
_GROUPS = st.lists(st.sets(_SEQUENCE, max_size=40).map(sorted), min_size=1, max_size=4)


@given(_GROUPS)
def test_exactly_the_names_are_reachable(groups: list[list[tuple[int, ...]]]) -> None:
    named = {f"group {index}": names for index, names in enumerate(groups)}
    trie = trie_of(named)
    row = 0
    for group, names in named.items():
        expected = {sequence: row + location for location, sequence in enumerate(names)}
        assert dict(written(trie, trie.roots[group])) == expected
        row += len(names)
    assert trie.indistinct == 0


def forced_from(trie: Trie, node: int) -> tuple[list[int], int, bool]:
    """What `run` promises, by walking children alone."""
    tokens: list[int] = []
    while True:
        following = trie.children(node)
        if len(following.tokens) != 1 or following.tokens[0] == END:
            return tokens, node, following.tokens.tolist() == [END]
        tokens.append(int(following.tokens[0]))
        node = int(following.nodes[0])


@given(_GROUPS)
def test_runs_are_what_walking_the_children_gives(groups: list[list[tuple[int, ...]]]) -> None:
    trie = trie_of({f"group {index}": names for index, names in enumerate(groups)})
    for node in range(trie.n_inner + len(trie.tail_token)):
        tokens, last, ends = forced_from(trie, node)
        assert trie.run(node) == (tokens, last, trie.leaf(last), ends)


@given(_GROUPS)
def test_inner_nodes_are_the_shared_prefixes(groups: list[list[tuple[int, ...]]]) -> None:
    trie = trie_of({f"group {index}": names for index, names in enumerate(groups)})
    shared = set()
    for index, names in enumerate(groups):
        for each in names:
            for length in range(1, len(each) + 1):
                if sum(other[:length] == each[:length] for other in names) > 1:
                    shared.add((index, each[:length]))
    assert trie.n_inner == len(groups) + len(shared)
    assert trie.n_leaves == sum(map(len, groups))
    for array in Trie.ARRAYS:
        assert getattr(trie, array).dtype == np.int32


def test_many_leaves_without_tails_are_found_again() -> None:
    """Runs of empty tails between two tail tokens, more of them than one look-up block."""
    names = [(7,), *((1,) * length for length in range(1, 200)), (1,) * 199 + (2, 3, 4)]
    trie = trie_of({"A": sorted(names)})
    assert dict(written(trie, 0)) == {name: row for row, name in enumerate(sorted(names))}


def test_equal_tokens_keep_the_first_row_and_are_counted() -> None:
    trie = trie_of({"A": [(1, 2), (1, 2), (1, 2), (3,)]})
    assert dict(written(trie, 0)) == {(1, 2): 0, (3,): 3}
    assert trie.indistinct == 2


def test_names_that_do_not_fit_an_answer_are_counted() -> None:
    fits, too_long = (1,) * 127, (2,) * 128  # the end is the 128th token of an answer
    assert trie_of({"A": [fits, too_long]}).too_long == 1


_NAME = st.text("ab {<+>é\u2028\u00a0🧬中,(5", min_size=1, max_size=8)


@pytest.fixture(scope="module")
def answers() -> AnswerTokenizer:
    return AnswerTokenizer(trained(["a b ab ba é 中 aab, (abb 5"] * 20, 280))


@settings(max_examples=some(60), deadline=None)
@given(st.lists(st.sets(_NAME, max_size=20).map(sorted), min_size=1, max_size=3))
def test_names_of_any_text_come_back(answers: AnswerTokenizer, groups: list[list[str]]) -> None:
    names = [name for group in groups for name in group]
    runs = answers.encode_column(pa.chunked_array([pa.array(names, pa.large_string())]))
    assert [
        runs.tokens[a:b].tolist() for a, b in zip(runs.offsets, runs.offsets[1:], strict=False)
    ] == answers.encode(names)
    first = np.cumsum([0, *map(len, groups)]).tolist()
    trie = build_trie([str(index) for index in range(len(groups))], first, runs)
    for index in range(len(groups)):
        result = dict(written(trie, trie.roots[str(index)]))
        rows = range(first[index], first[index + 1])
        assert result == {tuple(answers.encode([names[row]])[0]): row for row in rows}


def test_a_kept_trie_is_the_same_and_belongs_to_its_tokenizer(tmp_path) -> None:
    trie = trie_of({"A": [(1, 2), (1, 3)], "B": [(4,)]})
    save_trie(trie, tmp_path, "aaaa", "signature")
    for suffix in ("arrow", "parquet"):  # the mapped copy, then the Parquet file alone
        again = load_trie(tmp_path, "aaaa", "signature")
        assert again is not None and again.roots == trie.roots
        for array in Trie.ARRAYS:
            assert np.array_equal(getattr(again, array), getattr(trie, array))
        (tmp_path / f"aaaa.{suffix}").rename(tmp_path / f"bbbb.{suffix}")
    assert load_trie(tmp_path, "aaaa", "signature") is None
    with pytest.raises(LongbelError, match="made for tokenizer aaaa, not bbbb"):
        load_trie(tmp_path, "bbbb", "signature")
    save_trie(trie, tmp_path, "aaaa", "signature")
    with pytest.raises(LongbelError, match="another knowledge base"):
        load_trie(tmp_path, "aaaa", "other")
