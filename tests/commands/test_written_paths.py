"""A property of every command that writes: no input is harmed, wherever it lies among what the
command writes. What that is is not told here: it is seen while the command runs.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from longbel_cli.app import COMMANDS
from tests.commands.test_outputs import WRITTEN, write_corpus
from tests.commands.test_storm import work_of
from tests.support.command_line import Longbel, write_json_lines
from tests.support.link_cases import bigbio
from tests.support.written import Tree, tree, written

LINK = "link {corpus.jsonl} --kb {kb}"
# Commands with their inputs in braces; all that they write lies below the folder they run in.
ROWS = (
    "build-kb {names.tsv} --names-from {corpus.jsonl} --tokenizer {model} --out built",
    "build-kb {more.tsv} --out old --overwrite",
    "detect {corpus.jsonl} --kb {kb} --names-from {other.jsonl} --stop {stop.txt} "
    "--type-map {types.tsv} --out new.jsonl",
    f"{LINK} --linker exact --names-from {{other.jsonl}} --type-map {{types.tsv}} "
    "--out new.jsonl --stats stats.json",
    f"{LINK} --linker exact --out a.jsonl --restart",
    "link {text.txt} --kb {kb} --linker exact --detector dictionary --stop {stop.txt} "
    "--out new.jsonl",
    f"{LINK} --model {{model}} --beams 2 --prompts p.jsonl --saliency pages --out new.jsonl",
    f"{LINK} --model {{model}} --beams 2 --ensemble hybrid_medium,hybrid_long --prompts p.jsonl "
    "--out new.jsonl",
    "score {a.jsonl} --gold {corpus.jsonl} --train {other.jsonl} --kb {kb} --paired {b.jsonl} "
    "--retired {retired.csv} --n-boot 10 --report page.html --plots plots",
    "explain {m.jsonl} --corpus {corpus.jsonl} --kb {kb} --model {model} --top 1 --out page.html",
    "convert {a.jsonl} {corpus.jsonl} --to bigbio --out out",
    "convert {a.jsonl} {corpus.jsonl} --to brat --out out",
    "convert {a.jsonl} {corpus.jsonl} --to pubtator --out out",
    "convert {a.jsonl} {corpus.jsonl} --to table --types --kb {kb} --out t.parquet",
    "convert {a.jsonl} {corpus.jsonl} --to bioc --out b.xml",
    "convert {a.jsonl} {corpus.jsonl} --to omop --date 2026-01-01 --note-ids {ids.csv} "
    "--concept-map {map.csv} --out note_nlp.csv",
    "train {corpus.jsonl} --kb {kb} --fresh nano --validate {other.jsonl} --epochs 1 --out trained",
    "fuse {a.jsonl} {b.jsonl} --out f.jsonl",
    "fuse {a.jsonl} {b.jsonl} --out c.jsonl --overwrite",
    "fuse {a.jsonl} {b.jsonl} --tune {corpus.jsonl} --out f.jsonl --write-weights w2.json",
    "fuse {a.jsonl} {b.jsonl} --weights-from {w.json} --out f.jsonl",
    "merge shards.jsonl",
)
READ_ONLY = (
    "check {corpus.jsonl} --kb {kb} --type-map {types.tsv} --train {other.jsonl}",
    "status a.jsonl", "kb info kb", "kb search kb fever", "kb diff kb old --codes a.jsonl",
    "slurm -- corpus.jsonl --kb kb --out s.jsonl", "score a.jsonl --n-boot 10",
    f"{LINK} --linker exact --out new.jsonl --dry-run",
)  # fmt: skip
# Where an input may lie among what is written, since it is left as it is: the place of a cache,
# which then is not made, and the folder of an earlier run, which takes another name.
SHARED = ("kb/detecting*", "kb/tries*", "*.run.1", "*.run.1/*")
BEFORE = (
    "build-kb names.tsv --out old", "link corpus.jsonl --kb kb --linker exact --out a.jsonl",
    "link corpus.jsonl --kb kb --linker tfidf --out b.jsonl",
    "link corpus.jsonl --kb kb --linker tfidf --out c.jsonl",
    "link corpus.jsonl --kb kb --linker exact --window 2 --shard 1/2 --out shards.jsonl",
    "link corpus.jsonl --kb kb --linker exact --window 2 --shard 2/2 --out shards.jsonl",
    "fuse a.jsonl b.jsonl --tune corpus.jsonl --write-weights w.json",
    "link corpus.jsonl --kb kb --model model --beams 2 --out m.jsonl",
)  # fmt: skip


def inputs_of(row: str) -> list[str]:
    return re.findall(r"\{(.*?)\}", row)


def line_of(row: str, names: dict[str, str] | None = None) -> str:
    """The command line, with other names for some inputs."""
    return re.sub(r"\{(.*?)\}", lambda match: (names or {}).get(match[1], match[1]), row)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, kb_folder: Path, model_folder: Path) -> Path:
    """All that the rows read."""
    folder = tmp_path_factory.mktemp("prepared")
    write_corpus(folder / "corpus.jsonl")
    write_json_lines(folder / "other.jsonl", bigbio("other", "Fever.", ("T1", "DISO", "Fever")))
    files = {
        "names.tsv": "code\tname\tgroup\nC0000001\tFever\tDISO\nC0000006\tKidney\tANAT\n",
        "more.tsv": "code\tname\tgroup\nC0000001\tFever\tDISO\n",
        "types.tsv": "T023\tANAT\n", "stop.txt": "the\n", "text.txt": "Fever.",
        "retired.csv": "C1,C2\n", "map.csv": "code,concept_id\nC0000001,1\n",
        "ids.csv": "document_id,note_id\nd1,1\nd2,2\nd3,3\nd4,4\n",
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(content)
    shutil.copytree(kb_folder, folder / "kb")
    shutil.copytree(model_folder, folder / "model")
    for command in BEFORE:
        code, _ = written(work_of(command), folder)
        assert code == 0, command
    shutil.rmtree(folder / "kb")  # with what was cached there
    shutil.copytree(kb_folder, folder / "kb", ignore=shutil.ignore_patterns("detecting", "tfidf"))
    return folder


# Other names of a file or folder.
def dotted(path: Path, aside: Path) -> Path:
    return path.parent / "." / ".." / path.parent.absolute().name / path.name


def linked(path: Path, aside: Path) -> Path:
    aside.symlink_to(path.absolute())
    return aside


def below_a_link(path: Path, aside: Path) -> Path:
    aside.symlink_to(path.parent.absolute())
    return aside / path.name


def hard_linked(path: Path, aside: Path) -> Path:
    if path.is_file():
        os.link(path, aside)
        return aside
    return linked(path, aside)


SPELLINGS: tuple[Callable[[Path, Path], Path], ...] = (dotted, linked, below_a_link, hard_linked)


def of_input(path: str, names: Iterable[str]) -> bool:
    return any(path == name or path.startswith(f"{name}/") for name in names)


def harm(row: str, path: str, source: str, longbel: Longbel, before: Tree, name: str) -> str | None:
    """What is wrong where the input `source` lies at `path` and is given as `name`; None if nothing
    is: the command is refused before it does anything, or the path is SHARED."""
    done = longbel(*line_of(row, {source: name}).split())
    after = tree(Path())
    inputs = [path, *(each for each in inputs_of(row) if each != source)]
    lost = [each for each in before if of_input(each, inputs) and after.get(each) != before[each]]
    where = f"{row}: {source} at {path} as {name}: exit code {done.code}"
    if lost:
        return f"{where}, lost: {lost}"
    shared = any(fnmatch(path, pattern) for pattern in SHARED)
    if done.code in (0, 5):
        return None if shared else f"{where}, though it is written"
    # What a name or a place makes unreadable may be told before.
    known = (2, 3) if shared or source in ("names.tsv", "more.tsv", "text.txt") else (2,)
    return None if done.code in known and after == before else f"{where}: {done.err}"


def cases(row: str, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each written path with each input that can lie there."""
    for path in sorted(paths):
        for source in inputs_of(row):
            if not of_input(path, [source]) and not of_input(source, [path]):
                yield path, source


