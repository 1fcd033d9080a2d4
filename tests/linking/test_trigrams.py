"""Trigrams counted all at once are those counted text by text."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longbel_cli.linking.baselines import trigrams as counting
from longbel_cli.training.data.targets import trigrams
from tests.support.examples import some

texts = st.lists(st.text(st.sampled_from("aAbß[\n\u00a0é\U0001f600 ")), max_size=12)


@pytest.mark.parametrize("block", [1, 3, 1 << 16])
@settings(max_examples=some(60), deadline=None)
@given(texts)
def test_how_many_names_hold_a_trigram(block: int, names: list[str]) -> None:
    expected: Counter[str] = Counter()
    for name in names:
        expected.update(gram for gram in trigrams(name) if len(gram) == 3)
    before, counting.NAMES_PER_BLOCK = counting.NAMES_PER_BLOCK, block
    try:
        result = counting.NameFrequency(names)
    finally:
        counting.NAMES_PER_BLOCK = before
    for gram, count in expected.items():
        assert result[gram] == count
    for gram in ("xyz", " zz", "\U0001f601\U0001f601\U0001f601"):
        assert result[gram] == 0
