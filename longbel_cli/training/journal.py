"""`log.jsonl`: a line for each step and validation, cut back to where a training resumes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from kb_builder.files import write_whole
from longbel_cli.training.optimise.loop import Step


class Journal:
    """The lines of a training. Without `stream` nothing is written (another process does)."""

    def __init__(self, lines: list[dict[str, Any]], stream: IO[str] | None) -> None:
        self.validations = {line["step"]: line for line in lines if "recall@1" in line}
        self._stream = stream

    def step(self, step: Step) -> None:
        """Note a step's loss and rate."""
        self._write({"step": step.step, "loss": step.loss, "rate": step.rate})

    def validation(self, step: int, recall: float, mentions: int) -> None:
        """Note what a model was worth after so many steps."""
        line = {"step": step, "recall@1": recall, "mentions": mentions}
        self.validations[step] = line
        self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        if self._stream is not None:
            self._stream.write(json.dumps(line, allow_nan=False) + "\n")


def cut(path: Path, steps: int) -> None:
    """Keep the lines of the steps that the saved state has behind it."""
    if path.exists():
        lines = [line for line in _lines(path) if line["step"] <= steps]
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        write_whole(path, text.encode("utf-8"))


@contextmanager
def opened(path: Path, writes: bool) -> Iterator[Journal]:
    """The journal with what it holds already."""
    lines = list(_lines(path)) if path.exists() else []
    if not writes:
        yield Journal(lines, None)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # A line at a time, so that a kill leaves no fewer lines than the state has steps.
    with path.open("a", encoding="utf-8", buffering=1) as stream:
        yield Journal(lines, stream)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(text)
        except ValueError:
            return  # torn by a kill
