"""Two knowledge bases compared: by hand, and against dicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.store.diff import CONCEPTS, Comparison
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.store.successors import Successor, Successors
from tests.support.examples import some
from tests.support.kb_cases import (
    build,
    conso_row,
    retired_row,
    short_names,
    sty_row,
    write_release,
)

OLD = [
    ("C1", "Fever", "T184"), ("C1", "Pyrexia", "T184"), ("C2", "Cough", "T184"),
    ("C3", "Tussis", "T184"), ("C4", "Ague", "T184"), ("C5", "Aspirin", "T121"),
    ("C6", "Chill", "T184"), ("C7", "Rigor", "T184"), ("C8", "Shiver", "T184"),
]  # fmt: skip
NEW = [
    ("C1", "Fever", "T184"), ("C2", "Cough", "T184"), ("C2", "Tussis", "T184"),  # C3 is C2 now
    ("C5", "Aspirin", "T121"), ("C5", "ASA", "T121"), ("C9", "Pyrexia", "T184"),
    ("C6", "Shiver", "T184"), ("C8", "Shiver", "T184"),  # neither has another: C6 has it
]  # fmt: skip
CUI = [
    retired_row("C3", "SY", "C2"), retired_row("C7", "RB", "C6"), retired_row("C4", "DEL"),
    retired_row("C0", "SY", "C1"), retired_row("C00", "SY", "C0"),
]  # fmt: skip


def knowledge_base(
    folder: Path, rows: Sequence[tuple[str, str, str]], retired: Sequence[str] = ()
) -> KnowledgeBase:
    conso = [conso_row(code, name) for code, name, _ in rows]
    sty = sorted({sty_row(code, tui) for code, _, tui in rows})
    others = {"MRCUI": retired} if retired else {}
    build(write_release(folder / "release", conso, sty, **others), folder / "kb")
    return KnowledgeBase.open(folder / "kb")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("diff")
    old, new = knowledge_base(folder / "old", OLD), knowledge_base(folder / "new", NEW, CUI)
    return Comparison(old, new)


def test_concepts_and_names_by_group(comparison: Comparison) -> None:
    result = comparison.difference()
    assert (result.added, result.retired, result.without_names) == (["C9"], ["C4", "C7"], ["C8"])
    assert result.replaced == [{"old": "C3", "new": "C2", "reason": "merged"}]
    assert result.moved == [
        {"group": "Disorders", "name": "Pyrexia", "old": "C1", "new": "C9"},
        {"group": "Disorders", "name": "Shiver", "old": "C8", "new": "C6"},
    ]
    disorders = {
        "added": 1, "retired": 2, "replaced": 1, "without_names": 1, "names_added": 0,
        "names_dropped": 3, "names_moved": 2, "names_followed": 1,
    }  # fmt: skip
    drugs = dict.fromkeys(disorders, 0) | {"names_added": 1}
    assert result.groups == {"Chemicals & Drugs": drugs, "Disorders": disorders}
    assert result.total == disorders | {"names_added": 1}


def test_codes_that_somebody_uses(comparison: Comparison) -> None:
    codes = ["C1", "C3", "C4", "C7", "C9", "C0", "C00", "X", "C3"]
    fates = comparison.fates(codes)
    assert {code: (fate["status"], fate["becomes"]) for code, fate in fates.items()} == {
        "C0": ("replaced", "C1"), "C00": ("replaced", "C1"), "C3": ("replaced", "C2"),
        "C4": ("retired", None), "C7": ("retired", None), "C9": ("added", None),
        "X": ("unknown", None),
    }  # fmt: skip


def test_successors_are_followed_and_circles_end() -> None:
    rows = [
        ("A", "B", "merged"), ("B", "C", "replaced"), ("D", None, "retired"), ("E", "F", "merged"),
        ("F", "E", "merged"), ("D", "C", "merged"),
    ]  # fmt: skip
    successors = Successors(rows)
    known = {"C"}.__contains__
    assert successors.follow("A", known) == Successor("C", "replaced")
    assert successors.follow("B", known) == Successor("C", "replaced")
    assert successors.follow("D", known) == Successor("C", "merged")
    assert successors.follow("E", known) == Successor(None, "merged")
    assert successors.follow("C", known) is None
    assert len(successors) == 5


def test_a_knowledge_base_without_retired_codes_says_so(tmp_path: Path) -> None:
    old, new = knowledge_base(tmp_path / "a", OLD), knowledge_base(tmp_path / "b", NEW)
    result = Comparison(old, new).difference()
    assert not result.knows_successors
    assert result.replaced == [] and "C3" in result.retired


ROW = st.tuples(
    st.sampled_from(["C1", "C2", "C3", "C4"]),
    st.sampled_from(["Fever", "Cough", "Ague", "Chill"]),
    st.just("T184"),
)
MERGED = st.tuples(st.sampled_from(["C1", "C2", "C3", "C4"]), st.sampled_from(["C1", "C2", "C5"]))


@settings(deadline=None, max_examples=some(30))
@given(
    st.lists(ROW, min_size=1, max_size=7),
    st.lists(ROW, min_size=1, max_size=7),
    st.lists(MERGED, max_size=3, unique_by=lambda row: row[0]),
)
def test_as_dicts_say(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[tuple[str, str, str]],
    after: list[tuple[str, str, str]],
    merged: list[tuple[str, str]],
) -> None:
    folder = tmp_path_factory.mktemp("diff")
    retired = [retired_row(old, "SY", new) for old, new in merged if old != new]
    retired = retired or [retired_row("C9", "DEL")]
    old = knowledge_base(folder / "old", before)
    new = knowledge_base(folder / "new", after, retired)
    owner, owner_now = (short_names(base.path)["Disorders"] for base in (old, new))
    held, held_now = set(owner.values()), set(owner_now.values())
    listed = {concept for concept in ("C1", "C2", "C3", "C4") if new.has_code(concept)}
    successor: dict[str, str] = {}
    for code in held - listed:
        goal, seen = dict(merged).get(code), {code}
        while goal is not None and goal not in held_now and goal not in seen:
            seen.add(goal)
            goal = dict(merged).get(goal)
        if goal in held_now and goal != code:
            successor[code] = goal
    result = Comparison(old, new).difference()
    assert set(result.added) == held_now - held
    assert set(result.without_names) == (held & listed) - held_now
    assert {row["old"]: row["new"] for row in result.replaced} == successor
    assert set(result.retired) == held - listed - set(successor)
    assert result.total["names_added"] == len(set(owner_now) - set(owner))
    assert result.total["names_dropped"] == len(set(owner) - set(owner_now))
    both = set(owner) & set(owner_now)
    moved = {name for name in both if owner[name] != owner_now[name]}
    followed = {name for name in moved if successor.get(owner[name]) == owner_now[name]}
    assert {row["name"] for row in result.moved} == moved - followed
    assert result.total["names_followed"] == len(followed)
    assert result.groups["Disorders"] == result.total
    assert sum(result.total[key] for key in CONCEPTS[1:]) == len(held - held_now)
