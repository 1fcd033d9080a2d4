"""Outputs that would be written over what is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeGuard

from kb_builder.errors import LongbelError

Identity = tuple[int, int]


def refuse_inputs(
    written: Iterable[tuple[str, Path | None]], read: Iterable[Path | str | None]
) -> None:
    """Raise LongbelError (usage) where a path that will be written is one that is read.

    `written` has paths with the flags that name them; None is no path, `-` a stream. Compared by
    real file, so that links and other spellings are seen. A folder that is written may not hold an
    input, since it is replaced as a whole; nor may a file be one of a folder that is read.
    """
    above = cache(_identities_above)
    outputs = [(flag, path, _Real.of(path, above)) for flag, path in written if _is_path(path)]
    if not outputs:
        return
    for source in filter(_is_path, read):
        real = _Real.of(source, above)
        for flag, path, output in outputs:
            if _meets(output, real):
                raise LongbelError(
                    f"{flag} {path} would be written over {source}, which is read",
                    "Name another path for the output.",
                    exit_code=2,
                )


def refuse_same(flag: str, folder: Path, read: Iterable[Path | str | None]) -> None:
    """Raise LongbelError (usage) where a folder that files are added to is itself what is read."""
    real = _Real.of(folder)
    same = [path for path in filter(_is_path, read) if _is_same(real, _Real.of(path))]
    refuse_inputs([(flag, folder)], same)


def _is_path(path: Path | str | None) -> TypeGuard[Path | str]:
    return path is not None and str(path) != "-"


@dataclass(frozen=True)
class _Real:
    """Where a path leads, links followed; `identity` of what is there, None for nothing, and those
    of the folders `above` it."""

    path: str
    identity: Identity | None
    above: frozenset[Identity]

    @classmethod
    def of(
        cls, path: Path | str, above: Callable[[str], frozenset[Identity]] | None = None
    ) -> _Real:
        real = os.path.realpath(path)
        folder = str(Path(real).parent)
        return cls(real, _identity(real), (above or _identities_above)(folder))


def _identity(path: Path | str) -> Identity | None:
    """None also where a file system numbers nothing."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def _identities_above(folder: str) -> frozenset[Identity]:
    """Of a folder and all above it."""
    folders = (Path(folder), *Path(folder).parents)
    return frozenset(filter(None, map(_identity, folders)))


def _is_same(real: _Real, other: _Real) -> bool:
    """By name or, where names differ in letter case alone or are hard links, by what is there."""
    return real.path == other.path or (
        real.identity is not None and real.identity == other.identity
    )


def _meets(output: _Real, source: _Real) -> bool:
    return (
        _is_same(output, source)
        or output.identity in source.above
        or source.path.startswith(f"{output.path}{os.sep}")  # neither of which is there
        or (source.identity in output.above and Path(output.path).is_file())
    )
