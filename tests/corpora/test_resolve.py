"""Entity types to the groups of a knowledge base, type maps, and what has no group."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.corpora import Problem
from longbel_cli.corpora.resolve import TypeResolver, load_type_map, resolve_types
from longbel_cli.types import Document, Mention, Passage, Span

GROUPS = ("Disorders", "Chemicals & Drugs", "ENFERMEDAD")


def document(*types: str) -> Document:
    mentions = tuple(
        Mention(f"T{index}", (Span(0, 5),), "Fever", kind, kind)
        for index, kind in enumerate(types, start=1)
    )
    return Document("d", (Passage("Fever"),), mentions, "c.jsonl:1")


@pytest.mark.parametrize(
    ("entity_type", "group"),
    [
        ("Disorders", "Disorders"),
        ("disorders", "Disorders"),
        ("DISO", "Disorders"),
        ("T047", "Disorders"),
        ("Disease or Syndrome", "Disorders"),
        ("Disease_or_Syndrome", "Disorders"),
        ("Chemicals_&_Drugs", "Chemicals & Drugs"),
        ("T047,T191", "Disorders"),
        ("T047,T109", None),  # a disorder and a chemical
        ("CHEM", "Chemicals & Drugs"),
        ("ENFERMEDAD", "ENFERMEDAD"),
        ("ANAT", None),  # a group, but none of this knowledge base
        ("Widget", None),
    ],
)
def test_a_type_means_a_group(entity_type: str, group: str | None) -> None:
    assert TypeResolver(GROUPS).group(entity_type) == group


def test_the_type_map_goes_first_and_may_spell_groups_in_any_way() -> None:
    resolver = TypeResolver(GROUPS, {"Widget": "DISO", "CHEM": "ENFERMEDAD"})
    assert [resolver.group(kind) for kind in ("Widget", "CHEM", "T047")] == [
        "Disorders",
        "ENFERMEDAD",
        "Disorders",
    ]


def test_a_type_map_to_no_group_is_refused() -> None:
    with pytest.raises(LongbelError, match="'Widget' to 'Gadgets'"):
        TypeResolver(GROUPS, {"Widget": "Gadgets"})


def test_every_type_without_a_group_is_listed_with_its_count() -> None:
    types = {"DISO": 1, "Gadget": 1, "Widget": 2, "ANAT": 1}
    with pytest.raises(LongbelError) as caught:
        TypeResolver(GROUPS).require(types)
    assert "Widget (2), ANAT (1), Gadget (1)" in caught.value.message
    assert caught.value.exit_code == 3


def test_nothing_is_raised_where_all_types_have_a_group() -> None:
    TypeResolver(GROUPS).require({"DISO": 3, "T047": 1})


def test_documents_get_the_knowledge_base_spelling_and_keep_the_corpus_type() -> None:
    (result,) = resolve_types([document("DISO", "T047")], TypeResolver(GROUPS))
    assert [(m.semantic_group, m.entity_type) for m in result.mentions] == [
        ("Disorders", "DISO"),
        ("Disorders", "T047"),
    ]


def test_unknown_error_names_the_mention() -> None:
    with pytest.raises(
        LongbelError, match=r"c\.jsonl:1: document d: mention T2: its type 'Widget'"
    ):
        list(resolve_types([document("DISO", "Widget")], TypeResolver(GROUPS)))


def test_unknown_skip_leaves_the_mention_out_and_says_so() -> None:
    told: list[Problem] = []
    documents = [document("Widget", "DISO")]
    (result,) = resolve_types(documents, TypeResolver(GROUPS), "skip", told.append)
    assert [mention.id for mention in result.mentions] == ["T2"]
    assert [(problem.mention_id, problem.whole_document) for problem in told] == [("T1", False)]


def test_unknown_all_keeps_the_mention_with_its_own_type() -> None:
    (result,) = resolve_types([document("Widget", "DISO")], TypeResolver(GROUPS), "all")
    assert [mention.semantic_group for mention in result.mentions] == ["Widget", "Disorders"]


@pytest.mark.parametrize(
    "content",
    [
        "Widget\tDISO\nGadget\tChemicals & Drugs\n",
        "\ufeff# types of our own\r\nWidget\tDISO\r\n\r\nGadget\tChemicals & Drugs",
        'Widget,DISO\nGadget,"Chemicals & Drugs"\n',
        '{"Widget": "DISO", "Gadget": "Chemicals & Drugs"}',
    ],
)
def test_type_maps_that_are_read(content: str, tmp_path: Path) -> None:
    path = tmp_path / "map.tsv"
    path.write_bytes(content.encode())
    assert load_type_map(path) == {"Widget": "DISO", "Gadget": "Chemicals & Drugs"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"Widget\tDISO\nGadget\n", "map.tsv:2: a line of the type map needs two columns"),
        (b'{"Widget": "DISO"', "broken JSON"),
        (b'{"Widget": 1}', "must be the name of a group"),
        (b"Widg\xe9t\tDISO\n", "not UTF-8"),
    ],
)
def test_type_maps_that_are_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "map.tsv"
    path.write_bytes(content)
    with pytest.raises(LongbelError, match=reason):
        load_type_map(path)


def test_a_type_map_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LongbelError, match="cannot be read"):
        load_type_map(tmp_path / "none.tsv")
