"""Progress of a run, from its files alone. Writes nothing, and disturbs no process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from longbel_cli.progress import duration_text
from longbel_cli.runs import lease as leases
from longbel_cli.runs.files import read_json
from longbel_cli.runs.kept import counts
from longbel_cli.runs.layout import Layout
from longbel_cli.runs.ledger import read_ledger
from longbel_cli.runs.publish import CorpusEnd, Finished, Placed, committed, gaps, read_finished
from longbel_cli.runs.records import read_record

# The rate is that of a stream's latest windows: what a machine does now, not what it did at first.
_RECENT_WINDOWS = 20
_STATE_TEXTS = {
    "changed": "finished, but the file was changed since",
    "gone": "finished, but the file is gone",
}


@dataclass(frozen=True)
class ShardStatus:
    """One shard's stream. `writer` names its latest process; `attempts` counts its starts."""

    shard: str
    alive: bool
    writer: str | None
    attempts: int
    windows: int
    mentions: int
    last_commit: str | None
    mentions_per_second: float | None


@dataclass(frozen=True)
class RunStatus:
    """A run as a whole. Totals are None while they are not known.

    `state`: `finished`; `running` (some process is alive); `to be merged` (all windows are in,
    in several streams or not yet renamed); `stopped`; `changed` and `gone`: finished, but the
    result is not what it was, or is not there. `seconds_left` counts living processes.
    """

    out: str
    state: str
    windows: int
    windows_total: int | None
    documents: int
    documents_total: int | None
    mentions: int
    mentions_total: int | None
    quarantined: int
    quarantined_documents: int
    mentions_per_second: float | None
    seconds_left: float | None
    shards: tuple[ShardStatus, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_status(out: Path) -> RunStatus:
    """The status of the run whose result is `out`; LongbelError if there is no such run."""
    layout = Layout(out)
    configuration = read_json(layout.configuration)
    if configuration is None:
        raise LongbelError(
            f"{layout.folder}: there is no run",
            "Give the path that `longbel link --out` was given.",
        )
    finished = read_finished(layout)
    merged = finished is not None and out.exists() and out.stat().st_size == finished.bytes
    placed = _distinct(committed(layout))
    shards = tuple(_shard(layout, name, merged) for name in _shard_names(layout))
    if finished is not None and (merged or not placed):
        state = "finished" if merged else "changed" if out.exists() else "gone"
        return _finished(out, state, finished, shards)
    known = counts(configuration.get("free"))
    end = read_record(layout.corpus_end, CorpusEnd)
    total = None if end is None else end.windows
    records = [entry.record for entry in placed]
    mentions = sum(record.mentions for record in records)
    rates = [shard.mentions_per_second for shard in shards if shard.alive]
    rate = sum(rate for rate in rates if rate) or None
    left = None
    if rate and known.get("mentions") is not None:
        left = max(0.0, (known["mentions"] - mentions) / rate)
    return RunStatus(
        out=str(out),
        state=_state(shards, total is not None and not gaps(placed, total)),
        windows=len(records),
        windows_total=total,
        documents=sum(record.documents for record in records),
        documents_total=known.get("documents"),
        mentions=mentions,
        mentions_total=known.get("mentions"),
        quarantined=sum(record.quarantined for record in records),
        quarantined_documents=sum(record.quarantined_documents for record in records),
        mentions_per_second=rate and round(rate, 3),
        seconds_left=left and round(left, 1),
        shards=shards,
    )


def _distinct(placed: Sequence[Placed]) -> list[Placed]:
    return list({entry.record.window: entry for entry in placed}.values())


def _state(shards: Sequence[ShardStatus], complete: bool) -> str:
    if any(shard.alive for shard in shards):
        return "running"
    return "to be merged" if complete else "stopped"


def _finished(
    out: Path, state: str, finished: Finished, shards: tuple[ShardStatus, ...]
) -> RunStatus:
    return RunStatus(
        out=str(out),
        state=state,
        windows=finished.windows,
        windows_total=finished.windows,
        documents=finished.documents,
        documents_total=finished.documents,
        mentions=finished.mentions,
        mentions_total=finished.mentions,
        quarantined=finished.quarantined,
        quarantined_documents=finished.quarantined_documents,
        mentions_per_second=None,
        seconds_left=0.0,
        shards=shards,
    )


def _shard_names(layout: Layout) -> list[str]:
    names = {paths.name for paths in layout.streams()}
    return sorted(names.union(leases.leased_streams(layout.leases)))


def _shard(layout: Layout, name: str, merged: bool) -> ShardStatus:
    attempt, holder = leases.newest_lease(layout.leases, name)
    paths = next((paths for paths in layout.streams() if paths.name == name), None)
    records = read_ledger(paths, merged)[0] if paths else []
    recent = records[-_RECENT_WINDOWS:]
    seconds = sum(record.seconds for record in recent)
    mentions = sum(record.mentions for record in recent)
    return ShardStatus(
        shard=name,
        alive=holder is not None and leases.seems_alive(layout.leases, holder, attempt),
        writer=str(holder) if holder else None,
        attempts=attempt,
        windows=len(records),
        mentions=sum(record.mentions for record in records),
        last_commit=_moment(records[-1].at) if records else None,
        mentions_per_second=round(mentions / seconds, 3) if seconds else None,
    )


def _moment(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="seconds")


def status_lines(status: RunStatus) -> list[str]:
    """The lines that `longbel status` prints."""
    counts = (
        ("windows", status.windows, status.windows_total),
        ("documents", status.documents, status.documents_total),
        ("mentions", status.mentions, status.mentions_total),
    )
    lines = [f"{status.out}: {_STATE_TEXTS.get(status.state, status.state)}"]
    for label, done, total in counts:
        share = f" of {total:,} ({done / total:.1%})" if total else ""
        lines.append(f"  {label:<12}{done:,}{share}")
    lines.append(
        f"  {'quarantined':<12}{status.quarantined_documents:,} documents; "
        f"{status.quarantined:,} records in errors.jsonl"
    )
    if status.mentions_per_second:
        left = ""
        if status.seconds_left is not None:
            left = f", about {duration_text(status.seconds_left)} left"
        lines.append(f"  {'rate':<12}{status.mentions_per_second:.2f} mentions/s{left}")
    for shard in status.shards:
        state = "alive" if shard.alive else "not running"
        lines.append(
            f"  shard {shard.shard}: {shard.windows:,} windows, started {shard.attempts} times, "
            f"{state}" + (f" ({shard.writer})" if shard.alive else "")
        )
    return lines
