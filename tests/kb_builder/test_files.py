"""Files and folders appear whole whatever ends the process, and what a dead one left is removed."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_builder.files import (
    Disk,
    blocks_of,
    create_whole,
    drafted,
    flush,
    hashes,
    is_draft,
    new_sha256,
    sha256_of,
    sha256_of_file,
    sweep,
    whole,
    whole_file,
    whole_folder,
    write_whole,
)
from tests.support.drafts import dead_draft, own_draft
from tests.support.paths import ROOT
from tests.support.run_driver import FailingFiles, RecordedFiles

OLD, NEW = b"old content", b"new content"
Put = Callable[[Path, Disk], None]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def put_file(path: Path, disk: Disk) -> None:
    write_whole(path, NEW, disk)


def put_new_file(path: Path, disk: Disk) -> None:
    path.unlink(missing_ok=True)
    create_whole(path, NEW, disk)


def put_folder(path: Path, disk: Disk) -> None:
    with whole_folder(path, overwrite=True, disk=disk) as folder:
        (folder / "below").mkdir()
        (folder / "below" / "file").write_bytes(NEW)


def content(path: Path) -> bytes | None:
    """What a file, or the one file of a folder, holds; None where there is nothing."""
    if path.is_dir():
        return (path / "below" / "file").read_bytes()
    return path.read_bytes() if path.exists() else None


def lay_old(path: Path, as_folder: bool) -> None:
    if as_folder:
        (path / "below").mkdir(parents=True)
        path = path / "below" / "file"
    path.write_bytes(OLD)


# What appears whole ---------------------------------------------------------------------------


def test_a_file_has_its_name_when_its_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with whole_file(path) as draft:
        draft.write_bytes(NEW)
        assert path.read_bytes() == OLD
        assert is_draft(draft) and draft.parent == tmp_path
    assert path.read_bytes() == NEW
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("put", [whole_file, whole_folder])
def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path, put: Any) -> None:
    path = tmp_path / "name"
    with pytest.raises(KeyboardInterrupt), put(path) as draft:
        (draft / "file" if draft.is_dir() else draft).write_bytes(NEW)
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    put_folder(tmp_path / "a" / "b", Disk())
    assert content(tmp_path / "a" / "b") == NEW


def test_a_folder_takes_the_place_of_another_only_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with whole_folder(path) as folder:  # an empty folder is nothing
        (folder / "file").write_bytes(OLD)
    with pytest.raises(OSError), whole_folder(path) as folder:
        (folder / "other").write_bytes(NEW)
    assert names(path) == ["file"]
    with whole_folder(path, overwrite=True) as folder:
        (folder / "other").write_bytes(NEW)
    assert names(path) == ["other"] and names(tmp_path) == ["folder"]


def test_a_file_that_must_be_new_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert create_whole(path, OLD)
    assert not create_whole(path, NEW)
    assert path.read_bytes() == OLD and names(tmp_path) == ["file"]


@pytest.mark.parametrize("ordinal", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_new_file_is_made_once_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ordinal: int, in_one_step: bool
) -> None:
    class HasNoLinks(Disk):
        def link(self, source: Path, target: Path) -> None:
            raise OSError(ordinal, os.strerror(ordinal))

    if not in_one_step:
        monkeypatch.setattr(whole, "_renamed", lambda new, old, how: False)
    path = tmp_path / "file"
    assert create_whole(path, OLD, HasNoLinks())
    assert not create_whole(path, NEW, HasNoLinks())
    assert path.read_bytes() == OLD and names(tmp_path) == ["file"]


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "elsewhere" / "file", tmp_path / "link"
    target.parent.mkdir()
    target.write_bytes(OLD)
    link.symlink_to(target)
    write_whole(link, NEW)
    assert link.is_symlink() and target.read_bytes() == NEW
    assert names(target.parent) == ["file"]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, NEW)
    reader.join()
    assert read == [NEW] and pipe.is_fifo() and names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "x" * 180, "a\nb", "."])
def test_every_name_that_a_file_may_have_has_drafts(tmp_path: Path, name: str) -> None:
    path = (tmp_path / name).resolve()
    if name == ".":
        put_folder(tmp_path / "folder" / name, Disk())
        assert content(tmp_path / "folder") == NEW
        return
    with whole_file(path) as draft:
        assert is_draft(draft) and len(os.fsencode(draft.name)) <= 255
        draft.write_bytes(NEW)
    assert path.read_bytes() == NEW


def test_all_is_on_the_disk_before_it_has_its_name(tmp_path: Path) -> None:
    disk = RecordedFiles()
    put_file(tmp_path / "file", disk)
    with whole_folder(tmp_path / "folder", disk=disk) as folder:
        (folder / "below").mkdir()
        (folder / "below" / "text").write_bytes(NEW)
    put_folder(tmp_path / "folder", disk)
    done = disk.done(tmp_path)
    assert done[:4] == ["write file", "sync file", "replace file", f"sync {tmp_path.name}"]
    assert done[4:9] == ["sync what is gone"] * 3 + [
        "replace what is gone",
        f"sync {tmp_path.name}",
    ]
    # The folder that takes its place is exchanged and not renamed.
    assert sorted(done[9:12]) == ["sync below", "sync file", "sync folder"]
    assert done[12:] == [f"sync {tmp_path.name}"]


@pytest.mark.parametrize("can", [True, False])
def test_many_files_are_flushed_at_once_where_the_kernel_tells_of_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    class Counts(Disk):
        single = whole = 0

        def sync(self, handle: int) -> None:
            self.single += 1

        def sync_all(self, handle: int) -> bool:
            self.whole += 1
            return super().sync_all(handle) and can

    monkeypatch.setattr(whole, "_MANY", 3)
    disk = Counts()
    with whole_folder(tmp_path / "folder", disk=disk) as folder:
        for index in range(4):
            (folder / str(index)).write_bytes(NEW)
    assert disk.whole == 1
    at_once = can and whole._SYNCFS
    assert disk.single == (1 if at_once else 6)  # the folder above; else the files and their folder
    assert len(names(tmp_path / "folder")) == 4


def test_a_file_system_that_cannot_sync_folders_is_let_be(tmp_path: Path) -> None:
    class CannotSyncFolders(Disk):
        def sync(self, handle: int) -> None:
            if Path(f"/proc/self/fd/{handle}").is_dir():
                raise OSError(errno.EINVAL, "Invalid argument")
            super().sync(handle)

    put_folder(tmp_path / "folder", CannotSyncFolders())
    assert content(tmp_path / "folder") == NEW


# Ended on the way -----------------------------------------------------------------------------

PUTS = [put_file, put_new_file, put_folder]


def steps_of(path: Path, put: Put) -> int:
    disk = FailingFiles()
    put(path, disk)
    return disk.steps


@pytest.mark.parametrize(
    ("put", "in_one_step"),
    [(put_file, True), (put_new_file, True), (put_folder, True), (put_folder, False)],
    ids=["file", "new file", "folder by an exchange", "folder by three renames"],
)
def test_a_kill_at_any_step_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Put, in_one_step: bool
) -> None:
    """Where two folders cannot be exchanged in one step, the next call puts the old one back."""
    if not in_one_step:
        monkeypatch.setattr(whole, "_renamed", lambda new, old, how: False)
    as_folder = put is put_folder
    lay_old(tmp_path / "count", as_folder)
    seen = set()
    for step in range(1, steps_of(tmp_path / "count", put) + 1):
        path = tmp_path / f"{step}" / "name"
        path.parent.mkdir()
        lay_old(path, as_folder)
        killed(put, path, step)
        seen.add(content(path))
        assert content(path) in {OLD, NEW} | ({None} if put is put_new_file else set()) | (
            {None} if as_folder and not in_one_step else set()
        )
        with pytest.raises(InterruptedError), whole_folder(path, overwrite=True):
            raise InterruptedError
        assert names(path.parent) == (["name"] if content(path) is not None else [])
        assert content(path) in (OLD, NEW) or put is put_new_file
        put(path, Disk())
        assert content(path) == NEW and names(path.parent) == ["name"]
    assert NEW in seen and (OLD in seen or put is put_new_file)


def killed(put: Put, path: Path, step: int) -> None:
    """Put something at `path` in another process, which is killed at that step of the disk."""
    pid = os.fork()
    if pid == 0:
        try:
            put(path, FailingFiles(step))
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("put", PUTS)
def test_a_disk_that_refuses_any_step_is_told_and_nothing_is_left_half(
    tmp_path: Path, put: Put, kind: str
) -> None:
    refused = 0
    for step in range(1, steps_of(tmp_path / "count", put) + 1):
        path = tmp_path / f"{step}" / "name"
        path.parent.mkdir()
        try:
            put(path, FailingFiles(step, kind))
        except OSError as error:
            refused += 1
            assert error.errno == getattr(errno, kind)
        assert content(path) in (None, NEW)
        assert [name for name in names(path.parent) if name != "name"] == [] or put is put_new_file
    assert refused > 2


def test_two_exchanges_in_several_steps_undo_what_cannot_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses(Disk):
        def replace(self, source: Path, target: Path) -> None:
            if is_draft(source) and source.suffix == ".draft":
                raise OSError(errno.EIO, "Input/output error")
            super().replace(source, target)

    monkeypatch.setattr(whole, "_renamed", lambda new, old, how: False)
    lay_old(tmp_path / "folder", as_folder=True)
    with pytest.raises(OSError, match="Input/output"):
        put_folder(tmp_path / "folder", Refuses())
    assert content(tmp_path / "folder") == OLD and names(tmp_path) == ["folder"]


# Drafts ---------------------------------------------------------------------------------------


def test_two_that_write_at_once_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with whole_file(path) as first, whole_file(path) as other:
        first.write_bytes(b"one")
        other.write_bytes(b"other")
        assert first != other
    assert path.read_bytes() == b"one"  # the last to end
    assert names(tmp_path) == ["file"]


def test_many_that_write_at_once_leave_the_whole_of_one(tmp_path: Path) -> None:
    path, together = tmp_path / "file", threading.Barrier(8)
    contents = [bytes([64 + index]) * (1 << 16) for index in range(8)]

    def write(data: bytes) -> None:
        together.wait()
        for _ in range(5):
            write_whole(path, data)

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert names(tmp_path) == ["file"]


WRITER = """
import sys
from pathlib import Path
from kb_builder.files import whole_file, whole_folder
with whole_file(Path(sys.argv[1])) as file, whole_folder(Path(sys.argv[2])) as folder:
    file.write_text("half")
    (folder / "file").write_text("half")
    print("writing", flush=True)
    input()
