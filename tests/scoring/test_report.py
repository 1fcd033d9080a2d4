"""The HTML report: in text, and as a browser shows it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.scoring import report as score_report
from longbel_cli.scoring.evaluation import Evaluation, evaluate_files
from longbel_cli.scoring.metrics import ScoreOptions
from longbel_cli.scoring.report import report_page, write_report
from longbel_cli.scoring.request import ScoreRequest
from tests.support.chromium import Chromium
from tests.support.score_cases import prediction, write_predictions

HOSTILE = "<script>document.title='taken'</script><img src='https://example.org/x.png'>"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Five wrong answers of three kinds in two groups, and a compared system."""
    folder = tmp_path_factory.mktemp("report")
    rows = [
        prediction("a:0", "X", gold="X", scores=(0.95,)),
        prediction("a:1", "Y", "X", gold="X", scores=(0.6, 0.2)),
        replace(prediction("a:2", "Z", gold="W", scores=(0.5,)), mention=HOSTILE),
        replace(prediction("a:3", "Z", gold="W", scores=(0.4,)), semantic_group='An"atomy'),
        prediction("b:0", gold="W"),
        replace(prediction("b:1", "V", gold="U", scores=(0.3,)), mention="zebra"),
    ]
    ours = write_predictions(folder / "ours.jsonl", *rows)
    other = write_predictions(folder / "other.jsonl", *rows[:4], *rows[4:])
    request = ScoreRequest(ours, (other,), target_precision=0.9, options=ScoreOptions(n_boot=100))
    return evaluate_files(request)


def test_nothing_but_its_own_style_and_script_may_run(evaluation: Evaluation) -> None:
    page = report_page(evaluation)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy[1].replace("&#39;", "'")


def test_text_of_the_predictions_is_escaped(evaluation: Evaluation) -> None:
    page = report_page(evaluation)
    assert HOSTILE not in page
    assert "&lt;script&gt;document.title" in page
    assert 'data-group="An&#34;atomy"' in page


def test_the_page_says_what_it_holds_and_what_it_is_a_score_of(evaluation: Evaluation) -> None:
    page = report_page(evaluation)
    assert "quotes mentions of the scored documents" in page
    assert evaluation.signature in page
    assert "<h1>Score of ours.jsonl</h1>" in page


def test_a_long_list_is_cut_and_says_so(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_report, "MOST_ROWS", 2)
    page = report_page(evaluation)
    assert page.count('<tr class="wrong"') == 2
    assert "3 of 5 wrong answers are left out" in page


def test_without_wrong_answers(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "p.jsonl", prediction("a:0", "X", gold="X"))
    page = report_page(evaluate_files(ScoreRequest(path)))
    assert "There is none." in page


def test_a_report_that_cannot_be_written_is_an_error(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    with pytest.raises(LongbelError, match="cannot be written"):
        write_report(evaluation, tmp_path / "no" / "report.html")


@pytest.mark.slow
def test_in_a_browser(browser: Chromium, evaluation: Evaluation, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    write_report(evaluation, report)
    browser.open(report)

    def shown() -> list[int]:
        visible = browser.value(
            "[...document.querySelectorAll('tr.wrong')]"
            ".map((row) => row.getClientRects().length ? 1 : 0)"
        )
        assert isinstance(visible, list)
        return visible

    def choose(field: str, expression: str) -> None:
        browser.value(
            f"(() => {{ const field = document.getElementById('{field}'); {expression};"
            "field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )

    captions = browser.value("[...document.querySelectorAll('caption')].map((c) => c.textContent)")
    assert len(captions) == 5
    assert captions[0].startswith("Recall")
    assert browser.value("document.querySelectorAll('#tables tbody tr').length") > 15
    plots = browser.value("[...document.querySelectorAll('svg')].map((s) => s.clientHeight)")
    assert len(plots) == 4
    assert min(plots) > 50
    assert shown() == [1, 1, 1, 1, 1]
    kinds = browser.value("[...document.querySelectorAll('tbody.kind')].map((b) => b.dataset.kind)")
    assert kinds == ["no prediction", "gold at a lower rank", "other"]

    choose("kind", "field.value = 'other'")
    assert shown() == [0, 0, 1, 1, 1]
    assert browser.value("document.getElementById('shown').value") == "3 of 5 shown"
    assert browser.value("document.querySelector('tbody.kind').hidden") is True
    choose("text", "field.value = 'ZEBRA'")
    assert shown() == [0, 0, 0, 0, 1]
    choose("text", "field.value = ''")
    choose("group", "field.value = 'An\"atomy'")
    assert shown() == [0, 0, 0, 1, 0]
    choose("group", "field.value = ''")
    choose("kind", "field.value = ''")
    choose("ranked", "field.checked = true")
    assert shown() == [0, 1, 0, 0, 0]
    choose("elsewhere", "field.checked = true")
    assert shown() == [0, 1, 0, 0, 0]
    choose("ranked", "field.checked = false")
    assert shown() == [0, 1, 0, 0, 0]
    choose("elsewhere", "field.checked = false")
    assert shown() == [1, 1, 1, 1, 1]

    assert browser.value("document.title") == "Score of ours.jsonl"
    assert browser.value("document.images.length") == 0
    assert browser.complaints() == []
    assert browser.requested() == [report.resolve().as_uri()]
