"""A detect job: documents read in windows, their mentions detected, and committed to a run.

As a link job is built; knows no linker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError, check_choice
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.corpora import Corpus, OnProblem, Problem, fail, log_remark
from longbel_cli.corpora.formats import check_format
from longbel_cli.corpora.records import ON_ERROR
from longbel_cli.detecting.detector import Detector, mention_line, with_detected
from longbel_cli.progress import Progress, ignore
from longbel_cli.runs.corpus_source import corpus_source, input_files
from longbel_cli.runs.run import (
    Auto,
    Bounds,
    RunConfiguration,
    Shard,
    Stopped,
    StopSignals,
    open_run,
)
from longbel_cli.runs.windows import Source, Start, Window, windows
from longbel_cli.types import Document

log = logging.getLogger(__name__)

_WINDOW_DOCUMENTS = 64
NO_BOUND = 1 << 62  # of mentions: how many there are is known when they are detected


@dataclass(frozen=True)
class DetectOptions:
    """Everything about a job but how to detect. `keep`: the corpus's own mentions stay."""

    paths: tuple[Path, ...]
    out: Path
    format: str = "auto"
    text_column: str | None = None
    id_column: str | None = None
    on_error: str = "quarantine"
    keep: bool = False
    limit: int | None = None
    window_documents: int | None = None
    shard: Shard = field(default_factory=Shard)
    restart: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_format(self.format)
        check_choice("--on-error", self.on_error, ON_ERROR)
        for flag, value in (("--limit", self.limit), ("--window", self.window_documents)):
            if value is not None and value < 1:
                raise LongbelError(f"{flag} {value}: must be at least 1", exit_code=2)


@dataclass
class Detected:
    """How a job ended: as of a link job."""

    already: bool = False
    finished: bool = False
    documents: int = 0
    mentions: int = 0
    quarantined: int = 0

    def log(self, out: Path) -> None:
        """Log how the job that writes `out` ended."""
        if self.already:
            log.info("%s: already finished, nothing to do", out)
        elif not self.finished:
            log.info("this shard is done; `longbel merge %s` joins them when all are", out)
        else:
            log.info("%d mentions in %d documents", self.mentions, self.documents)
        if self.quarantined:
            listed = "" if str(out) == "-" else f", listed in {out}.run/errors.jsonl"
            log.info("%d documents or mentions quarantined%s", self.quarantined, listed)


class DetectJob:
    """Detects the mentions of a corpus into a run."""

    def __init__(self, detector: Detector, base: KnowledgeBase, options: DetectOptions) -> None:
        self._detector, self._base, self._options = detector, base, options
        columns = options.text_column, options.id_column
        self._corpus = Corpus(options.paths, options.format, log_remark, columns=columns)

    @property
    def files(self) -> list[Path]:
        """Every file of the corpus."""
        return input_files(self._corpus)

    def configuration(self, command: Sequence[str]) -> RunConfiguration:
        """All that can change detections, and what else is worth keeping."""
        options = self._options
        results = {
            **self._detector.settings(),
            "kb": self._base.signature,
            "format": options.format,
            "text_column": options.text_column,
            "id_column": options.id_column,
            "on_error": options.on_error,
            "keep": options.keep,
        }
        free = {
            "kb_path": str(self._base.path),
            "corpus": [str(path) for path in options.paths],
            "shard_count": options.shard.count,
        }
        documents = options.window_documents or Auto(lambda: _WINDOW_DOCUMENTS)
        return RunConfiguration(
            results, self.files, free, documents, NO_BOUND, options.limit, command
        )

    @property
    def _window_documents(self) -> int:
        return self._options.window_documents or _WINDOW_DOCUMENTS

    def run(self, command: Sequence[str], stop: StopSignals) -> Detected:
        """Detect what is left of the corpus; raises Stopped when `stop` says so."""
        options, outcome = self._options, Detected()
        configuration = self.configuration(command)
        with open_run(
            options.out, configuration, options.shard, options.restart, options.overwrite
        ) as run:
            stop.release = run.abandon
            if run.finished is not None:
                return Detected(True, True, quarantined=run.finished.quarantined)
            resumed = bool(run.records)
            try:
                for window, documents in self._detected(run.pending(self._source()), stop.check):
                    run.commit(
                        replace(window, documents=documents), list(map(mention_line, documents))
                    )
                    _add(outcome, documents)
            except Stopped as stopped:
                raise stopped.losing(0, resumed or outcome.documents > 0) from None
            finished = run.finish()
            if finished is not None:
                outcome.finished, outcome.quarantined = True, finished.quarantined
            return outcome

    def to_stream(self, write: Callable[[str], None]) -> Detected:
        """Detect without a run: lines go to `write` window by window and cannot be resumed."""
        outcome = Detected(finished=True)
        bounds = Bounds(self._window_documents, NO_BOUND, self._options.limit)
        for window, documents in self._detected(windows(self._source(), bounds, Start()), ignore):
            for document in documents:
                write(mention_line(document))
            _log_problems(window.problems)
            outcome.quarantined += len(window.problems)
            _add(outcome, documents)
        return outcome

    def _detected(
        self, pending: Iterable[Window], check: Callable[[], None]
    ) -> Iterator[tuple[Window, tuple[Document, ...]]]:
        """Each window with its documents and the mentions detected in them."""
        with Progress("detect", "document", None) as progress:
            for window in pending:
                documents = []
                for document in window.documents:
                    check()
                    documents.append(with_detected(document, self._detector, self._options.keep))
                    progress.advance(1)
                yield window, tuple(documents)

    def _source(self) -> Source:
        also = fail if self._options.on_error == "fail" else ignore
        prepare = _as_read if self._options.keep else without_mentions
        return corpus_source(self._corpus, prepare, also)


def _as_read(document: Document, on_problem: OnProblem) -> Document:
    return document


def without_mentions(document: Document, on_problem: OnProblem = ignore) -> Document:
    """The document as text alone."""
    return replace(document, mentions=())


def _add(outcome: Detected, documents: Sequence[Document]) -> None:
    outcome.documents += len(documents)
    outcome.mentions += sum(len(document.mentions) for document in documents)


def _log_problems(problems: Sequence[Mapping[str, Any]]) -> None:
    for problem in problems:
        log.warning("%s", Problem(**problem).message)
