"""A process that is killed, or whose disk is full, at a file operation of choice.

What Python opens, renames, makes or removes below a folder is seen by an audit hook, and each
operation of `kb_builder.files.Disk` besides. A write can be struck in its middle. The work runs in
a fork, so that nothing of it is left in the process of the tests.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kb_builder.files import Disk

NAMES = {"os.rename": 1, "os.link": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0}
NEED_SPACE = ("open", "os.rename", "os.link", "os.mkdir", "write", "sync")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
KILL, FULL = "kill", "ENOSPC"
CRASHED = 99  # an exception that no command may let out

Work = Callable[[], int]


class Strikes:
    """Counts the operations below a folder and strikes at one of them."""

    def __init__(self, folder: Path, at: int, how: str) -> None:
        self.count, self._at, self._how = 0, at, how
        self._folder = folder.resolve()

    def step(self, operation: str) -> None:
        if self._how == FULL and operation not in NEED_SPACE:
            return
        self.count += 1
        if self.count != self._at:
            return
        if self._how == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes) and flags & WRITING and self._below(path):
                self.step(event)
        elif event in NAMES and self._below(arguments[NAMES[event]]):
            self.step(event)

    def _below(self, path: str | bytes) -> bool:
        return Path(os.fsdecode(path)).absolute().is_relative_to(self._folder)

    def install(self) -> None:
        """For the rest of this process."""
        sys.addaudithook(self.audit)
        write, sync, exchange = Disk.write, Disk.sync, Disk.exchange

        def torn(disk: Disk, handle: int, data: bytes) -> None:
            self.step("write")
            write(disk, handle, data[: len(data) // 2])
            self.step("write")
            write(disk, handle, data[len(data) // 2 :])

        def synced(disk: Disk, handle: int) -> None:
            self.step("sync")
            sync(disk, handle)

        def exchanged(disk: Disk, new: Path, old: Path) -> None:
            self.step("exchange")
            exchange(disk, new, old)
            self.step("exchange")

        for name, method in (("write", torn), ("sync", synced), ("exchange", exchanged)):
            setattr(Disk, name, method)


def struck(work: Work, folder: Path, at: int = 0, how: str = KILL) -> tuple[int, int]:
    """Run some work in `folder`, in a process struck at one operation (0: at none): its exit code,
    negative for a signal, and how many operations there were (0 where it was killed)."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = CRASHED
        try:
            os.chdir(folder)
            strikes = Strikes(folder, at, how)
            strikes.install()
            code = work()
            os.write(writing, str(strikes.count).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    count = int(os.read(reading, 20) or 0)
    os.close(reading)
    return code, count
