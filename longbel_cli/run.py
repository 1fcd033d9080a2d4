"""A run on disk: begun once, stopped at any moment, gone on with by the same command.

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

import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kb_builder.errors import LongbelError
from longbel_cli.runs import claim as claims
from longbel_cli.runs.configuration import (
    FORMAT,
    Auto,
    RunConfiguration,
    difference,
    provenance,
    resolved,
)
from longbel_cli.runs.files import Files, disk_error, read_json, to_json, unique_name
from longbel_cli.runs.inputs import Inputs
from longbel_cli.runs.launch import launch_of, repeats_restart
from longbel_cli.runs.layout import Layout
from longbel_cli.runs.ledger import ByteRange, Stream, WindowRecord
from longbel_cli.runs.publish import Finished, committed, complete, finished_run, publish
from longbel_cli.runs.shards import Shard, shard_of
from longbel_cli.runs.signals import Stopped, StopSignals, parse_duration
from longbel_cli.runs.windows import Bounds, Source, Start, Window, windows
from longbel_cli.version import package_version

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
    "merge_run",
    "open_run",
    "parse_duration",
    "set_run_aside",
    "shard_of",
    "spool",
]

Notify = Callable[[str], None]


def _silent(message: str) -> None:
    """Notices of a run that nobody wants to hear."""


@dataclass(frozen=True)
class _Kept:
    """What run.json says."""

    settings: dict[str, Any]
    inputs: Inputs
    free: dict[str, Any]

    @classmethod
    def read(cls, layout: Layout) -> _Kept | None:
        try:
            content = json.loads(layout.configuration.read_bytes())
            form = content["format"]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise LongbelError(
                f"{layout.configuration} is damaged",
                "Put it back, or start over with --restart (keeps the old run aside).",
                exit_code=4,
            ) from error
        if form != FORMAT:
            raise LongbelError(
                f"{layout.configuration}: format {form}, not {FORMAT}",
                "It was written by another version of longbel. Start over with --restart.",
                exit_code=4,
            )
        inputs = Inputs.load(layout.inputs)
        return cls(content["configuration"], inputs, content["free"])


class Run:
    """An open run of one shard. Made by `open_run`."""

    def __init__(
        self,
        layout: Layout,
        shard: Shard,
        bounds: Bounds,
        settings: Mapping[str, Any],
        files: Files,
        finished: Finished | None = None,
        stream: Stream | None = None,
        claim: claims.Claim | None = None,
        inputs: Inputs | None = None,
        paths: Sequence[Path] = (),
        mentions_total: int | None = None,
    ) -> None:
        self.layout = layout
        self.shard = shard
        self.settings = dict(settings)
        self.finished = finished
        self._bounds = bounds
        self._files = files
        self._stream = stream
        self._claim = claim
        self._inputs = inputs
        self._paths = paths
        self._mentions_total = mentions_total
        self._window_began = time.monotonic()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def records(self) -> Sequence[WindowRecord]:
        """The windows that this shard's stream holds."""
        return self._stream.records if self._stream else ()

    @property
    def last_note(self) -> dict[str, Any]:
        """The note of the window that this shard committed last, in this or an earlier process."""
        return self.records[-1].note if self.records else {}

    @property
    def mentions_left(self) -> int | None:
        """About how many mentions this shard still has to link; None where nobody counted."""
        if self._mentions_total is None:
            return None
        own = sum(record.mentions for record in self.records)
        done = sum(entry.record.mentions for entry in committed(self.layout))
        share = self._mentions_total // self.shard.count
        return max(min(share - own, self._mentions_total - done), 0)

    def pending(self, source: Source) -> Iterator[Window]:
        """This shard's windows that nobody has committed yet, in corpus order.

        Windows that hold only quarantine records are committed on the way.
        """
        done = {placed.record.window: placed.record for placed in committed(self.layout)}
        start, total = _start(done)
        if total is None:
            total = start.window
            for window in self._read(source, start):
                total = window.index + 1
                self._window_began = time.monotonic()
                if not self.shard.owns(window.index) or window.index in done:
                    continue
                if window.documents:
                    yield window
                else:
                    self.commit(window, [])
        self._note_end(total)

    def _read(self, source: Source, start: Start) -> Iterator[Window]:
        try:
            yield from windows(source, self._bounds, start)
        except OSError as error:
            path = Path(os.fsdecode(error.filename)) if error.filename else Path("the input")
            raise disk_error(error, path, "read") from error

    def _note_end(self, total: int) -> None:
        content = {"windows": total}
        if not self._files.create_file(self.layout.corpus_end, to_json(content)):
            known = read_json(self.layout.corpus_end)
            if known is None:
                self._files.write_file(self.layout.corpus_end, to_json(content))
            elif known != content:
                raise LongbelError(
                    f"the corpus ends after {total} windows; another process found "
                    f"{known['windows']}",
                    "The input has changed during the run. Put it back, or use --restart.",
                    exit_code=4,
                )

    def commit(
        self,
        window: Window,
        lines: Sequence[str | bytes],
        errors: Sequence[Mapping[str, Any]] = (),
        note: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the predictions of a window, one JSON text a line, so that nothing can undo it.

        `errors` are quarantine records beyond those met while reading. Nothing is written if the
        input has changed or another process has taken the run over.
        """
        assert self._stream is not None and self._claim is not None and self._inputs is not None
        self._claim.check()
        self._inputs.check_touched(self._paths)
        problems = (*window.problems, *errors)

        def describe(data: ByteRange, quarantine: ByteRange) -> WindowRecord:
            return WindowRecord(
                window=window.index,
                document_ids=tuple(document.id for document in window.documents),
                quarantined_ids=tuple(dict.fromkeys(_left_out(problems))),
                mentions=window.mentions,
                lines=len(lines),
                quarantined=len(problems),
                quarantined_documents=sum(bool(p.get("whole_document")) for p in problems),
                data=data,
                errors=quarantine,
                following=window.following,
                last=window.last,
                seconds=round(time.monotonic() - self._window_began, 3),
                at=round(time.time(), 3),
                note=dict(note or {}),
            )

        self._stream.commit([_line(line) for line in lines], _json_lines(problems), describe)

    def require(self, actual: Mapping[str, Any]) -> None:
        """Refuse (exit code 4) to go on where what an `Auto` setting comes to in this process,
        as a device or a number type, is not what the run keeps."""
        kept = {key: self.settings.get(key) for key in actual}
        lines = difference(kept, actual)
        if lines:
            raise LongbelError(
                f"{self.layout.out}: this process cannot go on with the run as it was begun:\n  "
                + "\n  ".join(lines),
                "Go on on the same kind of machine, or start over with --restart.",
                exit_code=4,
            )

    def finish(self) -> Finished | None:
        """Make the result once all windows are committed; None where other shards' are awaited."""
        assert self._inputs is not None
        if self.shard.count > 1:
            return None
        with _setup_lock(self.layout, self._files):
            inputs, paths = self._inputs, self._paths
            self.finished = publish(self.layout, self._files, lambda: inputs.check_whole(paths))
        return self.finished

    def abandon(self) -> None:
        """Give the claim up before the process is ended by force, from whatever thread."""
        if self._claim is not None:
            self._claim.release()

    def close(self) -> None:
        """Let go of the files and of the claim."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._claim is not None:
            self._claim.release()
            self._claim = None


def _line(line: str | bytes) -> bytes:
    content = line.encode() if isinstance(line, str) else line
    return content if content.endswith(b"\n") else content + b"\n"


def _json_lines(problems: Sequence[Mapping[str, Any]]) -> list[bytes]:
    return [json.dumps(problem, ensure_ascii=False).encode() + b"\n" for problem in problems]


def _left_out(problems: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The ids of documents that were left out as a whole."""
    for problem in problems:
        if problem.get("whole_document") and problem.get("document_id") is not None:
            yield problem["document_id"]


def _start(done: Mapping[int, WindowRecord]) -> tuple[Start, int | None]:
    """Where reading begins: after the windows that are done from the first on; and the number of
    windows, where it is known and all are done."""
    first = 0
    documents = 0
    ids: set[str] = set()
    while first in done:
        documents += done[first].documents
        ids.update(done[first].document_ids, done[first].quarantined_ids)
        first += 1
    if first == 0:
        return Start(), None
    before = done[first - 1]
    start = Start(first, before.following, documents, frozenset(ids))
    return start, first if before.last else None


def open_run(
    out: Path,
    configuration: RunConfiguration,
    shard: Shard = Shard(),
    restart: bool = False,
    overwrite: bool = False,
    files: Files | None = None,
    notify: Notify = _silent,
    stale_seconds: float = claims.STALE_SECONDS,
) -> Run:
    """Begin the run whose result is `out`, or go on with it; a finished one has `finished` set.

    LongbelError with exit code 4 if a run of another configuration, a living process or a file of
    other origin is in the way. `restart` moves an earlier run aside (`OUT.run.1`); `overwrite`
    replaces one of another configuration, and such a file.
    """
    try:
        return _open(Layout(Path(out)), configuration, shard, restart, overwrite,
                     files or Files(), notify, stale_seconds)  # fmt: skip
    except OSError as error:
        path = Path(os.fsdecode(error.filename)) if error.filename else Path(out)
        raise disk_error(error, path, "use") from error


def _open(
    layout: Layout,
    configuration: RunConfiguration,
    shard: Shard,
    restart: bool,
    overwrite: bool,
    files: Files,
    notify: Notify,
    stale_seconds: float,
) -> Run:
    opening = _Opening(layout, configuration, shard, files, notify, stale_seconds)
    if not restart:
        finished = opening.already_finished()
        if finished is not None:
            return finished
    while True:
        with _setup_lock(opening.layout, opening.files):
            if opening.clear_the_way(restart, overwrite):
                restart = False
                continue
            claim = opening.claim()
        break
    try:
        return opening.start(claim)
    except BaseException:
        claim.release()
        raise


@dataclass
class _Opening:
    """The steps of `open_run`."""

    layout: Layout
    configuration: RunConfiguration
    shard: Shard
    files: Files
    notify: Notify
    stale_seconds: float

    def already_finished(self) -> Run | None:
        """The run, if it is finished and as asked for. Writes nothing."""
        kept = _Kept.read(self.layout)
        if kept is None or self._differences(kept):
            return None
        finished = finished_run(self.layout)
        if finished is None:
            return None
        return self._run(kept.settings, finished=finished)

    def _differences(self, kept: _Kept) -> list[str]:
        asked = self.configuration.compared()
        changes = kept.inputs.changes(self.configuration.inputs)
        return difference(kept.settings, asked) + [f"input: {change}" for change in changes]

    def _run(self, settings: Mapping[str, Any], **parts: Any) -> Run:
        bounds = self.configuration.bounds
        return Run(self.layout, self.shard, bounds, settings, self.files, **parts)

    def clear_the_way(self, restart: bool, overwrite: bool) -> bool:
        """Refuse, or remove, what is in the way; whether something was moved aside."""
        if restart and self._restart():
            return True
        kept = _Kept.read(self.layout)
        if kept is None:
            return self._clear_strangers(overwrite)
        complete(self.layout, self.files)
        differences = self._differences(kept)
        if differences and not overwrite:
            raise LongbelError(
                f"{self.layout.out}: a run of another configuration is there:\n  "
                + "\n  ".join(differences),
                "Run it as it was begun, choose another --out, or use --restart "
                "(keeps the old run aside) or --overwrite.",
                exit_code=4,
            )
        if differences:
            self._refuse_living()
            self._discard()
            return True
        if self.layout.out.exists() and finished_run(self.layout) is None:
            return self._clear_strangers(overwrite)
        if self.layout.finished.exists() and not self.layout.out.exists():
            self.notify(f"{self.layout.out} is gone since the run finished; linking again")
            self.files.unlink(self.layout.finished)
        return False

    def _restart(self) -> bool:
        kept = read_json(self.layout.configuration)  # of whatever format
        if kept is not None and repeats_restart(kept.get("launch"), self.shard):
            self.notify("--restart: done before by this same job; going on")
            return False
        return self.set_aside()

    def set_aside(self) -> bool:
        """Move a run and its result to a folder of another name; whether there was one."""
        names = (self.layout.out, self.layout.part, self.layout.configuration)
        if not any(path.exists() for path in names):
            return False
        self._refuse_living()
        aside = self._free_name()
        for path in (self.layout.out, self.layout.part):
            if path.exists():
                self.files.move(path, self.layout.folder / path.name)
        self.files.move(self.layout.folder, aside)
        self._bring_inputs_back(aside)
        self.notify(f"the earlier run is kept in {aside}")
        return True

    def _free_name(self) -> Path:
        number = 1
        while (
            aside := self.layout.folder.with_name(f"{self.layout.folder.name}.{number}")
        ).exists():
            number += 1
        return aside

    def _bring_inputs_back(self, aside: Path) -> None:
        """Input that was spooled into the run's folder belongs to the new run."""
        for path in self.configuration.inputs:
            if path.parent == self.layout.folder and (aside / path.name).exists():
                self.files.make_folder(self.layout.folder)
                self.files.move(aside / path.name, path)

    def _discard(self) -> None:
        aside = self.layout.folder.with_name(f".{self.layout.folder.name}.{uuid.uuid4().hex}")
        for path in (self.layout.out, self.layout.part):
            if path.exists():
                self.files.move(path, self.layout.folder / path.name)
        self.files.move(self.layout.folder, aside)
        self._bring_inputs_back(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _clear_strangers(self, overwrite: bool) -> bool:
        """Files at the run's place that the run does not know."""
        if not self.layout.configuration.exists() and self.layout.streams():
            raise LongbelError(
                f"{self.layout.folder} holds windows but no run.json",
                "Put run.json back, or start over with --restart after moving the folder away.",
                exit_code=4,
            )
        strangers = [self.layout.out]
        if not self.layout.configuration.exists():
            strangers.append(self.layout.part)
        for path in strangers:
            if not path.exists():
                continue
            if not overwrite:
                raise LongbelError(
                    f"{path} exists and is no finished run of this configuration",
                    "Choose another --out, or use --overwrite (replaces it) or --restart "
                    "(keeps it aside).",
                    exit_code=4,
                )
            self.files.move(path, self.layout.replaced)
        return False

    def _refuse_living(self, except_stream: str = "", except_count: int = 0) -> None:
        for stream in claims.claimed_streams(self.layout.claims):
            if stream == except_stream or stream.endswith(f"-of-{except_count:05d}"):
                continue
            number, holder = claims.newest_claim(self.layout.claims, stream)
            if holder is not None and claims.is_alive(
                self.layout.claims, holder, number, self.stale_seconds, self.notify
            ):
                raise claims.refusal(holder)

    def claim(self) -> claims.Claim:
        """The claim on this shard's stream; no process of another shard count may be alive."""
        claim = claims.acquire(
            self.layout.claims, self.shard.name, self.files, self.stale_seconds, self.notify
        )
        try:
            self._refuse_living(self.shard.name, self.shard.count)
        except BaseException:
            claim.release()
            raise
        return claim

    def start(self, claim: claims.Claim) -> Run:
        """The open run: run.json there, the stream cut back to what is committed."""
        kept = _Kept.read(self.layout) or self._begin()
        finished = finished_run(self.layout)
        if finished is not None:
            claim.release()
            return self._run(kept.settings, finished=finished)
        ended = self.layout.corpus_end.exists()
        stream = Stream(self.layout.stream(self.shard), self.files, check_all=ended)
        return self._run(
            kept.settings,
            stream=stream,
            claim=claim,
            inputs=kept.inputs,
            paths=self.configuration.inputs,
            mentions_total=kept.free.get("mentions"),
        )

    def _begin(self) -> _Kept:
        """Write run.json, unless another shard has just done so: then agree with that."""
        inputs = Inputs.read(self.configuration.inputs)
        self.files.write_file(self.layout.inputs, inputs.to_lines())
        content = {
            "format": FORMAT,
            "version": package_version("longbel"),
            "configuration": self.configuration.resolved(),
            "inputs": inputs.summary(),
            "free": resolved(self.configuration.free),
            "command": list(self.configuration.command),
            "launch": launch_of(),
            "provenance": provenance(),
        }
        self.files.create_file(self.layout.configuration, to_json(content))
        kept = _Kept.read(self.layout)
        assert kept is not None
        differences = self._differences(kept)
        if differences:
            raise LongbelError(
                f"{self.layout.out}: another shard has just begun this run otherwise:\n  "
                + "\n  ".join(differences),
                "Start all shards with the same options and input.",
                exit_code=4,
            )
        return kept


def set_run_aside(out: Path, inputs: Sequence[Path] = (), notify: Notify = _silent) -> None:
    """Keep a run and its result elsewhere (`OUT.run.1`), so that something else can take its place;
    LongbelError where a living process writes it. Those of `inputs` that lie in its folder stay."""
    configuration = RunConfiguration({}, inputs)
    layout, files = Layout(out), Files()
    opening = _Opening(layout, configuration, Shard(), files, notify, claims.STALE_SECONDS)
    with _setup_lock(layout, files):
        opening.set_aside()


@contextmanager
def _setup_lock(layout: Layout, files: Files) -> Iterator[None]:
    """One process at a time decides what becomes of the run's folder.

    The kernel frees the lock of a dead process. Where the file system has no locks, exclusive
    creation alone keeps processes apart.
    """
    while True:
        files.make_folder(layout.folder)
        try:
            fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise disk_error(error, layout.lock, "write") from error
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        with suppress(OSError):
            if os.fstat(fd).st_ino == layout.lock.stat().st_ino:
                break
        os.close(fd)
    try:
        yield
    finally:
        os.close(fd)


def merge_run(out: Path, files: Files | None = None) -> Finished:
    """Join the shards of a run to its result; the finished run where that is done.

    LongbelError (exit code 4) if a window is missing, there twice, or not as it was written.
    """
    files = files or Files()
    layout = Layout(Path(out))
    kept = _Kept.read(layout)
    if kept is None:
        raise LongbelError(
            f"{layout.folder}: there is no run",
            "Give the path that `longbel link --out` was given.",
        )
    with _setup_lock(layout, files):
        complete(layout, files)
        finished = finished_run(layout)
        if finished is not None:
            return finished
        inputs = kept.inputs
        return publish(layout, files, lambda: inputs.check_whole(inputs.paths))


def spool(stream: BinaryIO, out: Path, suffix: str = ".jsonl", files: Files | None = None) -> Path:
    """Save an input that cannot be read twice in the folder of the run whose result is `out`.

    Named by content, so that the same input is the same file. An empty stream means the input
    that an earlier start saved, if there is exactly one.
    """
    files = files or Files()
    folder = Layout(Path(out)).folder
    files.make_folder(folder)
    draft = folder / f".input.{unique_name()}.tmp"
    digest = hashlib.sha256()
    try:
        with draft.open("wb") as target:
            while block := stream.read(1 << 20):
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
        earlier = sorted(folder.glob(f"input-*{suffix}"))
        if draft.stat().st_size == 0 and len(earlier) == 1:
            draft.unlink()
            return earlier[0]
        path = folder / f"input-{digest.hexdigest()[:16]}{suffix}"
        files.move(draft, path)
    except OSError as error:
        raise disk_error(error, draft, "write") from error
    return path
