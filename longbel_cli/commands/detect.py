"""`longbel detect`: flags, help, and the results on stdout."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from longbel_cli.commands import options as shared
from longbel_cli.commands.notes import set_quiet
from longbel_cli.commands.options import DETECTION, INPUT, OUTPUT, RUNS, argument, flag, option

EXAMPLE = """
longbel detect notes/ --kb kb/ --out mentions.jsonl
longbel link mentions.jsonl --kb kb/ --model model/ --out preds.jsonl
"""


def detect(
    context: typer.Context,
    texts: Annotated[
        list[str],
        argument(
            "TEXT...",
            "Files or folders of texts or of a corpus, whose own mentions are replaced; - reads "
            "JSONL from stdin.",
        ),
    ],
    out: Annotated[
        Path,
        option("--out", "Mentions (BigBio JSONL); - writes to stdout.", OUTPUT, metavar="FILE"),
    ],
    kb: shared.SampleKb = None,
    detector: Annotated[
        str,
        option(
            "--detector",
            "What detects: {detectors:help}.",
            DETECTION,
            metavar="DETECTOR",
            choice="detectors",
        ),
    ] = "dictionary",
    names_from: Annotated[
        list[Path] | None,
        option(
            "--names-from",
            "Annotated corpus (repeatable): adds its names, and drops names it leaves unmarked.",
            DETECTION,
            metavar="CORPUS",
        ),
    ] = None,
    type_map: shared.TypeMap = None,
    stop: shared.StopFile = None,
    nested: shared.Nested = False,
    abbreviations: Annotated[
        str,
        option(
            "--abbreviations",
            "Abbreviations that a document defines: {detected_abbreviations:help}.",
            DETECTION,
            metavar="SETTING",
            choice="detected_abbreviations",
        ),
    ] = "on",
    semantic_groups: shared.DetectedGroups = None,
    semantic_types: shared.DetectedTypes = None,
    vocabularies: shared.DetectedVocabularies = None,
    without_vocabularies: shared.UndetectedVocabularies = None,
    format: shared.CorpusFormat = "auto",
    text_column: shared.TextColumn = None,
    id_column: shared.IdColumn = None,
    limit: Annotated[
        int | None, option("--limit", "Read only the first N documents.", INPUT, metavar="N")
    ] = None,
    on_error: shared.OnError = "quarantine",
    keep: Annotated[bool, flag("--keep", "Keep the mentions that the corpus has.", OUTPUT)] = False,
    overwrite: shared.Overwrite = False,
    shard: shared.ShardOption = "1/1",
    time_limit: shared.TimeLimit = None,
    restart: shared.Restart = False,
    window: Annotated[
        str,
        option(
            "--window",
            "Documents that are committed together; auto: 64.",
            RUNS,
            metavar="N",
        ),
    ] = "auto",
    quiet: shared.Quiet = False,
) -> None:
    """Detect mentions in plain text.

    The same command after a stop or a crash resumes the run. Exit code 5: done, with documents
    quarantined.
    """
    from kb_builder.files import refuse_inputs
    from kb_builder.store.knowledge_base import KnowledgeBase
    from longbel_cli.commands.detecting import detector_of
    from longbel_cli.detecting.job import DetectJob, DetectOptions
    from longbel_cli.runs.layout import Layout, written_for
    from longbel_cli.runs.run import StopSignals, parse_duration, shard_of
    from longbel_cli.runs.standard_input import corpus_paths
    from longbel_cli.sample_paths import kb_or_sample

    set_quiet(quiet)
    to_stdout = str(out) == "-"
    if to_stdout:
        needs_run = {"--shard": shard != "1/1", "--time-limit": time_limit}
        shared.refuse_beside("--out -", needs_run, "Give --out a file's name.")
    signals = StopSignals(None if time_limit is None else parse_duration(time_limit))
    with ExitStack() as stack:
        if not to_stdout:
            stack.enter_context(signals)
        base = KnowledgeBase.open(kb_or_sample(kb))
        options = DetectOptions(
            paths=stack.enter_context(corpus_paths(texts, None if to_stdout else out)), out=out,
            format=format, text_column=text_column, id_column=id_column,
            on_error=on_error, keep=keep, limit=limit,
            window_documents=shared.number_or_auto("--window", window),
            shard=shard_of(shard), restart=restart, overwrite=overwrite,
        )  # fmt: skip
        job = DetectJob(detector_of(context.params, base), base, options)
        files = [file for file in job.files if not Layout(out).is_saved_input(file)]
        read = (*files, base.path, *(names_from or ()), type_map, stop)
        refuse_inputs(written_for(out), read)
        outcome = job.to_stream(print) if to_stdout else job.run(sys.argv[1:], signals)
        outcome.log(out)
    if outcome.quarantined and not outcome.already:
        raise typer.Exit(shared.QUARANTINED)
