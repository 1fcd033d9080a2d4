"""Beginning a run, going on with it, and what is refused."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.runs.configuration import difference
from longbel_cli.runs.layout import Layout, StreamPaths
from longbel_cli.runs.lock import setup_lock
from longbel_cli.runs.opening import Opening
from longbel_cli.runs.run import (
    Auto,
    Files,
    Run,
    RunConfiguration,
    Shard,
    merge_run,
    open_run,
    set_run_aside,
    spool,
)
from longbel_cli.runs.windows import Position, Quarantine
from longbel_cli.types import Document
from tests.support.run_cases import configuration, link, whole_run
from tests.support.run_driver import (
    Driver,
    Reference,
    count_mentions,
    read_documents,
    write_corpus,
)


@pytest.mark.parametrize(
    ("kept", "asked", "lines"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": [1, 2]}, {"a": 2, "b": (1, 2)}, ["a: 1 in the run, 2 now"]),
        ({"a": "x"}, {}, ['a: "x" in the run, unset now']),
        ({}, {"a": True}, ["a: unset in the run, true now"]),
        ({"a": 8}, {"a": Auto(lambda: 9)}, []),
        ({"b": 1, "a": 1}, {"b": 0, "a": 0}, ["a: 1 in the run, 0 now", "b: 1 in the run, 0 now"]),
    ],
)
def test_difference(kept: dict[str, object], asked: dict[str, object], lines: list[str]) -> None:
    assert difference(kept, asked) == lines


def test_run_json_says_what_the_run_is(folder: Path, corpus: Path) -> None:
    whole_run(folder / "out.jsonl", corpus, kb="fff")
    content = json.loads((folder / "out.jsonl.run" / "run.json").read_text())
    assert content["configuration"]["model"] == "abc"
    assert content["configuration"]["kb"] == "fff"
    assert content["configuration"]["window_documents"] == 3
    assert content["command"] == ["link"]
    assert content["inputs"]["bytes"] == corpus.stat().st_size
    assert {"created", "host", "python", "packages", "git"} <= content["provenance"].keys()


def test_a_finished_run_is_left_alone(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    whole_run(out, corpus)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with open_run(out, configuration(corpus)) as run:
        assert run.finished is not None
        assert run.finished.bytes == out.stat().st_size
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("finished", [False, True])
def test_another_configuration_is_refused_field_by_field(
    folder: Path, corpus: Path, finished: bool
) -> None:
    out = folder / "out.jsonl"
    with open_run(out, configuration(corpus)) as run:
        link(run, corpus, None if finished else 1)
    with pytest.raises(LongbelError) as raised:
        open_run(out, configuration(corpus, beams=4, model="xyz"))
    assert raised.value.exit_code == 4
    assert "beams: 5 in the run, 4 now" in str(raised.value)
    assert 'model: "abc" in the run, "xyz" now' in str(raised.value)
    other = write_corpus(folder / "other.jsonl", 11)
    with pytest.raises(LongbelError) as raised:
        open_run(out, configuration(other))
    assert raised.value.exit_code == 4
    assert "input: " in str(raised.value) and "bytes when the run began" in str(raised.value)


def test_other_window_bounds_are_another_configuration(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    whole_run(out, corpus)
    with pytest.raises(LongbelError, match="window_documents: 3 in the run, 4 now"):
        open_run(out, RunConfiguration({"model": "abc", "beams": 5}, [corpus], window_documents=4))


def test_an_automatic_setting_is_resolved_once(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    with open_run(out, configuration(corpus, budget=Auto(lambda: 4096))) as run:
        assert run.settings["budget"] == 4096
        link(run, corpus, 1)
    with open_run(out, configuration(corpus, budget=Auto(lambda: 1 / 0))) as run:
        assert run.settings["budget"] == 4096
    with pytest.raises(LongbelError, match="budget: 4096 in the run, 512 now"):
        open_run(out, configuration(corpus, budget=512))


def test_a_machine_of_another_kind_is_refused(folder: Path, corpus: Path) -> None:
    with open_run(folder / "out.jsonl", configuration(corpus, dtype=Auto(lambda: "f32"))) as run:
        run.require({"dtype": "f32"})
        with pytest.raises(LongbelError, match='dtype: "f32" in the run, "bf16" now') as raised:
            run.require({"dtype": "bf16", "model": "abc"})
        assert raised.value.exit_code == 4


def test_the_note_of_the_last_window_is_found_again(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"

    def source(start: Position, quarantine: Quarantine) -> Iterator[tuple[Position, Document]]:
        return read_documents(corpus, start, quarantine)

    with open_run(out, configuration(corpus)) as run:
        assert run.last_note == {}
        run.commit(next(run.pending(source)), [], note={"budget": 512})
    with open_run(out, configuration(corpus)) as run:
        assert run.last_note == {"budget": 512}


def test_restart_keeps_the_old_run_aside(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    first = whole_run(out, corpus)
    with open_run(out, configuration(corpus, beams=2), restart=True) as run:
        link(run, corpus, 1)
    assert (folder / "out.jsonl.run.1" / "out.jsonl").read_bytes() == first
    assert not out.exists()
    with open_run(out, configuration(corpus, beams=3), restart=True) as run:
        link(run, corpus)
    aside = folder / "out.jsonl.run.2"
    assert (aside / "out.jsonl.part").exists()
    assert json.loads((aside / "run.json").read_text())["configuration"]["beams"] == 2
    assert out.read_bytes() == first


@pytest.mark.parametrize("content", ["", "{half", "[]", "{}", '{"format": 99}'])
def test_a_damaged_configuration_is_refused_and_kept_aside(
    folder: Path, corpus: Path, content: str
) -> None:
    out = folder / "out.jsonl"
    whole_run(out, corpus)
    (folder / "out.jsonl.run" / "run.json").write_text(content)
    for refused in (lambda: open_run(out, configuration(corpus)), lambda: merge_run(out)):
        with pytest.raises(LongbelError, match=r"run\.json") as raised:
            refused()
        assert raised.value.exit_code == 4
    with open_run(out, configuration(corpus), restart=True) as run:
        link(run, corpus)
    assert (folder / "out.jsonl.run.1" / "run.json").read_text() == content


def test_what_is_left_to_a_shard(folder: Path, corpus: Path) -> None:
    """Its share less what it has linked, and no more than is left to all."""
    counted = replace(configuration(corpus), free={"mentions": count_mentions(corpus)})
    with open_run(folder / "uncounted.jsonl", configuration(corpus)) as run:
        assert run.mentions_left is None
    with open_run(folder / "out.jsonl", counted, Shard(1, 2)) as run:
        assert run.mentions_left == count_mentions(corpus) // 2
        link(run, corpus, 1)
        assert run.mentions_left == count_mentions(corpus) // 2 - run.records[0].mentions
    with open_run(folder / "out.jsonl", configuration(corpus)) as run:
        assert run.mentions_left == count_mentions(corpus) - sum(
            json.loads(line)["mentions"]
            for line in (folder / "out.jsonl.run").joinpath("ledger-00001-of-00002.jsonl").open()
        )


def test_a_run_set_aside_leaves_its_spooled_input(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    spooled = spool(io.BytesIO(corpus.read_bytes()), out)
    whole = whole_run(out, spooled)
    set_run_aside(out, [spooled])
    assert (folder / "out.jsonl.run.1" / "out.jsonl").read_bytes() == whole
    assert not out.exists() and not (folder / "out.jsonl.run" / "run.json").exists()
    assert spooled.read_bytes() == corpus.read_bytes()


def test_restart_where_nothing_is_begins(folder: Path, corpus: Path) -> None:
    with open_run(folder / "out.jsonl", configuration(corpus), restart=True) as run:
        link(run, corpus)
    assert sorted(path.name for path in folder.iterdir()) == [
        "corpus.jsonl", "out.jsonl", "out.jsonl.run",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.part"])
def test_a_file_of_other_origin_is_refused_replaced_or_kept_aside(
    folder: Path, corpus: Path, name: str
) -> None:
    out = folder / "out.jsonl"
    (folder / name).write_text("precious")
    with pytest.raises(LongbelError) as raised:
        open_run(out, configuration(corpus))
    assert raised.value.exit_code == 4
    assert (folder / name).read_text() == "precious"
    with open_run(out, configuration(corpus), restart=True) as run:
        assert run.finished is None
    assert (folder / "out.jsonl.run.1" / name).read_text() == "precious"
    (folder / name).write_text("worthless")
    with open_run(out, configuration(corpus, beams=1), overwrite=True) as run:
        link(run, corpus)
    assert b"worthless" not in out.read_bytes()


@pytest.mark.parametrize("restart", [False, True])
def test_a_run_in_the_place_of_a_fusion_drops_its_record(
    folder: Path, corpus: Path, restart: bool
) -> None:
    out, record = folder / "out.jsonl", folder / "out.jsonl.fusion.json"
    out.write_text("fused")
    record.write_text("{}")
    with pytest.raises(LongbelError):
        open_run(out, configuration(corpus))
    assert record.exists() and out.read_text() == "fused"
    with open_run(out, configuration(corpus), restart=restart, overwrite=not restart) as run:
        assert not record.exists()
        link(run, corpus)
    if restart:  # what is kept is kept with its record
        assert (folder / "out.jsonl.run.1" / record.name).read_text() == "{}"


def test_a_fusions_record_goes_after_its_file_and_before_the_run_is_there(
    folder: Path, corpus: Path
) -> None:
    """Killed at any step, no record speaks of another's file."""
    out, record = folder / "out.jsonl", folder / "out.jsonl.fusion.json"
    out.write_text("fused")
    record.write_text("{}")
    seen = []

    class Watched(Files):
        def look(self) -> None:
            seen.append((out.exists(), record.exists(), Layout(out).configuration.exists()))

        def replace(self, source: Path, target: Path) -> None:
            super().replace(source, target)
            self.look()

        def link(self, source: Path, target: Path) -> None:
            super().link(source, target)
            self.look()

        def unlink(self, path: Path) -> None:
            super().unlink(path)
            self.look()

    # As if killed just before run.json was written: the same command goes on from there.
    class Killed(Watched):
        def link(self, source: Path, target: Path) -> None:
            if target.name == "run.json":
                raise KeyboardInterrupt
            super().link(source, target)

    for files in (Killed(), Watched()):
        try:
            with open_run(out, configuration(corpus), overwrite=True, files=files):
                pass
        except KeyboardInterrupt:
            record.write_text("{}")  # not yet durably gone
    for fused, recorded, run in seen:
        assert recorded or not fused
        assert not (recorded and run)
    assert seen[-1] == (False, False, True)