"""


def test_what_a_living_process_writes_stays_and_what_a_killed_one_wrote_goes(
    tmp_path: Path,
) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    command = [sys.executable, "-c", WRITER, str(file), str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
        write_whole(file, NEW)
        drafts = [path for path in tmp_path.iterdir() if is_draft(path)]
        assert len(drafts) == 2
        writer.kill()
        os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)  # a zombie is dead
        write_whole(file, OLD)
    assert names(tmp_path) == ["file"] and file.read_bytes() == OLD


def test_of_another_machine_only_what_was_long_not_touched_goes(tmp_path: Path) -> None:
    """Its processes cannot be asked; a folder is as young as the youngest in it."""
    own = own_draft(tmp_path / "x").name.split(".")[2]
    machine = own.partition("-")[0]
    elsewhere = own.replace(machine, "0" * 8)
    young, old, worked_at = (tmp_path / f".{name}.{elsewhere}.draft" for name in "abc")
    for path in (young, old, worked_at):
        path.mkdir()
        (path / "file").touch()
    for path in (old, old / "file", worked_at):
        os.utime(path, (1, 1))
    sweep(tmp_path)
    assert names(tmp_path) == [young.name, worked_at.name]


@pytest.mark.parametrize(
    "name",
    [".x.draft", ".x.12345678-1-1.draft", "x.12345678-99999999-1-0.draft", ".x.tmp", "x.part"],
)
def test_names_that_are_no_drafts_are_left(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    os.utime(path, (1, 1))
    sweep(tmp_path)
    assert path.exists() and not is_draft(path)


def test_a_number_given_to_another_process_since_is_no_sign_of_life(tmp_path: Path) -> None:
    own = own_draft(tmp_path / "x").name
    machine, pid, start, count = own.split(".")[2].split("-")
    later = f".x.{machine}-{pid}-{int(start) - 1}-{count}.draft"
    (tmp_path / own).touch()
    (tmp_path / later).touch()
    sweep(tmp_path)
    assert names(tmp_path) == [own]


def test_sweeping_is_a_courtesy(tmp_path: Path) -> None:
    class Refuses(Disk):
        def unlink(self, path: Path) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

    left = dead_draft(tmp_path / "x")
    left.touch()
    sweep(tmp_path, Refuses())
    sweep(tmp_path / "nowhere")
    assert left.exists()
    with drafted(tmp_path / "y"):
        assert not left.exists()


# SHA-256 --------------------------------------------------------------------------------------


@given(st.lists(st.binary()))
def test_the_hash_of_pieces_is_that_of_them_all(pieces: list[bytes]) -> None:
    whole = hashlib.sha256(b"".join(pieces)).hexdigest()
    assert sha256_of(*pieces) == whole
    stream = new_sha256(pieces[0] if pieces else b"")
    for piece in pieces[1:]:
        stream.update(piece)
    assert stream.hexdigest() == whole


@pytest.mark.parametrize("start", [0, 1, 99, 100])
@pytest.mark.parametrize("end", [None, 1, 50, 100, 1000])
def test_the_hash_of_a_stretch_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int, end: int | None
) -> None:
    path, data = tmp_path / "file", bytes(range(100))
    path.write_bytes(data)
    monkeypatch.setattr(hashes, "_READ_BYTES", 7)
    assert b"".join(blocks_of(path, start, end)) == data[start:end]
    assert sha256_of_file(path, start, end) == hashlib.sha256(data[start:end]).hexdigest()


def test_flushing_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        flush(tmp_path / "nothing")
