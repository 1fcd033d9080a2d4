"""`longbel convert`: predictions back into the corpus's own form."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from longbel_cli.corpora.records import Problem

log = logging.getLogger(__name__)


class Target(StrEnum):
    """The formats that can be written."""

    brat = "brat"
    bigbio = "bigbio"
    pubtator = "pubtator"


def convert(
    preds: Annotated[Path, typer.Argument(help="Predictions, as `longbel link` writes them.")],
    corpus: Annotated[list[str], typer.Argument(help="The corpus that was linked.")],
    to: Annotated[Target, typer.Option(help="The format to write.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    format: Annotated[
        str,
        typer.Option(
            help="The corpus's format: auto, bigbio, brat, pubtator or bioc.", metavar="FORMAT"
        ),
    ] = "auto",
    database: Annotated[
        str, typer.Option(help="The database's name that N lines and db_name give.")
    ] = "UMLS",
) -> None:
    """Write the corpus with its predicted concepts.

    BRAT from BRAT keeps every byte and adds N lines. Exit code 5: part of the corpus was left out.
    """
    from longbel_cli.corpora import Corpus
    from longbel_cli.corpora.converting import convert as write_converted
    from longbel_cli.corpora.formats import writers
    from longbel_cli.corpora.prediction_index import PredictionIndex
    from longbel_cli.corpora.writing import warn

    left_out: list[Problem] = []

    def leave_out(problem: Problem) -> None:
        left_out.append(problem)
        log.warning("left out: %s", problem.message)

    report = write_converted(
        PredictionIndex(preds),
        Corpus(corpus, format, warn).read_whole(leave_out),
        writers()[to.value],
        out,
        database,
    )
    log.info(
        f"{out}: {report.documents} documents, {report.answered} of {report.mentions} mentions "
        f"with a concept, {report.unjoined} predictions without a mention"
    )
    if left_out:
        raise typer.Exit(5)
