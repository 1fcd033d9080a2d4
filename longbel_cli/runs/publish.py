"""From committed windows to the finished file: complete, without doubles, in corpus order.

`finished.json` is the point of no return: once it is there, what is left are renames, which any
later start completes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from kb_builder.errors import LongbelError
from kb_builder.files import blocks_of, new_sha256, sha256_of_file, sweep
from longbel_cli.progress import ignore
from longbel_cli.runs.files import Files, disk_error, to_json
from longbel_cli.runs.layout import Layout, StreamPaths
from longbel_cli.runs.ledger import NOTHING, ByteRange, WindowRecord, read_ledger
from longbel_cli.runs.records import read_record


class Placed(NamedTuple):
    """A committed window and the stream that holds it."""

    record: WindowRecord
    paths: StreamPaths


@dataclass(frozen=True)
class CorpusEnd:
    """How many windows the corpus has, once a process has read it to its end."""

    windows: int


@dataclass(frozen=True)
class Finished:
    """What a finished run consists of. `data_from`, `errors_from` and `mentions_from` are the files
    that become the result, the quarantine file and the file of detected mentions; None where they
    already lie in place, or where there is none."""

    windows: int
    documents: int
    mentions: int
    lines: int
    quarantined: int
    quarantined_documents: int
    bytes: int
    sha256: str
    errors_bytes: int
    errors_sha256: str
    data_from: str
    errors_from: str | None
    mentions_bytes: int = 0
    mentions_sha256: str = NOTHING
    mentions_from: str | None = None


class _Copy(NamedTuple):
    source: Path
    bytes: int
    sha256: str
    copied: bool


def _data_of(entry: Placed) -> tuple[Path, ByteRange]:
    return entry.paths.data, entry.record.data


def _errors_of(entry: Placed) -> tuple[Path, ByteRange]:
    return entry.paths.errors, entry.record.errors


def _detected_of(entry: Placed) -> tuple[Path, ByteRange]:
    return entry.paths.mentions, entry.record.detected


def committed(layout: Layout) -> list[Placed]:
    """Every committed window of every stream, by window; doubles stay side by side."""
    placed = [
        Placed(record, paths) for paths in layout.streams() for record in read_ledger(paths)[0]
    ]
    return sorted(placed, key=lambda entry: entry.record.window)


def gaps(placed: Sequence[Placed], total: int) -> list[int]:
    """The windows that nobody has committed."""
    done = {entry.record.window for entry in placed}
    return [window for window in range(total) if window not in done]


def doubles(placed: Sequence[Placed]) -> list[int]:
    """The windows that two streams (or one twice) claim to have committed."""
    indices = [entry.record.window for entry in placed]
    return sorted({window for window, after in pairwise(indices) if window == after})


def read_finished(layout: Layout) -> Finished | None:
    """What finished.json says; None where there is none. LongbelError where it names files that are
    none of the run: they would be moved."""
    finished = read_record(layout.finished, Finished)
    if finished is None:
        return None
    for name in (finished.data_from, finished.errors_from, finished.mentions_from):
        if name is not None and not _is_of_run(name, layout):
            raise LongbelError(
                f"{layout.finished} names a file that is none of the run: {name}",
                "It was altered. Put it back, or start over with --restart.",
                exit_code=4,
            )
    return finished


def _is_of_run(name: str, layout: Layout) -> bool:
    """Whether a name, from the result's folder, is that of the growing result or in the run's
    folder."""
    folder, _, file = name.partition("/")
    return name == layout.part.name or (
        folder == layout.folder.name and "/" not in file and file not in ("", ".", "..")
    )


def finished_run(layout: Layout) -> Finished | None:
    """The finished run that lies at the result's path, byte for byte; None if there is none."""
    finished = read_finished(layout)
    if finished is None or not layout.out.exists():
        return None
    if layout.out.stat().st_size != finished.bytes:
        return None
    return finished if sha256_of_file(layout.out) == finished.sha256 else None


def publish(layout: Layout, files: Files, check_input: Callable[[], None]) -> Finished:
    """Make the result of all committed windows; LongbelError if one is missing, double or bad."""
    end = read_record(layout.corpus_end, CorpusEnd)
    placed = committed(layout)
    if end is None:
        raise LongbelError(
            f"{layout.folder}: no process has reached the end of the corpus yet",
            "Let `longbel link` run to its end, or start it again with the same command.",
            exit_code=4,
        )
    _refuse_incomplete(layout, placed, end.windows)
    if layout.out.exists() and not layout.finished.exists():
        raise LongbelError(
            f"{layout.out} appeared during the run",
            "Move it away and run the same command again: only the last step is left.",
            exit_code=4,
        )
    check_input()
    data = _collect(layout, placed, files, _data_of, layout.folder / "merged.jsonl")
    errors = _collect(layout, placed, files, _errors_of, layout.folder / "merged-errors.jsonl")
    mentions = _collect(
        layout, placed, files, _detected_of, layout.folder / "merged-mentions.jsonl"
    )
    in_place = errors.source == layout.errors
    records = [entry.record for entry in placed]
    finished = Finished(
        windows=len(records),
        documents=sum(record.documents for record in records),
        mentions=sum(record.mentions for record in records),
        lines=sum(record.lines for record in records),
        quarantined=sum(record.quarantined for record in records),
        quarantined_documents=sum(record.quarantined_documents for record in records),
        bytes=data.bytes,
        sha256=data.sha256,
        errors_bytes=errors.bytes,
        errors_sha256=errors.sha256,
        data_from=os.path.relpath(data.source, layout.out.parent),
        errors_from=None if in_place else os.path.relpath(errors.source, layout.out.parent),
        mentions_bytes=mentions.bytes,
        mentions_sha256=mentions.sha256,
        mentions_from=os.path.relpath(mentions.source, layout.out.parent)
        if mentions.bytes
        else None,
    )
    files.write_file(layout.finished, to_json(asdict(finished)))
    complete(layout, files)
    return finished


