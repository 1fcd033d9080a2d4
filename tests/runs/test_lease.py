"""One writer at a time, on this machine or another, and the dead give way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.runs import lease as leases
from longbel_cli.runs.files import Files
from tests.support.run_driver import Driver, Reference


def plant(folder: Path, number: int = 1, **changes: object) -> Path:
    """A lease of some other process, as it would lie there."""
    folder.mkdir(exist_ok=True, parents=True)
    holder = replace(leases.this_process("s"), **changes)  # type: ignore[arg-type]
    path = leases.lease_path(folder, "s", number)
    path.write_text(json.dumps(asdict(holder)))
    return path


def test_a_living_holder_is_named(folder: Path) -> None:
    plant(folder, host="node17", since="2026-01-02T03:04:05+00:00")
    with pytest.raises(LongbelError) as raised:
        leases.acquire(folder, "s", Files())
    assert raised.value.exit_code == 4
    for part in ("node17", str(os.getpid()), "2026-01-02T03:04:05"):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 2**22 + 5},  # above the largest process number: no such process
        {"process_start": "12"},  # the number was given to another process since
        {"released": True},
        {"released": True, "machine": "elsewhere"},
    ],
)
def test_a_dead_holder_gives_way(folder: Path, changes: dict[str, object]) -> None:
    plant(folder, **changes)
    lease = leases.acquire(folder, "s", Files())
    assert lease.path.name == "s.000002.json"
    lease.release()
    assert leases.newest_lease(folder, "s")[1].released  # type: ignore[union-attr]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only /proc tells a zombie")
def test_a_zombie_is_dead(folder: Path) -> None:
    """A killed run whose parent has not asked for it yet, as in a container without an init."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        start = leases.process_start(child.pid)
        plant(folder, pid=child.pid, process_start=start)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        leases.acquire(folder, "s", Files()).release()


def test_a_lease_that_cannot_be_read_gives_way(folder: Path) -> None:
    plant(folder).write_bytes(b"\0\0")
    leases.acquire(folder, "s", Files()).release()


def test_a_holder_elsewhere_is_stale_when_its_heart_stops(folder: Path) -> None:
    path = plant(folder, machine="elsewhere")
    os.utime(path, (time.time() - 100, time.time() - 100))
    leases.acquire(folder, "s", Files(), stale_seconds=60).release()


def test_a_holder_elsewhere_is_watched_until_its_heart_beats(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = plant(folder, machine="elsewhere")
    beat = threading.Timer(0.3, lambda: os.utime(path, (1, 1)))
    beat.start()
    with caplog.at_level("INFO", "longbel_cli"), pytest.raises(LongbelError):
        leases.acquire(folder, "s", Files(), stale_seconds=60)
    beat.join()
    assert [message.split()[0] for message in caplog.messages] == ["watching"]


def test_a_holder_elsewhere_that_gives_up_while_it_is_watched_gives_way(folder: Path) -> None:
    """Giving a stream up writes its lease anew: that is no heartbeat."""
    path = plant(folder, machine="elsewhere")
    holder = leases.newest_lease(folder, "s")[1]
    assert holder is not None
    released = json.dumps(asdict(replace(holder, released=True))).encode()
    leaving = threading.Timer(0.3, lambda: Files().write_file(path, released))
    leaving.start()
    leases.acquire(folder, "s", Files(), stale_seconds=60).release()
    leaving.join()


def test_a_lease_whose_link_was_made_but_not_confirmed_is_held(folder: Path) -> None:
    """NFS may lose the answer to a link and then say that the name exists already."""

    class LosesAnswers(Files):
        def link(self, source: Path, target: Path) -> None:
            super().link(source, target)
            raise FileExistsError

    lease = leases.acquire(folder, "s", LosesAnswers())
    assert lease.path.name == "s.000001.json"
    lease.release()


def test_of_many_that_start_at_once_one_gets_a_dead_lease(folder: Path) -> None:
    """Threads of one process are each alive to the others, as processes would be."""
    plant(folder, number=3, pid=2**22 + 5)
    won: list[leases.Lease] = []
    refused: list[LongbelError] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        try:
            won.append(leases.acquire(folder, "s", Files()))
        except LongbelError as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 7)
    won[0].release()


def test_who_was_taken_over_writes_no_more(folder: Path) -> None:
    lease = leases.acquire(folder, "s", Files())
    lease.check()
    plant(folder, number=2)
    with pytest.raises(LongbelError, match="taken this run over"):
        lease.check()
    lease.release()
    assert not leases.newest_lease(folder, "s")[1].released  # type: ignore[union-attr]


def test_whose_lease_is_gone_writes_no_more(folder: Path) -> None:
    """Somebody removed the run's folder; another process may have begun it anew since."""
    lease = leases.acquire(folder, "s", Files())
    lease.path.unlink()
    with pytest.raises(LongbelError, match="taken this run over"):
        lease.check()
    lease.release()
    assert not lease.path.exists()


def test_a_second_writer_is_refused_and_a_killed_one_is_succeeded(
    folder: Path, driver: Driver, second: Driver, reference: Reference
) -> None:
    out = folder / "out.jsonl"
    pid = driver.start(reference.corpus, out, "--sleep", 0.05)
    ledger = folder / "out.jsonl.run" / "ledger.jsonl"
    while not ledger.exists():
        time.sleep(0.005)
    assert second.run(reference.corpus, out) == 4
    assert f"process {pid} on " in second.said
    assert second.run(reference.corpus, out, "--shard", "2/2") == 4, "another shard count"
    assert second.run(reference.corpus, out, "--restart") == 4, "a restart"
    assert second.run(reference.corpus, out, "--beams", 3, "--overwrite") == 4, "overwriting"
    assert driver.kill() == -9
    assert second.run(reference.corpus, out) == 0, second.said
    assert reference.is_at(out)
