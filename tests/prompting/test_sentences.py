"""Sentence spans: where they begin and end in the three languages, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from longbel_cli.prompting.sentences import splitter

SENTENCES = {
    # (language, text): the sentences
    ("en", "It rained. She had fever."): ["It rained.", "She had fever."],
    ("en", "Seen by Dr. Jones. He left."): ["Seen by Dr. Jones.", "He left."],
    ("en", "Take 2.5 mg daily. Then rest."): ["Take 2.5 mg daily.", "Then rest."],
    ("en", "No full stop"): ["No full stop"],
    ("en", "  One.   Two.  \n"): ["One.", "Two."],
    ("en", "Why? Because! Yes."): ["Why?", "Because!", "Yes."],
    ("en", ""): [],
    ("en", " \n\t "): [],
    ("fr", "Vue par M. Durand. Elle est sortie."): ["Vue par M. Durand.", "Elle est sortie."],
    ("fr", "Fièvre élevée. État stable."): ["Fièvre élevée.", "État stable."],
    ("es", "Vista por el Dr. García. Fue dada de alta."): [
        "Vista por el Dr. García.",
        "Fue dada de alta.",
    ],
}


@pytest.mark.parametrize(("language", "text"), SENTENCES)
def test_sentences(language: str, text: str) -> None:
    spans = splitter(language)(text)
    assert [text[start:end] for start, end in spans] == SENTENCES[language, text]


@pytest.mark.parametrize("language", ["de", "", "EN", "english"])
def test_another_language_is_a_usage_error(language: str) -> None:
    with pytest.raises(LongbelError) as raised:
        splitter(language)
    assert raised.value.exit_code == 2
    assert "en, fr, es" in raised.value.hint


@given(
    st.sampled_from(["en", "fr", "es"]), st.text(st.sampled_from("aB .?!\n\u00a0é"), max_size=60)
)
def test_sentences_hold_all_that_is_no_white_space(language: str, text: str) -> None:
    spans = splitter(language)(text)
    position = 0
    for start, end in spans:
        assert position <= start < end
        assert not text[position:start].strip()
        assert text[start:end] == text[start:end].strip()
        position = end
    assert not text[position:].strip()
