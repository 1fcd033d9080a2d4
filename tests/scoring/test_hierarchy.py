"""Where answers stand in a hierarchy: worked by hand, and against all paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.build import BuildOptions, build_kb
from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.scoring.error_kinds import wrong_answers
from longbel_cli.scoring.hierarchy import Hierarchy, Standing, codes_in, hierarchy_score
from longbel_cli.scoring.metrics import ScoreOptions, evaluate
from tests.support.command_line import Longbel
from tests.support.examples import some
from tests.support.score_cases import mention, prediction, write_predictions

# root > disease > {infection > {flu, cold}, cancer}; flu is also a fever, which is a symptom.
PARENTS = {
    "disease": ["root"], "symptom": ["root"], "infection": ["disease"], "cancer": ["disease"],
    "flu": ["infection", "fever"], "cold": ["infection"], "fever": ["symptom"],
}  # fmt: skip
# answer, gold, what the answer is, how far
CASES = [
    ("flu", "flu", "exact", 0),
    ("infection", "flu", "ancestor", 1),
    ("root", "flu", "ancestor", 3),
    ("flu", "infection", "descendant", 1),
    ("flu", "root", "descendant", 3),
    ("cold", "flu", "sibling", 2),
    ("cancer", "flu", "other", 3),  # by way of disease
    ("fever", "cold", "other", 5),  # by way of root
    ("unknown", "flu", "other", None),
    ("unknown", "unknown", "exact", 0),
]


@pytest.mark.parametrize(("answer", "gold", "relation", "distance"), CASES)
def test_standings(answer: str, gold: str, relation: str, distance: int | None) -> None:
    assert Hierarchy(PARENTS).standing(answer, gold) == Standing(relation, distance)


def test_a_hierarchy_that_goes_round() -> None:
    """Of two ways the shorter, of equal ones the upper."""
    around = Hierarchy({"a": ["b"], "b": ["c"], "c": ["a"]})
    assert around.standing("b", "a") == Standing("ancestor", 1)
    assert around.standing("a", "b") == Standing("descendant", 1)
    both = Hierarchy({"a": ["b"], "b": ["a"]})
    assert both.standing("b", "a") == Standing("ancestor", 1)


def test_shares_and_distance_worked_by_hand() -> None:
    evaluated = evaluate([
        mention("d:0", "flu", "flu"),  # exact, 0
        mention("d:2", "flu", "infection"),  # ancestor, 1
        mention("d:4", "flu", "cold"),  # sibling, 2
        mention("e:0", "flu"),  # none
        mention("e:2", "flu", "unknown"),  # other, nowhere
        mention("e:4", "cold+flu", "cold"),  # other: a composite gold is no place
        mention("e:6", "cold+flu", "cold+flu"),  # exact, 0
        mention("e:8", "disease", "cold"),  # descendant, 2
    ])  # fmt: skip
    result = hierarchy_score(evaluated, Hierarchy(PARENTS), ScoreOptions(n_boot=10))
    assert {name: interval.value for name, interval in result.shares.items()} == {
        "exact": 2 / 8, "ancestor": 1 / 8, "descendant": 1 / 8, "sibling": 1 / 8, "other": 2 / 8,
        "none": 1 / 8,
    }  # fmt: skip
    assert result.n_distances == 5 and result.distance.value == pytest.approx(
        (0 + 1 + 2 + 0 + 2) / 5
    )
    kinds = [wrong.kind for wrong in wrong_answers(evaluated, None, result)]
    assert kinds == ["ancestor", "sibling", "no prediction", "other", "part of a composite",
                     "descendant"]  # fmt: skip
    assert codes_in(evaluated.mentions) == {"flu", "infection", "cold", "unknown", "disease"}


nodes = st.sampled_from("abcdef")


@settings(max_examples=some(200), deadline=None)
@given(edges=st.sets(st.tuples(nodes, nodes), max_size=12), answer=nodes, gold=nodes)
def test_against_all_paths(edges: set[tuple[str, str]], answer: str, gold: str) -> None:
    parents = {code: sorted(above for below, above in edges if below == code) for code in "abcdef"}

    def steps(low: str, high: str) -> int | None:
        """By trying walks of each length."""
        reached = {low}
        for length in range(7):
            if high in reached:
                return length
            reached = {above for code in reached for above in parents[code]}
        return None

    standing = Hierarchy(parents).standing(answer, gold)
    up, down = steps(gold, answer), steps(answer, gold)
    if answer == gold:
        assert standing == Standing("exact", 0)
    elif up is not None or down is not None:
        assert standing.distance == min(n for n in (up, down) if n is not None)
        assert (standing.relation == "ancestor") == (standing.distance == up)
    else:
        ways = [
            low + high for code in "abcdef"
            if (low := steps(answer, code)) is not None and (high := steps(gold, code)) is not None
        ]  # fmt: skip
        assert standing.distance == (min(ways) if ways else None)
        shared = set(parents[answer]) & set(parents[gold])
        assert standing.relation == ("sibling" if shared else "other")


OBO = """format-version: 1.2
ontology: t

[Term]
id: T:1
name: disease

[Term]
id: T:2
name: infection
is_a: T:1

[Term]
id: T:3
name: influenza
is_a: T:2
"""


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hierarchy")
    (folder / "t.obo").write_text(OBO)
    build_kb(BuildOptions(folder / "t.obo", folder / "kb", group="DISO"))
    return folder / "kb"


def test_only_what_stands_above_is_read(kb: Path) -> None:
    hierarchy = Hierarchy.around(KnowledgeBase.open(kb), {"T:3", "nowhere"})
    assert hierarchy.standing("T:1", "T:3") == Standing("ancestor", 2)


def test_the_command(longbel: Longbel, kb: Path, tmp_path: Path) -> None:
    path = write_predictions(
        tmp_path / "p.jsonl",
        prediction("a:0", "T:2", gold="T:3"),
        prediction("b:0", "T:3", gold="T:3"),
    )
    done = longbel("score", path, "--kb", kb, "--hierarchy", "--json", "--n-boot", "20")
    actual = json.loads(done.out)["hierarchy"]
    assert actual["shares"]["ancestor"]["value"] == actual["shares"]["exact"]["value"] == 0.5
    assert actual["distance"]["value"] == 0.5 and actual["distance"]["n"] == 2
    table = longbel("score", path, "--kb", kb, "--hierarchy", "--n-boot", "20").out
    assert "ancestor: above the gold" in table and "mean steps to the gold (2 answers)" in table
    without = longbel("score", path, "--hierarchy")
    assert without.code == 2 and "--kb" in without.err


def test_a_knowledge_base_without_parents(
    longbel: Longbel, kb_folder: Path, tmp_path: Path
) -> None:
    path = write_predictions(tmp_path / "p.jsonl", prediction("a:0", "X", gold="X"))
    done = longbel("score", path, "--kb", kb_folder, "--hierarchy")
    assert done.code == 3 and "keeps none" in done.err
    with pytest.raises(LongbelError, match="needs parents"):
        Hierarchy.around(KnowledgeBase.open(kb_folder), {"X"})
