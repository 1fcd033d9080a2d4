"""The beam search against the plain definition of it, with scripted log-probabilities.

Log-probabilities are a function of the whole path, so that a search that confuses two paths is
found out.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.trie.trie import Trie
from longbel_cli.model.decoders import Beam
from longbel_cli.model.decoders.scopes import AllGroups, Names
from longbel_cli.model.decoders.search import BeamSearch, Chain, MoveTable, SearchOptions
from tests.support.examples import some
from tests.support.search_cases import END, PLUS, LogProb, Tokens, plain_search, trie_of


def scripted(seed: int, spread: float = 3.0, step: float = 0.0) -> LogProb:
    """A log-probability for each path and token; `step` rounds them, which makes ties."""

    def logprob(path: Tokens, token: int) -> float:
        bits = zlib.crc32(repr((seed, path, token)).encode())
        value = -spread * bits / 2**32 - 0.01
        return float(np.float32(round(value / step) * step if step else value))

    return logprob


def tokens_of(chain: Chain, n: int) -> Tokens:
    """The answer up to and with the first `n` tokens of a chain."""
    tokens = chain.tokens[:n]
    while chain.parent is not None:
        chain = chain.parent
        tokens = chain.tokens + tokens
    return tuple(tokens[1:])  # the root's first is the prompt's end


def run(
    trie: Trie,
    group: str,
    logprob: LogProb,
    options: SearchOptions,
    choose_best: bool = False,
    look_ahead: Callable[[], bool] = lambda: True,
    names: Names | None = None,
) -> tuple[list[Beam], int]:
    """The beams, and how many rounds of feeding they took.

    Checks what a decoder relies on: parents come before children, nothing is asked for twice.
    """
    table = MoveTable(names or trie, 0 if names else trie.roots[group], options)
    search = BeamSearch(table)
    fed: set[Tokens] = set()
    rounds = 0
    stretches = [search.prompt_end]
    while not search.done:
        assert stretches
        for stretch in stretches:
            chain, first, last = stretch
            assert first < last and stretch.tokens == chain.tokens[first:last]
            forced = []
            for n in range(first + 1, last + 1):
                before = tokens_of(chain, n)
                assert before not in fed and (before == () or before[:-1] in fed)
                assert len(before) < options.max_new_tokens
                fed.add(before)
                if n < len(chain.tokens):
                    forced.append(np.float32(logprob(before, chain.tokens[n])).item())
            assert len(forced) == len(stretch.forced)
            search.feed(stretch, forced)
            if stretch.has_choice:
                tokens = search.moves(chain).tokens.tolist()
                values = np.array([logprob(before, token) for token in tokens], dtype=np.float32)
                chosen = None
                if choose_best and len(values) > 2 * options.n_beams:
                    chosen = np.argsort(-values, kind="stable")[: 2 * options.n_beams]
                    values = values[chosen]
                search.feed_moves(chain, values.tolist(), chosen)
        search.advance()
        rounds += 1
        stretches = search.wanted(look_ahead())
    return search.beams(), rounds


names_of_a_group = st.lists(
    st.lists(st.integers(0, 6), min_size=1, max_size=6).map(tuple),
    min_size=1,
    max_size=30,
    unique=True,
)
OTHER = [(0, 1), (0,), (6, 6, 6)]


@settings(max_examples=some(250), deadline=None)
@given(
    names=names_of_a_group,
    seed=st.integers(0, 10**6),
    n_beams=st.integers(1, 20),
    max_new_tokens=st.sampled_from([1, 2, 3, 5, 8, 128]),
    composite=st.booleans(),
    lookahead=st.integers(0, 20),
)
def test_the_search_is_as_defined(
    names: list[Tokens],
    seed: int,
    n_beams: int,
    max_new_tokens: int,
    composite: bool,
    lookahead: int,
) -> None:
    if composite:
        max_new_tokens = min(max_new_tokens, 12)
    trie = trie_of({"G": names, "other": OTHER})
    logprob = scripted(seed)
    expected = plain_search(names, logprob, n_beams, max_new_tokens, composite)
    options = SearchOptions(END, n_beams, max_new_tokens, PLUS if composite else None, lookahead)
    beams, _ = run(trie, "G", logprob, options)
    assert beams == expected
    assert run(trie, "G", logprob, options, choose_best=True)[0] == expected
    assert run(trie, "G", logprob, options, look_ahead=lambda: False)[0] == expected
    now_and_then = random.Random(seed)
    mixed = run(trie, "G", logprob, options, look_ahead=lambda: now_and_then.random() < 0.5)
    assert mixed[0] == expected


@settings(max_examples=some(100), deadline=None)
@given(
    names=names_of_a_group,
    seed=st.integers(0, 10**6),
    n_beams=st.integers(1, 6),
    lookahead=st.sampled_from([0, 4, 20]),
)
def test_ties_go_to_the_earlier_beam_and_the_smaller_token(
    names: list[Tokens], seed: int, n_beams: int, lookahead: int
) -> None:
    """With log-probabilities in steps of 0.125, as bfloat16 logits have them, ties are common."""
    logprob = scripted(seed, spread=1.0, step=0.125)
    trie = trie_of({"G": names})
    options = SearchOptions(END, n_beams, 128, None, lookahead)
    assert run(trie, "G", logprob, options)[0] == plain_search(names, logprob, n_beams, 128)


@pytest.mark.parametrize("moves", [30, 300, 700])
def test_some_of_many_moves_tie(moves: int) -> None:
    names = [(token,) for token in range(moves) if token not in (END, PLUS)]
    for seed in range(5):
        logprob = scripted(seed, spread=1.0, step=0.125)
        expected = plain_search(names, logprob, 5, 128)
        beams, _ = run(trie_of({"G": names}), "G", logprob, SearchOptions(END, 5))
        assert beams == expected


def test_many_moves_that_tie() -> None:
    """All moves are worth the same: the smallest tokens stay, however many there are."""
    names = [(token,) for token in range(80)]
    trie = trie_of({"G": names})
    for n_beams in (1, 2, 5, 20):
        beams, _ = run(trie, "G", lambda path, token: -1.0, SearchOptions(END, n_beams))
        assert [beam.rows for beam in beams] == [(token,) for token in range(n_beams)]


def test_a_group_of_one_name() -> None:
    trie = trie_of({"other": OTHER, "G": [(1, 2, 3)]})
    beams, rounds = run(trie, "G", scripted(0), SearchOptions(END, 5))
    assert [(beam.rows, beam.length) for beam in beams] == [((3,), 4)]
    # The whole name is forced: the prompt's end, then all its tokens at once.
    assert rounds == 2


def test_fewer_names_than_beams() -> None:
    names = [(1, 2), (1, 3), (2,)]
    beams, _ = run(trie_of({"G": names}), "G", scripted(1), SearchOptions(END, 20))
    assert sorted(beam.rows for beam in beams) == [(0,), (1,), (2,)]
    assert [beam.score for beam in beams] == sorted((beam.score for beam in beams), reverse=True)


def test_a_name_that_is_the_beginning_of_others() -> None:
    """Hand-worked: three names, all log-probabilities -1 but the ends'."""
    names = [(1,), (1, 2), (1, 2, 3)]
    ends = {(1,): -0.5, (1, 2): -0.25, (1, 2, 3): -2.0}

    def logprob(path: Tokens, token: int) -> float:
        return ends[path] if token == END else -1.0

    beams, _ = run(trie_of({"G": names}), "G", logprob, SearchOptions(END, 3))
    assert beams == [
        Beam((0,), -1.5, 2),  # -0.75 a token
        Beam((1,), -2.25, 3),  # -0.75 a token; of equal scores the earlier stays before
        Beam((2,), -5.0, 4),  # -1.25
    ]


