"""The cleaner: one character for one character, and only those it names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_builder.text import clean

CLEANED = {
    "": "",
    "plain (text), unchanged.": "plain (text), unchanged.",
    "a\u00a0b": "a b",
    "[x] {y}": "(x) (y)",
    "one\ntwo\n\nthree": "one two  three",
    "a\r\nb": "a\r b",
    "tab\tstays": "tab\tstays",
    "narrow\u202fspace stays": "narrow\u202fspace stays",
    "Épilepsie 🩺 [α]": "Épilepsie 🩺 (α)",
    "<+> <SEP> are text": "<+> <SEP> are text",
}


@pytest.mark.parametrize("text", CLEANED)
def test_clean(text: str) -> None:
    assert clean(text) == CLEANED[text]


@given(st.text())
def test_offsets_stay_and_brackets_go(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    assert not set(cleaned) & set("[]{}\n\u00a0")
    assert clean(cleaned) == cleaned
    kept = set(text) - set("[]{}\n\u00a0")
    assert all(after == before for before, after in zip(text, cleaned, strict=True)
               if before in kept)  # fmt: skip
