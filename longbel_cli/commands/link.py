"""`longbel link`: flags, checks and the exit code."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kb_builder.errors import LongbelError
from longbel_cli.commands.notes import set_quiet

if TYPE_CHECKING:
    from kb_builder.store.knowledge_base import KnowledgeBase
    from longbel_cli.linking.job import JobOptions
    from longbel_cli.linking.linker import Linker
    from longbel_cli.linking.protocols import EntityLinker, PageWriter
    from longbel_cli.linking.reading import CorpusReader

log = logging.getLogger(__name__)

QUARANTINED = 5
# Flags that not every linker takes, by the names of their parameters.
LINKER_FLAGS = (
    "model", "context_format", "language", "device", "dtype", "max_batch_tokens", "context_tokens",
    "ensemble",
    "composite", "decoder", "prompts", "saliency", "pooling",
)  # fmt: skip


def link(
    context: typer.Context,
    corpus: Annotated[
        list[str], typer.Argument(help="Files or folders with mentions; - is JSONL on stdin.")
    ],
    out: Annotated[Path, typer.Option(help="Predictions (JSONL); - writes to stdout.")],
    kb: Annotated[
        Path | None, typer.Option(envvar="LONGBEL_KB", help="Knowledge base directory.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(envvar="LONGBEL_MODEL", help="Model folder or hub id.")
    ] = None,
    linker: Annotated[
        str,
        typer.Option(
            help="longbel (a causal model), or a baseline: exact, tfidf, dense (an encoder), "
            "seq2seq (an encoder-decoder)."
        ),
    ] = "longbel",
    beams: Annotated[int, typer.Option(help="Beams, and candidates a mention.")] = 5,
    context_format: Annotated[
        str | None,
        typer.Option(
            help="short, hybrid_medium, hybrid_short, hybrid_long or long.  "
            "[default: the checkpoint's, else hybrid_long]"
        ),
    ] = None,
    format: Annotated[
        str, typer.Option(help="Corpus format: auto, bigbio, brat, pubtator or bioc.")
    ] = "auto",
    language: Annotated[
        str | None,
        typer.Option(help="en, fr or es, for sentences.  [default: the checkpoint's]"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    max_batch_tokens: Annotated[
        int | None,
        typer.Option(help="Prompt tokens in flight together.  [default: by free memory]"),
    ] = None,
    context_tokens: Annotated[
        int | None,
        typer.Option(
            help="Most tokens of a prompt and its answer.  [default: all the model takes]"
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads, kept with the run.  [default: all cores]")
    ] = None,
    window: Annotated[int, typer.Option(help="Documents committed together.")] = 64,
    window_mentions: Annotated[
        int, typer.Option(help="Mentions after which a window closes.")
    ] = 1000,
    shard: Annotated[
        str, typer.Option(help="I/N (from 1), or auto: Slurm, accelerate, torchrun.")
    ] = "1/1",
    limit: Annotated[int | None, typer.Option(help="Only the first N documents.")] = None,
    type_map: Annotated[
        Path | None, typer.Option(help="Lines of type<TAB>group for types of your own.")
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="Bad documents and mentions: quarantine or fail.")
    ] = "quarantine",
    unknown_group: Annotated[
        str, typer.Option(help="Types that are no group of the KB: error, skip or all.")
    ] = "error",
    ensemble: Annotated[
        str | None,
        typer.Option(help="Link with several formats (short,hybrid_long,...) and fuse."),
    ] = None,
    composite: Annotated[
        bool, typer.Option("--composite", help="Allow answers of several concepts.")
    ] = False,
    decoder: Annotated[
        str, typer.Option(help="packed (fast) or reference (transformers.generate).")
    ] = "packed",
    pooling: Annotated[
        str, typer.Option(help="Of --linker dense: the vector of the first token (cls) or mean.")
    ] = "cls",
    min_score: Annotated[
        float | None, typer.Option(help='Mark predictions below it with "review": true.')
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="Stop before it is over: 90m, 20h, 1-12:00:00.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over; the earlier run is kept aside.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there under --out.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and leave.")
    ] = False,
    stats: Annotated[Path | None, typer.Option(help="Write speed and counts (JSON).")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Write every prompt (JSONL).")] = None,
    saliency: Annotated[
        Path | None, typer.Option(help="Write a saliency page a document to this folder.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only errors on stderr.")] = False,
) -> None:
    """Link every mention of a corpus to a concept of the knowledge base.

    The same command after a stop or a crash goes on where it was.
    """
    from longbel_cli.corpora.resolve import load_type_map
    from longbel_cli.linking.baselines import BASELINES, BaselineOptions, open_baseline
    from longbel_cli.linking.ensemble import link_corpus
    from longbel_cli.linking.job import JobOptions
    from longbel_cli.linking.linker import Linker, LinkOptions
    from longbel_cli.linking.reading import CorpusOptions, CorpusReader
    from longbel_cli.runs.run import StopSignals, parse_duration, shard_of, spool

    set_quiet(quiet)
    _check_choices(on_error, unknown_group, dtype, linker)
    _check_flags(context, linker)
    seconds = None if time_limit is None else parse_duration(time_limit)
    to_stdout = str(out) == "-"
    job_options = JobOptions(
        out, shard_of(shard), window, window_mentions, restart, overwrite, min_score,
        prompts, stats, saliency, threads,
    )  # fmt: skip
    if to_stdout:
        _check_stdout(ensemble, job_options, seconds)
    stop = StopSignals(seconds)
    with ExitStack() as stack:
        if not (to_stdout or dry_run):  # what can be gone on with
            stack.enter_context(stop)
        linkers: Sequence[EntityLinker]
        if linker in BASELINES:
            baseline_options = BaselineOptions(
                beams, model, device, pooling, language, max_batch_tokens
            )
            linkers = [open_baseline(linker, _knowledge_base(kb), baseline_options)]
        else:
            options = LinkOptions(
                beams,
                context_format,
                language,
                composite,
                decoder,
                device,
                dtype,
                max_batch_tokens,
                context_tokens,
            )
            opened = Linker.open(*_model_and_kb(model, kb), options)
            linkers = _linkers(opened, ensemble, context_format)
        types = {} if type_map is None else load_type_map(type_map)
        # Standard input is read more than once: kept with the run, or until this ends.
        keep = out
        if to_stdout or dry_run:
            keep = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "stdin"
        paths = tuple(
            spool(sys.stdin.buffer, keep) if path == "-" else Path(path) for path in corpus
        )
        if "-" in corpus:
            stack.enter_context(_dropped_if_refused(paths[corpus.index("-")]))
        reader = CorpusReader(
            CorpusOptions(paths, format, types, on_error, unknown_group, limit),
            linkers[0].knowledge_base.groups,
        )
        if dry_run:
            _print_plans(linkers, reader, job_options)
            return
        if to_stdout:
            quarantined = _to_stdout(linkers[0], reader, job_options)
        else:
            outcome = link_corpus(linkers, reader, job_options, stop, sys.argv[1:], _pages)
            quarantined = 0 if outcome.already else outcome.quarantined
    if quarantined:
        raise typer.Exit(QUARANTINED)


@contextmanager
def _dropped_if_refused(spooled: Path) -> Iterator[None]:
    """Take saved standard input away where the block is refused: nothing goes on with it, and its
    text is to lie nowhere without need."""
    from longbel_cli.runs.run import Stopped, drop_unused

    try:
        yield
    except LongbelError as error:
        if not isinstance(error, Stopped):
            drop_unused(spooled)
        raise


def _print_plans(
    linkers: Sequence[EntityLinker], reader: CorpusReader, options: JobOptions
) -> None:
    from longbel_cli.linking.plan import plan, plan_lines

    for one in linkers:
        if len(linkers) > 1:
            print(f"{one.settings()['context_format']}:")
        print("\n".join(plan_lines(plan(one, reader, options))))


def _check_choices(on_error: str, unknown_group: str, dtype: str, linker: str) -> None:
    from longbel_cli.corpora.resolve import UNKNOWN
    from longbel_cli.linking.baselines import BASELINES
    from longbel_cli.linking.linker import NAME
    from longbel_cli.linking.reading import ON_ERROR

    for flag, value, choices in (
        ("--on-error", on_error, ON_ERROR),
        ("--unknown-group", unknown_group, UNKNOWN),
        ("--dtype", dtype, ("auto", "float32", "bfloat16")),
        ("--linker", linker, (NAME, *BASELINES)),
    ):
        if value not in choices:
            raise LongbelError(f"{flag} {value}: choose {', '.join(choices)}", exit_code=2)


def _check_flags(context: typer.Context, linker: str) -> None:
    """Refuse flags of the command line that mean nothing to this linker."""
    from longbel_cli.linking.baselines import BASELINES

    taken = BASELINES[linker].flags if linker in BASELINES else {*LINKER_FLAGS} - {"pooling"}
    for name in LINKER_FLAGS:
        source = context.get_parameter_source(name)
        if name not in taken and source is not None and source.name == "COMMANDLINE":
            flag = "--" + name.replace("_", "-")
            raise LongbelError(
                f"{flag} does not go with --linker {linker}", "Leave one of them out.", exit_code=2
            )


def _knowledge_base(kb: Path | None) -> KnowledgeBase:
    """The KB directory, else the bundled sample."""
    from kb_builder.store.knowledge_base import KnowledgeBase
    from longbel_cli.sample_paths import sample

    if kb is None:
        log.info("no --kb: using the bundled sample knowledge base")
    return KnowledgeBase.open(kb or sample("kb"))


def _model_and_kb(model: str | None, kb: Path | None) -> tuple[str, Path | None]:
    """The model and KB to use. What is not given comes from the bundled sample; a checkpoint
    that brings its own names needs no KB."""
    from longbel_cli.sample_paths import sample

    if model is None and kb is None:
        log.info("no --model and no --kb: using the bundled sample model and knowledge base")
        return str(sample("model")), sample("kb")
    if model is None:
        log.info("no --model: using the bundled sample model")
        return str(sample("model")), kb
    if kb is None:
        from longbel_cli.model.folder import model_folder

        folder = model_folder(model)  # of a hub id: its files say whether they bring names
        if not (folder / "text_to_code.json").exists():
            log.info("no --kb: using the bundled sample knowledge base")
            return model, sample("kb")
    return model, kb


def _check_stdout(ensemble: str | None, options: JobOptions, seconds: float | None) -> None:
    """What goes to stdout has no run that could be gone on with, joined or fused."""
    given = (
        ("--ensemble", ensemble is not None),
        ("--shard", options.shard.count > 1),
        ("--time-limit", seconds is not None),
    )
    for flag, is_given in given:
        if is_given:
            raise LongbelError(
                f"{flag} does not go with --out -", "Give --out a file's name.", exit_code=2
            )


def _linkers(linker: Linker, ensemble: str | None, context_format: str | None) -> list[Linker]:
    """One linker, or one for each format of the ensemble; all checked, sharing one model."""
    from longbel_cli.linking.ensemble import linkers_in_formats

    linkers = [linker]
    if ensemble is not None:
        if context_format is not None:
            raise LongbelError("--ensemble does not go with --context-format", exit_code=2)
        linkers = linkers_in_formats(linker, [name.strip() for name in ensemble.split(",")])
    for one in linkers:
        _ = one.split  # a format that needs a language says so before anything is read
    return linkers


def _to_stdout(linker: EntityLinker, reader: CorpusReader, options: JobOptions) -> int:
    from longbel_cli.linking.job import link_to_stream

    folder = options.saliency
    pages = None if folder is None else partial(_pages, linker, folder)
    outcome = link_to_stream(linker, reader, options, print, pages)
    outcome.log(options.out)
    return outcome.quarantined


def _pages(linker: EntityLinker, folder: Path) -> PageWriter:
    """Writes saliency pages to a folder."""
    from longbel_cli.explaining.replay import page_writer
    from longbel_cli.linking.linker import Linker

    assert isinstance(linker, Linker)  # no other linker takes --saliency
    return page_writer(linker, folder)