def test_answers_that_do_not_end_in_time_are_no_results() -> None:
    names = [(1, 1, 1), (2,)]
    trie = trie_of({"G": names})
    result = [
        run(trie, "G", scripted(3), SearchOptions(END, 5, limit))[0] for limit in (1, 2, 3, 4)
    ]
    assert [sorted(beam.rows for beam in beams) for beams in result] == [
        [],
        [(1,)],
        [(1,)],
        [(0,), (1,)],
    ]


def test_an_unfinished_answer_takes_the_place_of_a_finished_one() -> None:
    """As `generate` does at the last token: what is unfinished there counts among the K results,
    and is dropped only afterwards."""
    values = {(): {1: -1.0, 2: -2.0}, (2,): {END: -3.0}, (1,): {1: -0.5}}

    def logprob(path: Tokens, token: int) -> float:
        return values[path][token]

    trie = trie_of({"G": [(1, 1, 1), (2,)]})
    assert run(trie, "G", logprob, SearchOptions(END, 2, 2))[0] == [Beam((1,), -5.0, 2)]
    assert run(trie, "G", logprob, SearchOptions(END, 1, 2))[0] == []


def test_an_end_ranked_behind_the_beams_is_discarded() -> None:
    """One beam: the end is the second best move after token 1, so it is no result."""
    values = {
        (): {1: -1.0},
        (1,): {END: -2.0, 5: -1.0},
        (1, 5): {END: -9.0},
    }

    def logprob(path: Tokens, token: int) -> float:
        return values[path][token]

    trie = trie_of({"G": [(1,), (1, 5)]})
    beams, _ = run(trie, "G", logprob, SearchOptions(END, 1, lookahead=0))
    assert beams == [Beam((1,), -11.0, 3)]


def test_a_tie_with_the_worst_result_ends_the_search() -> None:
    """As in `generate`: the live beam must be better a token, not as good. Going on would find
    the longer name, whose end is worth more."""
    behind = END + 5  # a token that ties with the end and comes after it
    values = {(): {1: -1.0}, (1,): {END: -1.0, behind: -1.0}, (1, behind): {END: -0.25}}

    def logprob(path: Tokens, token: int) -> float:
        return values[path][token]

    trie = trie_of({"G": [(1,), (1, behind)]})
    beams, _ = run(trie, "G", logprob, SearchOptions(END, 1, lookahead=0))
    assert beams == [Beam((0,), -2.0, 2)]


