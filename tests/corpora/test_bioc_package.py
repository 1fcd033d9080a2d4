"""What the `bioc` package writes is read as it was meant: the format's own library is the judge."""

from __future__ import annotations

from pathlib import Path

import pytest
from bioc import (
    BioCAnnotation,
    BioCCollection,
    BioCDocument,
    BioCLocation,
    BioCPassage,
    biocjson,
    biocxml,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longbel_cli.corpora import read_corpus
from longbel_cli.types import Span
from tests.support.examples import some
from tests.support.files import stored

# XML holds no other controls, and its parsers make one line feed of each line end.
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
WRITTEN = {"c.xml": biocxml.dumps, "c.json": biocjson.dumps}


@st.composite
def collections(draw: st.DrawFn) -> BioCCollection:
    """One document of one or two passages with annotations of one or two locations."""
    document, position = BioCDocument(), 0
    document.id = "d"
    for ordinal in range(draw(st.integers(1, 2))):
        passage = BioCPassage()
        passage.offset, passage.text = position, draw(texts)
        for index in range(draw(st.integers(0, 3))):
            made = BioCAnnotation()
            made.id = f"{ordinal}.{index}"
            made.infons = {"type": "Disease", "identifier": draw(st.sampled_from(["C1", "-"]))}
            pieces = []
            for _ in range(draw(st.integers(1, 2))):
                last = len(passage.text) - 1
                start, end = sorted(draw(st.integers(0, last)) for _ in range(2))
                made.add_location(BioCLocation(position + start, end + 1 - start))
                pieces.append(passage.text[start : end + 1])
            made.text = " ".join(pieces)
            if made.text.strip():
                passage.add_annotation(made)
        document.add_passage(passage)
        position += len(passage.text) + 1
    collection = BioCCollection()
    collection.add_document(document)
    return collection


@pytest.mark.parametrize("name", WRITTEN)
@settings(
    max_examples=some(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(collection=collections())
def test_what_the_package_writes_is_read(
    name: str, collection: BioCCollection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("bioc")
    data = WRITTEN[name](collection).encode()
    (document,) = read_corpus([stored({name: data}, folder / "corpus")])
    (meant,) = collection.documents
    assert [(p.start, p.text) for p in document.passages] == [
        (passage.offset, passage.text) for passage in meant.passages
    ]
    assert {m.id: (m.spans, m.entity_type, m.gold) for m in document.mentions} == {
        made.id: (
            tuple(Span(at.offset, at.offset + at.length) for at in made.locations),
            made.infons["type"],
            ("C1",) if made.infons["identifier"] == "C1" else None,
        )
        for passage in meant.passages
        for made in passage.annotations
    }