def test_a_changed_result_is_no_finished_run(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    whole = whole_run(out, corpus)
    out.write_bytes(whole.replace(b"T1", b"T9"))
    with pytest.raises(LongbelError, match="was changed since its run finished"):
        open_run(out, configuration(corpus))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_changed_result_that_is_overwritten_is_linked_again_and_gone_on_with(
    folder: Path, corpus: Path, overwrite: bool
) -> None:
    """Stopped halfway, neither the next start nor a merge takes the half for the whole."""
    out = folder / "out.jsonl"
    whole = whole_run(out, corpus)
    out.write_bytes(whole + b"\n")
    with open_run(out, configuration(corpus), overwrite=True) as run:
        assert not Layout(out).finished.exists()
        link(run, corpus, 1)
    with pytest.raises(LongbelError, match="windows are missing"):
        merge_run(out)
    with open_run(out, configuration(corpus), overwrite=overwrite) as run:
        assert len(run.records) == 1
        link(run, corpus)
    assert out.read_bytes() == whole
    assert not Layout(out).replaced.exists()


def test_the_part_of_a_run_begun_anew_is_not_taken_for_the_result(
    folder: Path, corpus: Path
) -> None:
    """Version 0.1 left finished.json there when it replaced a changed result."""
    out = folder / "out.jsonl"
    whole = whole_run(out, corpus)
    finished = Layout(out).finished.read_bytes()
    out.unlink()
    with open_run(out, configuration(corpus)) as run:
        link(run, corpus, 1)
    Layout(out).finished.write_bytes(finished)
    with pytest.raises(LongbelError, match="windows are missing"):
        merge_run(out)
    with open_run(out, configuration(corpus)) as run:
        assert len(run.records) == 1
        link(run, corpus)
    assert out.read_bytes() == whole


def test_overwrite_replaces_another_configuration_once(folder: Path, corpus: Path) -> None:
    """The same command goes on afterwards: a job that is requeued does not begin anew."""
    out = folder / "out.jsonl"
    whole = whole_run(out, corpus)
    with open_run(out, configuration(corpus, beams=2), overwrite=True) as run:
        assert not out.exists()
        link(run, corpus, 1)
    with open_run(out, configuration(corpus, beams=2), overwrite=True) as run:
        assert len(run.records) == 1
        link(run, corpus)
    assert out.read_bytes() == whole
    with open_run(out, configuration(corpus, beams=2), overwrite=True) as run:
        assert run.finished is not None
    assert sorted(path.name for path in folder.iterdir()) == [
        "corpus.jsonl", "out.jsonl", "out.jsonl.run",
    ]  # fmt: skip


def test_a_result_that_was_taken_away_is_made_again(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    whole = whole_run(out, corpus)
    out.unlink()
    assert whole_run(out, corpus) == whole


def test_windows_without_a_run_json_are_refused(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    with open_run(out, configuration(corpus)) as run:
        link(run, corpus, 1)
    (folder / "out.jsonl.run" / "run.json").unlink()
    with pytest.raises(LongbelError, match=r"no run\.json"):
        open_run(out, configuration(corpus))


@pytest.mark.parametrize("shard", [Shard(), Shard(1, 2)])
def test_a_run_that_another_process_begins_at_this_moment_is_no_stranger(
    folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, shard: Shard
) -> None:
    """It writes run.json and its windows between two looks at the folder."""
    layout = Layout(folder / "out.jsonl")
    settings = (configuration(corpus), shard, Files(), 60.0)
    first, second = Opening(layout, *settings), Opening(layout, *settings)
    with setup_lock(layout, Files()):
        lease = first.lease()
    begun: list[Run] = []
    look = Layout.streams

    def streams(self: Layout) -> list[StreamPaths]:
        if not begun:
            begun.append(first.start(lease))
            link(begun[0], corpus, 1)
        return look(self)

    with monkeypatch.context() as patched, setup_lock(layout, Files()):
        patched.setattr(Layout, "streams", streams)
        assert not second.clear_the_way(restart=False, overwrite=False)
    begun[0].close()
    with open_run(layout.out, configuration(corpus), shard) as run:
        assert len(run.records) == 1


def test_a_file_that_appears_at_the_end_is_not_overwritten(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    with (
        pytest.raises(LongbelError, match="appeared during the run"),
        open_run(out, configuration(corpus)) as run,
    ):
        out.write_text("precious")
        link(run, corpus)
    assert out.read_text() == "precious"


def test_a_folder_that_cannot_be_written_is_told(folder: Path, corpus: Path) -> None:
    blocked = folder / "file"
    blocked.write_text("")
    with pytest.raises(LongbelError, match="cannot make the directory"):
        open_run(blocked / "out.jsonl", configuration(corpus))


def test_a_ledger_that_cannot_be_read_is_told(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    with open_run(out, configuration(corpus)) as run:
        link(run, corpus, 1)
    ledger = folder / "out.jsonl.run" / "ledger.jsonl"
    ledger.rename(ledger.with_name("kept"))
    ledger.mkdir()
    with pytest.raises(LongbelError, match=r"ledger\.jsonl"):
        open_run(out, configuration(corpus))
    ledger.rmdir()
    ledger.with_name("kept").rename(ledger)
    with open_run(out, configuration(corpus)) as run:
        assert len(run.records) == 1


@pytest.mark.parametrize("out", [Path(), Path("/")])
def test_a_path_without_a_files_name_is_refused(out: Path) -> None:
    with pytest.raises(LongbelError, match="not a file name") as raised:
        merge_run(out)
    assert raised.value.exit_code == 2
    assert raised.value.hint == "Give the path of link's --out."


def test_many_shards_that_start_at_once_agree(
    folder: Path, driver: Driver, second: Driver, reference: Reference
) -> None:
    """The budget of the scripted linker is its process number: one process's is kept."""
    for attempt in range(5):
        out = folder / f"{attempt}.jsonl"
        driver.start(reference.corpus, out, "--shard", "1/2")
        second.start(reference.corpus, out, "--shard", "2/2")
        assert (driver.wait(), second.wait()) == (0, 0), driver.said + second.said
        ledgers = (folder / f"{attempt}.jsonl.run").glob("ledger-*.jsonl")
        lines = [line for path in ledgers for line in path.read_text().splitlines()]
        assert len({json.loads(line)["note"]["budget"] for line in lines}) == 1


class _Slow(Files):
    """Another process begins the run just before this one writes its run.json."""

    def __init__(self, other: RunConfiguration, out: Path) -> None:
        self._other, self._out = other, out

    def link(self, source: Path, target: Path) -> None:
        if target.name == "run.json" and not target.exists():
            open_run(self._out, self._other, shard=Shard(2, 2)).close()
        super().link(source, target)


def test_shards_that_begin_otherwise_at_once_are_refused(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    files = _Slow(configuration(corpus, beams=9), out)
    with pytest.raises(LongbelError, match="beams: 9 in the run, 5 now"):
        open_run(out, configuration(corpus), shard=Shard(1, 2), files=files)


def test_the_ledger_knows_how_long_a_window_took(folder: Path, corpus: Path) -> None:
    """The ledger records what a window took, so the rate of a run can be told."""
    out = folder / "out.jsonl"

    def source(start: Position, quarantine: Quarantine) -> Iterator[tuple[Position, Document]]:
        return read_documents(corpus, start, quarantine)

    with open_run(out, configuration(corpus)) as run:
        for window in run.pending(source):
            time.sleep(0.01)
            run.commit(window, [])
        assert all(record.seconds >= 0.01 for record in run.records)
