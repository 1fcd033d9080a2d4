"""When to stop: signals, a time limit, the end of a Slurm job.

Whoever links asks between steps. Should it not ask in time (a very long step), the process leaves
all the same: whatever is committed is safe at any instant.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from kb_builder.errors import LongbelError
from longbel_cli.progress import ignore

GRACE_SECONDS = 15.0
WALL_MARGIN_SECONDS = 60.0

STOPPED, INTERRUPTED = 75, 130
_CAUGHT = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Stopped(LongbelError):  # noqa: N818 - not an error
    """The run was asked to stop; all it committed is kept, and the same command resumes."""

    def __init__(self, reason: str, exit_code: int) -> None:
        hint = "The same command resumes where it stopped."
        super().__init__(f"stopped: {reason}", hint, exit_code)

    def losing(self, mentions: int, committed: bool) -> Stopped:
        """The same, told what of the window at work is lost: so many mentions that were linked, all
        there is where nothing was `committed` before."""
        if mentions:
            noun = "mention" if mentions == 1 else "mentions"
            self.message += f"; {mentions} {noun} of the window at work were linked and are lost"
        if not committed:
            self.hint = (
                "No window was committed: the same command begins anew. A smaller --window, with "
                "--restart, commits sooner."
            )
        return self


class StopSignals:
    """Catches SIGTERM, SIGUSR1 and SIGINT and watches the clock while its block runs.

    `time_limit` is in seconds from now. Under Slurm the job's end counts too, where Slurm tells
    it. Both are kept with `margin` seconds to spare (at most a tenth of the limit). `release` is
    called before a forced exit.
    """

    def __init__(
        self,
        time_limit: float | None = None,
        margin: float = WALL_MARGIN_SECONDS,
        grace: float = GRACE_SECONDS,
        environment: Mapping[str, str] = os.environ,
        release: Callable[[], None] = ignore,
    ) -> None:
        self.release = release
        self._grace = grace
        self._deadline, self._deadline_reason = _deadline(time_limit, margin, environment)
        self._signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._wakeup: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._install()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._wakeup is None:
            return
        signal.set_wakeup_fd(self._previous_wakeup)
        for caught, handler in self._previous.items():
            signal.signal(caught, handler)
        ours, theirs = self._wakeup
        self._wakeup = None
        theirs.close()  # the watcher reads the end of file and leaves
        self._watcher.join()
        ours.close()

    @property
    def requested(self) -> bool:
        """Whether it is time to stop."""
        return self._signal is not None or time.monotonic() >= self._deadline

    def check(self) -> None:
        """Raise `Stopped` if it is time to stop; cheap enough for every decoding step."""
        if self._signal is not None:
            raise Stopped(f"{self._signal.name} received", _exit_code(self._signal))
        if time.monotonic() >= self._deadline:
            raise Stopped(self._deadline_reason, STOPPED)

    def _install(self) -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self._wakeup = ours, theirs
        # The C handler writes the signal's number here at once, even while Python is inside a
        # long call of a library, where its own handlers cannot run.
        self._previous_wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for caught in _CAUGHT:
            self._previous[caught] = signal.signal(caught, self._caught)
        self._watcher = threading.Thread(target=self._watch, args=(ours,), daemon=True)
        self._watcher.start()

    def _caught(self, caught: int, frame: FrameType | None) -> None:
        if caught == signal.SIGINT and self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = signal.Signals(caught)

    def _watch(self, ours: socket.socket) -> None:
        """Leave by force `grace` seconds after the first signal, unless the block ends before."""
        while received := ours.recv(64):
            caught = [byte for byte in received if byte in _CAUGHT]
            if caught:
                break
        else:
            return
        end = time.monotonic() + self._grace
        while (left := end - time.monotonic()) > 0:
            ours.settimeout(left)
            try:
                if not ours.recv(64):
                    return
            except TimeoutError:
                break
            except OSError:
                return
        self.release()
        print("longbel: stopped in the middle of a long step", file=sys.stderr, flush=True)
        os._exit(_exit_code(signal.Signals(caught[0])))


def _exit_code(caught: signal.Signals) -> int:
    return INTERRUPTED if caught == signal.SIGINT else STOPPED


def _deadline(
    time_limit: float | None, margin: float, environment: Mapping[str, str]
) -> tuple[float, str]:
    """The moment to stop at, on a clock that nobody sets, and why."""
    deadlines = [(float("inf"), "")]
    now = time.monotonic()
    if time_limit is not None:
        spare = min(margin, time_limit / 10)
        deadlines.append((now + time_limit - spare, "the time limit is near"))
    end = environment.get("SLURM_JOB_END_TIME", "")
    if end.isdigit():
        left = int(end) - time.time()
        spare = min(margin, max(0.0, left) / 10)
        deadlines.append((now + left - spare, "the end of the Slurm job is near"))
    return min(deadlines)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Seconds of `90`, `45s`, `30m`, `20h`, `1.5d`, `MM:SS`, `HH:MM:SS`, or `D-HH:MM:SS`."""
    text = text.strip().lower()
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text):
        seconds = float(match[1]) * _UNITS[match[2] or "s"]
    elif match := re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text):
        days, hours, minutes, rest = (int(group or 0) for group in match.groups())
        seconds = ((days * 24 + hours) * 60 + minutes) * 60.0 + rest
    else:
        seconds = 0.0
    if seconds <= 0:
        raise LongbelError(
            f"--time-limit {text!r} is not a duration",
            "Give seconds, or a number with s, m, h or d, or D-HH:MM:SS as Slurm writes it.",
            exit_code=2,
        )
    return seconds
