"""Outputs that would be written over what is read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from kb_builder.errors import LongbelError


def refuse_inputs(
    written: Iterable[tuple[str, Path | None]], read: Iterable[Path | str | None]
) -> None:
    """Raise LongbelError (usage) where a path that will be written is one that is read.

    `written` has paths with the flags that name them; None is no path, `-` a stream. Compared by
    real file, so that links and other spellings are seen. A folder that is written may not hold an
    input, since it is replaced as a whole; nor may a file be one of a folder that is read.
    """
    inputs = [Path(path) for path in read if path is not None and str(path) != "-"]
    for flag, path in written:
        if path is None or str(path) == "-":
            continue
        for source in inputs:
            if _meets(path, source):
                raise LongbelError(
                    f"{flag} {path} would be written over {source}, which is read",
                    "Name another path for the output.",
                    exit_code=2,
                )


def refuse_same(flag: str, folder: Path, read: Iterable[Path | str | None]) -> None:
    """Raise LongbelError (usage) where a folder that files are added to is itself what is read."""
    refuse_inputs(
        [(flag, folder)],
        (path for path in read if path is not None and _is_same(folder, Path(path))),
    )


def _is_same(path: Path, other: Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(other) or (
        path.exists() and other.exists() and path.samefile(other)
    )


def _meets(output: Path, source: Path) -> bool:
    real, other = (Path(os.path.realpath(path)) for path in (output, source))
    with suppress(OSError):  # two names of one file, by a hard link too
        if real.samefile(other):
            return True
    return other.is_relative_to(real) or (real.is_file() and real.is_relative_to(other))
