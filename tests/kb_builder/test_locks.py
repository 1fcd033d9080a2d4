"""One process at a time holds a lock, and a process is alive only while it runs."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kb_builder.files import locks
from kb_builder.files.locks import is_running, locked, process_start
from tests.support.drafts import NO_PROCESS
from tests.support.paths import ROOT

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc")

HOLDER = """
import sys
from pathlib import Path
from kb_builder.files.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


def holder_of(path: Path) -> subprocess.Popen[str]:
    """A process that holds a lock until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def waiter_for(path: Path, held: threading.Event) -> threading.Thread:
    """A thread that asks for a lock and says when it has it."""

    def wait() -> None:
        with locked(path):
            held.set()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def open_files() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_a_lock_waits_for_its_holder_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    path, held = tmp_path / "made" / "lock", threading.Event()
    with holder_of(path) as holder:
        thread = waiter_for(path, held)
        assert not held.wait(0.2)
        holder.kill()
        assert held.wait(60)
        thread.join()


def test_who_waited_for_a_folder_that_was_moved_away_holds_the_one_in_its_place(
    tmp_path: Path,
) -> None:
    folder, held = tmp_path / "run", threading.Event()
    with locked(folder / "lock"):
        thread = waiter_for(folder / "lock", held)
        assert not held.wait(0.2)
        folder.rename(tmp_path / "run.1")
    assert held.wait(60)
    thread.join()
    assert (folder / "lock").exists() and (tmp_path / "run.1" / "lock").exists()


def test_a_folder_that_goes_while_its_lock_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening of the file and the lock on it, which then locks nothing any more."""
    folder, flock = tmp_path / "run", fcntl.flock

    def too_late(handle: int, operation: int) -> None:
        if not (tmp_path / "run.1").exists():
            folder.rename(tmp_path / "run.1")
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", too_late)
    with locked(folder / "lock"):
        assert (folder / "lock").exists()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_worked_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "lock"), locked(tmp_path / "lock"):
        pass


def test_a_folder_that_cannot_be_written_has_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, flags: int, mode: int = 0) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError), locked(tmp_path / "lock"):
        pass


@needs_proc
def test_who_is_interrupted_while_waiting_leaves_no_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(handle: int, path: Path) -> None:
        raise KeyboardInterrupt

    before = open_files()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(locks, "_wait_for", interrupted)
        locks.lock(tmp_path / "lock")
    assert open_files() == before


@needs_proc
def test_a_process_is_known_by_its_number_and_its_start() -> None:
    start = process_start(os.getpid())
    assert start is not None and start.isdigit()
    assert is_running(os.getpid(), start)
    assert not is_running(os.getpid(), str(int(start) - 1))  # the number was given away since
    assert not is_running(NO_PROCESS, start)


def test_a_process_that_the_system_hides_is_taken_for_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As /proc does with those of other users where it is mounted with hidepid."""

    def hidden(path: Path, *rest: object) -> str:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    def not_ours(pid: int, index: int) -> None:
        if pid == NO_PROCESS:
            raise ProcessLookupError
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", hidden)
    monkeypatch.setattr(os, "kill", not_ours)
    assert process_start(1) == ""
    assert is_running(1, "12") and not is_running(NO_PROCESS, "12")
