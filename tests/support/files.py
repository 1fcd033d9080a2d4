"""Writes the files of a test below a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def stored(files: Mapping[str, bytes], folder: Path) -> Path:
    """The files by their paths below the folder, which is made where it is not there."""
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
