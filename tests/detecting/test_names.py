"""Which names of a knowledge base are looked for, and where their index is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.detecting.cache import name_index
from longbel_cli.detecting.dictionary import DictionaryDetector
from longbel_cli.detecting.names import NameFilter
from longbel_cli.detecting.options import DictionaryOptions
from longbel_cli.types import Document, Passage
from tests.support.kb_cases import build, conso_row, sty_row, write_release

ROWS = (
    conso_row("C0000001", "Fever", ts="P", sab="MSH"),
    conso_row("C0000001", "Pyrexia", sab="HPO"),
    conso_row("C0000002", "Tumor", sab="MSH"),
    conso_row("C0000002", "Neoplasm", ts="P", sab="MSH"),
    conso_row("C0000003", "Tumor", sab="NCI"),
    conso_row("C0000003", "Tumor mass", ts="P", sab="NCI"),
    conso_row("C0000004", "Liver", ts="P", sab="NCI"),
    conso_row("C0000005", "Liver", ts="P", sab="MSH"),
    conso_row("C0000005", "Liver", sab="FMA"),
)
TYPES = {"C0000001": "T184", "C0000002": "T191", "C0000003": "T191", "C0000004": "T047",
         "C0000005": "T023"}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    folder = tmp_path_factory.mktemp("kb")
    types = [sty_row(*pair) for pair in TYPES.items()]
    build(write_release(folder / "release", ROWS, types), folder / "kb")
    return KnowledgeBase.open(folder / "kb")


def result(base: KnowledgeBase, **chosen: object) -> list[tuple[str, str]]:
    names = NameFilter(**chosen)  # type: ignore[arg-type]  # by name
    detector = DictionaryDetector(name_index(base, names), DictionaryOptions(names))
    text = "fever, pyrexia, tumor, tumor mass, liver"
    return [
        (text[each.span.start : each.span.end], each.group)
        for each in detector.detect(Document("d", (Passage(text),), ()))
    ]


def test_names_that_rules_dropped_are_looked_for(base: KnowledgeBase) -> None:
    assert base.lookup("Tumor", "Disorders") is None
    diso = "Disorders"
    assert result(base) == [
        ("fever", diso), ("pyrexia", diso), ("tumor", diso), ("tumor mass", diso),
        ("liver", "Anatomy"),
    ]  # fmt: skip
    assert ("tumor", diso) not in result(base, audit=False)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"vocabularies": ("HPO",)}, [("pyrexia", "Disorders")]),
        ({"vocabularies": ("NCI",)}, [("tumor", "Disorders"), ("tumor mass", "Disorders"),
                                      ("liver", "Disorders")]),
        ({"without_vocabularies": ("NCI", "FMA")},
         [("fever", "Disorders"), ("pyrexia", "Disorders"), ("tumor", "Disorders"),
          ("tumor", "Disorders"), ("liver", "Anatomy")]),
        ({"semantic_types": ("Sign or Symptom",)}, [("fever", "Disorders"),
                                                    ("pyrexia", "Disorders")]),
        ({"semantic_types": ("T047",)}, []),
    ],
)  # fmt: skip
def test_filters(
    base: KnowledgeBase, chosen: dict[str, tuple[str, ...]], expected: list[tuple[str, str]]
) -> None:
    assert result(base, **chosen) == expected


@pytest.mark.parametrize(
    "chosen", [{"vocabularies": ("SMURF",)}, {"without_vocabularies": ("SMURF",)},
               {"semantic_types": ("T999",)}],
)  # fmt: skip
def test_a_filter_names_what_is_there(
    base: KnowledgeBase, chosen: dict[str, tuple[str, ...]]
) -> None:
    with pytest.raises(LongbelError) as error:
        result(base, **chosen)
    assert error.value.exit_code == 2 and "It has " in error.value.hint


def test_the_index_is_kept_in_the_knowledge_base(base: KnowledgeBase) -> None:
    first = name_index(base)
    (folder,) = [
        each for each in (base.path / "detecting").iterdir()
        if each.is_dir() and len(name_index(base)) == len(first)
    ][:1]  # fmt: skip
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert set(before) == {"names.marisa", "claims.npy", "index.json"}
    name_index(base)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_knowledge_base_that_cannot_be_written_has_its_index_in_the_cache(
    base: KnowledgeBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        "kb_builder.store.kept.is_writable", lambda folder: base.path not in folder.parents
    )
    expected = name_index(base, NameFilter(vocabularies=("HPO",)))
    monkeypatch.setattr("longbel_cli.detecting.cache._VERSION", 0)  # as if it were not there
    index = name_index(base, NameFilter(vocabularies=("HPO",)))
    assert sorted(index.trie) == sorted(expected.trie)
    assert [each for each in (tmp_path / "longbel" / "detecting").iterdir() if each.is_dir()]


def test_a_damaged_index_is_told(base: KnowledgeBase) -> None:
    chosen = NameFilter(vocabularies=("FMA",))
    known = {path for path in (base.path / "detecting").glob("*") if path.is_dir()}
    name_index(base, chosen)
    (folder,) = {path for path in (base.path / "detecting").glob("*") if path.is_dir()} - known
    (folder / "names.marisa").write_bytes(b"no trie")
    with pytest.raises(LongbelError, match="damaged"):
        name_index(base, chosen)
