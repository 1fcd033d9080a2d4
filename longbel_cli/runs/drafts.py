"""Files that appear whole: written under a private name beside their own, then renamed.

The private name is nobody else's: `X.part` is where an unfinished run of `X` keeps its data.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from longbel_cli.runs.files import unique_name


def draft_name(path: Path) -> Path:
    """A name beside `path` that no other process uses."""
    return path.with_name(f".{path.name}.{unique_name()}.tmp")


def sweep_drafts(path: Path) -> None:
    """Remove the folders that stopped processes left under such names; for whoever alone may write
    `path`."""
    for folder in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Where to write what `path` is to be: renamed to it in the end, removed if that fails."""
    draft = draft_name(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
