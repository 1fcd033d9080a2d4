"""What each written format keeps of a document that came from each format, and what it says of the
rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from longbel_cli.corpora import ignore, read_corpus
from longbel_cli.corpora.formats import writers
from longbel_cli.corpora.writing import one_line
from longbel_cli.types import Document
from tests.corpora.nasty.cases import lines
from tests.corpora.test_write import content, pages, rewritten
from tests.support.examples import some
from tests.support.files import stored
from tests.support.gold_files import GOLD_FORMS

GOLDS = ["C0011849", "c|SUB|G|IVS14+2|A", "", "HP:0001250", "22298006", "NO_CODE", "MESH:D003920"]


@pytest.mark.parametrize("to", writers())
@pytest.mark.parametrize("form", GOLD_FORMS)
def test_text_mentions_types_and_codes_come_through(
    form: str, to: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = stored(GOLD_FORMS[form].files(GOLDS), tmp_path / "corpus")
    first = content(list(read_corpus([source])))
    out = rewritten(source, to, tmp_path / "out")
    assert trimmed(content(list(read_corpus([out])))) == trimmed(first)
    from_brat = to == GOLD_FORMS[form].format == "brat"
    assert [message.rpartition(": ")[2] for message in caplog.messages] == (
        ["their own codes stay beside the added ones"] if from_brat else []
    )
    again = rewritten(out, "bigbio", tmp_path / "again")
    assert trimmed(content(list(read_corpus([again])))) == trimmed(first)


def trimmed(result: dict[str, Any]) -> dict[str, Any]:
    """The contents without what stands after the text: PubTator ends a title with a character."""
    return {id_: (text.rstrip(), mentions) for id_, (text, mentions) in result.items()}


def folded(documents: list[Document]) -> dict[str, Any]:
    """What PubTator holds of documents: line ends and tabs as blanks, one stretch a mention."""
    return {
        document.id: (
            one_line(document.text).rstrip(),
            sorted((m.start, m.end, m.entity_type, m.gold or ()) for m in document.mentions),
        )
        for document in documents
    }


@settings(
    max_examples=some(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(pages())
def test_pubtator_says_what_it_cannot_hold(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture, value: Any
) -> None:  # fmt: skip
    caplog.clear()
    folder = tmp_path_factory.mktemp("trip")
    source = stored({"c.jsonl": lines(value)}, folder / "corpus")
    first = list(read_corpus([source], on_problem=ignore))
    second = list(read_corpus([rewritten(source, "pubtator", folder / "out")]))
    assert folded(second) == folded(first)
    same = trimmed(content(second)) == trimmed(content(first))
    assert same or caplog.messages
