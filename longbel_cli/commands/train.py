"""`longbel train`: flags, and what is told while a model trains."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from longbel_cli.training.loop import Step

_LOG_SECONDS = 30.0


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
            metavar="SIZE", help="Or a new model and tokenizer: nano, tiny, small, base or medium."
        ),
    ] = None,
    context_format: Annotated[
        str, typer.Option(help="short, hybrid_medium, hybrid_short, hybrid_long or long.")
    ] = "hybrid_long",
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
        float | None, typer.Option(help="Its highest value.  [default: 3e-5; 1e-3 with --fresh]")
    ] = None,
    warmup: Annotated[float, typer.Option(help="Share of the training in which it rises.")] = 0.03,
    tokens_per_batch: Annotated[int, typer.Option(help="Tokens a step, padding included.")] = 16384,
    max_length: Annotated[int, typer.Option(help="Examples of more tokens are left out.")] = 4096,
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[
        str,
        typer.Option(
            help="Arithmetic: float32 or bfloat16 (weights stay float32); auto: bfloat16 on CUDA."
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
    """
    from longbel_cli.run import StopSignals, parse_duration
    from longbel_cli.sample_paths import sample
    from longbel_cli.train import Outcome, TrainOptions
    from longbel_cli.train import train as run_training

    logging.basicConfig(format="longbel: %(message)s", level=logging.WARNING)
    tell = _silent if quiet else _say
    if kb is None:
        kb = sample("kb")
        tell("no --kb: using the bundled sample knowledge base")
    if learning_rate is None:
        learning_rate = 3e-5 if fresh is None else 1e-3
    options = TrainOptions(
        kb=str(kb), corpora=tuple(corpus or ()), base=base, fresh=fresh,
        context_format=context_format, language=language, corpus_format=format,
        unknown_group=unknown_group, target=target, epochs=epochs, steps=steps,
        learning_rate=learning_rate, warmup=warmup, tokens_per_batch=tokens_per_batch,
        max_length=max_length, synthetic=synthetic, synonyms=synonyms,
        mentions_per_document=mentions_per_document, memory_weight=memory_weight,
        crop=crop, crop_share=crop_share, composite=composite, dtype=dtype,
        save_dtype=save_dtype, seed=seed,
    )  # fmt: skip
    options.check()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    limit = None if time_limit is None else parse_duration(time_limit)
    with StopSignals(limit) as stop, _Teller(quiet) as teller:
        outcome = run_training(
            options, out, device=device, save_every=save_every, restart=restart,
            overwrite=overwrite, on_step=teller.step, should_stop=lambda: stop.requested,
            tell=tell,
        )  # fmt: skip
        if outcome is Outcome.STOPPED:
            stop.check()
    if outcome is Outcome.ALREADY_FINISHED:
        tell(f"{out}: already finished, nothing to do")
    else:
        tell(f"{out}: finished; losses in {out}.run/log.jsonl")


class _Teller:
    """A bar on a terminal, a line every half minute elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar = None
        self._losses: list[float] = []
        self._tokens = 0
        self._seconds = 0.0
        self._told = time.monotonic()

    def __enter__(self) -> _Teller:
        if not self._quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=1000, desc="train", unit="‰", file=sys.stderr)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, step: Step) -> None:
        self._losses.append(step.loss)
        self._tokens += step.tokens
        self._seconds += step.seconds
        if self._bar is not None:
            self._bar.update(round(1000 * step.progress) - self._bar.n)
            self._bar.set_postfix(step=step.number, loss=f"{self._mean():.3f}", refresh=False)
            self._losses = self._losses[-50:]
        elif not self._quiet and time.monotonic() - self._told >= _LOG_SECONDS:
            self._told = time.monotonic()
            _say(
                f"train: step {step.number}, {step.progress:.1%}, loss {self._mean():.3f}, "
                f"{self._tokens / self._seconds:.0f} tokens/s"
            )
            self._losses, self._tokens, self._seconds = [], 0, 0.0

    def _mean(self) -> float:
        return sum(self._losses) / len(self._losses)


def _say(note: str) -> None:
    print(f"longbel: {note}", file=sys.stderr, flush=True)


def _silent(note: str) -> None:
    pass
