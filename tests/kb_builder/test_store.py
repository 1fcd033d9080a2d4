"""A knowledge base on disk: what is in it, how it appears, how it is opened and asked."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

import kb_builder.build
import kb_builder.store.writing
from kb_builder.build import BuildOptions, build_kb
from kb_builder.errors import LongbelError
from kb_builder.files.locks import locked
from kb_builder.store.draft import Draft
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.store.lookup import look_up
from kb_builder.store.tries import cache_folder
from kb_builder.terms import Term
from kb_builder.trie.tokenization import AnswerTokenizer, tokenizer_hash
from kb_builder.trie.trie import END, Trie
from tests.benchmarks.kb_tokenizers import save_model_folder, trained
from tests.support.drafts import dead_draft
from tests.support.kb_cases import build, conso_row, sty_row, write_release

CONSO = [
    conso_row("C2", "Asthma", ts="P"),
    conso_row("C2", "asthma bronchiale"),
    conso_row("C2", "ASTHMA"),
    conso_row("C2", "Asthme", lat="FRE"),
    conso_row("C1", "Cold", ts="P"),
    conso_row("C1", "Common cold"),
    conso_row("C3", "Cold", ts="P"),
    conso_row("C4", "Insulin", ts="P"),
]
STY = [
    sty_row("C1", "T047"), sty_row("C2", "T047"), sty_row("C2", "T046"), sty_row("C3", "T184"),
    sty_row("C4", "T125"), sty_row("C4", "T116"),
]  # fmt: skip
# Rows of the names table: by group, then by name.
NAMES = ["Insulin", "Asthma", "Asthma bronchiale", "Asthme", "Cold", "Common cold"]
CODES = ["C4", "C2", "C2", "C2", "C3", "C1"]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"), CONSO, STY)


@pytest.fixture(scope="module")
def kb(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("built") / "kb"
    build(release, path)
    return path


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return trained([*NAMES, "hypertension"] * 5, 300)


def test_rows(kb: Path) -> None:
    base = KnowledgeBase.open(kb)
    assert base.groups == ("Chemicals & Drugs", "Disorders")
    assert base.n_names == 6
    assert [base.name(row) for row in range(6)] == NAMES
    assert [base.code(row) for row in range(6)] == CODES
    assert [base.group(row) for row in range(6)] == [base.groups[0]] + [base.groups[1]] * 5
    assert base.names_of([5, 0]) == ["Common cold", "Insulin"]
    assert base.codes_of(np.array([5, 0])) == ["C1", "C4"]
    assert base.names_of([]) == base.codes_of([]) == []
    assert base.term(3) == Term("C2", "Asthme", "Disorders", "FRE", False)
    assert base.rows_of_group("Disorders") == range(1, 6)
    with pytest.raises(LongbelError, match="no semantic group 'DISO'"):
        base.rows_of_group("DISO")


def test_concepts(kb: Path) -> None:
    base = KnowledgeBase.open(kb)
    assert base.names_of_concept("C2", "Disorders").tolist() == [1, 2, 3]
    assert base.names_of_concept("C2").tolist() == [1, 2, 3]
    assert base.names_of_concept("C2", "Chemicals & Drugs").tolist() == []
    assert base.names_of_concept("C9", "Disorders").tolist() == []
    concept = base.concept("C2")
    assert concept is not None
    assert concept["preferred_name"] == "Asthma"
    assert concept["semantic_types"] == ["T046", "T047"]
    assert concept["groups"] == ["Disorders"]
    assert concept["n_names"] == 3
    assert base.concept("C9") is None
    assert base.has_code("C1") and not base.has_code("c1")


def test_exact_look_up(kb: Path) -> None:
    base = KnowledgeBase.open(kb)
    for row, name in enumerate(NAMES):
        assert base.lookup(name, base.group(row)) == row
    for missing in ("asthma", "Asth", "", "Zzz", "Insulin"):
        assert base.lookup(missing, "Disorders") is None


@pytest.mark.parametrize(
    ("text", "group", "matches"),
    [
        ("Asthma", None, [("exact", "Asthma"), ("prefix", "Asthma bronchiale")]),
        ("asthma", None, [("case-folded", "Asthma"), ("prefix", "Asthma bronchiale")]),
        ("ins", None, [("prefix", "Insulin")]),
        ("ins", "DISO", []),
        ("C1", None, [("concept", "Common cold")]),
        ("Asthma", "T125", []),
        ("zz", None, []),
    ],
)
def test_look_up_for_people(kb: Path, text: str, group: str | None, matches: list) -> None:
    result = look_up(KnowledgeBase.open(kb), text, group)
    assert [(hit["match"], hit["name"]) for hit in result["names"]] == matches


def test_look_up_says_why_a_name_is_not_there(kb: Path) -> None:
    base = KnowledgeBase.open(kb)
    told = look_up(base, "cold")["decisions"]
    assert [(each["rule"], each["code"], each["given_to"]) for each in told] == [
        ("only-nameless", "C1", "C3"), ("only-nameless", "C3", "C3"),
        ("title-exists", "C1", "C3"),
    ]  # fmt: skip
    [lost] = look_up(base, "C2")["decisions"]
    assert (lost["rule"], lost["name"]) == ("all-caps", "ASTHMA")
    with pytest.raises(LongbelError, match="no semantic group"):
        look_up(base, "cold", "Anatomy")


def test_the_tables_on_disk(kb: Path) -> None:
    names = pq.read_table(kb / "names.parquet")
    assert names.column_names[:5] == ["name", "code", "group", "language", "preferred"]
    assert names["name"].to_pylist() == NAMES
    concepts = pq.read_table(kb / "concepts.parquet")
    assert concepts["code"].to_pylist() == ["C1", "C2", "C3", "C4"]
    assert not list(kb.rglob("*.pkl"))
    info = json.loads((kb / "kb.json").read_text())
    assert info["source"]["files"][0]["rows"] == len(CONSO)
    assert str(kb.parent) not in (kb / "kb.json").read_text(), "no path of this machine"


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_input_gives_the_same_bytes(
    release: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = save_model_folder(tokenizer, tmp_path / "model")
    for name in ("one", "two"):
        build(release, tmp_path / name, tokenizers=(model,))
    each, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert each == two
    assert {"kb.json", "names.parquet", "concepts.parquet", "audit.parquet"} <= set(each)
    assert f"tries/{tokenizer_hash(tokenizer)}.parquet" in each


def test_the_signature_says_names_and_options(release: Path, kb: Path, tmp_path: Path) -> None:
    first = KnowledgeBase.open(kb).signature
    other = write_release(tmp_path / "other", [*CONSO, conso_row("C4", "Insuline")], STY)
    build(other, tmp_path / "names")
    build(release, tmp_path / "options", languages=("ENG", "FRE"))
    build(release, tmp_path / "same", overwrite=True)
    signatures = [KnowledgeBase.open(tmp_path / n).signature for n in ("names", "options", "same")]
    assert signatures[2] == first
    assert len({first, *signatures}) == 3


def test_parquet_alone_is_enough(kb: Path, tmp_path: Path) -> None:
    copy = tmp_path / "kb"
    shutil.copytree(kb, copy, ignore=shutil.ignore_patterns("*.arrow"))
    base = KnowledgeBase.open(copy)
    assert [base.name(row) for row in range(6)] == NAMES
    assert base.names_of_concept("C2", "Disorders").tolist() == [1, 2, 3]


def answers_of(base: KnowledgeBase, trie: Trie, group: str, tokens: list[int]) -> int:
    node = trie.roots[group]
    for token in tokens:
        children = trie.children(node)
        [node] = children.nodes[children.tokens == token].tolist()
    assert END in trie.children(node).tokens
    return trie.leaf(node)


def test_tries_are_found_or_built(kb: Path, tmp_path: Path, tokenizer: Tokenizer) -> None:
    copy = shutil.copytree(kb, tmp_path / "kb")
    base = KnowledgeBase.open(copy)
    trie = base.trie(tokenizer)
    answers = AnswerTokenizer(tokenizer)
    assert trie.answer_prefix == tokenizer.token_to_id("}")
    for row, ids in enumerate(answers.encode(NAMES)):
        assert answers_of(base, trie, base.group(row), ids) == row
    stored = copy / "tries" / f"{tokenizer_hash(tokenizer)}.arrow"
    before = stored.stat().st_mtime_ns
    again = KnowledgeBase.open(copy).trie(tokenizer)
    assert np.array_equal(again.tail_token, trie.tail_token)
    assert stored.stat().st_mtime_ns == before
    other = trained(["quite another vocabulary"] * 3, 290)
    assert KnowledgeBase.open(copy).trie(other).n_leaves == 6
    assert len(list((copy / "tries").glob("*.parquet"))) == 2


def test_a_knowledge_base_that_cannot_be_written_keeps_its_tries_in_the_cache(
    kb: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(kb, tmp_path / "kb")
    shutil.rmtree(copy / "tries")
    (copy / "tries").write_text("in the way")  # root may write anywhere, so no chmod here
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = KnowledgeBase.open(copy)
    assert base.trie(tokenizer).n_leaves == 6
    kept = list((tmp_path / "cache").rglob("*.parquet"))
    assert [path.stem for path in kept] == [tokenizer_hash(tokenizer)]
    assert kept[0].parent.name == base.signature
    assert KnowledgeBase.open(copy).trie(tokenizer).n_leaves == 6


def test_many_processes_may_ask_for_a_missing_trie_at_once(
    kb: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    copy = shutil.copytree(kb, tmp_path / "kb")
    with ThreadPoolExecutor(8) as pool:
        tries = list(pool.map(lambda _: KnowledgeBase.open(copy).trie(tokenizer), range(16)))
    assert {trie.n_leaves for trie in tries} == {6}
    assert len(list((copy / "tries").glob("[!.]*"))) == 2


def test_a_knowledge_base_that_is_replaced_gets_no_trie_of_the_one_before(
    kb: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    other = trained(["quite another vocabulary"] * 3, 290)
    location = shutil.copytree(kb, tmp_path / "kb")
    opened, building = KnowledgeBase.open(location), KnowledgeBase.open(location)
    build_trie = building._build_trie

    def replaced_meanwhile(answers: AnswerTokenizer) -> Trie:
        table = tmp_path / "t.tsv"
        table.write_text("code\tname\tgroup\nC1\tFlu\tDISO\n")
        build(table, location, overwrite=True)
        return build_trie(answers)

    monkeypatch.setattr(building, "_build_trie", replaced_meanwhile)
    assert building.trie(other).n_leaves == 6
    assert opened.trie(tokenizer).n_leaves == 6
    for each in (other, tokenizer):
        assert KnowledgeBase.open(location).trie(each).n_leaves == 1


def test_a_trie_without_a_home_folder(
    kb: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And under a lock that another user made."""
    location = shutil.copytree(kb, tmp_path / "kb")
    KnowledgeBase.open(location).trie(tokenizer)

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert KnowledgeBase.open(location).trie(tokenizer).n_leaves == 6
    own = tmp_path / f"longbel-{os.getuid()}"
    assert cache_folder() == own and own.stat().st_mode & 0o777 == 0o700
    own.rmdir()
    own.symlink_to(location)  # as another user may have laid it out
    with pytest.raises(LongbelError, match="another user's"):
        cache_folder()
    lock, opened = tmp_path / "lock", os.open
    lock.touch()

    def as_another(path: Path, flags: int, *rest: Any) -> Any:
        if path == lock and flags != os.O_RDONLY:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *rest)

    monkeypatch.setattr(os, "open", as_another)
    with locked(lock):
        pass


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda kb: (kb / "kb.json").unlink(), "not a knowledge base"),
        (lambda kb: (kb / "kb.json").write_text("{"), "not the description"),
        (lambda kb: (kb / "kb.json").write_text("[]"), "not the description"),
        (lambda kb: (kb / "kb.json").write_text('{"format_version": 99}'), "format version 99"),
        (
            lambda kb: (kb / "kb.json").write_text('{"format_version": 1}'),
            "lacks source, options",
        ),
        (lambda kb: say_less(kb / "kb.json", "languages"), "lacks languages"),
        (lambda kb: say_odd_groups(kb / "kb.json"), "lacks .* of a group"),
        (lambda kb: (kb / "names.arrow").write_bytes(b"ARROW1"), "damaged"),
        (lambda kb: [path.unlink() for path in kb.glob("names.*")], "names.parquet is missing"),
        (lambda kb: parquet_alone(kb, "names", 200), "names.parquet: damaged"),
        (lambda kb: parquet_alone(kb, "concepts", 0), "concepts.parquet: damaged"),
    ],
)
def test_damaged_knowledge_bases(kb: Path, tmp_path: Path, damage, message: str) -> None:
    copy = shutil.copytree(kb, tmp_path / "kb")
    damage(copy)
    with pytest.raises(LongbelError, match=message) as told:
        KnowledgeBase.open(copy)
    assert told.value.exit_code == 3


