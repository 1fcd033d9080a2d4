"""An open run of one shard: which windows are left, and their lines committed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from longbel_cli.runs import lease as leases
from longbel_cli.runs.configuration import difference
from longbel_cli.runs.files import Files, disk_error, to_json
from longbel_cli.runs.inputs import Inputs
from longbel_cli.runs.layout import Layout
from longbel_cli.runs.ledger import ByteRange, Stream, WindowRecord
from longbel_cli.runs.lock import setup_lock
from longbel_cli.runs.publish import CorpusEnd, Finished, committed, publish
from longbel_cli.runs.records import read_record
from longbel_cli.runs.shards import Shard
from longbel_cli.runs.windows import Bounds, Source, Start, Window, windows


class Run:
    """An open run of one shard. Made by `open_run`."""

    def __init__(
        self,
        layout: Layout,
        shard: Shard,
        settings: Mapping[str, Any],
        files: Files,
        finished: Finished | None = None,
        stream: Stream | None = None,
        lease: leases.Lease | None = None,
        inputs: Inputs | None = None,
        paths: Sequence[Path] = (),
        mentions_total: int | None = None,
    ) -> None:
        self.layout = layout
        self.shard = shard
        self.settings = dict(settings)
        self.finished = finished
        self._files = files
        self._stream = stream
        self._lease = lease
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
    def _bounds(self) -> Bounds:
        kept = self.settings
        return Bounds(kept["window_documents"], kept["window_mentions"], kept["limit"])

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
        end = CorpusEnd(total)
        if not self._files.create_file(self.layout.corpus_end, to_json(asdict(end))):
            known = read_record(self.layout.corpus_end, CorpusEnd)
            if known is None:
                self._files.write_file(self.layout.corpus_end, to_json(asdict(end)))
            elif known != end:
                raise LongbelError(
                    f"the corpus ends after {total} windows; another process found {known.windows}",
                    "The input has changed during the run. Put it back, or use --restart.",
                    exit_code=4,
                )

    def commit(
        self,
        window: Window,
        lines: Sequence[str | bytes],
        errors: Sequence[Mapping[str, Any]] = (),
        note: Mapping[str, Any] | None = None,
        mentions: Sequence[str | bytes] = (),
    ) -> None:
        """Write the predictions of a window, one JSON text a line, so that nothing can undo it.

        `mentions` are the lines of the documents with the mentions that were detected in them.
        `errors` are quarantine records beyond those met while reading. Nothing is written if the
        input has changed or another process has taken the run over.
        """
        assert self._stream is not None and self._lease is not None and self._inputs is not None
        self._lease.check()
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

        self._stream.commit(
            [_line(line) for line in lines],
            _json_lines(problems),
            describe,
            [_line(line) for line in mentions],
        )

    def require(self, actual: Mapping[str, Any]) -> None:
        """Refuse (exit code 4) to resume where what an `Auto` setting comes to in this process,
        as a device or a number type, is not what the run keeps."""
        kept = {key: self.settings.get(key) for key in actual}
        lines = difference(kept, actual)
        if lines:
            raise LongbelError(
                f"{self.layout.out}: this process cannot resume the run as it was begun:",
                "Resume on the same kind of machine, or start over with --restart.",
                exit_code=4,
                details=lines,
            )

    def finish(self) -> Finished | None:
        """Make the result once all windows are committed; None where other shards' are awaited."""
        assert self._inputs is not None
        if self.shard.count > 1:
            return None
        with setup_lock(self.layout, self._files):
            inputs, paths = self._inputs, self._paths
            self.finished = publish(self.layout, self._files, lambda: inputs.check_whole(paths))
        return self.finished

    def abandon(self) -> None:
        """Give the lease up before the process is ended by force, from whatever thread."""
        if self._lease is not None:
            self._lease.release()

    def close(self) -> None:
        """Let go of the files and of the lease."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._lease is not None:
            self._lease.release()
            self._lease = None


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
