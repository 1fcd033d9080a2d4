"""Whatever happens to the last record, the windows before it stay and it is made again."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from longbel_cli.runs.files import Files
from longbel_cli.runs.layout import Layout
from longbel_cli.runs.ledger import ByteRange, Stream, WindowRecord, is_sound, read_ledger
from longbel_cli.runs.shards import Shard
from tests.support.run_driver import RecordedFiles

EMPTY = hashlib.sha256(b"").hexdigest()


def record(window: int, data: ByteRange, errors: ByteRange) -> WindowRecord:
    return WindowRecord(
        window=window,
        document_ids=(f"d{window}", f"é{window}"),
        quarantined_ids=(),
        mentions=2,
        lines=2,
        quarantined=1,
        quarantined_documents=1,
        data=data,
        errors=errors,
        following=[0, 17, 3],
        last=False,
        seconds=0.5,
        at=1.5,
        note={"budget": 8},
    )


def write_three(folder: Path, files: Files | None = None) -> Layout:
    layout = Layout(folder / "out.jsonl")
    layout.folder.mkdir()
    stream = Stream(layout.stream(Shard()), files or Files())
    for window in range(3):
        stream.commit(
            [f"window {window}\n".encode()],
            [f"left out {window}\n".encode()],
            lambda data, errors, window=window: record(window, data, errors),
        )
    stream.close()
    return layout


def windows_of(layout: Layout) -> list[int]:
    stream = Stream(layout.stream(Shard()), Files())
    stream.close()
    return [entry.window for entry in stream.records]


def test_a_window_is_on_the_disk_before_its_record(folder: Path) -> None:
    """And the names of new files are, before anything is written to them."""
    files = RecordedFiles()
    write_three(folder, files)
    new, first = files.done(folder)[:2], files.done(folder)[2:8]
    assert new == ["sync out.jsonl.run", f"sync {folder.name}"]
    assert first == [
        "write out.jsonl.part", "sync out.jsonl.part", "write errors.jsonl", "sync errors.jsonl",
        "write ledger.jsonl", "sync ledger.jsonl",
    ]  # fmt: skip


def test_a_whole_file_is_on_the_disk_before_it_has_its_name(folder: Path) -> None:
    files = RecordedFiles()
    files.write_file(folder / "old", b"1")
    files.create_file(folder / "new", b"1")
    in_folder = f"sync {folder.name}"
    assert files.done(folder) == [
        "write old", "sync old", "replace old", in_folder,
        "write new", "sync new", "link new", in_folder,
    ]  # fmt: skip


def test_a_record_says_what_was_written(folder: Path) -> None:
    layout = write_three(folder)
    records, end = read_ledger(layout.stream(Shard()))
    line = json.loads((layout.folder / "ledger.jsonl").read_bytes().splitlines()[1])
    assert (line["first_document"], line["last_document"]) == ("d1", "é1")
    assert records[1].data == ByteRange(9, 18, hashlib.sha256(b"window 1\n").hexdigest())
    assert end == (layout.folder / "ledger.jsonl").stat().st_size
    assert layout.part.read_bytes() == b"window 0\nwindow 1\nwindow 2\n"
    assert layout.errors.read_bytes() == b"left out 0\nleft out 1\nleft out 2\n"


@given(st.lists(st.text(max_size=5), max_size=3), st.integers(), st.floats(allow_nan=False))
def test_a_line_gives_its_record_back(ids: list[str], index: int, seconds: float) -> None:
    whole = WindowRecord(
        index, tuple(ids), (), 1, 2, 3, 4, ByteRange(0, 1, "a"), ByteRange(0, 0, EMPTY),
        {"deep": [1, None]}, True, seconds, 2.0, {"note": ids},
    )  # fmt: skip
    line = whole.to_line()
    assert line.count(b"\n") == 1
    assert WindowRecord.from_line(line[:-1]) == whole


@pytest.mark.parametrize("file", ["ledger", "data", "errors"])
def test_the_last_record_damaged_at_every_byte(folder: Path, file: str) -> None:
    """Truncated there, zero-filled from there, or with that one byte changed."""
    layout = write_three(folder)
    paths = layout.stream(Shard())
    contents = {path: path.read_bytes() for path in (paths.ledger, paths.data, paths.errors)}
    target: Path = getattr(paths, file)
    whole = contents[target]
    last = whole.rindex(b"\n", 0, -1) + 1
    for location in range(last, len(whole)):
        for damaged in (
            whole[:location],
            whole[:location] + bytes(len(whole) - location),
            whole[:location] + bytes([whole[location] ^ 0x15]) + whole[location + 1 :],
        ):
            for path, content in contents.items():
                path.write_bytes(damaged if path == target else content)
            assert windows_of(layout) == [0, 1], (location, damaged[last:])
            assert paths.data.read_bytes() == b"window 0\nwindow 1\n"
            assert paths.errors.read_bytes() == b"left out 0\nleft out 1\n"
            assert len(paths.ledger.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("junk", [b"\0" * 50, b'{"window": 3', b"\n\n", b"{}\n", b"\xff\xfe\n"])
def test_junk_after_the_last_record_is_cut(folder: Path, junk: bytes) -> None:
    layout = write_three(folder)
    paths = layout.stream(Shard())
    before = [path.read_bytes() for path in (paths.ledger, paths.data, paths.errors)]
    for path in (paths.ledger, paths.data, paths.errors):
        path.write_bytes(path.read_bytes() + junk)
    assert windows_of(layout) == [0, 1, 2]
    assert [path.read_bytes() for path in (paths.ledger, paths.data, paths.errors)] == before


def test_a_damaged_line_inside_costs_its_own_window_alone(folder: Path) -> None:
    layout = write_three(folder)
    ledger = layout.stream(Shard()).ledger
    ledger.write_bytes(ledger.read_bytes().replace(b'"window":1', b'"window":7'))
    assert windows_of(layout) == [0, 2]


def test_damaged_data_inside_is_found_when_all_is_checked(folder: Path) -> None:
    layout = write_three(folder)
    paths = layout.stream(Shard())
    paths.data.write_bytes(paths.data.read_bytes().replace(b"window 1", b"windon 1"))
    assert windows_of(layout) == [0, 1, 2]
    stream = Stream(paths, Files(), check_all=True)
    stream.close()
    assert [entry.window for entry in stream.records] == [0, 2]
    assert all(is_sound(paths, entry) for entry in read_ledger(paths)[0])


def test_a_window_whose_record_cannot_be_written_leaves_nothing_behind(folder: Path) -> None:
    """The same process may go on: the next window follows the last one committed."""

    class FullDisk(Files):
        refused = ""

        def write(self, fd: int, data: bytes) -> None:
            if self.refused and self.refused.encode() in data:
                raise OSError(errno.ENOSPC, "full")
            super().write(fd, data)

    layout = Layout(folder / "out.jsonl")
    layout.folder.mkdir()
    files = FullDisk()
    stream = Stream(layout.stream(Shard()), files)

    def commit(window: int) -> None:
        stream.commit(
            [f"window {window}\n".encode()],
            [f"left out {window}\n".encode()],
            lambda data, errors: record(window, data, errors),
        )

    commit(0)
    files.refused = '"check"'  # in ledger lines alone
    with pytest.raises(LongbelError, match="disk is full"):
        commit(1)
    files.refused = ""
    commit(2)
    stream.close()
    paths = layout.stream(Shard())
    assert paths.data.read_bytes() == b"window 0\nwindow 2\n"
    assert paths.errors.read_bytes() == b"left out 0\nleft out 2\n"
    assert windows_of(layout) == [0, 2]


@pytest.mark.parametrize("file", ["data", "errors"])
def test_a_window_whose_bytes_are_not_there_is_not_done(folder: Path, file: str) -> None:
    """Also to those who only read the ledger: `merge` then sees a gap, `status` less done."""
    paths = write_three(folder).stream(Shard())
    target: Path = getattr(paths, file)
    target.write_bytes(target.read_bytes()[:-1])
    assert [entry.window for entry in read_ledger(paths)[0]] == [0, 1]
    assert [entry.window for entry in read_ledger(paths, merged=True)[0]] == [0, 1, 2]


def test_a_lost_data_file_means_no_window(folder: Path) -> None:
    layout = write_three(folder)
    layout.part.unlink()
    assert windows_of(layout) == []
