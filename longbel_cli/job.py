"""A link job: a corpus read in windows, linked, and committed to a run.

Puts the readers, something that links and a Run together; each of them knows nothing of the
others. Loads no model before the first window is linked.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from longbel_cli.corpora import Corpus, Problem, fail, ignore
from longbel_cli.corpora.resolve import TypeResolver, resolve_types
from longbel_cli.linking import EntityLinker, OnPrompt, PageWriter
from longbel_cli.progress import Progress
from longbel_cli.prompts import Prompt
from longbel_cli.run import Auto, Bounds, Run, RunConfiguration, Shard, StopSignals, open_run
from longbel_cli.runs.corpus_source import corpus_source, input_files
from longbel_cli.runs.layout import Layout
from longbel_cli.runs.windows import Source
from longbel_cli.types import Document, Mention, Prediction

ON_ERROR = ("fail", "quarantine")
UNKNOWN_GROUP = ("error", "skip", "all")


def _at_least_one(flag: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise LongbelError(f"{flag} {value}: must be at least 1", exit_code=2)


@dataclass(frozen=True)
class CorpusOptions:
    """How to read a corpus; what cannot be read is quarantined, or ends the run (`fail`)."""

    paths: tuple[Path, ...]
    format: str = "auto"
    type_map: Mapping[str, str] = field(default_factory=dict)
    on_error: str = "quarantine"
    unknown_group: str = "error"
    limit: int | None = None

    def __post_init__(self) -> None:
        _at_least_one("--limit", self.limit)


@dataclass
class Survey:
    """What a first read of the corpus found."""

    documents: int = 0
    mentions: int = 0
    by_group: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class CorpusReader:
    """A corpus whose mentions carry the knowledge base's groups, read from the start or a place."""

    def __init__(
        self,
        options: CorpusOptions,
        groups: Sequence[str],
        on_warning: Callable[[Problem], None] = ignore,
    ) -> None:
        self.options = options
        self.surveyed: Survey | None = None
        self._on_warning = on_warning
        self._resolver = TypeResolver(groups, options.type_map)
        self._corpus = Corpus(options.paths, options.format, on_warning)

    def survey(self) -> Survey:
        """Read everything once; LongbelError lists every type without a group, with its count."""
        survey = Survey()
        types: dict[str, int] = {}
        on_problem = fail if self.options.on_error == "fail" else survey.problems.append
        for _, document in self._corpus.read(on_problem, on_warning=self._on_warning):
            survey.documents += 1
            survey.mentions += len(document.mentions)
            for mention in document.mentions:
                types[mention.entity_type] = types.get(mention.entity_type, 0) + 1
            if survey.documents == self.options.limit:
                break
        if self.options.unknown_group == "error":
            self._resolver.require(types)
        for name, count in types.items():
            group = self._resolver.group(name) or name
            survey.by_group[group] = survey.by_group.get(group, 0) + count
        self.surveyed = survey
        return survey

    def documents(self) -> Iterator[Document]:
        """All documents that can be read, mentions resolved; what is left out is not told."""
        for _, document in islice(self._corpus.read(ignore), self.options.limit):
            yield self._resolved(document, ignore)

    @property
    def files(self) -> list[Path]:
        """Every file of the corpus."""
        return input_files(self._corpus)

    def source(self) -> Source:
        """As a run reads it."""
        also = fail if self.options.on_error == "fail" else ignore
        return corpus_source(self._corpus, self._resolved, also)

    def _resolved(self, document: Document, tell: Callable[[Problem], None]) -> Document:
        return next(resolve_types([document], self._resolver, self.options.unknown_group, tell))


@dataclass(frozen=True)
class JobOptions:
    """Everything about a job but how to link and what to read."""

    out: Path
    shard: Shard = field(default_factory=Shard)
    window_documents: int = 64
    window_mentions: int = 1000
    restart: bool = False
    overwrite: bool = False
    min_score: float | None = None
    prompts: Path | None = None
    stats: Path | None = None
    saliency: Path | None = None
    threads: int | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        _at_least_one("--window", self.window_documents)
        _at_least_one("--window-mentions", self.window_mentions)
        _at_least_one("--threads", self.threads)

    def in_format(self, name: str) -> JobOptions:
        """The options of one format's run of an ensemble, whose files are its own.

        `min_score` is left to the fusion, since it is about the scores that are fused.
        """
        return replace(
            self,
            out=self.out.with_suffix(f".{name}.jsonl"),
            min_score=None,
            prompts=_labelled(self.prompts, name),
            stats=_labelled(self.stats, name),
            saliency=None if self.saliency is None else self.saliency / name,
        )

    @property
    def own_prompts(self) -> Path | None:
        """The file of prompts of this shard; shards write side by side."""
        return self._of_shard(self.prompts)

    @property
    def own_stats(self) -> Path | None:
        """The file of statistics of this shard."""
        return self._of_shard(self.stats)

    def _of_shard(self, path: Path | None) -> Path | None:
        return path if self.shard.count == 1 else _labelled(path, self.shard.name)


