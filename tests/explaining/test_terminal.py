"""An explanation on a terminal: numbers and lines, shades of words, and no controls but its own."""

from __future__ import annotations

import re
from dataclasses import replace

from kb_builder.text import visible
from longbel_cli.explaining.terminal import ansi
from tests.support.explain_cases import make_case, mention_of
from tests.support.html_cases import HOSTILE, explanation_of, hostile_case


def test_the_terminal_sees_no_controls_but_our_own():
    text = ansi(explanation_of(hostile_case()))
    ours = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "\x1b" not in ours and "\u202e" not in ours and "\x00" not in ours
    assert visible(HOSTILE) in ours
    assert "\x1b[1;4" in text  # the mention stands out
    plain = ansi(explanation_of(hostile_case()), colour=False)
    assert "\x1b" not in plain and ">>AKI<<" in plain


def test_the_terminal_names_numbers_and_lines():
    text = ansi(explanation_of(make_case()), colour=False)
    assert text.splitlines()[0] == "doc:T3  [AKI] (DISO)"
    assert "  1  0.9000  C1  Acute renal failure" in text
    assert "-- integrated, candidate 1; log-probability -2.500" in text
    assert "   20 steps, completeness delta +0.0100" in text
    assert re.search(r"100% +\+0\.500  \[gentamicin\] Gentamicin", text)
    assert re.search(r"-3\.000  @148  Renal function is normal now\.", text)


def test_a_contrast_has_directions_in_the_terminal():
    result = explanation_of(make_case())
    contrast = replace(result.attributions[1], versus=2)
    text = ansi(replace(result, attributions=(contrast,)), colour=False)
    assert "-- integrated, candidate 1 rather than 2" in text
    values = [int(value) for value in re.findall(r"(-?\d+)%  @", text)]
    assert len(values) == 8 and min(values) < 0 < max(values) and 100 in map(abs, values)


def test_a_long_document_is_shown_in_part():
    text = "Fever came and went again. " * 130 + "AKI was seen. " + "He slept well at night. " * 130
    result = explanation_of(make_case(text=text, mention=mention_of(text, "AKI")))
    shown = ansi(replace(result, attributions=result.attributions[:1]), colour=False)
    assert ">>AKI<< was seen." in shown and " … " in shown
    assert len(shown) < len(text) / 2
