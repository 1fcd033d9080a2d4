"""Explanations for the tests of pages, and what a page holds."""

from __future__ import annotations

import json
import re

from longbel_cli.explaining.aggregation import (
    attribute,
    attribute_ablation,
)
from longbel_cli.explaining.case import Case
from longbel_cli.explaining.explanation import Explanation
from longbel_cli.prompting.segments import MemoryLine
from longbel_cli.types import Span
from tests.support.explain_cases import make_case, mention_of

HOSTILE = (
    "He said \"</script><script>alert(1)</script>\" & 'so' <!-- <b>{{ 7*7 }}\n"
    "\u202eevil\u202c \x1b[31mred\x1b[0m \u2067x\u2069 nul\x00 🧬 𝒳 AKI\u2028end <img src=x>"
)


def explanation_of(case: Case) -> Explanation:
    """Scores that can be told apart: each token's is its number; every other one is against."""
    locations = [Span(index, index + 1) for index in range(len(case.prompt.text))]
    scores = [float(index % 11) for index in range(len(locations))]
    signed = [score if index % 2 else -score for index, score in enumerate(scores)]
    about = {"rank": 1, "versus": None, "objective": -2.5}
    changes = [(-1.0) ** index * index for index in range(len(case.shown_sentences))]
    return Explanation(
        case.document, case.mention, case.prediction, case.memory,
        (
            attribute(case, locations, scores, None, method="gradient", **about),
            attribute(case, locations, scores, signed, method="integrated", steps=20,
                      baseline="pad", baseline_objective=-9.0, delta=0.01, **about),
            attribute_ablation(case, [0.5] * len(case.lines), changes, **about),
        ),
    )  # fmt: skip


def hostile_case() -> Case:
    return make_case(
        text=HOSTILE,
        mention=mention_of(HOSTILE, "AKI", id='T"<1>'),
        memory=(MemoryLine("</script>\u202e", "<G>", ("<i>a</i>", "b & c")),),
        names=("<script>alert(2)</script>", "\u202eOther"),
    )


def embedded(page: str) -> dict:
    """The page's data, found as a browser finds it: up to the first closing tag."""
    result = re.search(
        r'<script type="application/json" id="data">(.*?)</script', page, re.S | re.I
    )
    assert result is not None
    return json.loads(result.group(1))
