"""Predictions by document, found again in a predictions file without holding it in memory.

Knows the lines of preds.jsonl, not how they were made.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from kb_builder.codes import parts_of
from kb_builder.errors import LongbelError
from longbel_cli.corpora import stored
from longbel_cli.corpora.predictions import prediction_of_line, unreadable
from longbel_cli.corpora.records import STDIN, UnreadableError
from longbel_cli.types import Prediction


class PredictionIndex:
    """A preds.jsonl whose lines are found by document id; documents may stand in any order.

    Each line is read as scoring reads it; LongbelError names the first that cannot be. A stream is
    refused (exit code 2).
    """

    def __init__(self, path: Path) -> None:
        if _is_stream(path):
            raise LongbelError(
                f"{path}: predictions are read twice, a stream only once",
                "Write them to a file first.",
                exit_code=2,
            )
        self.path = path
        # For each document the runs of lines that are its own: byte offset, first line, count.
        self._runs: dict[str, list[list[int]]] = defaultdict(list)
        self.lines = 0
        last = None
        for line, prediction in self._predictions(0, 1):
            document_id = prediction.document_id
            if document_id == last:
                self._runs[document_id][-1][2] += 1
            else:
                self._runs[document_id].append([line.offset, line.line_number, 1])
            last = document_id
            self.lines += 1

    @property
    def document_ids(self) -> Iterator[str]:
        """The documents in the order of their first line."""
        return iter(self._runs)

    def of(self, document_id: str) -> Iterator[Prediction]:
        """The predictions of a document."""
        for offset, line_number, count in self._runs.get(document_id, ()):
            for _, prediction in islice(self._predictions(offset, line_number), count):
                yield prediction

    def answered_codes(self) -> set[str]:
        """The codes of all answers, of composite ones each part."""
        return {
            code
            for _, prediction in self._predictions(0, 1)
            if prediction.answer is not None
            for code in parts_of(prediction.answer.concept_code)
        }

    def _predictions(
        self, offset: int, line_number: int
    ) -> Iterator[tuple[stored.Line, Prediction]]:
        try:
            for line in stored.lines(str(self.path), offset, line_number):
                if line.data.strip():
                    location = f"{self.path}:{line.line_number}"
                    yield line, prediction_of_line(line.data, location)
        except UnreadableError as error:
            raise unreadable(self.path, error) from error


def _is_stream(path: Path) -> bool:
    """Whether a second read would find less than the first."""
    if str(path) == os.devnull:
        return False  # empty both times
    return str(path) == STDIN or (path.exists() and not (path.is_file() or path.is_dir()))