def _labelled(path: Path | None, label: str) -> Path | None:
    """`prompts.jsonl` as `prompts.LABEL.jsonl`."""
    return None if path is None else path.with_suffix(f".{label}{path.suffix}")


@dataclass
class Outcome:
    """How a job ended: `finished` is None while other shards' windows are missing."""

    already: bool = False
    finished: bool = False
    windows: int = 0
    mentions: int = 0
    quarantined: int = 0
    shortened: int = 0
    seconds: float = 0.0
    stats: dict[str, Any] | None = None


class LinkJob:
    """Links a corpus into a run. The linker's engine is made only if something is left to do."""

    def __init__(self, linker: EntityLinker, reader: CorpusReader, options: JobOptions) -> None:
        self._linker, self._reader, self._options = linker, reader, options

    def configuration(self, command: Sequence[str]) -> RunConfiguration:
        """All that can change predictions, and what else is worth keeping."""
        linker, reader = self._linker, self._reader.options
        results = {
            **linker.settings(),
            "threads": Auto(default_threads) if self._options.threads is None
            else self._options.threads,
            "format": reader.format,
            "type_map": dict(sorted(reader.type_map.items())),
            "on_error": reader.on_error,
            "unknown_group": reader.unknown_group,
            "min_score": self._options.min_score,
        }  # fmt: skip
        free = {
            "model_path": None if linker.model_path is None else str(linker.model_path),
            "kb_path": str(linker.knowledge_base.path),
            "corpus": [str(path) for path in reader.paths],
            "shard_count": self._options.shard.count,
        }
        if self._reader.surveyed is not None:
            free["documents"] = self._reader.surveyed.documents
            free["mentions"] = self._reader.surveyed.mentions
        bounds = Bounds(self._options.window_documents, self._options.window_mentions, reader.limit)
        return RunConfiguration(results, self._reader.files, free, bounds, command)

    def run(
        self, command: Sequence[str], stop: StopSignals, notify: Callable[[str], None]
    ) -> Outcome:
        """Link what is left of the corpus; raises Stopped when `stop` says so."""
        options = self._options
        configuration = self.configuration(command)
        with open_run(
            options.out,
            configuration,
            options.shard,
            options.restart,
            options.overwrite,
            notify=notify,
        ) as run:
            stop.release = run.abandon
            if run.finished is not None:
                return Outcome(already=True, finished=True)
            outcome = self._link(run, stop)
            finished = run.finish()
            if finished is not None:
                outcome.finished, outcome.quarantined = True, finished.quarantined
            return outcome

    def _link(self, run: Run, stop: StopSignals) -> Outcome:
        outcome, options = Outcome(), self._options
        with ExitStack() as stack:
            on_prompt = self._prompt_writer(stack, fresh=not run.records)
            pages = saliency_writer(self._linker, options.saliency)
            progress = stack.enter_context(Progress("link", "mention", self._options.quiet))
            self._linker.pin_threads(run.settings["threads"])
            engine = None
            kept = run.settings.get("max_batch_tokens")
            budget: int | None = run.last_note.get("max_batch_tokens", kept)

            def on_step(finished: int) -> None:
                progress.advance(finished)
                stop.check()

            for window in run.pending(self._reader.source()):
                stop.check()
                if engine is None:
                    engine = self._linker.engine(None, budget, on_prompt)
                    run.require(self._linker.found())
                    started = time.perf_counter()
                predictions = engine.link_window(window.documents, on_step, budget)
                budget = engine.token_budget
                lines = [self._line(prediction) for prediction in predictions]
                note: dict[str, Any] = {} if budget is None else {"max_batch_tokens": budget}
                if engine.shortened:
                    note["shortened"] = {
                        name: asdict(shortening) for name, shortening in engine.shortened.items()
                    }
                if pages is not None:  # before the commit: what is not committed is made again
                    pages(window.documents, predictions)
                run.commit(window, lines, note=note)
                outcome.windows += 1
                outcome.mentions += window.mentions
                outcome.shortened += len(engine.shortened)
            if engine is not None:
                outcome.seconds = time.perf_counter() - started
                outcome.stats = statistics(engine.decoder_stats, outcome)
                write_statistics(outcome.stats, self._options.own_stats)
        return outcome

    def _line(self, prediction: Prediction) -> str:
        return prediction_line(prediction, self._options.min_score)

    def _prompt_writer(self, stack: ExitStack, fresh: bool) -> OnPrompt | None:
        path = self._options.own_prompts
        return None if path is None else prompt_writer(path, stack, fresh)


