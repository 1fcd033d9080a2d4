"""Which process holds something: a lock that the kernel keeps, and whether a process still runs.

`filelock` (4.3.1, which torch brings) was read, tried, and not taken. Its FileLock asks every 50 ms
where the kernel wakes a waiter, goes on holding the file of a folder that its last holder moved
away (as `--restart` does) or fails because it is gone, and of the errors that say a file system has
no locks knows one, ENOSYS. Its SoftFileLease is taken from a process of the same machine that is
merely stopped, and who lost one learns it late; runs/lease.py asks the kernel, and who writes next
makes a number that the one before looks for at each commit.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kb_builder.files.permissions import share_like_folder

log = logging.getLogger(__name__)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which is made with its folder where there is none."""
    handle = lock(path)
    try:
        yield
    finally:
        os.close(handle)


def lock(path: Path) -> int:
    """A descriptor that holds the lock file `path` until it is closed; waits for it.

    The kernel frees the lock of a dead process. On file systems without locks it is held at once.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = _opened(path)
        except FileNotFoundError:  # the folder was moved away since
            continue
        try:
            _wait_for(handle, path)
            # Whoever held it may have moved the folder away: then it locks nothing any more.
            if _is_at(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _opened(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return _opened_again(path)  # or it is gone since: FileNotFoundError
    except PermissionError:
        if not path.exists():
            raise
        return _opened_again(path)
    share_like_folder(handle, path.parent)
    return handle


def _opened_again(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR)
    except PermissionError:  # another user's: a lock is held without writing
        return os.open(path, os.O_RDONLY)


def _wait_for(handle: int, path: Path) -> None:
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)
    except (ImportError, OSError):
        log.debug("no file lock on %s", path)


def _is_at(handle: int, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def this_machine() -> str:
    """The kernel's boot id and the PID namespace, where there are such; else the host name."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def process_start(pid: int) -> str | None:
    """When a process of this machine started, in clock ticks; None if it is gone or a zombie.

    An empty string where the system does not tell: there is no /proc, or it hides other users.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "" if _answers(pid) else None
    return None if after_name[0] in "ZX" else after_name[19]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def is_running(pid: int, start: str) -> bool:
    """Whether the process of this machine that started then still runs; in doubt it does."""
    now = process_start(pid)
    return now is not None and (now == start or not now or not start)
