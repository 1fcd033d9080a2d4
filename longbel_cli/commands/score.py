"""`longbel score`: Recall@k with intervals, by partition, with a signature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kb_builder.text import visible_json
from longbel_cli.commands import options as shared
from longbel_cli.commands.notes import set_quiet
from longbel_cli.commands.options import INPUT, OUTPUT, argument, flag, option

METRICS = "Metrics"

EXAMPLE = """
longbel score preds.jsonl
longbel score preds.jsonl --gold corpus/ --kb kb/ --paired exact.jsonl --report report.html
"""


def score(
    predictions: Annotated[
        Path,
        argument("PREDS", "Predictions of `longbel link`, or a table (TSV) of the published code."),
    ],
    gold: Annotated[
        list[Path] | None,
        option(
            "--gold",
            "Corpus with the gold concepts (repeatable).",
            INPUT,
            metavar="CORPUS",
            default="the gold in PREDS",
        ),
    ] = None,
    gold_format: Annotated[
        str,
        option(
            "--gold-format",
            "Format of --gold and --train: {annotated_formats}.",
            INPUT,
            metavar="FORMAT",
            choice="annotated_formats",
        ),
    ] = "auto",
    train: Annotated[
        list[Path] | None,
        option(
            "--train",
            "Training corpus, to tell seen from unseen (repeatable).",
            INPUT,
            metavar="CORPUS",
        ),
    ] = None,
    retired: shared.RetiredCodes = None,
    kb: Annotated[
        Path | None,
        option("--kb", "Knowledge base directory, for coverage and names.", INPUT, metavar="KB"),
    ] = None,
    paired: Annotated[
        list[Path] | None,
        option(
            "--paired", "Predictions to compare with PREDS (repeatable).", INPUT, metavar="OTHER"
        ),
    ] = None,
    as_json: shared.AsJson = False,
    table: Annotated[
        str,
        option("--table", "Form of the tables: {tables}.", OUTPUT, metavar="FORM", choice="tables"),
    ] = "rich",
    for_spreadsheet: Annotated[
        bool,
        flag(
            "--for-spreadsheet",
            "With --table csv: an apostrophe before cells that a spreadsheet would compute.",
            OUTPUT,
        ),
    ] = False,
    report: Annotated[
        Path | None,
        option(
            "--report", "Write an HTML page: tables, plots, wrong answers.", OUTPUT, metavar="FILE"
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        option("--plots", "Write the plots of the report as SVG files.", OUTPUT, metavar="DIR"),
    ] = None,
    k: Annotated[str, option("--k", "Values of k in Recall@k.", METRICS, metavar="K,...")] = "1,5",
    by: Annotated[
        list[str] | None,
        option(
            "--by",
            "Partitions to show: {partitions:help}.",
            METRICS,
            metavar="PARTITION,...",
            choice="partitions",
            commas=True,
            default="group, and those that --train and --kb allow",
        ),
    ] = None,
    gold_match: Annotated[
        str,
        option(
            "--gold-match",
            "When several gold codes are met: {matches:help}.",
            METRICS,
            metavar="MATCH",
            choice="matches",
        ),
    ] = "exact",
    end_to_end: Annotated[
        bool,
        flag(
            "--end-to-end",
            "Also precision, recall and F1 of mentions and concepts against all of --gold.",
            METRICS,
        ),
    ] = False,
    hierarchy: Annotated[
        bool,
        flag(
            "--hierarchy",
            "Also whether answers stand above, below or beside the gold, and how far away.",
            METRICS,
        ),
    ] = False,
    nil: Annotated[
        bool,
        flag(
            "--nil",
            'Also how well "no concept" is told: gold NO_CODE, and with --kb codes outside it.',
            METRICS,
        ),
    ] = False,
    nil_score: Annotated[
        float | None,
        option(
            "--nil-score",
            "Answers with lower scores count as no concept, for --nil.",
            METRICS,
            metavar="S",
        ),
    ] = None,
    target_precision: Annotated[
        float | None,
        option(
            "--target-precision",
            "Find the score above which a share P of the answers is right.",
            METRICS,
            metavar="P",
        ),
    ] = None,
    n_boot: Annotated[
        int, option("--n-boot", "Bootstrap resamples of the documents.", METRICS, metavar="N")
    ] = 1000,
    seed: Annotated[int, option("--seed", "Seed of the resampling.", METRICS, metavar="SEED")] = 42,
    quiet: shared.Quiet = False,
) -> None:
    """Score predictions: Recall@k with intervals, by partition.

    Intervals are bootstrap intervals over documents. Every score comes with a signature of what was
    scored and how.
    """
    import json

    from kb_builder.errors import LongbelError
    from kb_builder.files import refuse_inputs, refuse_same
    from longbel_cli.pages import check_page_path
    from longbel_cli.scoring.background import base_for
    from longbel_cli.scoring.evaluation import evaluate_files
    from longbel_cli.scoring.metrics import ScoreOptions
    from longbel_cli.scoring.partitions import chosen_partitions
    from longbel_cli.scoring.report import plot_paths, write_plots, write_report
    from longbel_cli.scoring.request import ScoreRequest
    from longbel_cli.scoring.table_writers import evaluation_text

    set_quiet(quiet)
    if for_spreadsheet and table != "csv":
        raise LongbelError("--for-spreadsheet is for --table csv", "Add that.", exit_code=2)
    request = ScoreRequest(
        predictions=predictions,
        others=tuple(paired or ()),
        gold=tuple(gold or ()),
        gold_format=gold_format,
        train=tuple(train or ()),
        kb=kb,
        target_precision=target_precision,
        end_to_end=end_to_end,
        hierarchy=hierarchy,
        retired=retired,
        nil=nil,
        nil_score=nil_score,
        options=ScoreOptions(ks=_ks(k), n_boot=n_boot, seed=seed, match=gold_match),
    )
    named = None if by is None else [name for text in by for name in shared.listed(text)]
    given = {"training": bool(train), "kb": kb is not None}
    if named and "in_kb" in named:
        given["held"] = base_for(kb, predictions) is not None
    shown = chosen_partitions(named, given)
    read = (predictions, *request.others, *request.gold, *request.train, kb, retired)
    if report is not None:
        refuse_inputs([("--report", None if report.is_dir() else report)], read)
        check_page_path(report)
    if plots is not None:
        refuse_same("--plots", plots, read)
        refuse_inputs([("--plots", path) for path in plot_paths(plots)], read)
    evaluation = evaluate_files(request)
    if report is not None:
        write_report(evaluation, report)
    if plots is not None:
        write_plots(evaluation, plots)
    if as_json:
        text = json.dumps(evaluation.to_json(), ensure_ascii=False, indent=2, allow_nan=False)
        typer.echo(visible_json(text))
    else:
        typer.echo(evaluation_text(evaluation, shown, table, for_spreadsheet), nl=False)


def _ks(text: str) -> tuple[int, ...]:
    from kb_builder.errors import LongbelError

    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise LongbelError(
            f"--k: {text!r} is not a list of numbers separated by commas", exit_code=2
        ) from error
