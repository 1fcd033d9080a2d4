"""Who may write a stream: one process at a time, on whatever machine, over whatever file system.

A lease is a file made by an exclusive hard link and touched every few seconds. Leases of a stream
are numbered, and only the highest counts: taking over a dead one means making the next number,
which one process alone can do. Old numbers stay, so that a name is never used twice.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from kb_builder.errors import LongbelError
from kb_builder.files import drafted
from kb_builder.files.locks import is_running, process_start, this_machine
from longbel_cli.runs.files import Files, read_json

log = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


@dataclass(frozen=True)
class Holder:
    """A process that holds a stream. `machine` tells kernels and PID namespaces apart,
    `process_start` (clock ticks since boot) a process from a later one with the same number."""

    stream: str
    host: str
    machine: str
    pid: int
    process_start: str
    since: str
    released: bool = False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, there since {self.since}"


def this_process(stream: str) -> Holder:
    """The holder that the current process is."""
    return Holder(
        stream=stream,
        host=socket.gethostname(),
        machine=this_machine(),
        pid=os.getpid(),
        process_start=process_start(os.getpid()) or "",
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )


class Lease:
    """The lease that this process holds on a stream, kept fresh until it is released."""

    def __init__(self, folder: Path, holder: Holder, attempt: int, files: Files) -> None:
        self._folder = folder
        self._holder = holder
        self._number = attempt
        self._files = files
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._keep_fresh, daemon=True, name="longbel-lease")
        self._beat.start()

    @property
    def path(self) -> Path:
        return lease_path(self._folder, self._holder.stream, self._number)

    def check(self) -> None:
        """Raise LongbelError if another process has taken the stream over."""
        following = lease_path(self._folder, self._holder.stream, self._number + 1)
        if following.exists() or not self.path.exists():
            raise LongbelError(
                "another process has taken this run over, since this one seemed dead",
                "Nothing was written after that. Let the other one continue.",
                exit_code=4,
            )

    def release(self) -> None:
        """Give the stream up; never fails, since a lease of a dead process is void anyway."""
        self._stop.set()
        self._beat.join()
        with suppress(OSError, LongbelError):
            if self.path.exists():
                content = json.dumps(asdict(replace(self._holder, released=True))).encode()
                self._files.write_file(self.path, content)

    def _keep_fresh(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            with suppress(OSError):
                os.utime(self.path)


def lease_path(folder: Path, stream: str, attempt: int) -> Path:
    return folder / f"{stream}.{attempt:06d}.json"


def acquire(
    folder: Path,
    stream: str,
    files: Files,
    stale_seconds: float = STALE_SECONDS,
) -> Lease:
    """Take a stream for this process; LongbelError (exit 4) names the living one that has it."""
    files.make_folder(folder)
    own = this_process(stream)
    while True:
        attempt, holder = newest_lease(folder, stream)
        if holder is not None and is_alive(folder, holder, attempt, stale_seconds):
            raise refusal(holder)
        content = json.dumps(asdict(own)).encode()
        if files.create_file(lease_path(folder, stream, attempt + 1), content):
            return Lease(folder, own, attempt + 1, files)


def refusal(holder: Holder) -> LongbelError:
    shard = f" (shard {holder.stream})" if "-of-" in holder.stream else ""
    return LongbelError(
        f"this run is being written by {holder}{shard}",
        "Wait for it, stop it, or choose another --out.",
        exit_code=4,
    )


def leased_streams(folder: Path) -> list[str]:
    """The streams that were ever held."""
    return sorted({path.name.split(".")[0] for path in folder.glob("[!.]*.json")})


def newest_lease(folder: Path, stream: str) -> tuple[int, Holder | None]:
    """The highest number of a stream's leases (0: none) and who made it."""
    attempts = [int(path.name.split(".")[1]) for path in folder.glob(f"{stream}.*.json")]
    attempt = max(attempts, default=0)
    content = read_json(lease_path(folder, stream, attempt)) if attempt else None
    if content is None:
        return attempt, None
    try:
        return attempt, Holder(**content)
    except TypeError:
        return attempt, None


def is_alive(
    folder: Path,
    holder: Holder,
    attempt: int,
    stale_seconds: float = STALE_SECONDS,
) -> bool:
    """Whether the holder of a lease still runs: asked of the system, or seen by its heartbeat.

    A holder on another machine is watched until its lease is touched again or is stale.
    """
    if holder.released:
        return False
    if holder.machine == this_machine():
        return is_running(holder.pid, holder.process_start)
    path = lease_path(folder, holder.stream, attempt)
    first = _touched(path)
    if first is None:
        return False
    waited_for = False
    while (now := _touched(path)) == first:
        if _clock_of(folder) - first >= stale_seconds:
            return False
        if not waited_for:
            log.info("watching whether %s is alive (at most %.0f s)", holder, stale_seconds)
            waited_for = True
        time.sleep(min(1.0, stale_seconds / 10))
    if now is None:
        return False
    content = read_json(path)
    return content is not None and not content.get("released", False)


def seems_alive(folder: Path, holder: Holder, attempt: int) -> bool:
    """As `is_alive`, at once and without touching anything: a heartbeat is compared by this
    machine's clock."""
    if holder.released:
        return False
    if holder.machine == this_machine():
        return is_running(holder.pid, holder.process_start)
    touched = _touched(lease_path(folder, holder.stream, attempt))
    return touched is not None and time.time() - touched < STALE_SECONDS


def _touched(path: Path) -> float | None:
    """When a lease was last touched. Opened first: a network file system then asks its server."""
    try:
        with path.open("rb") as stream:
            return os.fstat(stream.fileno()).st_mtime
    except OSError:
        return None


def _clock_of(folder: Path) -> float:
    """The time by the clock of the machine that keeps the files."""
    with drafted(folder / "clock") as probe:
        probe.touch()
        os.utime(probe)
        return probe.stat().st_mtime