def place(source: Path, path: Path) -> bool:
    """Copy an input to a path; whether that can be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        return False
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, path)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.replace("{", "").replace("}", ""))
def test_no_input_among_what_is_written_is_harmed(
    prepared: Path, tmp_path: Path, longbel: Longbel, monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    recorded = shutil.copytree(prepared, tmp_path / "recorded")
    code, paths = written(work_of(line_of(row)), recorded)
    assert code == 0 and paths
    wrong = []
    count = 0
    for path, source in cases(row, paths):
        for spelled in (None, SPELLINGS[count % len(SPELLINGS)]):
            root = shutil.copytree(prepared, tmp_path / "root")
            monkeypatch.chdir(root)
            if place(Path(source), Path(path)):
                count += 1
                name = Path(path) if spelled is None else spelled(Path(path), Path("aside"))
                wrong.append(harm(row, path, source, longbel, tree(root), str(name)))
            monkeypatch.chdir(tmp_path)
            shutil.rmtree(root)
    print(f"{len(paths)} written paths, {count} calls")
    assert [each for each in wrong if each is not None] == []


@pytest.mark.slow
@pytest.mark.parametrize("row", READ_ONLY)
def test_what_only_reads_writes_nothing(prepared: Path, tmp_path: Path, row: str) -> None:
    root = shutil.copytree(prepared, tmp_path / "root")
    assert written(work_of(line_of(row)), root) == (0, set())


def test_the_rows_have_every_command_and_every_output() -> None:
    flags: dict[str, set[str]] = {}
    for row in (*ROWS, *READ_ONLY):
        words = row.split()
        flags.setdefault(words[0], set()).update(word for word in words if word.startswith("--"))
    assert flags.keys() == {entry.name for entry in COMMANDS}
    for command, names in WRITTEN.items():
        assert {f"--{name.replace('_', '-')}" for name in names} <= flags[command]
