"""The TF-IDF baseline against cosines worked by hand, and against plain Python."""

from __future__ import annotations

import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kb_builder.store.annotated import with_names
from kb_builder.terms import CorpusNames, CorpusRow
from longbel_cli.linking.baselines import tfidf, trigram_index
from longbel_cli.linking.baselines.ranking import best_names
from longbel_cli.linking.baselines.tfidf import TfidfRanker
from longbel_cli.linking.baselines.trigram_index import TrigramIndex
from tests.support.baseline_cases import Names, small_kb
from tests.support.examples import some


def ranker_of(names: list[str], concepts: list[int]) -> TfidfRanker:
    base: Any = Names(names, concepts)
    return TfidfRanker(base)


def result(names: list[str], concepts: list[int], mention: str, limit: int = 5) -> list[Any]:
    (hits,) = ranker_of(names, concepts).rank([mention], range(len(names)), limit)
    return [(hit.row, hit.score) for hit in hits]


def test_cosines_worked_by_hand() -> None:
    """The first trigram is in both names: idf ln(3/3) + 1 = 1; the others in one: ln(3/2) + 1.

    |ab| = sqrt(1 + 1.975333) = 1.724916, |abc| = sqrt(1 + 2 * 1.975333) = 2.225009.
    """
    names, concepts = ["Ab", "abc"], [0, 1]
    assert result(names, concepts, "AB") == [(0, 1.0), (1, 0.260556)]
    # "x" has trigrams of no name; each weighs ln(3) + 1 = 2.098612 and shares nothing.
    assert result(names, concepts, "x") == []
    # " ab" and "abx", "bx ": 1 / (sqrt(1 + 2 * 2.098612 ** 2) * 1.724916) and / 2.225009.
    assert result(names, concepts, "abx") == [(0, 0.185112), (1, 0.143506)]


# names, concepts, mention, limit, expected rows
ORDERS = [
    # One candidate a concept, by its best name; equal scores by row.
    (["Fever", "fever", "FEVER"], [0, 0, 1], "fever", 5, [0, 2]),
    (["Fever", "fever", "FEVER"], [1, 0, 2], "fever", 2, [0, 1]),
    (["High fever", "Fever", "Cough"], [0, 0, 1], "fever", 5, [1]),
    (["Cough"], [0], "", 5, []),
    (["a", "b"], [0, 1], "b", 5, [1]),
    ([""], [0], "fever", 5, []),
    (["", "Fever"], [0, 1], "fever", 5, [1]),
    (["été", "ÉTÉ"], [1, 0], "Été", 5, [0, 1]),
    (["\U0001d538bc", "abc"], [0, 1], "\U0001d538bc", 1, [0]),
]


@pytest.mark.parametrize(("names", "concepts", "mention", "limit", "rows"), ORDERS)
def test_order(
    names: list[str], concepts: list[int], mention: str, limit: int, rows: list[int]
) -> None:
    assert [row for row, _ in result(names, concepts, mention, limit)] == rows


def vector(text: str, idf: Any) -> dict[str, float]:
    padded = f" {text.casefold()} "
    counts = Counter(padded[start : start + 3] for start in range(len(padded) - 2))
    weights = {gram: count * idf(gram) for gram, count in counts.items()}
    norm = math.sqrt(sum(weight**2 for weight in weights.values()))
    return {gram: weight / norm for gram, weight in weights.items()}


def oracle(names: list[str], concepts: list[int], mention: str) -> dict[int, float]:
    """The best cosine of each concept."""
    grams = [vector(name, lambda gram: 1.0).keys() for name in names]
    holding = Counter(gram for first in grams for gram in first)

    def idf(gram: str) -> float:
        return math.log((1 + len(names)) / (1 + holding[gram])) + 1

    query = vector(mention, idf)
    best: dict[int, float] = {}
    for name, concept in zip(names, concepts, strict=True):
        other = vector(name, idf)
        cosine = sum(weight * other.get(gram, 0.0) for gram, weight in query.items())
        best[concept] = max(best.get(concept, 0.0), cosine)
    return {concept: cosine for concept, cosine in best.items() if cosine > 0}


def test_a_block_without_trigrams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigram_index, "NAMES_PER_BLOCK", 2)
    assert result(["", "", "Fever"], [0, 1, 2], "fever") == [(2, 1.0)]
    assert result([], [], "fever") == []