def test_composite_answers_join_rows() -> None:
    values = {
        (): {1: -0.1, 2: -5.0},
        (1,): {END: -3.0, PLUS: -0.1},
        (1, PLUS): {1: -4.0, 2: -0.1},
        (1, PLUS, 2): {END: -0.1, PLUS: -5.0},
    }

    def logprob(path: Tokens, token: int) -> float:
        return values.get(path, {}).get(token, -20.0)

    trie = trie_of({"G": [(1,), (2,)]})
    beams, _ = run(trie, "G", logprob, SearchOptions(END, 2, 6, PLUS))
    assert beams[0].rows == (0, 1) and beams[0].length == 4
    assert beams[0].logprob == pytest.approx(-0.4)
    assert all(len(beam.rows) == 1 for beam in run(trie, "G", logprob, SearchOptions(END, 2, 6))[0])


def test_look_ahead_saves_rounds() -> None:
    """Names with long forced ends: one token a round without look-ahead, few rounds with it."""
    names = [(token, 7, 8, 9, token, token) for token in range(6)]
    trie = trie_of({"G": names})
    beams, rounds = run(trie, "G", scripted(5), SearchOptions(END, 5))
    plain, plain_rounds = run(trie, "G", scripted(5), SearchOptions(END, 5, lookahead=0))
    assert beams == plain
    assert rounds <= plain_rounds
    assert rounds <= 3


def test_a_group_keeps_to_its_own_names() -> None:
    groups = {"A": [(1, 2), (3,)], "B": [(1, 2), (1, 4)], "C": [(5,)]}
    trie = trie_of(groups)
    rows = {
        group: sorted(beam.rows for beam in run(trie, group, scripted(2), SearchOptions(END))[0])
        for group in groups
    }
    assert rows == {"A": [(0,), (1,)], "B": [(2,), (3,)], "C": [(4,)]}


@pytest.mark.parametrize("n_beams", [1, 5, 20])
def test_wide_nodes(n_beams: int) -> None:
    names = [(token, token % 7) for token in range(700) if token not in (END, PLUS)]
    logprob = scripted(11)
    trie = trie_of({"G": names})
    options = SearchOptions(END, n_beams)
    expected = plain_search(names, logprob, n_beams, 128)
    assert run(trie, "G", logprob, options)[0] == expected
    assert run(trie, "G", logprob, options, choose_best=True)[0] == expected


@pytest.mark.parametrize(
    ("most", "searches", "expected"), [(None, 99, True), (8, 8, True), (8, 9, False)]
)
def test_look_ahead_is_for_passes_that_few_searches_share(most, searches, expected):
    options = SearchOptions(END, lookahead=3, lookahead_searches=most)
    assert options.looks_ahead(searches) is expected


def test_without_look_ahead_live_beams_alone_are_fed() -> None:
    """A round feeds at most as many tokens as there are beams, forced or not."""
    names = [(token, 7, 8, 9, token, token) for token in range(6)]
    trie = trie_of({"G": names})
    search = BeamSearch(MoveTable(trie, trie.roots["G"], SearchOptions(END, 3)))
    search.feed_moves(search.root, [-float(token + 1) for token in range(6)])
    search.advance()
    assert [stretch.tokens for stretch in search.wanted(look_ahead=False)] == [[0], [1], [2]]
    assert [len(stretch.tokens) for stretch in search.wanted()] == [6, 6, 6]


def test_moves_that_are_asked_for_again_are_remembered_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("longbel_cli.model.decoders.search._REMEMBERED_MOVES", 3)
    trie = trie_of({"G": [(1, 2), (1, 3), (4, 5), (4, 6), (4, 7)]})
    table = MoveTable(trie, 0, SearchOptions(END))
    assert table.after(0) is table.after(0)
    first, second = table.after(0).nodes.tolist()
    dropped, kept = table.after(second), table.after(first)
    assert (dropped.tokens.tolist(), kept.tokens.tolist()) == ([5, 6, 7], [2, 3])
    assert table.after(first) is kept
    assert table.after(second) is not dropped


@settings(max_examples=some(60), deadline=None)
@given(names=names_of_a_group, other=names_of_a_group, seed=st.integers(0, 10**6))
def test_all_groups_are_searched_as_one(
    names: list[Tokens], other: list[Tokens], seed: int
) -> None:
    """Rows of the first group stand for names that both have."""
    trie = trie_of({"A": names, "B": other})
    logprob, options = scripted(seed), SearchOptions(END, 5)
    both = [*names, *(name for name in other if name not in names)]
    rows = [
        *range(len(names)),
        *(len(names) + n for n, name in enumerate(other) if name not in names),
    ]
    beams, _ = run(trie, "", logprob, options, names=AllGroups(trie))
    expected = plain_search(both, logprob, 5, 128)
    assert [(tuple(rows[r] for r in beam.rows), *beam[1:]) for beam in expected] == list(
        map(tuple, beams)
    )
