"""The file of `link --prompts`, which grows beside a run that may be stopped at any moment."""

from __future__ import annotations

from mmap import ACCESS_READ, mmap
from pathlib import Path

import jsonlines

from longbel_cli.prompting.formats import Prompt
from longbel_cli.types import Document, Mention


class PromptFile:
    """The file of `--prompts`: a JSON line a mention, with its prompt as rendered.

    A window's lines are written when it is committed. However often a run is stopped and gone on
    with, no line is there twice or in half; a process that is killed between the commit and the
    file leaves out lines of that window.
    """

    def __init__(self, path: Path, go_on: bool) -> None:
        if go_on:
            cut_half_line(path)
        self._file = path.open("a" if go_on else "w", encoding="utf-8", newline="\n")
        self._writer = jsonlines.Writer(self._file)
        self._rows: list[dict[str, str]] = []

    def add(self, document: Document, mention: Mention, prompt: Prompt) -> None:
        """Keep a prompt until its window is committed."""
        row = {"document_id": document.id, "mention_id": mention.id, "prompt": prompt.text}
        self._rows.append(row)

    def write(self) -> None:
        """Write what was kept."""
        self._writer.write_all(self._rows)
        self._file.flush()
        self._rows.clear()

    def close(self) -> None:
        self._file.close()


def cut_half_line(path: Path) -> None:
    """Drop what follows the last line end of a file, if there is such a file."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("r+b") as file:
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            end = content.rfind(b"\n") + 1
        file.truncate(end)
