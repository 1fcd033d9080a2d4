"""A link job: a corpus read in windows, linked, and committed to a run.

Puts the readers, something that links and a Run together; each of them knows nothing of the
others. Loads no model before the first window is linked.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from longbel_cli.corpora import Problem
from longbel_cli.linking.job_options import JobOptions
from longbel_cli.linking.prompt_file import PromptFile
from longbel_cli.linking.protocols import (
    EntityLinker,
    MakePageWriter,
    OnPrompt,
    PageWriter,
    WindowEngine,
)
from longbel_cli.linking.reading import CorpusReader
from longbel_cli.linking.statistics import Outcome, statistics, write_statistics
from longbel_cli.progress import Progress, ignore
from longbel_cli.runs.layout import Layout
from longbel_cli.runs.run import (
    Auto,
    Run,
    RunConfiguration,
    Stopped,
    StopSignals,
    open_run,
)
from longbel_cli.runs.windows import Start, Window, windows
from longbel_cli.types import Marks, Prediction

log = logging.getLogger(__name__)


Commit = Callable[[Window, list[str], dict[str, Any]], None]
"""Takes a window, its lines, and a note of how it was linked."""


class LinkJob:
    """Links a corpus into a run. The linker's engine is made only if something is left to do, and
    so is the writer of pages, which is given each window before it is committed."""

    def __init__(
        self,
        linker: EntityLinker,
        reader: CorpusReader,
        options: JobOptions,
        make_page_writer: MakePageWriter | None = None,
    ) -> None:
        self._linker, self._reader, self._options = linker, reader, options
        self._make_page_writer = make_page_writer

    def configuration(self, command: Sequence[str]) -> RunConfiguration:
        """All that can change predictions, and what else is worth keeping."""
        linker, reader = self._linker, self._reader.options
        results = {
            **linker.settings(),
            "threads": Auto(default_threads) if self._options.threads is None
            else self._options.threads,
            "format": reader.format,
            "text_column": reader.text_column,
            "id_column": reader.id_column,
            "type_map": dict(sorted(reader.type_map.items())),
            "on_error": reader.on_error,
            "unknown_group": reader.unknown_group,
            "min_score": self._options.min_score,
        }  # fmt: skip
        if self._options.nil_score is not None:
            results["nil_score"] = self._options.nil_score
        if self._options.detector is not None:
            results |= self._options.detector.settings()
        free = {
            "model_path": None if linker.model_path is None else str(linker.model_path),
            "kb_path": str(linker.knowledge_base.path),
            "corpus": [str(path) for path in reader.paths],
            "shard_count": self._options.shard.count,
        }
        if self._reader.surveyed is not None:
            free["documents"] = self._reader.surveyed.documents
            if self._options.detector is None:
                free["mentions"] = self._reader.surveyed.mentions
        documents, mentions = self._options.window_bounds(linker)
        return RunConfiguration(
            results, self._reader.files, free, documents, mentions, reader.limit, command,
            keeps_mentions=self._options.detector is not None,
        )  # fmt: skip

    def run(self, command: Sequence[str], stop: StopSignals) -> Outcome:
        """Link what is left of the corpus; raises Stopped when `stop` says so."""
        options = self._options
        configuration = self.configuration(command)
        with open_run(
            options.out,
            configuration,
            options.shard,
            options.restart,
            options.overwrite,
        ) as run:
            stop.release = run.abandon
            if run.finished is not None:
                return Outcome(True, True, quarantined=run.finished.quarantined)
            outcome = self._link(run, stop)
            finished = run.finish()
            write_statistics(outcome.stats, options.own_stats)
            if finished is not None:
                outcome.finished, outcome.quarantined = True, finished.quarantined
            return outcome

    def _link(self, run: Run, stop: StopSignals) -> Outcome:
        options = self._options
        self._linker.pin_threads(run.settings["threads"])
        budget = run.last_note.get("max_batch_tokens", run.settings.get("max_batch_tokens"))

        def make_engine(on_prompt: OnPrompt | None) -> WindowEngine:
            engine = self._linker.engine(None, budget, on_prompt)
            run.require(self._linker.as_loaded())
            return engine

        def commit(window: Window, lines: list[str], note: dict[str, Any]) -> None:
            run.commit(window, lines, note=note, mentions=options.mention_lines(window))

        return link_windows(
            options.detected(run.pending(self._reader.source())),
            make_engine,
            commit,
            options,
            pages=None if self._make_page_writer is None else self._make_page_writer(),
            go_on=bool(run.records),
            mentions=run.mentions_left,
            check=stop.check,
        )


def link_windows(
    windows: Iterable[Window],
    make_engine: Callable[[OnPrompt | None], WindowEngine],
    commit: Commit,
    options: JobOptions,
    *,
    pages: PageWriter | None,
    go_on: bool = False,
    mentions: int | None = None,
    check: Callable[[], None] = ignore,
) -> Outcome:
    """Link and commit window by window; the engine is made once there is one.

    `go_on`: the file of prompts is an earlier process's too. `mentions` is about how many there
    are to link. `check` is called at each step and may raise.
    """
    outcome, engine = Outcome(), None
    with ExitStack() as stack:
        prompts = _prompt_file(options.own_prompts, go_on, stack)
        progress = stack.enter_context(Progress("link", "mention", mentions))
        at_work = 0

        def on_step(finished: int) -> None:
            nonlocal at_work
            at_work += finished
            progress.advance(finished)
            check()

        try:
            for window in windows:
                check()
                at_work = 0
                if engine is None:
                    engine = make_engine(None if prompts is None else prompts.add)
                    started = time.perf_counter()
                predictions = engine.link_window(window.documents, on_step)
                if pages is not None:  # before the commit: what is not committed is made again
                    pages(window.documents, predictions)
                lines = [prediction_line(each, options.marks) for each in predictions]
                commit(window, lines, _note(engine))
                if prompts is not None:
                    prompts.write()
                outcome.add(window, len(engine.truncated))
        except Stopped as stopped:
            raise stopped.losing(at_work, go_on or outcome.windows > 0) from None
        if engine is not None:
            outcome.seconds = time.perf_counter() - started
            outcome.stats = statistics(engine.decoder_stats, outcome)
    return outcome


def _prompt_file(path: Path | None, go_on: bool, stack: ExitStack) -> PromptFile | None:
    return None if path is None else stack.enter_context(closing(PromptFile(path, go_on)))


def _note(engine: WindowEngine) -> dict[str, Any]:
    """What a run keeps of how its last window was linked."""
    note: dict[str, Any] = {}
    if engine.token_budget is not None:
        note["max_batch_tokens"] = engine.token_budget
    if engine.truncated:
        note["shortened"] = {name: asdict(lost) for name, lost in engine.truncated.items()}
    return note


def survey_if_new(
    reader: CorpusReader,
    outs: Sequence[Path],
    options: JobOptions,
    check: Callable[[], None],
) -> None:
    """Survey the corpus before a run begins; a run that goes on was surveyed then."""
    begun = all(Layout(out).configuration.exists() for out in outs)
    if options.restart or options.overwrite or not begun:
        survey = reader.survey(check)
        if options.detector is None:
            log.info("%d documents, %d mentions", survey.documents, survey.mentions)
        else:
            log.info("%d documents", survey.documents)


def prediction_line(prediction: Prediction, marks: Marks = Marks()) -> str:
    """A line of preds.jsonl, with its marks."""
    return json.dumps(marks.of(prediction).to_json(), ensure_ascii=False, allow_nan=False)


def default_threads() -> int:
    """As many threads as this process may use cores, or as OMP_NUM_THREADS says."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdigit() and int(named) > 0:
        return int(named)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def link_to_stream(
    linker: EntityLinker,
    reader: CorpusReader,
    options: JobOptions,
    write: Callable[[str], None],
    make_page_writer: MakePageWriter | None = None,
) -> Outcome:
    """Link without a run: lines go to `write` window by window and cannot be resumed.

    The corpus is read in full first, so that what it lacks is told before the model loads.
    """
    quarantined = 0

    def commit(window: Window, lines: list[str], note: dict[str, Any]) -> None:
        nonlocal quarantined
        for line in lines:
            write(line)
        for problem in window.problems:
            log.warning("%s", Problem(**problem).message)
        quarantined += len(window.problems)

    survey = reader.survey()
    linker.pin_threads(options.threads or default_threads())
    outcome = link_windows(
        options.detected(
            windows(reader.source(), options.bounds(linker, reader.options.limit), Start())
        ),
        lambda on_prompt: linker.engine(on_prompt=on_prompt),
        commit,
        options,
        pages=None if make_page_writer is None else make_page_writer(),
        mentions=survey.mentions if options.detector is None else None,
    )
    write_statistics(outcome.stats, options.stats)
    outcome.finished, outcome.quarantined = True, quarantined
    return outcome
