"""Abbreviations that a document defines: hand-worked cases in three languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longbel_cli.corpora.abbreviations import abbreviations, expanded, is_short_form

CASES = [
    ("Acute myocardial infarction (MI) was seen.", {"MI": "myocardial infarction"}),
    ("A patient with heat shock protein 70 (HSP70).", {"HSP70": "heat shock protein 70"}),
    ("Chronic obstructive\nlung disease (COLD)", {"COLD": "Chronic obstructive lung disease"}),
    ("MI (myocardial infarction) was seen.", {"MI": "myocardial infarction"}),
    ("la bronchopneumopathie chronique obstructive (BPCO)",
     {"BPCO": "bronchopneumopathie chronique obstructive"}),
    ("l'insuffisance rénale aiguë (IRA) et la fièvre", {"IRA": "insuffisance rénale aiguë"}),
    ("el virus de la inmunodeficiencia humana (VIH)",
     {"VIH": "virus de la inmunodeficiencia humana"}),
    ("VIH (virus de l'immunodéficience humaine)", {"VIH": "virus de l'immunodéficience humaine"}),
    ("atrial fibrillation (AF; n = 12) and stroke", {"AF": "atrial fibrillation"}),
    ("renal failure [RF] and fever", {"RF": "renal failure"}),
    ("gamma-aminobutyric acid (GABA)", {"GABA": "gamma-aminobutyric acid"}),
    ("Renal failure. Fever (RF)", {}),  # not over the end of a sentence
    ("He was well (see below) and left (p < 0.05).", {}),
    ("fever (39.5) and cough (n = 3)", {}),
    ("a cough (MI)", {}),
    ("an MI (MI)", {}),  # no longer than its short form
    ("renal failure (RF) or rheumatoid factor (RF)", {"RF": "renal failure"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_what_a_text_defines(text: str, expected: dict[str, str]) -> None:
    assert abbreviations(text) == expected


def test_a_mention_is_expanded_as_written_and_in_the_plural() -> None:
    known = {"MI": "myocardial infarction"}
    assert expanded("MI", known) == "myocardial infarction"
    assert expanded("MIs ", known) == "myocardial infarction"
    assert expanded("mi", known) is None
    assert expanded("MI of the heart", known) is None


@pytest.mark.parametrize("text", ["A", "see", "39.5", "a very long one", "-MI", "ABCDEFGHIJK"])
def test_what_is_no_short_form(text: str) -> None:
    assert not is_short_form(text)


@given(st.text(max_size=300))
def test_any_text_gives_short_forms_that_it_holds(text: str) -> None:
    for short, long in abbreviations(text).items():
        assert is_short_form(short) and short in text
        assert all(word in text for word in long.split())


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.text("xyz", min_size=2)), min_size=2))
def test_initials_are_expanded_to_their_words(parts: list[tuple[str, str]]) -> None:
    words = [initial + rest for initial, rest in parts[:8]]
    short = "".join(word[0] for word in words).upper()
    assert abbreviations(f"Fever and {' '.join(words)} ({short})") == {short: " ".join(words)}
