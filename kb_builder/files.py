"""A directory that appears under its name only when it is complete."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from kb_builder.errors import LongbelError

_ABANDONED_SECONDS = 24 * 3600
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class Draft:
    """A temporary directory beside `final`, renamed to it at the end.

    Refuses a `final` that exists, unless `overwrite` and it is a knowledge base (or empty).
    """

    def __init__(self, final: Path, overwrite: bool) -> None:
        self.final = final.resolve()  # `.` has no name to put a draft beside
        # A process number may be another machine's as well, on a file system that both share.
        self.draft = self.final.parent / f".{self.final.name}.{secrets.token_hex(8)}.partial"
        self.overwrite = overwrite
        self._refuse_or_go_on()

    def _refuse_or_go_on(self) -> None:
        if not self.final.exists() and not self.final.is_symlink():
            return
        empty = self.final.is_dir() and not any(self.final.iterdir())
        if empty:
            return
        if not (self.final / "kb.json").is_file():
            raise LongbelError(
                f"{self.final}: exists and is no knowledge base",
                hint="Choose another name for --out.",
                exit_code=4,
            )
        if not self.overwrite:
            raise LongbelError(
                f"{self.final}: a knowledge base is there already",
                hint="--overwrite replaces it.",
                exit_code=4,
            )

    @contextmanager
    def open(self) -> Iterator[Path]:
        """The directory to write into; published when the block ends well, else deleted.

        All of it is one generator, so that an interruption at any point still tidies up.
        """
        try:
            self.final.parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self.draft.mkdir()
            yield self.draft
            self._publish()
        except OSError as error:
            raise self._failed(error) from error
        finally:
            shutil.rmtree(self.draft, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete what builds that were killed left here, once no build can be at it any more."""
        for left in self.final.parent.glob(f".{escape(self.final.name)}.*.partial"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)

    def _publish(self) -> None:
        self._refuse_or_go_on()  # the name may have been taken meanwhile
        put_in_place(self.draft, self.final)  # the old one is deleted as the draft

    def _failed(self, error: OSError) -> LongbelError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space" in str(error)
        return LongbelError(
            f"{self.final}: cannot be written ({error.strerror or error})",
            hint="The disk is full: free some space; nothing was left behind."
            if full
            else "Nothing was left behind.",
        )


def put_in_place(new: Path, final: Path) -> None:
    """Give the directory `new` the name `final`; what had it is at `new` afterwards."""
    for path in new.rglob("*"):
        if path.is_file():
            _flush(path)
    if final.exists():
        _exchange(new, final)
    else:
        new.rename(final)
    _flush(final.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(new: Path, old: Path) -> None:
    """Swap two directories: in one step where the system can, else in two."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if hasattr(libc, "renameat2"):
            paths = os.fsencode(new), os.fsencode(old)
            done = libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
            if done == 0:
                return
    aside = old.with_name(f".{old.name}.{secrets.token_hex(8)}.old")
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)
