"""Predictions by document, found again in a predictions file without holding it in memory.

Knows the lines of preds.jsonl, not how they were made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from longbel_cli.corpora import stored
from longbel_cli.corpora.records import UnreadableError
from longbel_cli.types import Prediction


class PredictionFile:
    """A preds.jsonl whose lines are found by document id; documents may stand in any order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # For each document the runs of lines that are its own: byte offset, first line, count.
        self._runs: dict[str, list[list[int]]] = defaultdict(list)
        self.lines = 0
        last = None
        for line, value in self._values(0, 1):
            document_id = value.get("document_id")
            if not isinstance(document_id, str):
                raise self._broken(line.number, "it has no document_id")
            if document_id == last:
                self._runs[document_id][-1][2] += 1
            else:
                self._runs[document_id].append([line.offset, line.number, 1])
            last = document_id
            self.lines += 1

    @property
    def document_ids(self) -> Iterator[str]:
        """The documents in the order of their first line."""
        return iter(self._runs)

    def of(self, document_id: str) -> Iterator[Prediction]:
        """The predictions of a document."""
        for offset, number, count in self._runs.get(document_id, ()):
            for line, value in self._values(offset, number):
                try:
                    yield Prediction.from_json(value)
                except (KeyError, TypeError, AttributeError):
                    raise self._broken(line.number, "a key is missing or malformed") from None
                count -= 1
                if not count:
                    break

    def _values(self, offset: int, number: int) -> Iterator[tuple[stored.Line, dict[str, Any]]]:
        try:
            for line in stored.lines(str(self.path), offset, number):
                if not line.data.strip():
                    continue
                text = stored.decoded(line.data, "the line", line.offset)
                value = stored.json_value(text, line.number)
                if not isinstance(value, dict):
                    raise self._broken(line.number, "it is no JSON object")
                yield line, value
        except UnreadableError as error:
            raise self._broken(error.line, error.reason) from None

    def _broken(self, line: int | None, reason: str) -> LongbelError:
        place = str(self.path) if line is None else f"{self.path}:{line}"
        return LongbelError(
            f"{place}: {reason}", "A predictions file is what `longbel link --out` writes."
        )
