"""One of each: what writes whole files, locks and hashes stands in kb_builder.files alone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kb_builder.store.draft import Draft
from longbel_cli.corpora.writing import new_folder
from longbel_cli.linking.statistics import write_statistics
from longbel_cli.pages import write_page
from tests.support.drafts import dead_draft, own_draft
from tests.support.sources import NAMES, calls_of, packages_of, tree_of

WHOLE, HASHES, LOCKS = (f"kb_builder/files/{name}.py" for name in ("whole", "hashes", "locks"))
# What only that room may call: as a function of a module, or as a method of a path.
FUNCTIONS = (
    "hashlib.sha256", "hashlib.new", "hashlib.file_digest", "os.fsync", "os.fdatasync", "os.rename",
    "os.renames", "os.replace", "os.link", "shutil.move", "shutil.copytree", "secrets.token_hex",
    "uuid.uuid4",
)  # fmt: skip
METHODS = ("rename", "hardlink_to")
# What may import these modules, and why.
TEMPORARY = {
    "kb_builder/sources/archives.py": "an archive inside an archive is unpacked to no name at all",
    "kb_builder/store/tries.py": "names the folder that serves as a cache where there is no home",
    "longbel_cli/runs/standard_input.py": "standard input of a call without a run is read twice",
    "longbel_cli/model/configuration.py": "transformers reads a configuration from a folder alone",
    "longbel_cli/training/base/marks.py": "transformers reads a tokenizer from a folder alone",
}
MODULES = {"fcntl": {LOCKS}, "tempfile": set(TEMPORARY)}


# What may write into a path itself, and why: all else goes through `write_whole`.
INSIDE = "a file of a folder that appears whole"
WRITERS = {
    "kb_builder/build.py": INSIDE,
    "kb_builder/store/writing.py": INSIDE,
    "longbel_cli/corpora/writing.py": INSIDE,
    "longbel_cli/corpora/bigbio.py": INSIDE,
    "longbel_cli/corpora/pubtator.py": INSIDE,
    "longbel_cli/training/publish.py": INSIDE,
    "longbel_cli/corpora/file_writing.py": "a draft, row by row",
    "longbel_cli/corpora/bioc_writer.py": "a draft, document by document",
    "longbel_cli/linking/fused_file.py": "a draft, line by line",
    "longbel_cli/runs/run.py": "a draft whose name is known when it is whole: its hash",
    "longbel_cli/linking/prompt_file.py": "grows by whole lines beside a run",
    "longbel_cli/linking/baselines/dense.py": "grows by flushed chunks, which the next call keeps",
    "longbel_cli/training/journal.py": "grows by lines",
    "longbel_cli/runs/files.py": "grows by flushed pieces that the ledger vouches for",
    "longbel_cli/model/configuration.py": "a temporary folder",
    "longbel_cli/training/base/marks.py": "a temporary folder",
    LOCKS: "an empty file",
    "longbel_cli/detecting/index.py": INSIDE,
    "longbel_cli/commands/leaving.py": "the null device",
    "longbel_cli/__main__.py": "standard streams that were closed",
}


def written_out(name: str) -> Iterator[tuple[ast.Call, str]]:
    """The calls of a module, and what they call with imported names written out in full."""
    origin = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for call in calls_of(name):
        function = ast.unparse(call.func)
        yield call, origin.get(function, function)


def is_rename(call: ast.Call) -> bool:
    """`path.rename(to)`, `path.replace(to)`: that of a text has two arguments, of a date names."""
    if not isinstance(call.func, ast.Attribute):
        return False
    takes_one = len(call.args) == 1 and not call.keywords
    return call.func.attr in METHODS or (call.func.attr == "replace" and takes_one)


def writes(call: ast.Call) -> bool:
    """`path.write_text(…)`, `path.open("w")`, `os.open(…)`."""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    modes = {node.value for node in ast.walk(call) if isinstance(node, ast.Constant)}
    opens = method == "open" and modes & {"w", "wb", "x", "xb", "a", "ab", "r+b", "w+b"}
    return bool(opens) or method in ("write_text", "write_bytes")


def found_outside() -> list[str]:
    return [
        f"{name}:{call.lineno} {function}"
        for name in NAMES
        if name not in (WHOLE, HASHES)
        for call, function in written_out(name)
        if function in FUNCTIONS or is_rename(call)
    ]


def test_whole_files_and_hashes_are_made_in_one_room() -> None:
    assert found_outside() == []


def test_the_room_is_found_out_by_the_rule() -> None:
    assert "hashlib.sha256" in {function for _, function in written_out(HASHES)}
    assert "os.fsync" in {function for _, function in written_out(WHOLE)}
    assert sum(is_rename(call) for call, _ in written_out(WHOLE)) >= 2


def test_locks_and_temporary_files_are_made_where_it_is_said() -> None:
    for module, allowed in MODULES.items():
        assert {name for name in NAMES if module in packages_of(name)} == allowed


def test_what_writes_to_a_path_says_why_it_need_not_appear_whole() -> None:
    writers = {
        name
        for name in NAMES
        for call, function in written_out(name)
        if writes(call) or function == "os.open"
    }
    assert writers - {WHOLE} - WRITERS.keys() == set()
    assert WRITERS.keys() - writers == set()


def test_drafts_have_one_form_of_name() -> None:
    """`.part` is no draft: an unfinished run and vectors grow there, for the next process too."""
    growing = ("longbel_cli/runs/layout.py", "longbel_cli/linking/baselines/dense.py",
               "longbel_cli/corpora/predictions.py", "longbel_cli/corpora/listing.py")  # fmt: skip
    endings = (".tmp", ".temp", ".partial", ".part", ".bak", ".new")
    texts = [
        f"{name}:{node.lineno} {node.value}"
        for name in NAMES
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.endswith(endings)
    ]
    assert [text for text in texts if not text.startswith(growing)] == []
    assert texts


def a_page(path: Path) -> None:
    write_page("<!doctype html>", path)


def statistics(path: Path) -> None:
    write_statistics({"mentions": 1}, path)


def a_state(path: Path) -> None:
    from longbel_cli.training.optimise.state import write_tensors

    write_tensors({}, path, {})


def a_conversion(path: Path) -> None:
    with new_folder(path) as folder:
        (folder / "file").touch()


def a_knowledge_base(path: Path) -> None:
    with Draft(path, overwrite=False).open() as folder:
        (folder / "kb.json").touch()


@pytest.mark.parametrize("write", [a_page, statistics, a_state, a_conversion, a_knowledge_base])
def test_whoever_writes_removes_what_a_dead_process_left_there(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "output"
    file, folder, living = dead_draft(path), dead_draft(path), own_draft(path)
    folder.mkdir()
    (folder / "file").touch()
    file.touch()
    living.touch()
    write(path)
    assert sorted(tmp_path.iterdir()) == sorted([path, living])
