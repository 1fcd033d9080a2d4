"""`longbel convert`: predictions back into the corpus's own form."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longbel_cli.commands import options as shared
from longbel_cli.commands.options import OUTPUT, flag, option

if TYPE_CHECKING:
    from longbel_cli.corpora.records import Problem

log = logging.getLogger(__name__)

EXAMPLE = """
longbel convert preds.jsonl corpus/ --to brat --out linked/
"""


def convert(
    preds: shared.Predictions,
    corpus: shared.CorpusPaths,
    to: Annotated[
        str,
        option(
            "--to",
            "Format to write: {written_formats}.",
            OUTPUT,
            metavar="FORMAT",
            choice="written_formats",
        ),
    ],
    out: Annotated[
        Path, option("--out", "Folder to make, new or empty.", OUTPUT, metavar="FOLDER")
    ],
    format: shared.CorpusFormat = "auto",
    database: Annotated[
        str,
        option(
            "--database",
            "Name of the database of the codes, for N lines and db_name.",
            OUTPUT,
            metavar="NAME",
        ),
    ] = "UMLS",
    replace_gold: Annotated[
        bool,
        flag(
            "--replace-gold",
            "Replace the corpus's own codes by the predictions (BigBio); by default they stay.",
            OUTPUT,
        ),
    ] = False,
) -> None:
    """Write a corpus with its predicted concepts.

    BRAT from BRAT keeps every byte and adds N lines. BigBio keeps the corpus's own codes, with the
    predictions beside them as `predicted`. Exit code 5: part of the corpus could not be read and
    was left out.
    """
    from kb_builder.files import refuse_inputs
    from longbel_cli.corpora import Corpus
    from longbel_cli.corpora.converting import convert as write_converted
    from longbel_cli.corpora.formats import CORPUS_FORMATS, writers
    from longbel_cli.corpora.prediction_index import PredictionIndex
    from longbel_cli.corpora.writing import warn

    if not CORPUS_FORMATS[to].replaces_gold:
        hint = "Leave it out: it is for formats that keep the corpus's own codes otherwise."
        shared.refuse_beside(f"--to {to}", {"--replace-gold": replace_gold}, hint)
    left_out: list[Problem] = []

    def leave_out(problem: Problem) -> None:
        left_out.append(problem)
        log.warning("quarantined: %s", problem.message)

    source = Corpus(corpus, format, warn)
    refuse_inputs([("--out", out)], (preds, *corpus, *(file.path for file in source.files)))
    report = write_converted(
        PredictionIndex(preds),
        source.read_whole(leave_out),
        writers()[to],
        out,
        database,
        replace_gold,
    )
    log.info(
        f"{out}: {report.documents} documents, {report.answered} of {report.mentions} mentions "
        f"with a concept, {report.unjoined} predictions without a mention"
    )
    if left_out:
        raise typer.Exit(shared.QUARANTINED)
