"""`longbel train`: flags, help, and how it ended."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from longbel_cli.commands import options as shared
from longbel_cli.commands.notes import set_quiet
from longbel_cli.commands.options import COMPUTING, MODEL, OUTPUT, RUNS, argument, flag, option

log = logging.getLogger(__name__)

EXAMPLES = "Examples"
MEMORY = "Memory"
OPTIMISER = "Optimiser"
VALIDATION = "Validation"
ADAPTERS = "Adapters"

EXAMPLE = """
longbel train corpus/ --base model/ --kb kb/ --validate dev/ --out tuned/
longbel train --fresh nano --synthetic 2000 --kb kb/ --epochs 20 --out nano/
"""


def train(
    out: Annotated[Path, option("--out", "Model folder to make.", OUTPUT, metavar="FOLDER")],
    corpus: Annotated[
        list[str] | None,
        argument("[CORPUS...]", "Files or folders with gold concepts."),
    ] = None,
    kb: shared.SampleKb = None,
    base: Annotated[
        str | None,
        option("--base", "Model folder or hub id to fine-tune.", MODEL, metavar="MODEL"),
    ] = None,
    fresh: Annotated[
        str | None,
        option(
            "--fresh",
            "Train a new model and tokenizer from scratch: {sizes}.",
            MODEL,
            metavar="SIZE",
            choice="sizes",
        ),
    ] = None,
    context_format: shared.ContextFormat = "hybrid_long",
    also_formats: Annotated[
        str | None,
        option(
            "--also-formats",
            "Further prompt formats to make examples in, drawn evenly.",
            MODEL,
            metavar="FORMAT,...",
            choice="prompt_formats",
            commas=True,
        ),
    ] = None,
    language: shared.Language = None,
    format: shared.AnnotatedFormat = "auto",
    unknown_group: shared.UnknownGroup = "error",
    retired: shared.RetiredCodes = None,
    target: Annotated[
        str,
        option(
            "--target",
            "Name of the gold concept that is learnt: {targets:help}.",
            EXAMPLES,
            metavar="RULE",
            choice="targets",
        ),
    ] = "document",
    synthetic: Annotated[
        int,
        option(
            "--synthetic",
            "Documents made from the knowledge base's names, added each epoch.",
            EXAMPLES,
            metavar="N",
        ),
    ] = 0,
    synonyms: Annotated[
        float,
        option(
            "--synonyms",
            "Share of synthetic mentions answered with another name than the one written.",
            EXAMPLES,
            metavar="SHARE",
        ),
    ] = 0.0,
    epochs: Annotated[
        int, option("--epochs", "Passes over the corpus.", OPTIMISER, metavar="N")
    ] = 50,
    steps: Annotated[
        int | None,
        option("--steps", "Optimiser steps, in place of --epochs.", OPTIMISER, metavar="N"),
    ] = None,
    learning_rate: Annotated[
        float | None,
        option(
            "--learning-rate",
            "Peak learning rate.",
            OPTIMISER,
            metavar="RATE",
            default="3e-5; 1e-3 with --fresh, 2e-4 with --lora",
        ),
    ] = None,
    warmup: Annotated[
        float,
        option(
            "--warmup",
            "Share of the training in which the learning rate rises.",
            OPTIMISER,
            metavar="SHARE",
        ),
    ] = 0.03,
    tokens_per_batch: Annotated[
        int,
        option("--tokens-per-batch", "Tokens of a step, padding included.", OPTIMISER, metavar="N"),
    ] = 16384,
    max_length: Annotated[
        int,
        option(
            "--max-length",
            "Maximum number of tokens in an example; longer ones are truncated.",
            EXAMPLES,
            metavar="N",
        ),
    ] = 4096,
    mentions_per_document: Annotated[
        int | None,
        option(
            "--mentions-per-document",
            "Mentions of each document in an epoch, drawn anew.",
            EXAMPLES,
            metavar="N",
            default="all",
        ),
    ] = None,
    memory_weight: Annotated[
        float,
        option(
            "--memory-weight",
            "Weight of a loss on the names in memory; 0: answers alone.",
            MEMORY,
            metavar="WEIGHT",
        ),
    ] = 0.0,
    crop: Annotated[
        int,
        option(
            "--crop",
            "Maximum number of characters of context around a mention; each example shows from "
            "an eighth of this to all of it; 0 shows everything.",
            EXAMPLES,
            metavar="CHARACTERS",
        ),
    ] = 0,
    crop_share: Annotated[
        float,
        option(
            "--crop-share", "Share of the examples that are cropped.", EXAMPLES, metavar="SHARE"
        ),
    ] = 1.0,
    composite: Annotated[
        bool, flag("--composite", "Train on mentions of several concepts too.", EXAMPLES)
    ] = False,
    memory: Annotated[
        str | None,
        option(
            "--memory",
            "Names in memory: {memories:help}.",
            MEMORY,
            metavar="NAMES",
            choice="memories",
            default="predicted with --folds or --predictions, else gold",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        option(
            "--folds",
            "Robust memory: train K models, each on the corpus without one part, to predict that "
            "part; then train the final model with these predictions in memory.",
            MEMORY,
            metavar="K",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        option(
            "--predictions",
            "Robust memory at less cost: predictions of `longbel link` for the same corpora, by a "
            "model that has not seen them or by --linker tfidf.",
            MEMORY,
            metavar="FILE",
        ),
    ] = None,
    keep_folds: Annotated[
        bool, flag("--keep-folds", "Keep the models of the folds.", MEMORY)
    ] = False,
    memory_dropout: Annotated[
        float,
        option(
            "--memory-dropout",
            "Share of the lines that --memory dropout leaves out.",
            MEMORY,
            metavar="SHARE",
        ),
    ] = 0.2,
    validate: Annotated[
        list[str] | None,
        option(
            "--validate",
            "Corpus to measure Recall@1 on while training (repeatable); the best weights are kept.",
            VALIDATION,
            metavar="CORPUS",
        ),
    ] = None,
    validate_every: Annotated[
        int,
        option(
            "--validate-every",
            "Steps between two validations; the last step is validated too.",
            VALIDATION,
            metavar="STEPS",
        ),
    ] = 500,
    validate_mentions: Annotated[
        int,
        option(
            "--validate-mentions",
            "Mentions to validate on: a sample of whole documents.",
            VALIDATION,
            metavar="N",
        ),
    ] = 200,
    lora: Annotated[
        bool,
        flag(
            "--lora",
            "Train low-rank adapters on a frozen base and merge them (needs peft). An 8B model "
            "wants it: full training takes 16 bytes a parameter, 16 GB for 1B and 128 GB for 8B.",
            ADAPTERS,
        ),
    ] = False,
    lora_rank: Annotated[
        int, option("--lora-rank", "Rank of the adapters.", ADAPTERS, metavar="R")
    ] = 16,
    lora_alpha: Annotated[
        int,
        option(
            "--lora-alpha",
            "Scale of the adapters: they are multiplied by alpha / rank.",
            ADAPTERS,
            metavar="ALPHA",
        ),
    ] = 32,
    device: shared.Device = "auto",
    dtype: Annotated[
        str,
        option(
            "--dtype",
            "Arithmetic: {dtypes:help}. Weights that are trained stay float32; the frozen base of "
            "--lora has this type.",
            COMPUTING,
            metavar="DTYPE",
            choice="dtypes",
        ),
    ] = "auto",
    save_dtype: Annotated[
        str,
        option(
            "--save-dtype",
            "Type of the saved weights: {saved_dtypes:help}.",
            OUTPUT,
            metavar="DTYPE",
            choice="saved_dtypes",
        ),
    ] = "auto",
    seed: Annotated[
        int, option("--seed", "Seed of the random number generators.", OPTIMISER, metavar="SEED")
    ] = 0,
    threads: shared.Threads = None,
    accumulate: Annotated[
        int,
        option(
            "--accumulate",
            "Passes that each step is split into, to need less memory.",
            COMPUTING,
            metavar="N",
        ),
    ] = 1,
    checkpointing: Annotated[
        bool,
        flag("--checkpointing", "Compute activations twice, to need less memory.", COMPUTING),
    ] = False,
    save_every: Annotated[
        int,
        option(
            "--save-every",
            "Steps between two savings of the state, to resume from.",
            RUNS,
            metavar="STEPS",
        ),
    ] = 200,
    time_limit: shared.TimeLimit = None,
    restart: Annotated[
        bool, flag("--restart", "Start over, and drop an unfinished training.", RUNS)
    ] = False,
    overwrite: shared.Overwrite = False,
    quiet: shared.Quiet = False,
) -> None:
    """Train a model to link: fine-tune a base, or make a small new one.

    Loss is on the completion only. The same command after a stop or a kill resumes the training.
    Exit code 5: trained, but for documents or mentions that were quarantined; `longbel check`
    lists them. Under `accelerate launch` or torchrun several GPUs share each step.
    """
    from longbel_cli.runs.run import Stopped, StopSignals, parse_duration
    from longbel_cli.runs.signals import STOPPED
    from longbel_cli.sample_paths import kb_or_sample
    from longbel_cli.training.folder import RunFolder
    from longbel_cli.training.options import default_learning_rate, default_memory
    from longbel_cli.training.step_progress import StepProgress
    from longbel_cli.training.train import Callbacks, Computing, Outcome, TrainOptions
    from longbel_cli.training.train import train as run_training

    # Of several processes the first one speaks.
    set_quiet(quiet or os.environ.get("RANK", "0") != "0")
    if learning_rate is None:
        learning_rate = default_learning_rate(fresh is not None, lora)
    if memory is None:
        memory = default_memory(folds is not None or predictions is not None)
    options = TrainOptions(
        kb=str(kb_or_sample(kb)), corpora=tuple(corpus or ()), base=base, fresh=fresh,
        context_format=context_format, language=language,
        also_formats=shared.listed(also_formats), corpus_format=format,
        unknown_group=unknown_group, retired=None if retired is None else str(retired),
        target=target, epochs=epochs, steps=steps,
        learning_rate=learning_rate, warmup=warmup, tokens_per_batch=tokens_per_batch,
        max_length=max_length, synthetic=synthetic, synonyms=synonyms,
        mentions_per_document=mentions_per_document, memory_weight=memory_weight,
        crop=crop, crop_share=crop_share, composite=composite, dtype=dtype,
        save_dtype=save_dtype, seed=seed, memory=memory, memory_dropout=memory_dropout,
        folds=folds, validate=tuple(validate or ()), validate_every=validate_every,
        validate_mentions=validate_mentions, lora=lora, lora_rank=lora_rank,
        lora_alpha=lora_alpha, predictions=None if predictions is None else str(predictions),
    )  # fmt: skip
    computing = Computing(
        device=device, save_every=save_every, accumulate=accumulate, checkpointing=checkpointing,
        keep_folds=keep_folds, threads=threads,
    )  # fmt: skip
    limit = None if time_limit is None else parse_duration(time_limit)
    with StopSignals(limit) as stop, StepProgress() as progress:
        callbacks = Callbacks(progress.on_step, progress.on_stage, lambda: stop.requested)
        outcome = run_training(options, out, computing, callbacks, restart, overwrite)
        if outcome is Outcome.STOPPED:
            stop.check()
            raise Stopped("another process of this training was asked to", STOPPED)
    if outcome is Outcome.ALREADY_FINISHED:
        log.info("%s: already finished, nothing to do", out)
        return
    log.info("%s: finished; losses in %s", out, RunFolder.of(out).final.log)
    if outcome is Outcome.FINISHED_IN_PART:
        raise typer.Exit(shared.QUARANTINED)
