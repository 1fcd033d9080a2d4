"""Names as annotators use them: whose they are, what they take from others, where it is written."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.terms import CorpusNames, CorpusRow
from tests.support.examples import some
from tests.support.kb_cases import (
    audit_of,
    build,
    conso_row,
    names_of,
    rows_of,
    short_names,
    sty_row,
    write_release,
)

CONSO = [
    conso_row("C1", "Fever"),
    conso_row("C1", "Pyrexia"),
    conso_row("C2", "Cough"),
    conso_row("C3", "Temperature"),
    conso_row("C3", "Fièvre", lat="FRE"),
    conso_row("C4", "Cold"),
    conso_row("C5", "Cold"),
    conso_row("C5", "Common cold"),
]
STY = [*(sty_row(f"C{index}", "T184") for index in (1, 2, 4, 5)), sty_row("C3", "T032")]
TRAIN = CorpusNames(
    "train.jsonl",
    (
        CorpusRow("C1", "temperature", "DISO", "d1"),
        CorpusRow("C1", "temperature", "DISO", "d2"),
        CorpusRow("C2", "temperature", "DISO", "d1"),  # rarer
        CorpusRow("C1", "hot  [skin]", "Symptom", "d1"),  # no group: those of the concept
        CorpusRow("C2", "Cold", "DISO", "d3"),  # before the source's own claims
        CorpusRow("C5", "cold", "DISO", "d3"),  # as often, but a larger code
        CorpusRow("C3", "fièvre", "PHYS", "d3"),  # has it in that language
        CorpusRow("C9", "unknown", "DISO", "d4"),
    ),
)
MORE = CorpusNames("dev", (CorpusRow("C1", "hot (skin)", "DISO", "d1"),))
DISO, PHYS = "Disorders", "Physiology"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("annotated") / "release", CONSO, STY)


def test_names_of_corpora_come_first(release: Path, tmp_path: Path) -> None:
    report = build(release, tmp_path / "kb", names_from=(TRAIN, MORE))
    assert names_of(tmp_path / "kb") == {
        (DISO, "Fever", "C1", "ENG", False), (DISO, "Pyrexia", "C1", "ENG", False),
        (DISO, "Temperature", "C1", None, False), (DISO, "Hot (skin)", "C1", None, False),
        (DISO, "Cough", "C2", "ENG", False), (DISO, "Cold", "C2", None, False),
        (DISO, "Common cold", "C5", "ENG", False),
        (PHYS, "Temperature", "C3", "ENG", False),  # another group, another name
        (PHYS, "Fièvre", "C3", "FRE", False),
    }  # fmt: skip
    assert audit_of(tmp_path / "kb") == {
        ("corpus", DISO, "Temperature", "C2", "C1"),
        ("corpus", DISO, "Cold", "C4", "C2"), ("corpus", DISO, "Cold", "C5", "C2"),
    }  # fmt: skip
    counts = report.info["counts"]
    told = ("corpus_mentions", "corpus_unknown_codes", "corpus_names", "corpus_names_new",
            "corpus_lost", "ambiguous_names", "concepts_without_a_name")  # fmt: skip
    assert [counts[key] for key in told] == [9, 1, 4, 3, 3, 0, 1]
    assert report.nameless == ["C4"]


def test_where_they_come_from_is_kept(release: Path, tmp_path: Path) -> None:
    build(release, tmp_path / "kb", names_from=(TRAIN, MORE))
    base = KnowledgeBase.open(tmp_path / "kb")
    told = [
        (source, code, base.name(row))
        for _, source, code, row in rows_of(tmp_path / "kb", "codes")
        if source.startswith("corpus:")
    ]
    assert told == [
        ("corpus:train.jsonl", "C1", "Hot (skin)"), ("corpus:train.jsonl", "C1", "Temperature"),
        ("corpus:dev", "C1", "Hot (skin)"), ("corpus:train.jsonl", "C2", "Cold"),
        ("corpus:train.jsonl", "C3", "Fièvre"),
    ]  # fmt: skip
    assert base.info["corpora"] == [
        {"name": "train.jsonl", "documents": 3, "mentions": 8, "sha256": TRAIN.sha256},
        {"name": "dev", "documents": 1, "mentions": 1, "sha256": MORE.sha256},
    ]
    documents = pq.read_table(tmp_path / "kb" / "documents.parquet")
    assert documents["corpus"].to_pylist() == ["train.jsonl"] * 3 + ["dev"]
    assert not {"d1", "d2"} & set(documents["document"].to_pylist()), "ids are hashed"
    assert base.corpus_of_document("d3") == "train.jsonl"
    assert base.corpus_of_document("d4") is None  # none of its names is there
    assert base.corpus_of_document("d") is None


def test_a_name_must_be_in_so_many_documents(release: Path, tmp_path: Path) -> None:
    build(release, tmp_path / "kb", names_from=(TRAIN,), names_min_documents=2)
    names = short_names(tmp_path / "kb")[DISO]
    assert names["Temperature"] == "C1" and "Hot (skin)" not in names
    base = KnowledgeBase.open(tmp_path / "kb")
    assert [base.corpus_of_document(f"d{index}") for index in (1, 2, 3)] == [
        "train.jsonl", "train.jsonl", None,
    ]  # fmt: skip
    # The same name of two corpora: their documents count together.
    build(release, tmp_path / "two", names_from=(TRAIN, MORE), names_min_documents=2)
    assert short_names(tmp_path / "two")[DISO]["Hot (skin)"] == "C1"


def test_the_signature_and_the_options_say_so(release: Path, tmp_path: Path) -> None:
    signatures = set()
    for name, options in {
        "none": {},
        "train": {"names_from": (TRAIN,)},
        "twice": {"names_from": (TRAIN,), "names_min_documents": 2},
        "rows": {"names_from": (CorpusNames("train.jsonl", TRAIN.rows[:-1]),)},
        "name": {"names_from": (CorpusNames("other", TRAIN.rows),)},
    }.items():
        report = build(release, tmp_path / name, **options)
        signatures.add(report.info["signature"])
    assert len(signatures) == 5
    options = json.loads((tmp_path / "train" / "kb.json").read_text())["options"]
    assert options["names_from"] == {"train.jsonl": TRAIN.sha256}
    assert options["names_min_documents"] == 1
    assert "names_from" not in json.loads((tmp_path / "none" / "kb.json").read_text())["options"]


def test_corpora_that_say_nothing(release: Path, tmp_path: Path) -> None:
    foreign = CorpusNames("other.jsonl", (CorpusRow("D001", "fever", "DISO", "d1"),))
    with pytest.raises(LongbelError, match=r"--names-from other\.jsonl: no mention of it"):
        build(release, tmp_path / "kb", names_from=(foreign,))
    for options in ({"names_min_documents": 2}, {"names_from": (TRAIN,), "names_min_documents": 0}):
        with pytest.raises(LongbelError, match="--names-min-documents is 1 or more"):
            build(release, tmp_path / "kb", **options)


@pytest.mark.parametrize("ambiguous", ["qualify", "qualify-all"])
def test_who_lost_a_name_may_come_back(release: Path, tmp_path: Path, ambiguous: str) -> None:
    build(release, tmp_path / "kb", names_from=(TRAIN,), ambiguous=ambiguous)
    names = short_names(tmp_path / "kb")[DISO]
    assert names["Cold (Sign or Symptom)"] == ("C2" if ambiguous == "qualify-all" else "C4")
    has_pairs = {code for name, code in names.items() if name.startswith("Cold")}
    assert has_pairs == ({"C2", "C4", "C5"} if ambiguous == "qualify-all" else {"C2", "C4"})


def test_a_table_and_a_candidate_set(tmp_path: Path) -> None:
    table = tmp_path / "t.tsv"
    table.write_text("code\tname\tgroup\nC1\tFever\tDISO\nC2\tFlu\tX\n")
    corpus = CorpusNames("c", (CorpusRow("C2", "grippe", "disease", "d"),
                               CorpusRow("C1", "flu", "x", "d")))  # fmt: skip
    build(table, tmp_path / "kb", names_from=(corpus,))
    assert short_names(tmp_path / "kb") == {
        "DISO": {"Fever": "C1"}, "X": {"Flu": "C1", "Grippe": "C2"},
    }  # fmt: skip
    assert [row[1:3] for row in rows_of(tmp_path / "kb", "codes")] == [
        ("corpus:c", "C1"), ("corpus:c", "C2"),
    ]  # fmt: skip
    candidates = tmp_path / "text_to_code.json"
    candidates.write_text('{"DISO": {"fever": "C1"}, "X": {"Flu": "C2"}}')
    build(candidates, tmp_path / "as_it_stands", names_from=(corpus,))
    assert short_names(tmp_path / "as_it_stands") == {
        "DISO": {"fever": "C1"}, "X": {"Flu": "C1", "Grippe": "C2"},
    }  # fmt: skip


ROW = st.builds(
    CorpusRow,
    st.sampled_from(["C1", "C2", "C3"]),
    st.sampled_from(["Flu", "Cold", "Chill", "Ague"]),
    st.just("DISO"),
    st.sampled_from(["d1", "d2", "d3"]),
)
ATOM = st.tuples(st.sampled_from(["C1", "C2", "C3"]), st.sampled_from(["Flu", "Cold", "Ague"]))


@settings(deadline=None, max_examples=some(40))
@given(st.lists(ATOM, max_size=6), st.lists(ROW, min_size=1, max_size=8), st.integers(1, 2))
def test_as_counting_says(
    tmp_path_factory: pytest.TempPathFactory,
    atoms: list[tuple[str, str]],
    rows: list[CorpusRow],
    minimum: int,
) -> None:
    folder = tmp_path_factory.mktemp("counted")
    atoms = [*atoms, ("C9", "Rest")]
    sty = [sty_row(code, "T184") for code in ("C1", "C2", "C3", "C9")]
    release = write_release(folder / "release", [conso_row(*atom) for atom in atoms], sty)
    documents: dict[tuple[str, str], set[str]] = defaultdict(set)
    mentions: Counter[tuple[str, str]] = Counter()
    for row in rows:
        documents[row.name, row.code].add(row.document)
        mentions[row.name, row.code] += 1
    best: dict[str, tuple[int, str]] = {}
    for (name, code), result in documents.items():
        if len(result) >= minimum:
            best[name] = min(best.get(name, (0, "")), (-mentions[name, code], code))
    corpus = CorpusNames("c", tuple(rows))
    if not best:
        with pytest.raises(LongbelError, match="no mention of it"):
            build(release, folder / "kb", names_from=(corpus,), names_min_documents=minimum)
        return
    build(release, folder / "kb", names_from=(corpus,), names_min_documents=minimum)
    names = short_names(folder / "kb")[DISO]
    assert {name: names[name] for name in best} == {name: code for name, (_, code) in best.items()}
    assert set(names) <= {*best, *(name for _, name in atoms)}
    lost = {(name, code) for rule, _, name, code, _ in audit_of(folder / "kb") if rule == "corpus"}
    claimed = {*((name, code) for code, name in atoms), *documents}
    counted = {pair for pair in claimed if len(documents.get(pair, ())) >= minimum or
               pair[::-1] in atoms}  # fmt: skip
    assert lost == {(name, code) for name, code in counted if name in best and code != names[name]}
