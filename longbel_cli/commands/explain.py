"""`longbel explain`: why the model answered what it answered, as a page, in colours, or numbers."""

from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kb_builder.errors import LongbelError
from longbel_cli.commands.notes import set_quiet

log = logging.getLogger(__name__)

# Scores are recorded with 6 decimals; a difference beyond this is not rounding.
_SCORE_TOLERANCE = 0.01


def explain(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDS", help="preds.jsonl of `longbel link`.")
    ],
    mention: Annotated[
        list[str] | None,
        typer.Option(metavar="DOC:ID", help="A mention to explain (repeatable)."),
    ] = None,
    document: Annotated[
        list[str] | None,
        typer.Option(metavar="DOC", help="Explain all mentions of a document (repeatable)."),
    ] = None,
    below: Annotated[
        float | None, typer.Option(metavar="SCORE", help="Only mentions scored below it.")
    ] = None,
    wrong: Annotated[
        bool, typer.Option("--wrong", help="Only mentions whose best candidate is not the gold.")
    ] = False,
    top: Annotated[
        int | None, typer.Option(metavar="N", help="Only the N mentions with the lowest scores.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="Write an HTML page; - writes to stdout.")
    ] = None,
    ansi: Annotated[bool, typer.Option("--ansi", help="Print to the terminal.")] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the numbers, one JSON object a mention.")
    ] = False,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="gradient|integrated|ablation",
            help="How to explain (repeatable: the page switches).  [default: gradient]",
        ),
    ] = None,
    rank: Annotated[
        list[int] | None,
        typer.Option(metavar="R", help="Candidate to explain (repeatable).  [default: 1]"),
    ] = None,
    versus: Annotated[
        int | None,
        typer.Option(metavar="R", help="Explain the lead over the candidate of this rank."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of `integrated`.")] = 20,
    baseline: Annotated[
        str, typer.Option(metavar="pad|zero|mean", help="Where `integrated` begins.")
    ] = "pad",
    path: Annotated[
        str,
        typer.Option(
            metavar="even|adaptive", help="How `integrated` spreads its steps over the way."
        ),
    ] = "even",
    corpus: Annotated[
        list[Path] | None,
        typer.Option(help="Corpus that was linked (repeatable).  [default: as run.json says]"),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="Corpus format.  [default: as run.json says]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model folder or hub id.  [default: as run.json says]")
    ] = None,
    kb: Annotated[
        Path | None, typer.Option(help="Knowledge base.  [default: as run.json says]")
    ] = None,
    context_format: Annotated[
        str | None, typer.Option(help="Prompt format.  [default: as run.json says]")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="en, fr or es.  [default: as run.json says]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    max_batch_tokens: Annotated[
        int | None, typer.Option(help="Tokens run together.  [default: by free memory]")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only errors on stderr.")] = False,
) -> None:
    """Show which words and earlier normalizations a predicted concept rests on.

    The page, like the predictions, holds text of the documents.
    """
    set_quiet(quiet)
    _check_output(out, ansi, json_)
    from longbel_cli.corpora.predictions import read_predictions
    from longbel_cli.explaining.selection import Choice, LinkedRun, Sources, explanations

    choice = Choice(tuple(mention or ()), tuple(document or ()), below, wrong, top)
    methods = tuple(dict.fromkeys(method or ("gradient",)))
    ranks = tuple(dict.fromkeys(rank or (1,)))
    linked = read_predictions(predictions).predictions
    chosen = choice.of(linked)
    sources = Sources(
        tuple(corpus or ()), format, model, kb, context_format, language, device, dtype
    )

    from longbel_cli.explaining.explainer import Explainer, ExplainOptions
    from longbel_cli.progress import Progress

    options = ExplainOptions(methods, ranks, versus, steps, baseline, max_batch_tokens, path)
    run = LinkedRun.open(predictions, sources)
    explainer = Explainer(run.linker.checkpoint, run.linker.model, options)
    made: list[Any] = []
    with Progress("explain", "mention", len(chosen)) as progress:
        for explanation in explanations(run, linked, chosen, explainer.explain):
            progress.advance()
            if not explanation.attributions:
                continue
            made.append(explanation)
            _print(explanation, ansi, json_)
    if not made:
        raise LongbelError(
            "none of the chosen mentions has candidates of these ranks",
            "Choose other ranks with --rank and --versus.",
        )
    if out is not None:
        _write(made, out)
    log_outcome(made, len(chosen), out)


def _check_output(out: Path | None, ansi: bool, json_: bool) -> None:
    if out is None and not ansi and not json_:
        raise LongbelError("nowhere to explain to", "Say --out PAGE, --ansi or --json.", 2)
    if (ansi and json_) or (str(out) == "-" and (ansi or json_)):
        raise LongbelError("only one of --ansi, --json and --out - can go to stdout", exit_code=2)
    if out is not None and str(out) != "-":
        from longbel_cli.pages import check_page_path

        check_page_path(out)


def _print(explanation: Any, ansi: bool, json_: bool) -> None:
    if json_:
        import jsonlines

        jsonlines.Writer(sys.stdout, dumps=_dumps, flush=True).write(explanation.to_json())
    elif ansi:
        import os

        from longbel_cli.explaining.terminal import ansi as coloured

        print(coloured(explanation, colour=not os.environ.get("NO_COLOR")) + "\n", flush=True)


def _dumps(numbers: Any) -> str:
    return json.dumps(numbers, ensure_ascii=False, allow_nan=False)


def _write(made: list[Any], out: Path) -> None:
    from longbel_cli.explaining.html import html_page
    from longbel_cli.pages import write_page

    page = html_page(made)
    if str(out) == "-":
        sys.stdout.write(page)
    else:
        write_page(page, out)


def log_outcome(made: list[Any], chosen: int, out: Path | None) -> None:
    """Log how many mentions were explained, and whether their scores are those of the run."""
    where = "" if out is None or str(out) == "-" else f": {out}"
    log.info("%d of %d mentions explained%s", len(made), chosen, where)
    moved = _moved(made)
    if moved > _SCORE_TOLERANCE:
        log.warning(
            "scores are up to %.3f away from the recorded ones: the run used another device or "
            "dtype, or other prompts",
            moved,
        )


def _moved(made: list[Any]) -> float:
    """The largest difference between a score as explained and as recorded, where both are known."""
    return max(
        (
            abs(attribution.score - candidate.score)
            for explanation in made
            for attribution in explanation.attributions
            for candidate in explanation.prediction.candidates
            if attribution.score is not None
            and candidate.rank == attribution.rank
            and not math.isnan(candidate.score)
        ),
        default=0.0,
    )
