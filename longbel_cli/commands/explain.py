"""`longbel explain`: why the model answered what it answered, as a page, in colours, or numbers."""

from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path
from typing import Annotated, Any

from kb_builder.errors import LongbelError
from kb_builder.text import visible_json
from longbel_cli.commands import options as shared
from longbel_cli.commands.notes import set_quiet
from longbel_cli.commands.options import INPUT, OUTPUT, flag, option

log = logging.getLogger(__name__)

# Scores are recorded with 6 decimals; a difference beyond this is not rounding.
_SCORE_TOLERANCE = 0.01

MENTIONS = "Mentions"
METHOD = "Method"

EXAMPLE = """
longbel explain preds.jsonl --mention 'note-1:T3' --ansi
longbel explain preds.jsonl --wrong --top 20 --out page.html
"""


def explain(
    predictions: shared.Predictions,
    mention: Annotated[
        list[str] | None,
        option("--mention", "Mention to explain (repeatable).", MENTIONS, metavar="DOC:ID"),
    ] = None,
    document: Annotated[
        list[str] | None,
        option(
            "--document",
            "Document whose mentions to explain (repeatable).",
            MENTIONS,
            metavar="DOC",
        ),
    ] = None,
    below: Annotated[
        float | None,
        option("--below", "Only mentions with a lower score.", MENTIONS, metavar="SCORE"),
    ] = None,
    wrong: Annotated[
        bool, flag("--wrong", "Only mentions whose best candidate is not the gold.", MENTIONS)
    ] = False,
    top: Annotated[
        int | None,
        option("--top", "Only the N mentions with the lowest scores.", MENTIONS, metavar="N"),
    ] = None,
    out: Annotated[
        Path | None,
        option("--out", "Write an HTML page; - writes to stdout.", OUTPUT, metavar="PAGE"),
    ] = None,
    ansi: Annotated[bool, flag("--ansi", "Print to the terminal, in colours.", OUTPUT)] = False,
    json_: Annotated[
        bool, flag("--json", "Print the numbers, one JSON object for each mention.", OUTPUT)
    ] = False,
    method: Annotated[
        list[str] | None,
        option(
            "--method",
            "Method of attribution (repeatable): {methods:help}.",
            METHOD,
            metavar="METHOD",
            choice="methods",
            default="gradient",
        ),
    ] = None,
    rank: Annotated[
        list[int] | None,
        option(
            "--rank",
            "Rank of the candidate to explain (repeatable).",
            METHOD,
            metavar="R",
            default="1",
        ),
    ] = None,
    versus: Annotated[
        int | None,
        option(
            "--versus", "Explain the lead over the candidate of this rank.", METHOD, metavar="R"
        ),
    ] = None,
    steps: Annotated[
        int, option("--steps", "Steps of integrated gradients.", METHOD, metavar="N")
    ] = 20,
    baseline: Annotated[
        str,
        option(
            "--baseline",
            "Where integrated gradients begin: {baselines:help}.",
            METHOD,
            metavar="BASELINE",
            choice="baselines",
        ),
    ] = "pad",
    path: Annotated[
        str,
        option(
            "--path",
            "Spacing of the steps: {paths:help}.",
            METHOD,
            metavar="PATH",
            choice="paths",
        ),
    ] = "even",
    corpus: Annotated[
        list[Path] | None,
        option(
            "--corpus",
            "Corpus that was linked (repeatable).",
            INPUT,
            metavar="CORPUS",
            default="as run.json says",
        ),
    ] = None,
    format: shared.RecordedCorpusFormat = None,
    model: shared.RecordedModel = None,
    kb: shared.RecordedKb = None,
    context_format: shared.RecordedContextFormat = None,
    language: shared.RecordedLanguage = None,
    device: shared.Device = "auto",
    dtype: shared.Dtype = "auto",
    max_batch_tokens: shared.MaxBatchTokens = None,
    quiet: shared.Quiet = False,
) -> None:
    """Show which words and earlier normalizations a prediction rests on.

    The page, like the predictions, holds text of the documents.
    """
    set_quiet(quiet)
    from kb_builder.files import refuse_inputs

    refuse_inputs([("--out", out)], (predictions, *(corpus or ()), kb, model))
    _check_output(out, ansi, json_)
    from longbel_cli.corpora.predictions import read_predictions
    from longbel_cli.explaining.selection import Choice, LinkedRun, Sources, explanations

    choice = Choice(
        mentions=tuple(mention or ()), documents=tuple(document or ()), below=below, wrong=wrong,
        top=top,
    )  # fmt: skip
    linked = read_predictions(predictions).predictions
    chosen = choice.of(linked)  # before torch is loaded

    from longbel_cli.explaining.explainer import Explainer, ExplainOptions
    from longbel_cli.progress import Progress

    options = ExplainOptions(
        methods=tuple(dict.fromkeys(method or ("gradient",))),
        ranks=tuple(dict.fromkeys(rank or (1,))),
        versus=versus, steps=steps, baseline=baseline, max_batch_tokens=max_batch_tokens, path=path,
    )  # fmt: skip
    sources = Sources(
        corpus=tuple(corpus or ()), format=format, model=model, kb=kb,
        context_format=context_format, language=language, device=device, dtype=dtype,
    )  # fmt: skip
    run = LinkedRun.open(predictions, sources)
    read = (*(file.path for file in run.corpus.files), predictions, kb, model)
    refuse_inputs([("--out", out)], read)
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
        raise LongbelError("no output was chosen", "Give --out PAGE, --ansi or --json.", 2)
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


def _dumps(value: Any) -> str:
    return visible_json(json.dumps(value, ensure_ascii=False, allow_nan=False))


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
