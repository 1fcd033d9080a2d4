"""`longbel link`: flags, help, and the results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kb_builder.text import visible_line
from longbel_cli.commands import options as shared
from longbel_cli.commands.notes import set_quiet
from longbel_cli.commands.options import (
    DECODING,
    DETECTION,
    DIAGNOSTICS,
    MODEL,
    OUTPUT,
    RUNS,
    flag,
    option,
)

if TYPE_CHECKING:
    from longbel_cli.linking.job_options import JobOptions
    from longbel_cli.linking.protocols import EntityLinker, PageWriter
    from longbel_cli.linking.reading import CorpusReader

EXAMPLE = """
longbel link corpus/ --kb kb/ --model model/ --out preds.jsonl
longbel link corpus/ --kb kb/ --linker exact --out exact.jsonl
"""


def link(
    context: typer.Context,
    corpus: shared.CorpusPaths,
    out: Annotated[
        Path,
        option("--out", "Predictions (JSONL); - writes to stdout.", OUTPUT, metavar="FILE"),
    ],
    format: shared.CorpusFormat = "auto",
    text_column: shared.TextColumn = None,
    id_column: shared.IdColumn = None,
    detector: Annotated[
        str | None,
        option(
            "--detector",
            "Detect the mentions first, in place of the corpus's own: {detectors:help}.",
            DETECTION,
            metavar="DETECTOR",
            choice="detectors",
        ),
    ] = None,
    stop: shared.StopFile = None,
    nested: shared.Nested = False,
    semantic_groups: shared.DetectedGroups = None,
    semantic_types: shared.DetectedTypes = None,
    vocabularies: shared.DetectedVocabularies = None,
    without_vocabularies: shared.UndetectedVocabularies = None,
    type_map: shared.TypeMap = None,
    limit: Annotated[
        int | None, option("--limit", "Link only the first N documents.", shared.INPUT, metavar="N")
    ] = None,
    on_error: shared.OnError = "quarantine",
    unknown_group: shared.UnknownGroup = "error",
    overwrite: shared.Overwrite = False,
    min_score: Annotated[
        float | None,
        option(
            "--min-score",
            'Mark predictions with lower scores with "review": true.',
            OUTPUT,
            metavar="SCORE",
        ),
    ] = None,
    nil_score: Annotated[
        float | None,
        option(
            "--nil-score",
            'Say whether the score is lower, so that no concept is meant: "nil": true or false.',
            OUTPUT,
            metavar="SCORE",
        ),
    ] = None,
    model: shared.Model = None,
    kb: shared.SampleKb = None,
    linker: Annotated[
        str,
        option(
            "--linker", "What links: {linkers:help}.", MODEL, metavar="LINKER", choice="linkers"
        ),
    ] = "longbel",
    context_format: shared.ModelContextFormat = None,
    language: shared.ModelLanguage = None,
    beams: Annotated[
        int,
        option(
            "--beams", "Beams of the search, and candidates of a mention.", DECODING, metavar="N"
        ),
    ] = 5,
    composite: Annotated[
        bool, flag("--composite", "Allow answers of several concepts.", DECODING)
    ] = False,
    ensemble: Annotated[
        str | None,
        option(
            "--ensemble",
            "Link with several prompt formats, and fuse their predictions.",
            DECODING,
            metavar="FORMAT,...",
            choice="prompt_formats",
            commas=True,
        ),
    ] = None,
    context_tokens: Annotated[
        int | None,
        option(
            "--context-tokens",
            "Most tokens of a prompt with its answer.",
            DECODING,
            metavar="N",
            default="all that the model takes",
        ),
    ] = None,
    decoder: Annotated[
        str,
        option(
            "--decoder",
            "Beam search: {decoders:help}.",
            DECODING,
            metavar="DECODER",
            choice="decoders",
        ),
    ] = "packed",
    pooling: Annotated[
        str,
        option(
            "--pooling",
            "What --linker dense compares: {poolings:help}.",
            DECODING,
            metavar="POOLING",
            choice="poolings",
        ),
    ] = "cls",
    abbreviations: Annotated[
        str,
        option(
            "--abbreviations",
            "What exact, tfidf and dense look up for an abbreviation that its document defines: "
            "{abbreviations:help}. A detector heeds it, too.",
            DECODING,
            metavar="SETTING",
            choice="abbreviations",
        ),
    ] = "on",
    names_from: Annotated[
        list[Path] | None,
        option(
            "--names-from",
            "Annotated corpus whose names exact, tfidf and dense look up, too (repeatable).",
            MODEL,
            metavar="CORPUS",
        ),
    ] = None,
    device: shared.Device = "auto",
    dtype: shared.Dtype = "auto",
    max_batch_tokens: shared.MaxBatchTokens = None,
    threads: shared.Threads = None,
    shard: shared.ShardOption = "1/1",
    time_limit: shared.TimeLimit = None,
    restart: shared.Restart = False,
    window: Annotated[
        str,
        option(
            "--window",
            "Documents that are committed together; auto: as suits the device.",
            RUNS,
            metavar="N",
        ),
    ] = "auto",
    window_mentions: Annotated[
        str,
        option(
            "--window-mentions",
            "Mentions after which a window closes; auto: as suits the device.",
            RUNS,
            metavar="N",
        ),
    ] = "auto",
    dry_run: Annotated[
        bool, flag("--dry-run", "Print what would be done, and write nothing.", DIAGNOSTICS)
    ] = False,
    stats: Annotated[
        Path | None,
        option("--stats", "Write speed and counts (JSON).", DIAGNOSTICS, metavar="FILE"),
    ] = None,
    prompts: Annotated[
        Path | None,
        option("--prompts", "Write every prompt (JSONL).", DIAGNOSTICS, metavar="FILE"),
    ] = None,
    saliency: Annotated[
        Path | None,
        option(
            "--saliency", "Write a saliency page for each document.", DIAGNOSTICS, metavar="FOLDER"
        ),
    ] = None,
    quiet: shared.Quiet = False,
) -> None:
    """Link the mentions of a corpus to concepts of a knowledge base.

    The same command after a stop or a crash resumes the run. Exit code 5: done, with documents or
    mentions quarantined.
    """
    from longbel_cli.commands.detecting import detector_of
    from longbel_cli.linking.ensemble import link_corpus
    from longbel_cli.linking.job import link_to_stream
    from longbel_cli.linking.linkers import check_flags
    from longbel_cli.runs.run import StopSignals, parse_duration

    set_quiet(quiet)
    check_flags(linker, shared.given(context))
    job = _job(context)
    to_stdout = str(out) == "-"
    signals = StopSignals(None if time_limit is None else parse_duration(time_limit))
    with ExitStack() as stack:
        if not (to_stdout or dry_run):
            stack.enter_context(signals)
        linkers = _linkers(context)
        if detector is not None:
            base = linkers[0].knowledge_base
            job = replace(job, detector=detector_of(context.params, base))
        reader = stack.enter_context(_reader(context, job, linkers))
        if dry_run:
            _print_plans(linkers, reader, job)
            return
        if to_stdout:
            pages = None if saliency is None else partial(_pages, linkers[0], saliency)
            outcome = link_to_stream(linkers[0], reader, job, print, pages)
            outcome.log(out)
        else:
            outcome = link_corpus(linkers, reader, job, signals, sys.argv[1:], _pages)
    if outcome.quarantined and not outcome.already:
        raise typer.Exit(shared.QUARANTINED)


def _job(context: typer.Context) -> JobOptions:
    """What the flags say of the job; LongbelError where one of them needs a run that it has not."""
    from longbel_cli.commands.detecting import refuse_without_detector
    from longbel_cli.linking.job_options import JobOptions
    from longbel_cli.runs.run import shard_of

    given = context.params
    job = shared.options_of(
        context,
        JobOptions,
        shard=shard_of(given["shard"]),
        window_documents=shared.number_or_auto("--window", given["window"]),
        window_mentions=shared.number_or_auto("--window-mentions", given["window_mentions"]),
        detector=None,
    )
    if str(job.out) == "-":
        needs_run = {"--ensemble": bool(given["ensemble"]), "--time-limit": given["time_limit"]}
        needs_run["--shard"] = job.shard.count > 1
        shared.refuse_beside("--out -", needs_run, "Give --out a file's name.")
    if given["detector"] is None:
        refuse_without_detector(given)
    else:
        shared.refuse_beside(
            "--detector", {"--dry-run": given["dry_run"]}, "Run `longbel detect` first."
        )
    return job


def _linkers(context: typer.Context) -> Sequence[EntityLinker]:
    """What links: a model in one prompt format or several, or a baseline."""
    from longbel_cli.linking.linkers import MODEL_LINKER, open_model, open_other
    from longbel_cli.linking.options import BaselineOptions, LinkOptions

    given = context.params
    if given["linker"] == MODEL_LINKER:
        options = shared.options_of(context, LinkOptions)
        return open_model(given["model"], given["kb"], options, shared.listed(given["ensemble"]))
    names_from = tuple(given["names_from"] or ())
    baseline = shared.options_of(context, BaselineOptions, names_from=names_from)
    return [open_other(given["linker"], given["kb"], baseline)]


@contextmanager
def _reader(
    context: typer.Context, job: JobOptions, linkers: Sequence[EntityLinker]
) -> Iterator[CorpusReader]:
    """Reads the corpus; LongbelError where something that is written is read, too."""
    from kb_builder.files import refuse_inputs
    from longbel_cli.corpora.resolve import load_type_map
    from longbel_cli.linking.reading import CorpusOptions, CorpusReader
    from longbel_cli.runs.layout import Layout
    from longbel_cli.runs.standard_input import corpus_paths

    given, base = context.params, linkers[0].knowledge_base
    jobs = [job, *job.in_formats(linkers)]
    keeps_run = not given["dry_run"] and str(job.out) != "-"
    with corpus_paths(given["corpus"], job.out if keeps_run else None) as paths:
        options = shared.options_of(
            context,
            CorpusOptions,
            paths=paths,
            type_map={} if given["type_map"] is None else load_type_map(given["type_map"]),
            not_corpus=frozenset().union(*(each.own_files for each in jobs)),
            texts_alone=given["detector"] is not None,
        )
        reader = CorpusReader(options, base.groups, corpus_of_document=base.corpus_of_document)
        layout = Layout(job.out)
        files = [file for file in reader.files if not layout.is_saved_input(file)]
        read = (*files, base.path, linkers[0].model_path, given["type_map"], given["stop"])
        written = [output for each in jobs for output in each.written]
        refuse_inputs(written, (*read, *(given["names_from"] or ())))
        yield reader


def _print_plans(
    linkers: Sequence[EntityLinker], reader: CorpusReader, options: JobOptions
) -> None:
    from longbel_cli.linking.plan import plan, plan_lines

    for linker in linkers:
        if len(linkers) > 1:
            print(f"{linker.settings()['context_format']}:")
        print("\n".join(map(visible_line, plan_lines(plan(linker, reader, options)))))


def _pages(linker: EntityLinker, folder: Path) -> PageWriter:
    """Writes saliency pages to a folder."""
    from longbel_cli.explaining.replay import page_writer
    from longbel_cli.linking.linker import Linker

    assert isinstance(linker, Linker)  # no other linker takes --saliency
    return page_writer(linker, folder)
