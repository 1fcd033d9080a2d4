"""Baselines look up the long form of what a document abbreviates, and say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.corpora.predictions import prediction_of_line
from longbel_cli.linking.baselines import open_baseline
from longbel_cli.linking.job import prediction_line
from longbel_cli.linking.options import BaselineOptions
from longbel_cli.types import Document, Mention, Passage, Prediction, Span

TEXT = "Lupus nephritis (LN) is seen in LN and in NL."


def document(*spans: tuple[int, int]) -> Document:
    mentions = tuple(
        Mention(f"T{start}", (Span(start, end),), TEXT[start:end], "Disorders")
        for start, end in spans
    )
    return Document("d", (Passage(TEXT),), mentions)


def linked(kb_folder: Path, linker: str, abbreviations: str) -> list[Prediction]:
    options = BaselineOptions(abbreviations=abbreviations)
    engine = open_baseline(linker, KnowledgeBase.open(kb_folder), options).engine()
    return engine.link_window([document((0, 15), (17, 19), (32, 34), (42, 44))])


@pytest.mark.parametrize("linker", ["exact", "tfidf"])
def test_the_long_form_is_looked_up_and_named(kb_folder: Path, linker: str) -> None:
    whole, *short, other = linked(kb_folder, linker, "on")
    assert whole.answer is not None and whole.answer.concept_code == "C0000003"
    assert whole.expanded_from is None and other.expanded_from is None
    for prediction in short:
        assert prediction.mention == "LN"
        assert prediction.expanded_from == "Lupus nephritis"
        assert prediction.candidates == whole.candidates


def test_off_looks_up_what_is_written(kb_folder: Path) -> None:
    whole, *others = linked(kb_folder, "exact", "off")
    assert whole.candidates
    assert [each.candidates for each in others] == [(), (), ()]
    assert all(each.expanded_from is None for each in others)


def test_predictions_keep_the_long_form(kb_folder: Path) -> None:
    prediction = linked(kb_folder, "exact", "on")[1]
    assert prediction_of_line(prediction_line(prediction).encode(), "p:1") == prediction


def test_it_is_part_of_what_a_run_is(kb_folder: Path) -> None:
    settings = [
        open_baseline(
            "tfidf", KnowledgeBase.open(kb_folder), BaselineOptions(abbreviations=value)
        ).settings()["abbreviations"]
        for value in ("on", "off")
    ]
    assert settings == ["on", "off"]
