"""Names of corpora added to an open knowledge base: whose they are, and what stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.build import BuildOptions, build_kb
from kb_builder.errors import LongbelError
from kb_builder.store.annotated import with_names
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.terms import CorpusNames, CorpusRow
from tests.support.baseline_cases import small_kb
from tests.support.examples import some

DISO, ANAT = "Disorders", "Anatomy"
TRAIN = CorpusNames(
    "train",
    (
        CorpusRow("C1", "smoker's lung", "DISO", "d1"),  # new
        CorpusRow("C2", "COLD", "DISO", "d1"),  # another concept's until now
        CorpusRow("C3", "catarrh", "DISO", "d1"),
        CorpusRow("C2", "catarrh", "DISO", "d1"),  # as often, the smaller code
        CorpusRow("C1", "CHILL", "DISO", "d1"),
        CorpusRow("C3", "Chill", "DISO", "d2"),  # more often, case apart
        CorpusRow("C3", "chill", "DISO", "d3"),
        CorpusRow("C5", "road", "Street", "d1"),  # no group: that of the concept
        CorpusRow("C9", "unknown", "DISO", "d4"),
    ),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    return small_kb(tmp_path_factory.mktemp("with-names"))


def names_of(base: KnowledgeBase) -> list[tuple[str, str, str]]:
    return [(base.group(row), base.name(row), base.code(row)) for row in range(base.n_names)]


def test_names_by_hand(base: KnowledgeBase) -> None:
    made = with_names(base, [TRAIN])
    before, after = dict.fromkeys(names_of(base)), names_of(made)
    assert [row for row in after if row not in before] == [
        (ANAT, "Road", "C5"), (DISO, "CHILL", "C3"), (DISO, "COLD", "C2"),
        (DISO, "Catarrh", "C2"), (DISO, "Chill", "C3"), (DISO, "Smoker's lung", "C1"),
    ]  # fmt: skip
    assert [row for row in before if row not in after] == [(DISO, "COLD", "C1")]
    assert made.annotated is not None
    assert [after[row][1] for row in np.flatnonzero(made.annotated)] == [
        "Road", "CHILL", "COLD", "Catarrh", "Chill", "Smoker's lung",
    ]  # fmt: skip
    assert base.annotated is None and names_of(base) == list(before)


def test_it_is_a_knowledge_base(base: KnowledgeBase) -> None:
    made = with_names(base, [TRAIN])
    for group in made.groups:
        names = [made.name(row) for row in made.rows_of_group(group)]
        assert names == sorted(set(names))
    triples = names_of(made)
    assert made.code(made.lookup("CHILL", DISO) or 0) == "C3"
    for code in ("C1", "C2", "C3", "C5"):
        rows = made.names_of_concept(code)
        own = {(group, name) for group, name, of in triples if of == code}
        assert {(made.group(row), made.name(row)) for row in rows} == own
        concept = made.concept(code)
        assert concept is not None and concept["n_names"] == len(rows)
    assert made.term(made.lookup("COLD", DISO) or 0).preferred is False


def test_identity_and_documents(base: KnowledgeBase) -> None:
    made = with_names(base, [TRAIN])
    assert made.signature_on_disk == base.signature != made.signature
    assert made.names_added == {"train": TRAIN.sha256} and base.names_added == {}
    assert made.corpus_of_document("d1") == "train"
    assert made.corpus_of_document("d4") is None  # no name of it was taken
    other = CorpusNames("train", TRAIN.rows[1:])
    assert with_names(base, [other]).signature != made.signature


def test_a_corpus_of_another_terminology(base: KnowledgeBase) -> None:
    foreign = CorpusNames("mesh", (CorpusRow("D000001", "fever", "DISO", "d1"),))
    with pytest.raises(LongbelError, match="--names-from mesh: no mention of it"):
        with_names(base, [foreign])


@settings(deadline=None, max_examples=some(40))
@given(st.lists(st.tuples(st.sampled_from(("C1", "C2", "C5")), st.text("aBß ü", min_size=1))))
def test_as_building_with_the_corpus_says(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    """Where corpora disagree about no name, case apart, and no name has two claimants."""
    folder = tmp_path_factory.mktemp("built")
    base = small_kb(folder)
    owner: dict[str, str] = {}
    kept = [
        CorpusRow(code, name, "", "d1")
        for code, name in rows
        if name.strip() and owner.setdefault(" ".join(name.split()).casefold(), code) == code
    ]
    if not kept:
        return
    corpus = CorpusNames("train", tuple(kept))
    options = BuildOptions(folder / "names.tsv", folder / "kb2", names_from=(corpus,))
    build_kb(options)
    assert names_of(with_names(base, [corpus])) == names_of(KnowledgeBase.open(folder / "kb2"))
