"""`longbel fuse`: several predictions of the same mentions into one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from kb_builder.errors import LongbelError
from kb_builder.files import refuse_inputs
from longbel_cli.commands import options as shared
from longbel_cli.commands.notes import set_quiet
from longbel_cli.commands.options import OUTPUT, argument, flag, option

FUSION = "Fusion"
TUNING = "Tuned weights"

EXAMPLE = """
longbel fuse preds.jsonl tfidf.jsonl --weights 2,1 --out fused.jsonl
longbel fuse dev.jsonl dev-tfidf.jsonl --by score --tune dev/ --write-weights weights.json
longbel fuse preds.jsonl tfidf.jsonl --weights-from weights.json --out fused.jsonl
"""


def fuse(
    predictions: Annotated[
        list[Path], argument("PREDS...", "Two or more predictions files of the same mentions.")
    ],
    out: Annotated[
        Path | None, option("--out", "Fused predictions (JSONL).", OUTPUT, metavar="FILE")
    ] = None,
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
    threshold: Annotated[
        float | None,
        option(
            "--threshold",
            "Where the first file's best score reaches S, its answer stands alone.",
            FUSION,
            metavar="S",
        ),
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
    tune: Annotated[
        Path | None,
        option(
            "--tune",
            "Annotated corpus that PREDS are of: choose weights and threshold on it.",
            TUNING,
            metavar="CORPUS",
        ),
    ] = None,
    tune_format: Annotated[
        str,
        option(
            "--tune-format",
            "Format of --tune: {annotated_formats}.",
            TUNING,
            metavar="FORMAT",
            choice="annotated_formats",
        ),
    ] = "auto",
    write_weights: Annotated[
        Path | None,
        option("--write-weights", "Write what --tune chose (JSON).", TUNING, metavar="FILE"),
    ] = None,
    weights_from: Annotated[
        Path | None,
        option(
            "--weights-from",
            "Fuse by the weights that --write-weights wrote, for the same systems in order.",
            TUNING,
            metavar="FILE",
        ),
    ] = None,
    overwrite: shared.Overwrite = False,
    quiet: shared.Quiet = False,
) -> None:
    """Fuse the predictions of several systems, by rank or by score.

    The score of a concept is the sum, over the files that have it, of weight / (k + rank)
    (reciprocal rank fusion), or of weight times its score there. Weights can be tuned on one corpus
    and used on others.
    """
    from longbel_cli.corpora.prediction_file import distinct_names
    from longbel_cli.linking.fused_file import fuse_files
    from longbel_cli.linking.fusion import FusionOptions
    from longbel_cli.runs.layout import written_for

    set_quiet(quiet)
    _check_flags(locals())
    outputs = () if out is None else written_for(out)
    read = (*predictions, tune, weights_from)
    refuse_inputs([*outputs, ("--write-weights", write_weights)], read)
    options = FusionOptions(
        distinct_names(predictions),
        weights=_numbers(weights),
        k=k,
        limit=limit,
        allow_missing=allow_missing,
        by=by,
        threshold=threshold,
    )
    tuned = None
    if tune is not None:
        from longbel_cli.commands.tuning import tuned_weights

        tuned = tuned_weights(predictions, tune, tune_format, options)
    elif weights_from is not None:
        from longbel_cli.linking.fusion_weights import read_weights

        tuned = read_weights(weights_from)
    if out is not None:
        fuse_files(predictions, out, options, tuned=tuned, overwrite=overwrite)
    if tuned is not None and write_weights is not None:
        tuned.save(write_weights)


def _check_flags(given: Mapping[str, Any]) -> None:
    """LongbelError (usage) for flags that contradict each other."""
    chosen = {f"--{name}": given[name] is not None for name in ("weights", "threshold")}
    if given["tune"] is not None:
        chosen["--weights-from"] = given["weights_from"] is not None
        shared.refuse_beside("--tune", chosen, "It chooses the weights.")
    elif given["write_weights"] is not None:
        raise LongbelError("--write-weights writes what --tune chooses", "Add that.", exit_code=2)
    if given["weights_from"] is not None:
        shared.refuse_beside("--weights-from", chosen, "The file holds them.")
    if given["out"] is None and given["write_weights"] is None:
        raise LongbelError("fuse has nothing to write", "Give a file with --out.", exit_code=2)


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise LongbelError(
            f"--weights: {text!r} is not a list of numbers separated by commas", exit_code=2
        ) from error
