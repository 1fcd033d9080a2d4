"""`longbel train`: flags, and the notes of a training."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from longbel_cli.commands.notes import set_quiet

log = logging.getLogger(__name__)

_LEFT_OUT = 5


def train(
    out: Annotated[Path, typer.Option(help="The model folder to make.")],
    corpus: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CORPUS...]", help="Files or folders with gold concepts."),
    ] = None,
    kb: Annotated[
        Path | None,
        typer.Option(
            envvar="LONGBEL_KB", help="Knowledge base directory.  [default: the bundled sample]"
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model folder or hub id to fine-tune.")
    ] = None,
    fresh: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Or a new model and tokenizer: nano, tiny, small, base or medium.",
        ),
    ] = None,
    context_format: Annotated[
        str, typer.Option(help="short, hybrid_medium, hybrid_short, hybrid_long or long.")
    ] = "hybrid_long",
    also_formats: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT,...", help="Make examples in these formats too, drawn evenly."
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="en, fr or es: kept with the model; sentence formats need it."),
    ] = None,
    format: Annotated[
        str, typer.Option(help="Corpus format: auto, bigbio, brat, pubtator or bioc.")
    ] = "auto",
    unknown_group: Annotated[
        str, typer.Option(help="Types that are no group of the KB: error, skip or all.")
    ] = "error",
    target: Annotated[
        str,
        typer.Option(
            help="Which name of the gold concept is learnt: document (the one nearest to its "
            "first mention), nearest (the one nearest to each) or preferred (its title)."
        ),
    ] = "document",
    synthetic: Annotated[
        int,
        typer.Option(metavar="N", help="Documents made from the KB's names, added each epoch."),
    ] = 0,
    synonyms: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Of those documents' mentions, so many are answered with another name of the "
            "concept than the one written.",
        ),
    ] = 0.0,
    epochs: Annotated[int, typer.Option(help="Passes over the corpus.")] = 50,
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps, in place of --epochs.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Its highest value.  [default: 3e-5; 1e-3 with --fresh, 2e-4 with --lora]"
        ),
    ] = None,
    warmup: Annotated[float, typer.Option(help="Share of the training in which it rises.")] = 0.03,
    tokens_per_batch: Annotated[int, typer.Option(help="Tokens a step, padding included.")] = 16384,
    max_length: Annotated[int, typer.Option(help="Tokens; longer examples are shortened.")] = 4096,
    mentions_per_document: Annotated[
        int | None,
        typer.Option(help="Mentions of a document an epoch, drawn anew.  [default: all]"),
    ] = None,
    memory_weight: Annotated[
        float,
        typer.Option(help="Weight of a loss on the names in memory; 0: completions alone."),
    ] = 0.0,
    crop: Annotated[
        int,
        typer.Option(
            metavar="CHARACTERS",
            help="Show only some context around a mention: from an eighth of this to all of it.",
        ),
    ] = 0,
    crop_share: Annotated[
        float, typer.Option(help="Share of the examples that --crop applies to.")
    ] = 1.0,
    composite: Annotated[
        bool, typer.Option("--composite", help="Train on mentions of several concepts too.")
    ] = False,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Names in memory: gold, predicted (see --folds and --predictions) or dropout "
            "(gold, with lines left out).  [default: predicted with one of these two, else gold]"
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Robust memory: train K models on K-1 parts of the corpus each to predict the "
            "rest, then the final model with those predictions in memory.",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Robust memory for less: what `longbel link` wrote for the same corpora, by a "
            "model that did not see them or by --linker tfidf.",
        ),
    ] = None,
    keep_folds: Annotated[
        bool, typer.Option("--keep-folds", help="Keep the models of the folds.")
    ] = False,
    memory_dropout: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="Lines that --memory dropout leaves out, drawn each time anew."
        ),
    ] = 0.2,
    validate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CORPUS",
            help="Measure Recall@1 on it on the way, as `link` would; OUT gets the best weights "
            "(repeatable).",
        ),
    ] = None,
    validate_every: Annotated[
        int, typer.Option(metavar="STEPS", help="How often; and once at the end.")
    ] = 500,
    validate_mentions: Annotated[
        int,
        typer.Option(metavar="N", help="On how many mentions: a sample of whole documents."),
    ] = 200,
    lora: Annotated[
        bool,
        typer.Option(
            "--lora",
            help="Train low-rank adapters on a frozen base, merged when saved (needs peft). An "
            "8B model wants it: full training takes 16 bytes a parameter, 16 GB for 1B and 128 "
            "GB for 8B.",
        ),
    ] = False,
    lora_rank: Annotated[int, typer.Option(help="Rank of the adapters.")] = 16,
    lora_alpha: Annotated[int, typer.Option(help="Their scale: alpha / rank.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[
        str,
        typer.Option(
            help="Arithmetic: float32 or bfloat16 (weights that are trained stay float32, the "
            "base of --lora has this type); auto: bfloat16 on CUDA."
        ),
    ] = "auto",
    save_dtype: Annotated[
        str,
        typer.Option(
            help="Of the saved weights: float32, bfloat16, float16; auto: bfloat16, a fresh "
            "model's float16."
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Decides all that is drawn.")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads.  [default: all cores]")] = None,
    accumulate: Annotated[
        int,
        typer.Option(metavar="N", help="Passes that a step is split into, to need less memory."),
    ] = 1,
    checkpointing: Annotated[
        bool,
        typer.Option("--checkpointing", help="Compute activations twice, to need less memory."),
    ] = False,
    save_every: Annotated[
        int, typer.Option(help="Steps after which the state is saved, to go on after a kill.")
    ] = 200,
    time_limit: Annotated[
        str | None, typer.Option(help="Stop before it is over: 90m, 20h, 1-12:00:00.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start anew; an unfinished training is dropped.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there under --out.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only errors on stderr.")] = False,
) -> None:
    """Train a model to link: fine-tune a base, or make a small new one.

    Loss is on the completion only. The same command after a stop or a kill goes on where it was.
    Exit code 5: trained, but part of a corpus was left out; `longbel check` lists it.
    Under `accelerate launch` or torchrun several GPUs share each step.
    """
    from kb_builder.errors import LongbelError
    from longbel_cli.runs.run import Stopped, StopSignals, parse_duration
    from longbel_cli.runs.signals import STOPPED
    from longbel_cli.sample_paths import sample
    from longbel_cli.training.folder import RunFolder
    from longbel_cli.training.step_progress import StepProgress
    from longbel_cli.training.train import Callbacks, Computing, Outcome, TrainOptions
    from longbel_cli.training.train import train as run_training

    # Of several processes the first one speaks.
    set_quiet(quiet or os.environ.get("RANK", "0") != "0")
    if kb is None:
        kb = sample("kb")
        log.info("no --kb: using the bundled sample knowledge base")
    if learning_rate is None:
        learning_rate = 1e-3 if fresh is not None else 2e-4 if lora else 3e-5
    if memory is None:
        memory = "gold" if folds is None and predictions is None else "predicted"
    options = TrainOptions(
        kb=str(kb), corpora=tuple(corpus or ()), base=base, fresh=fresh,
        context_format=context_format, language=language,
        also_formats=_listed(also_formats), corpus_format=format,
        unknown_group=unknown_group, target=target, epochs=epochs, steps=steps,
        learning_rate=learning_rate, warmup=warmup, tokens_per_batch=tokens_per_batch,
        max_length=max_length, synthetic=synthetic, synonyms=synonyms,
        mentions_per_document=mentions_per_document, memory_weight=memory_weight,
        crop=crop, crop_share=crop_share, composite=composite, dtype=dtype,
        save_dtype=save_dtype, seed=seed, memory=memory, memory_dropout=memory_dropout,
        folds=folds, validate=tuple(validate or ()), validate_every=validate_every,
        validate_mentions=validate_mentions, lora=lora, lora_rank=lora_rank,
        lora_alpha=lora_alpha, predictions=None if predictions is None else str(predictions),
    )  # fmt: skip
    computing = Computing(device, save_every, accumulate, checkpointing, keep_folds)
    if threads is not None:
        if threads < 1:
            raise LongbelError(f"--threads {threads}: give at least 1", exit_code=2)
        import torch

        torch.set_num_threads(threads)
    limit = None if time_limit is None else parse_duration(time_limit)
    with StopSignals(limit) as stop, StepProgress() as progress:
        callbacks = Callbacks(progress.on_step, progress.on_stage, lambda: stop.requested)
        outcome = run_training(options, out, computing, callbacks, restart, overwrite)
        if outcome is Outcome.STOPPED:
            stop.check()
            raise Stopped("another process of this training was asked to", STOPPED)
    if outcome is Outcome.ALREADY_FINISHED:
        log.info(f"{out}: already finished, nothing to do")
        return
    log.info(f"{out}: finished; losses in {RunFolder.of(out).final.log}")
    if outcome is Outcome.FINISHED_IN_PART:
        raise typer.Exit(_LEFT_OUT)


def _listed(names: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",")) if names else ()
