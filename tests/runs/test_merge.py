"""Shards become one file in corpus order, or a refusal that says why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.runs.files import Files
from longbel_cli.runs.layout import Layout
from longbel_cli.runs.ledger import ByteRange, Stream, WindowRecord
from longbel_cli.runs.publish import publish
from longbel_cli.runs.run import merge_run
from longbel_cli.runs.shards import Shard
from longbel_cli.runs.status import read_status, status_lines
from tests.support.command_line import Longbel
from tests.support.drafts import dead_draft, own_draft
from tests.support.run_driver import Driver, RecordedFiles, Reference


@pytest.fixture
def out(folder: Path, driver: Driver, reference: Reference) -> Path:
    """Two shards that are done."""
    path = folder / "out.jsonl"
    for shard in ("1/2", "2/2"):
        assert driver.run(reference.corpus, path, "--shard", shard) == 0, driver.said
    return path


def run_folder(out: Path) -> Path:
    return out.with_name(out.name + ".run")


def refusal(out: Path) -> LongbelError:
    with pytest.raises(LongbelError) as raised:
        merge_run(out)
    assert not out.exists()
    return raised.value


def test_shards_are_joined_once(out: Path, reference: Reference) -> None:
    finished = merge_run(out)
    assert reference.is_at(out)
    assert (finished.windows, finished.documents, finished.quarantined) == (6, 17, 3)
    assert merge_run(out) == finished
    assert not list(run_folder(out).glob("predictions-*"))


def test_afterwards_each_shard_and_the_whole_are_done(
    out: Path, driver: Driver, reference: Reference
) -> None:
    merge_run(out)
    for shard in ("1/2", "2/2", "1/1"):
        assert driver.run(reference.corpus, out, "--shard", shard) == 0
    assert reference.is_at(out)


def test_one_process_finishes_what_shards_began(
    out: Path, driver: Driver, reference: Reference
) -> None:
    assert driver.run(reference.corpus, out) == 0
    assert reference.is_at(out)


def test_a_missing_shard_is_a_gap(out: Path) -> None:
    (run_folder(out) / "ledger-00002-of-00002.jsonl").unlink()
    error = refusal(out)
    assert error.exit_code == 4
    assert "3 of 6 windows are missing: 1, 3, 5" in error.message


def test_an_unfinished_corpus_is_refused(
    folder: Path, driver: Driver, reference: Reference
) -> None:
    out = folder / "out.jsonl"
    assert driver.run(reference.corpus, out, "--time-limit", 0.0001) == 75
    assert "reached the end" in refusal(out).message


def test_doubles_are_refused(out: Path) -> None:
    for kind in ("ledger", "predictions", "errors"):
        copied = run_folder(out) / f"{kind}-00001-of-00002.jsonl"
        shutil.copy(copied, copied.with_name(f"{kind}-00001-of-00009.jsonl"))
    error = refusal(out)
    assert error.exit_code == 4
    assert "3 windows exist twice: 0, 2, 4" in error.message
    assert "ledger-00001-of-00009.jsonl" in error.message


@pytest.mark.parametrize("kind", ["predictions", "errors"])
def test_a_damaged_window_is_refused_and_linked_anew(
    out: Path, driver: Driver, reference: Reference, kind: str
) -> None:
    path = run_folder(out) / f"{kind}-00002-of-00002.jsonl"
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    assert "window 1 is not as it was written" in refusal(out).message
    assert driver.run(reference.corpus, out, "--shard", "2/2") == 0, driver.said
    merge_run(out)
    assert reference.is_at(out)


def test_changed_input_is_refused(out: Path, reference: Reference) -> None:
    text = reference.corpus.read_text()
    reference.corpus.write_text(text.replace("d3", "e3"))
    assert "content is not that" in str(refusal(out))
    reference.corpus.write_text(text)
    merge_run(out)
    assert reference.is_at(out)


def test_a_table_of_inputs_that_is_gone(out: Path) -> None:
    (run_folder(out) / "inputs.jsonl").unlink()
    error = refusal(out)
    assert error.exit_code == 4 and "inputs.jsonl" in error.message


def test_no_run_at_all(folder: Path) -> None:
    with pytest.raises(LongbelError, match="there is no run"):
        merge_run(folder / "nothing.jsonl")
    with pytest.raises(LongbelError, match="there is no run"):
        read_status(folder / "nothing.jsonl")


def test_status_from_begin_to_end(folder: Path, driver: Driver, reference: Reference) -> None:
    out = folder / "out.jsonl"
    assert driver.run(reference.corpus, out, "--shard", "1/2") == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    half = read_status(out)
    assert (half.state, half.windows, half.windows_total) == ("stopped", 3, 6)
    assert half.mentions_total == len(reference.predictions.splitlines())
    assert 0 < half.mentions < half.mentions_total
    assert [(shard.shard, shard.alive, shard.attempts) for shard in half.shards] == [
        ("00001-of-00002", False, 1)
    ]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert driver.run(reference.corpus, out, "--shard", "2/2") == 0
    assert read_status(out).state == "to be merged"
    merge_run(out)
    done = read_status(out)
    assert (done.state, done.windows, done.mentions) == ("finished", 6, half.mentions_total)
    assert (done.quarantined, done.quarantined_documents) == (3, 3)
    assert [shard.windows for shard in done.shards] == [3, 3]
    assert status_lines(done)[0] == f"{out}: finished"
    for content in (out.read_bytes() + b"x", b""):
        out.write_bytes(content)
        changed = read_status(out)
        assert (changed.state, changed.windows, changed.mentions) == ("changed", 6, done.mentions)
        assert status_lines(changed)[0].endswith("finished, but the file was changed since")
    out.unlink()
    assert (read_status(out).state, read_status(out).windows) == ("gone", 6)
    assert status_lines(read_status(out))[0].endswith("finished, but the file is gone")


def test_status_of_a_living_run(folder: Path, driver: Driver, reference: Reference) -> None:
    out = folder / "out.jsonl"
    pid = driver.start(reference.corpus, out, "--sleep", 0.05)
    result = None
    while result is None or not result.mentions:
        try:
            result = read_status(out)
        except LongbelError:
            continue
    assert result.state == "running"
    assert result.mentions_per_second is not None
    assert result.seconds_left is not None
    assert f"process {pid} on " in "\n".join(status_lines(result))
    assert driver.wait() == 0


def test_the_commands(longbel: Longbel, out: Path, reference: Reference) -> None:
    status = longbel("status", out, "--json")
    assert status.code == 0, status.err
    assert json.loads(status.out)["state"] == "to be merged"
    merged = longbel("merge", out, "--json")
    assert merged.code == 5, "three lines are quarantined"
    assert json.loads(merged.out)["windows"] == 6
    assert reference.is_at(out)
    (run_folder(out) / "finished.json").unlink()
    out.unlink()
    assert longbel("merge", out).code == 4


def test_windows_beyond_the_end_of_the_corpus_are_refused(out: Path) -> None:
    (run_folder(out) / "corpus_end.json").write_text('{"windows": 4}')
    error = refusal(out)
    assert error.exit_code == 4
    assert "beyond the corpus's last, 3: 4, 5" in error.message


def test_bytes_behind_the_last_window_are_no_part_of_the_result(folder: Path) -> None:
    """One process grows the result in place; what a crash left at its end is not published."""
    layout = Layout(folder / "out.jsonl")
    layout.folder.mkdir()
    stream = Stream(layout.stream_of_one, Files())

    def describe(data: ByteRange, errors: ByteRange) -> WindowRecord:
        return WindowRecord(0, ("d",), (), 1, 1, 0, 0, data, errors, None, True, 0.5, 1.5)

    stream.commit([b"window 0\n"], [], describe)
    stream.close()
    layout.corpus_end.write_text('{"windows": 1}')
    with layout.part.open("ab") as file:
        file.write(b"window 1, in pa")
    publish(layout, Files(), lambda: None)
    assert layout.out.read_bytes() == b"window 0\n"
    assert not layout.part.exists()


def test_joined_shards_are_on_the_disk_before_the_run_is_finished(folder: Path) -> None:
    """From `finished.json` on the shards' own files may go."""
    layout = Layout(folder / "out.jsonl")
    layout.folder.mkdir()
    for window in range(2):
        stream = Stream(layout.stream(Shard(window + 1, 2)), Files())
        stream.commit(
            [b"predicted\n"], [b"left out\n"],
            lambda data, errors, window=window: WindowRecord(
                window, ("d",), (), 1, 1, 1, 0, data, errors, None, window == 1, 0.5, 1.5
            ),
        )  # fmt: skip
        stream.close()
    layout.corpus_end.write_text('{"windows": 2}')
    files = RecordedFiles()
    publish(layout, files, lambda: None)
    assert layout.out.read_bytes() == b"predicted\n" * 2
    done = files.done(folder)
    finished = done.index("replace finished.json")
    for name in ("out.jsonl", "errors.jsonl"):
        assert done.index(f"write {name}") < done.index(f"sync {name}") < finished
        assert finished in range(*(at for at, step in enumerate(done) if step == f"replace {name}"))


def test_drafts_of_the_dead_are_swept_and_those_of_the_living_left(out: Path) -> None:
    lease = run_folder(out) / "claims" / "00001-of-00002.000002.json"
    dead, living = dead_draft(lease), own_draft(lease)
    for draft in (dead, living):
        draft.write_text("draft")
    merge_run(out)
    assert living.exists() and not dead.exists()
