"""Every command that writes, killed at every file operation, and with a disk full at every one.

Whatever ends it, the old result is there or the new one, and the same command again leaves what an
undisturbed one leaves and nothing else. `link` has a storm of its own (tests/benchmarks).
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kb_builder.files import is_draft
from longbel_cli.runs.facts import read_fusion_record
from tests.support.command_line import write_json_lines
from tests.support.link_cases import DOCUMENTS, bigbio
from tests.support.storm import FULL, KILL, Work, struck

Result = Callable[[Path], Any]


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a folder that are neither drafts nor locks, by their paths."""
    if folder.is_file():
        return {"": folder.read_bytes()}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix != ".lock"
        and not any(is_draft(part) for part in (path, *path.parents))
    }


def fused(folder: Path) -> Any:
    """A fused file with the record that is in force."""
    record = read_fusion_record(folder / "fused.jsonl") or {}
    record.pop("replaced", None)
    return tree(folder / "fused.jsonl"), record


def at(name: str) -> Result:
    return lambda folder: tree(folder / name)


def with_mentions(name: str) -> Result:
    """A result and the detected mentions, which are in place before it."""

    def result(folder: Path) -> Any:
        made = tree(folder / name)
        return (made, tree(folder / f"{name}.mentions.jsonl")) if made else None

    return result


DETECTED = "link corpus.jsonl --kb kb --linker exact --detector dictionary --window 2 --out"


class Row(NamedTuple):
    """A command, what it makes, and the commands that make what lies there before."""

    name: str
    command: str
    result: Result
    before: str = ""
    again: int = 0
    """How the same command ends once it is done."""


ROWS = (
    Row("merge", "merge shards.jsonl", at("shards.jsonl")),
    Row("convert", "convert preds.jsonl corpus.jsonl --to brat --out out", at("out"), again=4),
    Row("convert to BigBio", "convert preds.jsonl corpus.jsonl --to bigbio --out out", at("out"),
        again=4),
    Row("convert to a table", "convert preds.jsonl corpus.jsonl --to table --out t.parquet",
        at("t.parquet"), again=4),
    Row("convert to BioC", "convert preds.jsonl corpus.jsonl --to bioc --out b.xml", at("b.xml"),
        again=4),
    Row("score --plots", "score preds.jsonl --n-boot 10 --plots plots", at("plots/groups.svg")),
    Row("fuse --tune", "fuse preds.jsonl other.jsonl --tune corpus.jsonl --write-weights w.json",
        at("w.json")),
    Row("fuse", "fuse preds.jsonl other.jsonl --out fused.jsonl", fused, again=4),
    Row("fuse --overwrite", "fuse preds.jsonl other.jsonl --k 7 --out fused.jsonl --overwrite",
        fused, "fuse other.jsonl preds.jsonl --out fused.jsonl"),
    Row("score --report", "score preds.jsonl --n-boot 10 --report page.html", at("page.html")),
    Row("score --report, again", "score other.jsonl --n-boot 10 --report page.html",
        at("page.html"), "score preds.jsonl --n-boot 10 --report page.html"),
    Row("build-kb", "build-kb names.tsv --out built", at("built"), again=4),
    Row("build-kb --overwrite", "build-kb more.tsv --out built --overwrite", at("built"),
        "build-kb names.tsv --out built"),
    Row("link", "link corpus.jsonl --kb kb --linker exact --out new.jsonl", at("new.jsonl")),
    Row("detect", "detect corpus.jsonl --kb kb --out new.jsonl", at("new.jsonl")),
    Row("link -", "link - --format bigbio --kb kb --linker exact --out new.jsonl < corpus.jsonl",
        at("new.jsonl")),
    Row("link --detector", f"{DETECTED} new.jsonl", with_mentions("new.jsonl")),
    Row("merge of detected", "merge found.jsonl", with_mentions("found.jsonl")),
    Row("the first index", "detect corpus.jsonl --kb built --out new.jsonl", at("new.jsonl"),
        "build-kb names.tsv --out built"),
    Row("link --dry-run",
        "link corpus.jsonl --kb kb --linker exact --out dry.jsonl --dry-run", tree),
)  # fmt: skip
WITH_A_MODEL = (
    Row("explain", "explain model.jsonl --top 1 --out page.html", at("page.html")),
    Row("explain, again", "explain model.jsonl --top 1 --out page.html", at("page.html"),
        "score preds.jsonl --n-boot 10 --report page.html"),
    Row("a training's publication", "publish trained", at("trained")),
    Row("a training's publication, again", "publish trained --seed 1", at("trained"),
        "publish trained"),
    Row("the first trie",
        "link corpus.jsonl --kb built --model model --unknown-group all --out new.jsonl",
        at("new.jsonl"), "build-kb names.tsv --out built"),
)  # fmt: skip


def published(arguments: list[str]) -> int:
    """The last step of a training, as a command of this test's own: a seed makes other facts."""
    from longbel_cli.model.checkpoint import Checkpoint
    from longbel_cli.training.options import TrainOptions
    from longbel_cli.training.publish import publish

    model = Checkpoint.open(Path("model"))
    options = TrainOptions(kb="kb", corpora=("corpus.jsonl",), fresh="nano", save_dtype="float32")
    facts = {"arguments": arguments}
    try:
        publish(
            model.load_model("cpu", "float32"), model.tokenizer, options, Path("trained"), facts
        )
    except OSError:
        return 3
    return 0