def survey_if_new(
    reader: CorpusReader, outs: Sequence[Path], options: JobOptions, tell: Callable[[str], None]
) -> None:
    """Survey the corpus before a run begins; a run that goes on was surveyed then."""
    if options.restart or not all(Layout(out).configuration.exists() for out in outs):
        survey = reader.survey()
        tell(f"{survey.documents} documents, {survey.mentions} mentions")


def prediction_line(prediction: Prediction, min_score: float | None) -> str:
    """A line of preds.jsonl; with `min_score`, `review` says whether a person should look."""
    if min_score is not None:
        from longbel_cli.calibration import mark_review

        prediction = mark_review(prediction, min_score)
    return json.dumps(prediction.to_json(), ensure_ascii=False)


def prompt_writer(path: Path, stack: ExitStack, fresh: bool = True) -> OnPrompt:
    """A function that writes each prompt, as rendered, to a JSONL file."""
    stream: AbstractContextManager[Any] = path.open("w" if fresh else "a", encoding="utf-8")
    file = stack.enter_context(stream)

    def write(document: Document, mention: Mention, prompt: Prompt) -> None:
        row = {"document_id": document.id, "mention_id": mention.id, "prompt": prompt.text}
        file.write(json.dumps(row, ensure_ascii=False) + "\n")

    return write


def saliency_writer(linker: EntityLinker, folder: Path | None) -> PageWriter | None:
    """A function that writes the saliency pages of a window, where they were asked for."""
    return None if folder is None else linker.page_writer(folder)


def statistics(stats: Any, outcome: Outcome) -> dict[str, Any]:
    """The object of `--stats`; model loading is left out."""
    tokens = stats.prefill_tokens + stats.tree_tokens
    model, trie = stats.seconds_model, stats.seconds_trie
    return {
        "mentions": outcome.mentions,
        "seconds_total": round(outcome.seconds, 3),
        "mentions_per_second": round(outcome.mentions / max(outcome.seconds, 1e-9), 3),
        "prefill_tokens": stats.prefill_tokens,
        "reused_tokens": stats.reused_tokens,
        "tree_tokens": stats.tree_tokens,
        "forwards": stats.forwards,
        "decode_forwards_per_mention": round(stats.decode_forwards / max(stats.mentions, 1), 3),
        "forced_token_share": round(stats.forced_tokens / max(stats.tree_tokens, 1), 4),
        "padding_share": round(stats.padding_tokens / max(tokens, 1), 4),
        "peak_memory_bytes": peak_memory(),
        "shortened_documents": outcome.shortened,
        "seconds": {
            "model": round(model, 3),
            "trie": round(trie, 3),
            "host": round(max(outcome.seconds - model - trie, 0.0), 3),
        },
    }


def write_statistics(stats: Mapping[str, Any], path: Path | None) -> None:
    """The file of `--stats`, where one was asked for."""
    if path is not None:
        path.write_text(json.dumps(stats, indent=2) + "\n", encoding="utf-8")


def peak_memory() -> int:
    """Bytes: of the CUDA device where one is used, else of this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def default_threads() -> int:
    """As many threads as this process may use cores, or as OMP_NUM_THREADS says."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    return int(named) if named.isdigit() and int(named) > 0 else len(os.sched_getaffinity(0))


def link_to_stream(
    linker: EntityLinker, reader: CorpusReader, options: JobOptions, write: Callable[[str], None],
    on_problem: Callable[[Problem], None],
) -> Outcome:  # fmt: skip
    """Link without a run: lines go to `write` window by window and cannot be resumed.

    The corpus is read in full first, so that what it lacks is told before the model loads.
    """
    from longbel_cli.runs.windows import Start, windows

    reader.survey()
    linker.pin_threads(options.threads or default_threads())
    outcome = Outcome()
    bounds = Bounds(options.window_documents, options.window_mentions, reader.options.limit)
    with ExitStack() as stack:
        on_prompt = None if options.prompts is None else prompt_writer(options.prompts, stack)
        progress = stack.enter_context(Progress("link", "mention", options.quiet))
        engine = linker.engine(on_prompt=on_prompt)
        pages = saliency_writer(linker, options.saliency)
        started = time.perf_counter()
        for window in windows(reader.source(), bounds, Start()):
            predictions = engine.link_window(window.documents, progress.advance)
            for prediction in predictions:
                write(prediction_line(prediction, options.min_score))
            if pages is not None:
                pages(window.documents, predictions)
            for problem in window.problems:
                on_problem(Problem(**problem))
            outcome.windows += 1
            outcome.mentions += window.mentions
            outcome.quarantined += len(window.problems)
            outcome.shortened += len(engine.shortened)
        outcome.seconds = time.perf_counter() - started
        outcome.stats = statistics(engine.decoder_stats, outcome)
        write_statistics(outcome.stats, options.stats)
    outcome.finished = True
    return outcome