def say_less(file: Path, key: str) -> None:
    info = json.loads(file.read_text(encoding="utf-8"))
    del info[key]
    file.write_text(json.dumps(info), encoding="utf-8")


def say_odd_groups(file: Path) -> None:
    info = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**info, "groups": [1]}), encoding="utf-8")


def parquet_alone(kb: Path, name: str, size: int) -> None:
    """The table without its mapped copy, and of that so many bytes."""
    (kb / f"{name}.arrow").unlink()
    with (kb / f"{name}.parquet").open("r+b") as file:
        file.truncate(size)


def test_a_damaged_audit(kb: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(kb, tmp_path / "kb")
    with (copy / "audit.parquet").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(LongbelError, match=r"audit\.parquet: damaged"):
        look_up(KnowledgeBase.open(copy), "cold")
    (copy / "audit.parquet").unlink()
    with pytest.raises(LongbelError, match=r"audit\.parquet is missing"):
        look_up(KnowledgeBase.open(copy), "cold")


def test_damaged_tries(
    kb: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # other tests keep tries in one
    copy = shutil.copytree(kb, tmp_path / "kb")
    KnowledgeBase.open(copy).trie(tokenizer)
    stored = copy / "tries" / f"{tokenizer_hash(tokenizer)}.parquet"
    whole = pq.read_table(stored)
    stored.with_suffix(".arrow").unlink()
    meta = json.loads(whole.schema.metadata[b"longbel"]) | {"format_version": 99}
    pq.write_table(whole.replace_schema_metadata({"longbel": json.dumps(meta)}), stored)
    with pytest.raises(LongbelError, match="trie format 99; this program reads 1"):
        KnowledgeBase.open(copy).trie(tokenizer)
    stored.write_bytes(stored.read_bytes()[:300])
    with pytest.raises(LongbelError, match="damaged") as told:
        KnowledgeBase.open(copy).trie(tokenizer)
    assert "Delete the file" in told.value.hint


# How it appears -----------------------------------------------------------------------------


def test_an_existing_name_is_kept_unless_overwritten(release: Path, tmp_path: Path) -> None:
    kb = tmp_path / "kb"
    build(release, kb)
    before = files_of(kb)
    with pytest.raises(LongbelError, match="there already") as refused:
        build(release, kb, languages=("FRE",))
    assert refused.value.exit_code == 4
    assert files_of(kb) == before
    build(release, kb, languages=("FRE",), overwrite=True)
    assert KnowledgeBase.open(kb).n_names == 2
    assert [path.name for path in tmp_path.iterdir()] == ["kb"]


def test_what_is_no_knowledge_base_is_never_replaced(release: Path, tmp_path: Path) -> None:
    (tmp_path / "kb").mkdir()
    (tmp_path / "kb" / "thesis.txt").write_text("three years of work")
    with pytest.raises(LongbelError, match="is not a knowledge base") as refused:
        build(release, tmp_path / "kb", overwrite=True)
    assert refused.value.exit_code == 4
    assert (tmp_path / "kb" / "thesis.txt").read_text() == "three years of work"


def test_an_empty_folder_is_as_good_as_none(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kb").mkdir()
    build(release, tmp_path / "kb")
    assert KnowledgeBase.open(tmp_path / "kb").n_names == 6
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    build(release, Path())
    assert KnowledgeBase.open(tmp_path / "here").n_names == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "kb"]


def test_a_letter_that_case_folding_makes_two(tmp_path: Path) -> None:
    table = tmp_path / "t.tsv"
    table.write_text("code\tname\tgroup\nC1\tWeiße Zone\tDISO\n", encoding="utf-8")
    build(table, tmp_path / "kb")
    base = KnowledgeBase.open(tmp_path / "kb")
    for text, match in (("weiße zone", "case-folded"), ("WEIẞE", "prefix"), ("weiß", "prefix")):
        assert [hit["match"] for hit in look_up(base, text)["names"]] == [match]


STEPS = {
    "write": kb_builder.build,
    "_write_audit": kb_builder.store.writing,
    "_add_trie": kb_builder.build,
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyboardInterrupt(), None),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "disk is full"),
        (RuntimeError("anything"), None),
    ],
)
def test_a_build_that_breaks_leaves_nothing(
    release: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch,
    step: str, error: BaseException, message: str | None,
) -> None:  # fmt: skip
    model = save_model_folder(tokenizer, tmp_path / "model")
    old = tmp_path / "old"
    build(release, old)
    before = files_of(old)

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(STEPS[step], step, broken)
    for out, overwrite in ((tmp_path / "new", False), (old, True)):
        with pytest.raises(type(error) if message is None else LongbelError) as raised:
            build(release, out, tokenizers=(model,), overwrite=overwrite)
        assert message is None or message in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "old"]
    assert files_of(old) == before


def test_builds_at_once_do_not_meet(release: Path, tmp_path: Path) -> None:
    """What a kill left goes with the next build."""
    each, other = Draft(tmp_path / "kb", True), Draft(tmp_path / "kb", True)
    left = dead_draft(tmp_path / "kb")
    left.mkdir()
    with each.open() as first:
        (first / "kb.json").write_text("{}")
        with other.open() as second:
            assert second != first
            (second / "kb.json").write_text("[]")
        assert (first / "kb.json").read_text() == "{}"
    assert (tmp_path / "kb" / "kb.json").read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir()] == ["kb"]


def test_a_search_for_what_is_no_text(kb: Path) -> None:
    with pytest.raises(LongbelError, match="is not UTF-8") as told:
        look_up(KnowledgeBase.open(kb), "\udce9pi")
    assert told.value.exit_code == 2


def test_a_dry_run_writes_nothing_and_counts_the_same(release: Path, tmp_path: Path) -> None:
    planned = build(release, tmp_path / "kb", dry_run=True)
    assert list(tmp_path.iterdir()) == []
    built = build_kb(BuildOptions(release, tmp_path / "kb"))
    assert planned.info == built.info
