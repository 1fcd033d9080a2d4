"""`longbel fuse`: several predictions of the same mentions into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from longbel_cli.commands import options as shared
from longbel_cli.commands.notes import set_quiet
from longbel_cli.commands.options import OUTPUT, argument, flag, option

FUSION = "Fusion"

EXAMPLE = """
longbel fuse preds.jsonl exact.jsonl --weights 2,1 --out fused.jsonl
"""


def fuse(
    predictions: Annotated[
        list[Path], argument("PREDS...", "Two or more predictions files of the same mentions.")
    ],
    out: Annotated[Path, option("--out", "Fused predictions (JSONL).", OUTPUT, metavar="FILE")],
    by: Annotated[
        str,
        option(
            "--by",
            "What a concept scores for each file that has it: {fusions:help}.",
            FUSION,
            metavar="FUSION",
            choice="fusions",
        ),
    ] = "rank",
    weights: Annotated[
        str | None,
        option("--weights", "A weight for each file.", FUSION, metavar="W,...", default="all 1"),
    ] = None,
    k: Annotated[
        int, option("--k", "Constant that is added to every rank.", FUSION, metavar="K")
    ] = 60,
    limit: Annotated[
        int | None,
        option(
            "--limit", "Candidates to keep of each mention.", FUSION, metavar="N", default="all"
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        flag("--allow-missing", "Fuse files that lack mentions which others have.", FUSION),
    ] = False,
    overwrite: shared.Overwrite = False,
    quiet: shared.Quiet = False,
) -> None:
    """Fuse the predictions of several systems, by rank or by score.

    The score of a concept is the sum, over the files that have it, of weight / (k + rank)
    (reciprocal rank fusion), or of weight times its score there.
    """
    from longbel_cli.linking.fused_file import fuse_files

    set_quiet(quiet)
    fuse_files(
        predictions,
        out,
        by=by,
        weights=_numbers(weights),
        k=k,
        limit=limit,
        allow_missing=allow_missing,
        overwrite=overwrite,
    )


def _numbers(text: str | None) -> tuple[float, ...]:
    from kb_builder.errors import LongbelError

    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise LongbelError(
            f"--weights: {text!r} is not a list of numbers separated by commas", exit_code=2
        ) from error
