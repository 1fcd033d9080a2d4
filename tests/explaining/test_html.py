"""What explanations look like as data of a page, as a fragment, and in a terminal."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
import sys
from dataclasses import replace

import pytest

from kb_builder.text import visible
from longbel_cli.explaining.aggregation import (
    document_sentences,
    plain_sentences,
)
from longbel_cli.explaining.case import Case
from longbel_cli.explaining.explanation import MemoryEntry, Weight
from longbel_cli.explaining.html import (
    html_fragment,
    html_page,
    page_data,
    page_name,
    signed_levels,
    strength_levels,
)
from longbel_cli.explaining.notebook import display_saliency_map
from longbel_cli.explaining.terminal import ansi
from longbel_cli.pages import TEMPLATES, write_page
from longbel_cli.prompting.formats import PROMPT_FORMATS, DocumentPrompts
from longbel_cli.prompting.segments import MemoryLine
from longbel_cli.types import Document, Passage, Span
from tests.support.explain_cases import TEXT, make_case, mention_of, prediction_of
from tests.support.html_cases import HOSTILE, embedded, explanation_of, hostile_case


def test_the_page_holds_all_text_as_data_and_none_as_markup():
    page = html_page([explanation_of(hostile_case())], title="</title><script>x</script>")
    data = embedded(page)
    assert data["documents"][0]["passages"][0]["text"] == HOSTILE
    assert data["mentions"][0]["candidates"][0][2] == "<script>alert(2)</script>"
    assert data["mentions"][0]["memory"][0]["name"] == "<i>a</i> <+> b & c"
    # Two scripts, the page's own: data and program.
    assert len(re.findall(r"<script", page, re.I)) == len(re.findall(r"</script", page, re.I)) == 2
    assert "alert(1)</script" not in page and "<img" not in page and "<!--" not in page
    assert "This page holds the text of the documents it explains." in page


def test_the_policy_names_exactly_the_pages_own_style_and_script():
    page = html_page([explanation_of(make_case())])
    policy = html.unescape(
        re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page).group(1)
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for rule, tag in (("style-src", "style"), ("script-src", "script")):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.S).group(1)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert "unsafe" not in policy
    # Nothing that a policy would have to allow: no inline style or handler, no address.
    markup = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.S)
    assert not re.search(r"\s(style|on\w+|src)=", markup)
    assert not re.search(r"(?:https?:)?//\w", page)


def test_word_steps_lead_to_the_words_in_utf16():
    # → is three bytes in UTF-8 and yet one unit, the others are two.
    text = "→ 🧬 AKI 𝒳!"
    case = make_case(text=text, mention=mention_of(text, "AKI"), memory=())
    data = page_data([explanation_of(case)])
    (passage,) = data["documents"][0]["passages"]
    units, at, result = passage["text"].encode("utf-16-le"), 0, []
    for gap, length in zip(passage["words"][::2], passage["words"][1::2], strict=True):
        result.append(units[2 * (at + gap) : 2 * (at + gap + length)].decode("utf-16-le"))
        at += gap + length
    assert result == ["→", "🧬", "AKI", "𝒳", "!"]
    assert data["mentions"][0]["spans"] == [[0, 5, 8]]
    assert len(data["mentions"][0]["maps"][0]["words"]) == 5


def test_spans_over_passages_and_documents_once():
    each = Document("d", (Passage("AKI a", 0), Passage("b COPD", 6)), ())
    mention = mention_of(each.text, "AKI a b")
    case = Case(
        DocumentPrompts(each, PROMPT_FORMATS["hybrid_long"]), mention,
        (MemoryEntry("T9", MemoryLine("x", "G", ("X",))),), prediction_of("d", mention, "N"),
        (("N",),), None, document_sentences(each, plain_sentences),
    )  # fmt: skip
    explanation = explanation_of(case)
    data = page_data([explanation, explanation])
    assert len(data["documents"]) == 1 and len(data["mentions"]) == 2
    assert data["mentions"][0]["spans"] == [[0, 0, 5], [1, 0, 1]]
    assert data["mentions"][0]["memory"][0]["spans"] == []  # a mention that was left out


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.0, 1.0, 0.5], "A_g"), ([0.0, 0.0], "AA"), ([], ""), ([5.0], "_")],
)
def test_strength_in_64_levels(scores, expected):
    assert strength_levels([Weight(Span(0, 1), score, None) for score in scores]) == expected


def test_direction_around_the_middle_level():
    weights = [Weight(Span(0, 1), abs(value), value) for value in (-2.0, 0.0, 2.0, 1.0)]
    assert signed_levels(weights) == "Bg_w"
    assert signed_levels([Weight(Span(0, 1), 1.0, None)]) is None


def test_controls_and_overrides_are_spelled_out():
    assert visible("a\u202eb\x1b[1m\tc\n\x00\u2069") == "a<U+202E>b<U+001B>[1m\tc\n<U+0000><U+2069>"
    assert visible("العربية \u200f é 👩‍⚕️") == "العربية \u200f é 👩‍⚕️"


def test_the_fragment_escapes_everything():
    fragment = html_fragment(explanation_of(hostile_case()))
    assert "<script" not in fragment and "<img" not in fragment and "<b>" not in fragment
    shown = html.unescape(re.sub(r"<[^>]+>", "", fragment))
    assert visible(HOSTILE) in shown
    assert "\u202e" not in fragment and "\x1b" not in fragment
    assert "outline:2px solid currentColor" in fragment


def test_saliency_maps_print_outside_notebooks(capsys):
    display_saliency_map(explanation_of(make_case()))
    assert "[AKI] (DISO)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("document_id", "readable"),
    [
        ("ward/7:case", "ward-7-case"),
        ("../../etc/passwd", "etc-passwd"),
        ("", "document"),
        ("\u202e\x00<>", "document"),
        ("a" * 500, "a" * 60),
    ],
)
def test_page_names_are_safe_and_distinct(document_id, readable):
    name = page_name(document_id)
    assert re.fullmatch(rf"{readable}-[0-9a-f]{{10}}\.html", name)
    assert page_name(document_id + "x") != name


def test_a_candidate_without_a_score_is_null_in_the_page_and_a_dash_elsewhere():
    case = make_case()
    unknown = tuple(each._replace(score=math.nan) for each in case.prediction.candidates)
    explanation = explanation_of(
        replace(case, prediction=replace(case.prediction, candidates=unknown))
    )
    (shown, *_) = embedded(html_page([explanation]))["mentions"]
    assert {score for *_, score in shown["candidates"]} == {None}
    assert "</code> –</li>" in html_fragment(explanation)
    assert "  1  –  " in ansi(explanation)


def test_a_page_is_written_whole(tmp_path):
    write_page(html_page([explanation_of(make_case())]), tmp_path / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert embedded((tmp_path / "page.html").read_text("utf-8"))["documents"][0]["id"] == "doc"


def test_a_megabyte_of_text():
    text = HOSTILE + ("Fever was seen <b>today</b> & AKI.\n" * 32_000)
    assert len(text) > 1_000_000
    mention = mention_of(text, "AKI", 3)
    case = make_case(text=text, mention=mention, window=Span(0, 2000))
    data = embedded(html_page([explanation_of(case)]))
    assert data["documents"][0]["passages"][0]["text"] == text


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    digits = colour.lstrip("#")
    digits = "".join(2 * char for char in digits) if len(digits) == 3 else digits
    parts = [int(digits[location : location + 2], 16) / 255 for location in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(each: str, other: str) -> float:
    high, low = sorted((luminance(each), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_shades_are_ordered_by_lightness_and_readable(theme):
    """Lightness alone tells strong from weak, so the scale needs no colour vision."""
    style = (TEMPLATES / "explain.css").read_text("utf-8")
    start = style.index(':root[data-theme="dark"]' if theme == "dark" else ":root {")
    block = style[start : style.index("}", start)]
    values = dict(re.findall(r"--([\w-]+): (#\w+)", block))
    inks = ["dark-ink"] * 5 + ["fixed"] * 2 + ["light-ink"] * 2
    for side in ("for", "against"):
        shades = [values[f"{side}-{level}"] for level in range(1, 10)]
        light = [luminance(shade) for shade in shades]
        assert light == sorted(light, reverse=theme == "light")
        for shade, ink in zip(shades, inks, strict=True):
            assert contrast(shade, values.get(ink, "#111")) >= 4.5
    assert contrast(values["ink"], values["paper"]) >= 7
    assert contrast(values["soft"], values["ground"]) >= 4.5


def test_rendering_needs_no_torch():
    import subprocess

    rooms = "longbel_cli.explaining.html, longbel_cli.explaining.terminal"
    code = f"import sys, {rooms}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_numbers_as_json():
    explanation = explanation_of(make_case())
    indices = json.loads(json.dumps(explanation.to_json()))
    assert indices["mention_id"] == "T3"
    assert [entry["mention_id"] for entry in indices["memory"]] == ["T1", "T2"]
    gradient, integrated, ablation = indices["attributions"]
    assert (gradient["method"], gradient["rank"], gradient["objective"]) == ("gradient", 1, -2.5)
    assert integrated["completeness_delta"] == 0.01
    assert ablation["tokens"] == []
    word = next(word for word in gradient["words"] if word["document_offsets"] == [0, 5])
    token = next(token for token in gradient["tokens"] if token["document_offsets"] == [0, 1])
    assert TEXT[:5] == "Acute" and token["text"] == "A" and word["score"] > 0
