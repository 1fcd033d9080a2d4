"""The page in a real browser: what is drawn, switched, and never run or loaded."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from longbel_cli.explaining.explanation import Explanation
from longbel_cli.explaining.html import html_page
from longbel_cli.pages import write_page
from longbel_cli.types import Span
from tests.support.explain_cases import TEXT, make_case, mention_of
from tests.support.html_cases import HOSTILE, explanation_of, hostile_case

pytestmark = pytest.mark.slow

SHOWN = (
    "[...document.querySelectorAll('#document p:not(.type)')].map(p => p.textContent).join('\\n')"
)
IN_MENTION = "[...document.querySelectorAll('#document .in')].map(e => e.textContent).join('')"
CHECKED = "[...document.querySelectorAll('fieldset:not([hidden]) input:checked')].map(e => e.value)"


def write(explanations: list[Explanation], folder: Path) -> Path:
    page = folder / "page.html"
    write_page(html_page(explanations), page)
    return page


def several() -> list[Explanation]:
    """Mentions of one document, each with three maps; all documents are one object."""
    first = make_case()
    phrases = ("Acute kidney injury", "gentamicin", "AKI")
    mentions = tuple(
        mention_of(TEXT, phrase, 1, f"T{index}") for index, phrase in enumerate(phrases, start=1)
    )
    document = replace(first.document, mentions=mentions)
    explanations = []
    for mention in mentions:
        case = make_case(mention=mention)
        explanations.append(replace(explanation_of(case), document=document))
    return explanations


def test_a_document_is_drawn_as_it_reads(browser, tmp_path):
    browser.open(write(several(), tmp_path))
    assert browser.value(SHOWN) == TEXT
    assert browser.value(IN_MENTION) == "Acute kidney injury"
    assert browser.value("document.querySelectorAll('#candidates tr').length") == 2
    memory = browser.value("document.getElementById('memory').innerText")
    assert "Acute kidney injury → Acute renal failure" in memory and "gentamicin" in memory
    assert (
        browser.value("document.querySelectorAll('#document [class^=f], #document .in').length") > 5
    )
    assert "document" in browser.value("document.querySelector('.notice').textContent")
    assert browser.complaints() == []


@pytest.mark.parametrize(
    ("gold", "name", "shown"),
    [
        ("C1", "Acute renal failure", ""),
        ("C7", "Ileus", "Gold, not among these: Ileus C7"),
        ("C7", None, "Gold, not among these: C7 (not in the knowledge base)"),
        (None, None, ""),
    ],
)
def test_a_gold_that_is_no_candidate_is_named(browser, tmp_path, gold, name, shown):
    made = explanation_of(make_case())
    prediction = replace(made.prediction, gold_concept_code=gold)
    browser.open(write([replace(made, prediction=prediction, gold_name=name)], tmp_path))
    rows = "[...document.querySelectorAll('#candidates td[colspan]')].map(e => e.textContent)"
    assert browser.value(rows) == ([shown] if shown else [])
    assert browser.complaints() == []


def test_keys_switch_mention_method_and_view(browser, tmp_path):
    browser.open(write(several(), tmp_path))
    assert browser.value(CHECKED) == ["gradient"]
    browser.press("j")
    assert browser.value(IN_MENTION) == "gentamicin"
    browser.press("k")
    browser.press("k")
    assert browser.value(IN_MENTION) == "AKI"
    browser.press("m")
    assert browser.value(CHECKED)[0] == "integrated"
    browser.press("v")
    assert browser.value(CHECKED) == ["integrated", "direction"]
    assert browser.value("document.querySelectorAll('#document [class^=a]').length") > 0
    browser.press("m")
    assert browser.value(CHECKED)[0] == "ablation"
    assert browser.value("location.hash") == "#3;ablation;1;direction"
    theme = "document.documentElement.dataset.theme"
    browser.press("t")
    assert browser.value(theme) == "dark"
    browser.press("?")
    assert browser.value("document.getElementById('help').hidden") is False
    # Typing into the search box is typing.
    browser.value("document.getElementById('filter').focus()")
    browser.press("t")
    assert browser.value(theme) == "dark"
    assert browser.complaints() == []


def test_an_address_leads_to_what_it_names(browser, tmp_path):
    browser.open(write(several(), tmp_path), "#2;integrated;1;direction")
    assert browser.value(IN_MENTION) == "gentamicin"
    assert browser.value(CHECKED) == ["integrated", "direction"]


def test_every_control_is_reached_by_tab(browser, tmp_path):
    browser.open(write(several(), tmp_path))
    unreachable = browser.value(
        "[...document.querySelectorAll('button, input')].filter(e => e.tabIndex < 0 || "
        "(!e.textContent && !e.labels?.length && !e.getAttribute('aria-label'))).length"
    )
    assert unreachable == 0


def test_hostile_text_is_shown_and_nothing_of_it_runs(browser, tmp_path):
    before = len(browser.requested())
    page = write([explanation_of(hostile_case())], tmp_path)
    browser.value("window.alert = () => { window.alerted = true; }")
    browser.open(page)
    # A browser's lines end where the text's do; all else is there to the letter.
    assert browser.value(SHOWN) == HOSTILE
    assert browser.value("window.alerted === undefined")
    assert browser.value("document.querySelectorAll('script').length") == 2
    assert browser.value("document.querySelectorAll('#document img, #document b').length") == 0
    names = browser.value("document.getElementById('candidates').textContent")
    assert "<script>alert(2)</script>" in names
    # Overrides are isolated and named, so that they turn nothing around.
    codes = "[...document.querySelectorAll('#document .control')].map(e => e.dataset.code)"
    assert browser.value(codes)[:2] == ["U+202E", "U+202C"]
    style = "getComputedStyle(document.querySelector('#document .control')).unicodeBidi"
    assert browser.value(style) == "isolate"
    assert browser.requested()[before:] == [page.resolve().as_uri()]
    assert browser.complaints() == []


def test_a_score_that_is_not_known_is_a_dash(browser, tmp_path):
    case = make_case()
    unknown = tuple(each._replace(score=math.nan) for each in case.prediction.candidates)
    case = replace(case, prediction=replace(case.prediction, candidates=unknown))
    explanation = explanation_of(case)
    maps = tuple(replace(each, score=0.5) for each in explanation.attributions)
    browser.open(write([replace(explanation, attributions=maps)], tmp_path))
    cells = "[...document.querySelectorAll('#candidates .number')].map(e => e.textContent)"
    assert browser.value(cells) == ["–", "–"]
    assert "Score recorded when linked–" in browser.value(
        "document.getElementById('figures').textContent"
    )
    assert browser.complaints() == []


def test_right_to_left_text_runs_right_to_left(browser, tmp_path):
    text = "المريض يعاني من AKI حاد.\nThe patient has AKI."
    browser.open(
        write([explanation_of(make_case(text=text, mention=mention_of(text, "AKI")))], tmp_path)
    )
    lines = "[...document.querySelectorAll('#document p')].map(p => getComputedStyle(p).direction)"
    assert browser.value(lines) == ["rtl", "ltr"]
    # Words stay in their order: the first stands to the right of the last.
    assert browser.value(
        "(() => { const p = document.querySelector('#document p'), r = document.createRange();"
        "r.selectNodeContents(p.firstChild); const first = r.getBoundingClientRect().left;"
        "r.selectNodeContents(p.lastChild);"
        "return first > r.getBoundingClientRect().left; })()"
    )
    assert browser.value(SHOWN) == text


def test_scripts_from_elsewhere_are_refused(browser, tmp_path):
    page = write(several(), tmp_path)
    content = page.read_text("utf-8")
    page.write_text(content.replace("<body>", "<body><script>window.ran = true</script>"), "utf-8")
    browser.open(page)
    assert browser.value("window.ran === undefined")
    assert any("Content Security Policy" in text for text in browser.complaints())
    browser.events.clear()


def test_hundreds_of_mentions_and_a_megabyte(browser, tmp_path):
    explanations = several() * 100
    browser.open(write(explanations, tmp_path))
    assert browser.value("document.querySelectorAll('#mentions button').length") == 300
    browser.press("k")
    assert browser.value("location.hash").startswith("#300;")

    text = TEXT + "\n" + (18 * "Fever was seen today & AKI. " + "\n") * 2_000
    case = make_case(text=text, mention=mention_of(text, "AKI", 3), window=Span(0, 2000))
    browser.open(write([explanation_of(case)], tmp_path))
    assert browser.value(f"({SHOWN}).length") == len(text.rstrip("\n"))
    assert browser.value(IN_MENTION) == "AKI"
    assert browser.complaints() == []