def work_of(command: str) -> Work:
    """The command in this process: its exit code."""

    def work() -> int:
        from longbel_cli.app import main

        words, _, read = command.partition(" < ")
        if words.startswith("publish"):
            return published(words.split())
        if read:
            sys.stdin = Path(read).open(encoding="utf-8")  # noqa: SIM115 - the fork ends with it
        sys.argv = ["longbel", *words.split()]
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return work


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, kb_folder: Path, model_folder: Path) -> Path:
    """What the commands read: a corpus, runs of it (one in shards), tables and a knowledge base."""
    folder = tmp_path_factory.mktemp("prepared")
    more = bigbio("d9", "Cough, cough.", ("T1", "DISO", "Cough"))
    write_json_lines(folder / "corpus.jsonl", *DOCUMENTS, more)
    (folder / "kb").symlink_to(kb_folder)
    (folder / "model").symlink_to(model_folder)
    table = "code\tname\tgroup\nC0000001\tFever\tDISO\nC0000006\tKidney\tANAT\n"
    (folder / "names.tsv").write_text(table)
    (folder / "more.tsv").write_text(f"{table}C0000002\tCough\tDISO\n")
    link = "link corpus.jsonl --kb kb --out"
    for command in (
        f"{link} preds.jsonl --linker exact", f"{link} other.jsonl --linker tfidf",
        f"{link} shards.jsonl --linker exact --window 2 --shard 1/2",
        f"{link} shards.jsonl --linker exact --window 2 --shard 2/2",
        f"{DETECTED} found.jsonl --shard 1/2", f"{DETECTED} found.jsonl --shard 2/2",
    ):  # fmt: skip
        assert struck(work_of(command), folder)[0] == 0, command
    return folder


class Storm:
    """One row under fire, in copies of a prepared folder."""

    def __init__(self, row: Row, prepared: Path, tmp_path: Path) -> None:
        self.row, self.work = row, work_of(row.command)
        self._tmp = tmp_path
        self._start = tmp_path / "start"
        shutil.copytree(prepared, self._start, symlinks=True)
        if row.before:
            assert struck(work_of(row.before), self._start)[0] == 0
        self.old = row.result(self._start)
        self._import_all()
        self.done = self._copy("done")
        code, _ = struck(self.work, self.done)
        assert code == 0
        self.new = row.result(self.done)

    def _import_all(self) -> None:
        """Load here what each fork would else load anew."""
        with chdir(self._copy("imports")):
            self.work()

    def _copy(self, name: str) -> Path:
        return Path(shutil.copytree(self._start, self._tmp / name, symlinks=True))

    def steps(self, how: str) -> int:
        folder = self._copy(f"count-{how}")
        count = struck(self.work, folder, how=how)[1]
        shutil.rmtree(folder)
        return count

    def strike(self, step: int, how: str) -> str | None:
        """What is wrong after a strike at that step; None where nothing is."""
        folder = self._copy(f"{how}-{step}")
        code, _ = struck(self.work, folder, step, how)
        expected = (-signal.SIGKILL,) if how == KILL else (0, 3)
        if code not in expected:
            return f"step {step}: exit code {code}"
        seen = self.row.result(folder)
        if seen not in (self.old, self.new):
            return f"step {step}: neither old nor new"
        if how == FULL and [path for path in folder.rglob("*") if is_draft(path)]:
            return f"step {step}: a draft is left"
        again, _ = struck(self.work, folder)
        if again not in (0, self.row.again if seen == self.new else 0):
            return f"step {step}: the same command again leaves with {again}"
        left = sorted(_below(folder) ^ _below(self.done))
        if left or self.row.result(folder) != self.new:
            return f"step {step}: left behind or lacking: {left}"
        shutil.rmtree(folder)
        return None


OF_EACH_START = {"claims", "tries", "detecting"}


def _below(folder: Path) -> set[str]:
    """What lies in a folder, but for locks, the notes of each start of a run, tries and indexes:
    one of a trie's two files will do, and the cache has what a full disk kept from the knowledge
    base."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.suffix != ".lock"
        and (is_draft(path) or not {path.name, *path.parts[-3:-1]} & OF_EACH_START)
    }


def weathered(row: Row, prepared: Path, tmp_path: Path, how: str, sample: int | None) -> None:
    storm = Storm(row, prepared, tmp_path)
    count = storm.steps(how)
    assert (count == 0) == (row.name == "link --dry-run")
    steps = range(1, count + 1)
    if sample is not None:
        steps = steps[:: max(1, count // sample)]
    wrong = [problem for step in steps if (problem := storm.strike(step, how))]
    print(f"{row.name}: {how} at {len(steps)} of {count} steps, {len(wrong)} wrong")
    assert wrong == []


# One of each way in which results come into place; the whole storm has all rows.
SAMPLED = ("merge", "convert", "fuse --overwrite", "build-kb --overwrite", "detect")


@pytest.mark.parametrize("name", SAMPLED)
def test_a_sample_of_the_storm(prepared: Path, tmp_path: Path, name: str) -> None:
    row = next(row for row in ROWS if row.name == name)
    weathered(row, prepared, tmp_path, KILL, sample=2)


@pytest.mark.slow
@pytest.mark.parametrize("how", [KILL, FULL])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_whole_storm(prepared: Path, tmp_path: Path, row: Row, how: str) -> None:
    weathered(row, prepared, tmp_path, how, sample=None)


@pytest.fixture(scope="module")
def prepared_with_a_model(prepared: Path) -> Path:
    command = "link corpus.jsonl --kb kb --model model --beams 2 --out model.jsonl"
    assert struck(work_of(command), prepared)[0] == 0
    return prepared


@pytest.mark.slow
@pytest.mark.parametrize("how", [KILL, FULL])
@pytest.mark.parametrize("row", WITH_A_MODEL, ids=lambda row: row.name)
def test_the_whole_storm_with_a_model(
    prepared_with_a_model: Path, tmp_path: Path, row: Row, how: str
) -> None:
    weathered(row, prepared_with_a_model, tmp_path, how, sample=None)