texts = st.text(st.sampled_from("abcAB é"), min_size=1, max_size=8)


@settings(
    max_examples=some(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(st.tuples(texts, st.integers(0, 6)), min_size=1, max_size=30),
    mention=texts,
    limit=st.integers(1, 4),
    block=st.sampled_from([3, 7, 100]),
)
def test_against_plain_python(
    rows: list[tuple[str, int]],
    mention: str,
    limit: int,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the blocks: as many concepts, as good, each with its own best cosine."""
    monkeypatch.setattr(trigram_index, "NAMES_PER_BLOCK", block)
    names, concepts = [name for name, _ in rows], [concept for _, concept in rows]
    hits = result(names, concepts, mention, limit)
    expected = oracle(names, concepts, mention)
    best = sorted(expected.values(), reverse=True)[:limit]
    assert [score for _, score in hits] == pytest.approx(best, abs=2e-6)
    assert len({concepts[row] for row, _ in hits}) == len(hits)
    for row, score in hits:
        assert score == pytest.approx(expected[concepts[row]], abs=2e-6)
    ties = [(-score, row) for row, score in hits]
    assert ties == sorted(ties)


def test_a_kept_index_is_the_one_that_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several blocks, one of them without trigrams."""
    monkeypatch.setattr(trigram_index, "NAMES_PER_BLOCK", 2)
    names = ["Fever", "high fever", "", "", "Cough", "coughing", "tough"]
    base: Any = Names(names, [0, 0, 1, 2, 3, 3, 4])
    built = TrigramIndex.build(base, range(len(names)))
    built.save(tmp_path)
    opened = TrigramIndex.open(tmp_path, base)
    assert opened.n_bytes == built.n_bytes
    for mention in ("fever", "cough", "tough", "x", ""):
        assert opened.nearest(mention, 3) == built.nearest(mention, 3)


def test_an_index_is_built_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside the knowledge base; of one with names of corpora, in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tfidf, "KEPT_FROM", 1)
    base = small_kb(tmp_path)
    corpus = CorpusNames("train", (CorpusRow("C1", "smoker's lung", "DISO", "d1"),))
    caplog.set_level(logging.INFO, "longbel_cli.linking.baselines.tfidf")
    for knowledge_base, folder in (
        (base, base.path / "tfidf"),
        (with_names(base, [corpus]), tmp_path / "cache" / "longbel" / "tfidf"),
    ):
        rows = knowledge_base.rows_of_group(knowledge_base.groups[0])
        ranked = [TfidfRanker(knowledge_base).rank(["fever"], rows, 3) for _ in range(2)]
        assert ranked[0] == ranked[1]
        assert [each for each in folder.iterdir() if each.is_dir()], folder
    assert len(caplog.messages) == 2


def test_only_the_rows_asked_for() -> None:
    names, concepts = ["Fever", "Fever", "Fever", "Cough"], [0, 1, 2, 3]
    (hits,) = ranker_of(names, concepts).rank(["fever"], range(1, 3), 5)
    assert [hit.row for hit in hits] == [1, 2]


def test_scores_that_are_shown_as_equal_are_equal_however_many_there_are() -> None:
    """The first of them stands, also where the others are larger by less than is shown."""
    scores = np.full(1000, 0.5)
    scores[1:] += 2e-7
    assert best_names(scores, np.arange(1000, dtype=np.int32), 2) == [0, 1]


@settings(max_examples=some(60), deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 3_000),
    n_concepts=st.sampled_from([1, 3, 50, 3_000]),
    levels=st.sampled_from([2, 30, 10_000]),
    limit=st.integers(1, 12),
)
def test_the_best_names_of_many(
    seed: int, size: int, n_concepts: int, levels: int, limit: int
) -> None:
    """Against sorting everything, with many equal scores and with few."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, levels, size) / levels
    concepts = random.integers(0, n_concepts, size).astype(np.int32)
    order = sorted(range(size), key=lambda location: (-round(scores[location], 6), location))
    expected: dict[int, int] = {}
    for location in order:
        if scores[location] > 0:
            expected.setdefault(int(concepts[location]), location)
    assert best_names(scores, concepts, limit, above=0.0) == list(expected.values())[:limit]
