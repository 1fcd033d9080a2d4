"""Fuses predictions files into one, with a record beside it of what was fused.

`<out>.fusion.json` lists the inputs, their hashes, weights and runs, so that a score of the fused
file can say what it is a score of, and the hash of the file that it is the record of.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.files import refuse_inputs, sha256_of_file, sweep, whole_file, write_whole
from longbel_cli.corpora.prediction_file import PredictionFile, distinct_names
from longbel_cli.corpora.predictions import read_predictions
from longbel_cli.linking.fusion import Fused, FusionOptions, fuse
from longbel_cli.linking.fusion_weights import FusionWeights
from longbel_cli.runs.facts import (
    KEYS,
    UNKNOWN,
    RunFacts,
    fusion_record_path,
    read_fusion_record,
    run_facts,
)
from longbel_cli.runs.files import to_json
from longbel_cli.runs.layout import Layout, written_for
from longbel_cli.runs.run import set_run_aside
from longbel_cli.types import Marks
from longbel_cli.version import package_version

log = logging.getLogger(__name__)


def fuse_files(
    paths: Sequence[Path],
    out: Path,
    options: FusionOptions | None = None,
    *,
    tuned: FusionWeights | None = None,
    marks: Marks = Marks(),
    overwrite: bool = False,
) -> int:
    """Write the fusion of `paths` to `out`; returns the number of mentions. See `fusion.fuse`.

    `tuned` decides what of `options` it holds. `marks` are of the fused scores. `overwrite`
    replaces a file; a run under the name is kept aside (`OUT.run.1`).
    """
    _check_out(paths, out, overwrite)
    options = options or FusionOptions(distinct_names(paths))
    facts = [run_facts(path) for path in paths]
    if tuned is not None:
        tuned.check(paths, facts)
        options = tuned.applied(options)
    files = [_read(path) for path in paths]
    record = fusion_record(files, options, facts, tuned)
    fused = fuse([file.predictions for file in files], options)
    try:
        count = _put_in_place(_marked(fused, marks), record, out)
    except OSError as error:
        raise LongbelError(f"{out}: cannot be written ({error.strerror})") from error
    log.info("fused %d predictions of %d mentions into %s", len(files), count, out)
    return count


def _check_out(paths: Sequence[Path], out: Path, overwrite: bool) -> None:
    """LongbelError where a fusion cannot be written there."""
    if str(out) == "-":
        raise LongbelError(
            "a fusion keeps a record beside its file", "Give --out a file's name.", exit_code=2
        )
    refuse_inputs(written_for(out), paths)
    sweep(out.parent)  # of a fusion that was killed once its file was there
    if out.is_dir():
        raise LongbelError(f"{out} is a folder", "Give --out a file's name.", exit_code=2)
    if out.exists() and not overwrite:
        raise LongbelError(f"{out} exists", "Replace it with --overwrite.", exit_code=4)
    run = Layout(out).configuration
    if run.exists() and not overwrite:
        raise LongbelError(
            f"{run.parent}: there is a run of that name",
            "Choose another --out, or keep the run aside with --overwrite.",
            exit_code=4,
        )
    if not out.parent.is_dir():
        raise LongbelError(f"{out.parent} is not a folder", "Make it first.", exit_code=2)


def _read(path: Path) -> PredictionFile:
    file = read_predictions(path)
    for note in file.notes:
        log.warning("%s", note)
    if not file.has_documents or file.nameless:
        raise LongbelError(
            f"{file.path}: fusion needs document and mention ids, the table lacks some",
            "Mentions are matched by id.",
        )
    return file


def _put_in_place(fused: Iterable[Fused], record: dict[str, Any], out: Path) -> int:
    """File and record as one; returns the number of mentions."""
    with whole_file(out) as draft:
        count = _write(fused, draft)
        record["sha256"] = sha256_of_file(draft)
        if Layout(out).configuration.exists():
            # Last: what is refused, or read from the run, leaves it in place.
            set_run_aside(out)
        replaced = _replaced(out)
        _write_record(out, record | replaced)
    if replaced:
        _write_record(out, record)
    return count


def _replaced(out: Path) -> dict[str, Any]:
    """What is kept of the record in force until the file is the new one."""
    earlier = read_fusion_record(out)
    if earlier is None:
        return {}
    return {"replaced": {key: value for key, value in earlier.items() if key != "replaced"}}


def _write_record(out: Path, record: dict[str, Any]) -> None:
    write_whole(fusion_record_path(out), to_json(record))


def _marked(fused: Iterable[Fused], marks: Marks) -> Iterator[Fused]:
    for mention in fused:
        yield replace(mention, prediction=marks.of(mention.prediction))


def _write(all_fused: Iterable[Fused], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for fused in all_fused:
            line = json.dumps(fused.to_json(), ensure_ascii=False, allow_nan=False)
            stream.write(line + "\n")
            count += 1
    return count


def fusion_record(
    files: Sequence[PredictionFile],
    options: FusionOptions,
    facts: Sequence[RunFacts],
    tuned: FusionWeights | None = None,
) -> dict[str, Any]:
    """What was fused; its configuration has the keys of a run's, for `signature.run_facts`."""
    names = [fact.names_from for fact in facts if fact.names_from != UNKNOWN]
    combined = RunFacts(
        kb=_common(fact.kb for fact in facts),
        model="+".join(dict.fromkeys(fact.model for fact in facts)),
        beams=_common(fact.beams for fact in facts),
        context_format="+".join(dict.fromkeys(fact.context_format for fact in facts)),
        version=package_version("longbel"),
        linker="+".join(dict.fromkeys(fact.linker for fact in facts)),
        names_from="+".join(dict.fromkeys(names)) or UNKNOWN,
        tuned=UNKNOWN if tuned is None else tuned.tuned,
    )
    fusion: dict[str, Any] = {
        "by": options.by,
        "k": options.k,
        "limit": options.limit,
        "allow_missing": options.allow_missing,
        "systems": _systems(files, options, facts),
    }
    if options.threshold is not None:
        fusion["threshold"] = options.threshold
    if tuned is not None:
        fusion["tuned_documents"] = list(tuned.documents)
    configuration = {key: getattr(combined, field) for field, key in KEYS.items()}
    return {"configuration": configuration, "fusion": fusion}


def _systems(
    files: Sequence[PredictionFile], options: FusionOptions, facts: Sequence[RunFacts]
) -> list[dict[str, Any]]:
    return [
        {"name": name, "sha256": file.sha256, "weight": weight, "run": fact.to_json()}
        for name, file, weight, fact in zip(
            options.names, files, options.weights, facts, strict=True
        )
    ]


def _common(values: Any) -> str:
    distinct = list(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else "mixed" if distinct else UNKNOWN
