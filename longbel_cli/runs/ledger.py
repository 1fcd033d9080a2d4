"""The ledger: one checked line per committed window, and the stream of files that it vouches for.

A window counts as done when its ledger line is whole, carries its own check, and its data file is
long enough. Whatever else a crash left in a stream is cut off or, inside, ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.files import sha256_of, sha256_of_file
from longbel_cli.runs.files import AppendFile, Files
from longbel_cli.runs.layout import StreamPaths

_CHECK = re.compile(rb',"check":"([0-9a-f]{16})"\}$')


NOTHING = sha256_of(b"")


@dataclass(frozen=True)
class ByteRange:
    """Bytes `[start, end)` of a file and their SHA-256."""

    start: int
    end: int
    sha256: str


@dataclass(frozen=True)
class WindowRecord:
    """What the ledger keeps of a committed window.

    `quarantined_ids` are documents left out as a whole whose id could be read,
    `quarantined_documents` their number with those without; `quarantined` counts all quarantine
    records, `lines` predictions. `following` is the reader's position after the window's
    last document; `last` says that the corpus ends with it. `seconds` is what the window took,
    `at` the Unix time of the commit, `note` whatever the linker wants to find again. `detected` is
    what the window has in the file of detected mentions.
    """

    window: int
    document_ids: tuple[str, ...]
    quarantined_ids: tuple[str, ...]
    mentions: int
    lines: int
    quarantined: int
    quarantined_documents: int
    data: ByteRange
    errors: ByteRange
    following: Any
    last: bool
    seconds: float
    at: float
    note: dict[str, Any] = field(default_factory=dict)
    detected: ByteRange = ByteRange(0, 0, NOTHING)

    @property
    def documents(self) -> int:
        return len(self.document_ids)

    def to_line(self) -> bytes:
        content = asdict(self)
        if self.detected.start == self.detected.end:
            del content["detected"]
        content["first_document"] = self.document_ids[0] if self.document_ids else None
        content["last_document"] = self.document_ids[-1] if self.document_ids else None
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        return body[:-1] + b',"check":"' + _check(body) + b'"}\n'

    @classmethod
    def from_line(cls, line: bytes) -> WindowRecord | None:
        """The record of one line without its line end; None if any byte of it is wrong."""
        match = _CHECK.search(line)
        if match is None:
            return None
        body = line[: match.start()] + b"}"
        if _check(body) != match[1]:
            return None
        content = json.loads(body)
        names = {entry.name for entry in fields(cls)}
        kept = {key: value for key, value in content.items() if key in names}
        kept["document_ids"] = tuple(kept["document_ids"])
        kept["quarantined_ids"] = tuple(kept["quarantined_ids"])
        kept["data"] = ByteRange(**kept["data"])
        kept["errors"] = ByteRange(**kept["errors"])
        if "detected" in kept:
            kept["detected"] = ByteRange(**kept["detected"])
        return cls(**kept)


def _check(body: bytes) -> bytes:
    return sha256_of(body)[:16].encode()


def read_ledger(paths: StreamPaths, merged: bool = False) -> tuple[list[WindowRecord], int]:
    """The windows that a stream holds, in the order of commit, and where its last line ends.

    Safe to call while another process writes the stream. `merged`: its data may have been moved
    into the result, so only the ledger counts.
    """
    if not paths.ledger.exists():
        return [], 0
    content = paths.ledger.read_bytes()
    sizes = [_size_of(path) for path in (paths.data, paths.errors, paths.mentions)]
    records: list[WindowRecord] = []
    position = end = 0
    while (stop := content.find(b"\n", position)) >= 0:
        record = WindowRecord.from_line(content[position:stop])
        position = stop + 1
        if record is None:
            continue
        ends = (record.data.end, record.errors.end, record.detected.end)
        if not merged and any(end > size for end, size in zip(ends, sizes, strict=True)):
            continue
        records.append(record)
        end = position
    return records, end


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class Stream:
    """One shard's files, open for this process alone."""

    def __init__(self, paths: StreamPaths, files: Files, check_all: bool = False) -> None:
        """Open, and cut what a crash left: at the end always, anywhere with `check_all`."""
        self.paths = paths
        self._files = files
        created = not paths.ledger.exists()
        self.records = self._sound_records(check_all)
        self._ledger = AppendFile(paths.ledger, files)
        self._data = AppendFile(paths.data, files)
        self._errors = AppendFile(paths.errors, files)
        self._mentions = AppendFile(paths.mentions, files) if paths.mentions.exists() else None
        if created:
            files.sync_folder(paths.ledger.parent)
            files.sync_folder(paths.data.parent)
        self._data.cut(max((record.data.end for record in self.records), default=0))
        self._errors.cut(max((record.errors.end for record in self.records), default=0))
        if self._mentions is not None:
            self._mentions.cut(max((record.detected.end for record in self.records), default=0))

    def _sound_records(self, check_all: bool) -> list[WindowRecord]:
        """The records whose bytes are as written, with the ledger rewritten to hold just these.

        Only the end of a file can be damaged by a crash, so only the last record is read again
        (and the one before, should it be damaged), unless `check_all`.
        """
        records, end = read_ledger(self.paths)
        if check_all:
            sound = [record for record in records if self._is_sound(record)]
        else:
            sound = list(records)
            while sound and not self._is_sound(sound[-1]):
                sound.pop()
        if len(sound) < len(records):
            lines = b"".join(record.to_line() for record in sound)
            self._files.write_file(self.paths.ledger, lines)
        elif self.paths.ledger.exists():
            ledger = AppendFile(self.paths.ledger, self._files)
            try:
                ledger.cut(end)
            finally:
                ledger.close()
        return sound

    def _is_sound(self, record: WindowRecord) -> bool:
        return is_sound(self.paths, record)

    def commit(
        self,
        lines: Sequence[bytes],
        errors: Sequence[bytes],
        describe: Callable[[ByteRange, ByteRange], WindowRecord],
        mentions: Sequence[bytes] = (),
    ) -> WindowRecord:
        """Data, flush, ledger line, flush; `describe(data, errors)` makes the record."""
        detected = self._append_mentions(mentions)
        data = self._append(self._data, lines)
        quarantine = self._append(self._errors, errors)
        record = replace(describe(data, quarantine), detected=detected)
        try:
            self._ledger.append(record.to_line())
        except BaseException:
            with suppress(LongbelError):
                self._data.cut(data.start)
                self._errors.cut(quarantine.start)
                if self._mentions is not None and mentions:
                    self._mentions.cut(detected.start)
            raise
        self.records.append(record)
        return record

    def _append(self, file: AppendFile, lines: Sequence[bytes]) -> ByteRange:
        content = b"".join(lines)
        if not content:
            return ByteRange(file.size, file.size, sha256_of(b""))
        start, end = file.append(content)
        return ByteRange(start, end, sha256_of(content))

    def _append_mentions(self, lines: Sequence[bytes]) -> ByteRange:
        """To the file of detected mentions, which only a run that detects them has. What a commit
        leaves there without a line in the ledger is cut off by the next start."""
        if not lines:
            return ByteRange(0, 0, NOTHING)
        if self._mentions is None:
            self._mentions = AppendFile(self.paths.mentions, self._files)
            self._files.sync_folder(self.paths.mentions.parent)
        return self._append(self._mentions, lines)

    def close(self) -> None:
        for file in (self._data, self._errors, self._ledger, self._mentions):
            if file is not None:
                file.close()


def is_sound(paths: StreamPaths, record: WindowRecord) -> bool:
    """Whether the bytes of a window are still those that were committed."""
    pieces = (
        (paths.data, record.data),
        (paths.errors, record.errors),
        (paths.mentions, record.detected),
    )
    for path, expected in pieces:
        if expected.start == expected.end:
            continue
        if sha256_of_file(path, expected.start, expected.end) != expected.sha256:
            return False
    return True
