"""Folders that are computed from a knowledge base once and kept: in its own folder, or in the
user's cache where that cannot be written. One process computes while others wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from kb_builder.errors import LongbelError
from kb_builder.files import share_like, whole_folder
from kb_builder.files.locks import locked
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.store.tries import cache_folder, is_writable

log = logging.getLogger(__name__)

Kept = TypeVar("Kept")


def kept(
    base: KnowledgeBase,
    kind: str,
    name: str,
    compute: Callable[[], Kept],
    save: Callable[[Kept, Path], None],
    load: Callable[[Path], Kept],
) -> Kept:
    """What `kind/name` holds, computed and saved there first where it is not yet.

    `name` must say all that decides the content, the knowledge base's signature too. `kind` is the
    folder's name and, in messages, the thing's. Nothing is kept where no folder can be written.
    LongbelError where what is kept cannot be read.
    """
    present = next((each / name for each in _folders(base, kind) if (each / name).is_dir()), None)
    if present is not None:
        return _loaded(present, load)
    folder = next((each for each in _folders(base, kind) if is_writable(each)), None)
    if folder is None:
        log.warning("no folder can be written to keep the %s index in: it is built anew", kind)
        return compute()
    with locked(folder / f".{name}.lock"):
        if not (folder / name).is_dir():  # another process may have computed it
            _save(compute(), folder / name, base, save)
            log.info("kept the %s index in %s", kind, folder / name)
    return _loaded(folder / name, load)


def _folders(base: KnowledgeBase, kind: str) -> Iterator[Path]:
    if base.is_in_place():
        yield base.path / kind
    yield cache_folder() / kind


def _save(value: Kept, path: Path, base: KnowledgeBase, save: Callable[[Kept, Path], None]) -> None:
    """As a whole, for those who may read the knowledge base where it lies in that."""
    with whole_folder(path) as draft:
        save(value, draft)
        if base.path in path.parents:
            for file in draft.iterdir():
                share_like(file, base.path / "kb.json")
            share_like(draft, base.path)
            share_like(path.parent, base.path)


def _loaded(folder: Path, load: Callable[[Path], Kept]) -> Kept:
    try:
        return load(folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise LongbelError(
            f"{folder}: damaged ({type(error).__name__})",
            "Delete the folder; the index is built again when it is needed.",
        ) from error
