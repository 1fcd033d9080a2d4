"""A run on disk: begun once, stopped at any moment, resumed by the same command.

Knows no model and no decoder: whoever links asks for windows and commits their lines.

    configuration = RunConfiguration(
        results={"model": model_hash, "beams": 5, "max_batch_tokens": Auto(choose_budget)},
        inputs=input_files(corpus), command=sys.argv[1:])
    with StopSignals(time_limit) as stop, open_run(out, configuration, shard) as run:
        if run.finished is None:
            for window in run.pending(source):
                lines = [to_line(prediction) for prediction in link(window.documents, stop.check)]
                run.commit(window, lines, note={"max_batch_tokens": budget})
            run.finish()

`source` is `runs.corpus_source.corpus_source(corpus, prepare)`, or anything else that keeps to
`runs.windows.Source`; `inputs` are `corpus_source.input_files(corpus)`.
`run.settings` holds the resolved settings (`max_batch_tokens` is a number there, the same in every
process and after every restart), `run.last_note` the note of the last window this shard committed.
Whatever ends the process, even inside `commit`, loses at most the window at work; the final file
has the same bytes as that of a run that nothing disturbed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from kb_builder.errors import LongbelError
from kb_builder.files import drafted, new_sha256, put_in_place
from longbel_cli.runs import lease as leases
from longbel_cli.runs.configuration import Auto, RunConfiguration
from longbel_cli.runs.files import Files, disk_error
from longbel_cli.runs.inputs import Inputs
from longbel_cli.runs.kept import Kept
from longbel_cli.runs.layout import SAVED_INPUT, Layout
from longbel_cli.runs.lock import drop_empty, setup_lock
from longbel_cli.runs.opening import Opening
from longbel_cli.runs.publish import Finished, complete, finished_run, publish
from longbel_cli.runs.shard_run import Run
from longbel_cli.runs.shards import Shard, shard_of
from longbel_cli.runs.signals import Stopped, StopSignals, parse_duration
from longbel_cli.runs.windows import Bounds, Window

__all__ = [
    "Auto",
    "Bounds",
    "Files",
    "Finished",
    "Run",
    "RunConfiguration",
    "Shard",
    "StopSignals",
    "Stopped",
    "Window",
    "drop_unused",
    "merge_run",
    "open_run",
    "parse_duration",
    "set_run_aside",
    "shard_of",
    "spool",
]


def open_run(
    out: Path,
    configuration: RunConfiguration,
    shard: Shard = Shard(),
    restart: bool = False,
    overwrite: bool = False,
    files: Files | None = None,
    stale_seconds: float = leases.STALE_SECONDS,
) -> Run:
    """Begin the run whose result is `out`, or resume it; a finished one has `finished` set.

    LongbelError with exit code 4 if a run of another configuration, a living process or a file of
    other origin is in the way. `restart` moves an earlier run aside (`OUT.run.1`); `overwrite`
    replaces one of another configuration, and such a file.
    """
    layout = Layout(Path(out))
    opening = Opening(layout, configuration, shard, files or Files(), stale_seconds)
    try:
        return _open(opening, restart, overwrite)
    except OSError as error:
        path = Path(os.fsdecode(error.filename)) if error.filename else Path(out)
        raise disk_error(error, path, "use") from error


def _open(opening: Opening, restart: bool, overwrite: bool) -> Run:
    if not restart:
        finished = opening.already_finished()
        if finished is not None:
            return finished
    while True:
        with setup_lock(opening.layout, opening.files):
            if opening.clear_the_way(restart, overwrite):
                restart = False
                continue
            lease = opening.lease()
        break
    try:
        return opening.start(lease)
    except BaseException:
        lease.release()
        raise


def set_run_aside(out: Path, inputs: Sequence[Path] = ()) -> None:
    """Keep a run and its result elsewhere (`OUT.run.1`), so that something else can take its place;
    LongbelError where a living process writes it. Those of `inputs` that lie in its folder stay."""
    configuration = RunConfiguration({}, inputs)
    layout, files = Layout(out), Files()
    opening = Opening(layout, configuration, Shard(), files, leases.STALE_SECONDS)
    with setup_lock(layout, files):
        opening.set_aside()


def merge_run(out: Path, files: Files | None = None) -> Finished:
    """Join the shards of a run to its result; the finished run where that is done.

    LongbelError (exit code 4) if a window is missing, there twice, or not as it was written.
    """
    files = files or Files()
    layout = Layout(Path(out))
    kept = Kept.read(layout)
    if kept is None:
        raise LongbelError(
            f"{layout.folder}: there is no run",
            "Give the path that `longbel link --out` was given.",
        )
    with setup_lock(layout, files):
        complete(layout, files)
        finished = finished_run(layout)
        if finished is not None:
            return finished
        inputs = kept.inputs
        return publish(layout, files, lambda: inputs.check_whole(inputs.paths))


def spool(stream: BinaryIO, out: Path, suffix: str = ".jsonl", files: Files | None = None) -> Path:
    """Save an input that cannot be read twice in the folder of the run whose result is `out`.

    Named by content, so that the same input is the same file. An empty stream means the input
    that an earlier start saved: the run's, else the only one.
    """
    files = files or Files()
    layout = Layout(Path(out))
    folder = layout.folder
    files.make_folder(folder)
    digest = new_sha256()
    with drafted(folder / "input", files) as draft:
        try:
            with draft.open("wb") as target:
                while block := stream.read(1 << 20):
                    digest.update(block)
                    target.write(block)
            earlier = _spooled_earlier(layout, suffix) if draft.stat().st_size == 0 else []
            if len(earlier) == 1:
                return earlier[0]
            path = folder / f"{SAVED_INPUT}{digest.hexdigest()[:16]}{suffix}"
            put_in_place(draft, path, files)
        except OSError as error:
            raise disk_error(error, draft, "write") from error
    return path


def _spooled_earlier(layout: Layout, suffix: str) -> list[Path]:
    """The saved inputs that may be meant. A start that died may have left its own as well, so
    those that the run's table names come first."""
    saved = sorted(layout.folder.glob(f"{SAVED_INPUT}*{suffix}"))
    try:
        known = {path.name for path in Inputs.load(layout.inputs).paths}
    except LongbelError:  # no run has begun; a damaged table is told when the run is opened
        known = set()
    return [path for path in saved if path.name in known] or saved


def drop_unused(spooled: Path, out: Path) -> None:
    """Remove a saved input that no run beside it has in its table: that of a refused start.

    By its name, which is its content's: the folder may have been moved since, and to keep a copy
    that is not needed loses nothing.
    """
    for table in spooled.parent.parent.glob("*.run/inputs.jsonl"):
        if spooled.name.encode() in table.read_bytes():
            return
    spooled.unlink(missing_ok=True)
    drop_empty(Layout(out))
