"""`longbel score`: Recall@k with intervals, by partition, with a signature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def score(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDS", help="preds.jsonl, or a prediction table (TSV) of the published code."
        ),
    ],
    gold: Annotated[
        list[Path] | None,
        typer.Option(metavar="CORPUS", help="Corpus with the gold; else it is taken from PREDS."),
    ] = None,
    gold_format: Annotated[
        str, typer.Option(metavar="FORMAT", help="Format of --gold and --train.")
    ] = "auto",
    gold_match: Annotated[
        str,
        typer.Option(
            metavar="exact|any", help="Of a gold of several codes: all are needed, or any one."
        ),
    ] = "exact",
    k: Annotated[str, typer.Option("--k", metavar="K,...", help="The ks of Recall@k.")] = "1,5",
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="PARTITION", help="Partitions to show, by commas: see the README."),
    ] = None,
    n_boot: Annotated[int, typer.Option(help="Resamples of the documents.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 42,
    table: Annotated[
        str, typer.Option(metavar="rich|markdown|latex|csv", help="How to print the tables.")
    ] = "rich",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes on stderr.")] = False,
) -> None:
    """Score predictions: Recall@k, MRR, per group, with intervals over documents."""
    import json

    from longbel_cli.evaluation import ScoreRequest, evaluate_files
    from longbel_cli.metrics import ScoreOptions
    from longbel_cli.score_tables import counts_line, overall_table

    request = ScoreRequest(
        predictions=predictions,
        gold=tuple(gold or ()),
        gold_format=gold_format,
        options=ScoreOptions(_ks(k), n_boot, seed, gold_match),
    )
    shown = _partitions(by)
    writer = _writer(table)
    evaluation = evaluate_files(request, _silent if quiet else _say)
    if as_json:
        typer.echo(json.dumps(evaluation.to_json(), ensure_ascii=False, indent=2))
        return
    tables = [overall_table(evaluation.first.score, shown)]
    typer.echo(
        writer(tables, [counts_line(evaluation.first.score), evaluation.signature]), nl=False
    )


def _say(note: str) -> None:
    typer.echo(f"longbel: {note}", err=True)


def _silent(note: str) -> None:
    pass


def _ks(text: str):
    return tuple(sorted({int(part) for part in text.split(",")}))


def _partitions(by):
    return ["group"]


def _writer(table: str):
    from longbel_cli.score_tables import WRITERS

    return WRITERS[table]