def complete(layout: Layout, files: Files) -> None:
    """The renames that follow `finished.json`; harmless when they were done before."""
    finished = read_finished(layout)
    if finished is None:
        return
    if finished.errors_from is not None:
        errors = layout.out.parent / finished.errors_from
        if errors.exists():
            files.move(errors, layout.errors)
    if finished.mentions_from is not None:
        mentions = layout.out.parent / finished.mentions_from
        if mentions.exists() and mentions.stat().st_size == finished.mentions_bytes:
            files.move(mentions, layout.mentions)
    data = layout.out.parent / finished.data_from
    # Of another size it is the part of a run begun anew since, which earlier versions let happen.
    if data.exists() and data.stat().st_size == finished.bytes:
        files.move(data, layout.out)
    if finished_sizes_agree(layout, finished):
        for folder in (layout.folder, layout.leases):
            sweep(folder, files)
        with suppress(OSError):
            files.unlink(layout.replaced)
        for paths in layout.streams():
            for path in (paths.data, paths.errors, paths.mentions):
                if path not in (layout.part, layout.errors):
                    with suppress(OSError):
                        files.unlink(path)
        if finished.data_from != os.path.relpath(layout.part, layout.out.parent):
            with suppress(OSError):
                files.unlink(layout.part)


def finished_sizes_agree(layout: Layout, finished: Finished) -> bool:
    return layout.out.exists() and layout.out.stat().st_size == finished.bytes


def _refuse_incomplete(layout: Layout, placed: Sequence[Placed], total: int) -> None:
    missing = gaps(placed, total)
    if missing:
        raise LongbelError(
            f"{layout.folder}: {len(missing)} of {total} windows are missing: {_listed(missing)}",
            "Start `longbel link` again with the same command: it links just these.",
            exit_code=4,
        )
    twice = doubles(placed)
    if twice:
        ledgers = sorted({str(e.paths.ledger) for e in placed if e.record.window in twice})
        raise LongbelError(
            f"{layout.folder}: {len(twice)} windows exist twice: {_listed(twice)}; "
            f"in {', '.join(ledgers)}",
            "Remove the ledger that does not belong to the run; "
            "`longbel link` fills what is then missing.",
            exit_code=4,
        )
    beyond = [entry.record.window for entry in placed if entry.record.window >= total]
    if beyond:
        raise LongbelError(
            f"{layout.folder}: windows beyond the corpus's last, {total - 1}: {_listed(beyond)}",
            "This folder holds windows of another corpus; start over with --restart.",
            exit_code=4,
        )


def _listed(windows: Sequence[int]) -> str:
    shown = ", ".join(str(window) for window in windows[:10])
    return shown if len(windows) <= 10 else f"{shown}, …"


def _collect(
    layout: Layout,
    placed: Sequence[Placed],
    files: Files,
    part_of: Callable[[Placed], tuple[Path, ByteRange]],
    target: Path,
) -> _Copy:
    """All pieces in order as one file: a stream's own where it is just that, else a copy."""
    sources = {part_of(entry)[0] for entry in placed if part_of(entry)[1].end}
    only = next(iter(sources)) if len(sources) == 1 else None
    if only in _whole_files(layout) and _contiguous(only, placed, part_of):
        return _Copy(only, *_checked_size(placed, part_of, ignore), copied=False)
    with files.writing(target) as write:
        size, digest = _checked_size(placed, part_of, write)
    return _Copy(target, size, digest, copied=True)


def _whole_files(layout: Layout) -> tuple[Path, Path, Path]:
    """Those of a run of one process, which become the result's files by renames."""
    return layout.part, layout.errors, layout.stream_of_one.mentions


def _contiguous(
    path: Path, placed: Sequence[Placed], part_of: Callable[[Placed], tuple[Path, ByteRange]]
) -> bool:
    position = 0
    for entry in placed:
        piece = part_of(entry)[1]
        if piece.start == piece.end:
            continue
        if piece.start != position:
            return False
        position = piece.end
    return path.stat().st_size == position


def _checked_size(
    placed: Sequence[Placed],
    part_of: Callable[[Placed], tuple[Path, ByteRange]],
    write: Callable[[bytes], Any],
) -> tuple[int, str]:
    """Read every piece, check it, pass it on; the size and hash of all together."""
    whole, size = new_sha256(), 0
    for entry in placed:
        path, piece = part_of(entry)
        if piece.start == piece.end:
            continue
        own = new_sha256()
        for block in _blocks(path, piece):
            own.update(block)
            whole.update(block)
            size += len(block)
            write(block)
        if own.hexdigest() != piece.sha256:
            raise LongbelError(
                f"{path}: window {entry.record.window} is not as it was written "
                f"(bytes {piece.start} to {piece.end})",
                "Start `longbel link` again with the same command: it links that window anew.",
                exit_code=4,
            )
    return size, whole.hexdigest()


def _blocks(path: Path, piece: ByteRange) -> Iterator[bytes]:
    try:
        yield from blocks_of(path, piece.start, piece.end)
    except OSError as error:
        raise disk_error(error, path, "read") from error
