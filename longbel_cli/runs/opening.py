"""Begins or resumes a run: refuses or moves aside what is in the way, and leases the shard."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.files import drafted, sweep
from longbel_cli.runs import lease as leases
from longbel_cli.runs.configuration import (
    FORMAT,
    RunConfiguration,
    difference,
    provenance,
    resolved,
)
from longbel_cli.runs.files import Files, read_json, to_json
from longbel_cli.runs.inputs import Inputs
from longbel_cli.runs.kept import Kept, counts
from longbel_cli.runs.launch import launch_of, repeats_restart
from longbel_cli.runs.layout import Layout
from longbel_cli.runs.ledger import Stream
from longbel_cli.runs.publish import complete, finished_run
from longbel_cli.runs.shard_run import Run
from longbel_cli.runs.shards import Shard
from longbel_cli.version import package_version

log = logging.getLogger(__name__)


@dataclass
class Opening:
    """The steps of `open_run`."""

    layout: Layout
    configuration: RunConfiguration
    shard: Shard
    files: Files
    stale_seconds: float

    def already_finished(self) -> Run | None:
        """The run, if it is finished and as asked for. Writes nothing, and removes what a process
        left that was killed as it gave its lease up."""
        kept = Kept.read(self.layout)
        if kept is None or self._differences(kept):
            return None
        finished = finished_run(self.layout)
        if finished is None:
            return None
        sweep(self.layout.leases, self.files)
        return self._run(kept.settings, finished=finished)

    def _differences(self, kept: Kept) -> list[str]:
        asked = self.configuration.compared()
        changes = kept.inputs.changes(self.configuration.inputs)
        return difference(kept.settings, asked) + [f"input: {change}" for change in changes]

    def _run(self, settings: Mapping[str, Any], **parts: Any) -> Run:
        return Run(self.layout, self.shard, settings, self.files, **parts)

    def clear_the_way(self, restart: bool, overwrite: bool) -> bool:
        """Refuse, or remove, what is in the way; whether something was moved aside."""
        if restart and self._restart():
            return True
        kept = Kept.read(self.layout)
        if kept is None:
            return self._clear_strangers(overwrite)
        complete(self.layout, self.files)
        differences = self._differences(kept)
        if differences and not overwrite:
            raise LongbelError(
                f"{self.layout.out}: holds a run of another configuration:",
                "Run it as it was begun, choose another --out, or use --restart "
                "(keeps the old run aside) or --overwrite.",
                exit_code=4,
                details=differences,
            )
        if differences:
            self._refuse_living()
            self._discard()
            return True
        if self.layout.out.exists() and finished_run(self.layout) is None:
            # The file first: killed in between, the run is one whose result is gone, see below.
            aside = self._clear_strangers(overwrite)
            self._forget_finished()
            return aside
        if self.layout.finished.exists() and not self.layout.out.exists():
            log.warning("%s is gone since the run finished; linking again", self.layout.out)
            self._forget_finished()
        return False

    def _forget_finished(self) -> None:
        """Away with finished.json, durably, before a new result grows: whoever finds it there
        would take the part that is linked so far for the whole."""
        if self.layout.finished.exists():
            self.files.unlink(self.layout.finished)
            self.files.sync_folder(self.layout.folder)

    def _restart(self) -> bool:
        kept = read_json(self.layout.configuration)  # of whatever format
        if kept is not None and repeats_restart(kept.get("launch"), self.shard):
            log.info("--restart: already done by this job; resuming")
            return False
        return self.set_aside()

    def set_aside(self) -> bool:
        """Move a run or a fusion, with its result, to a folder of another name; whether there was
        one."""
        beside = (
            self.layout.out, self.layout.part, self.layout.fusion_record, self.layout.mentions,
        )  # fmt: skip
        if not any(path.exists() for path in (*beside, self.layout.configuration)):
            return False
        self._refuse_living()
        aside = self._free_name()
        for path in beside:
            if path.exists():
                self.files.move(path, self.layout.folder / path.name)
        self.files.move(self.layout.folder, aside)
        self._bring_inputs_back(aside)
        log.info("the earlier run is kept in %s", aside)
        return True

    def _free_name(self) -> Path:
        index = 1
        while (
            aside := self.layout.folder.with_name(f"{self.layout.folder.name}.{index}")
        ).exists():
            index += 1
        return aside

    def _bring_inputs_back(self, aside: Path) -> None:
        """Input that was spooled into the run's folder belongs to the new run."""
        for path in self.configuration.inputs:
            if path.parent == self.layout.folder and (aside / path.name).exists():
                self.files.make_folder(self.layout.folder)
                self.files.move(aside / path.name, path)

    def _discard(self) -> None:
        for path in (self.layout.out, self.layout.part, self.layout.mentions):
            if path.exists():
                self.files.move(path, self.layout.folder / path.name)
        with drafted(self.layout.folder, self.files) as aside:
            self.files.move(self.layout.folder, aside)
            self._bring_inputs_back(aside)

    def _clear_strangers(self, overwrite: bool) -> bool:
        """Files at the run's place that the run does not know.

        Another shard may begin the run at this very moment. It writes run.json before all else, so
        that is looked for last.
        """
        windows, part = self.layout.streams(), self.layout.part.exists()
        begun = self.layout.configuration.exists()
        if windows and not begun:
            raise LongbelError(
                f"{self.layout.folder} holds windows but no run.json",
                "Put run.json back, or start over with --restart after moving the folder away.",
                exit_code=4,
            )
        strangers = [self.layout.out]
        if part and not begun:
            strangers.append(self.layout.part)
        if self.configuration.keeps_mentions and not begun:
            strangers.append(self.layout.mentions)
        changed = self.layout.finished.exists()
        for path in strangers:
            if not path.exists():
                continue
            if not overwrite:
                raise LongbelError(
                    f"{path} was changed since its run finished"
                    if changed
                    else f"{path} exists and is not a finished run of this configuration",
                    "Choose another --out, or use --overwrite (replaces it) or --restart "
                    "(keeps it aside).",
                    exit_code=4,
                )
            self.files.move(path, self.layout.replaced)
        return False

    def _refuse_living(self, except_stream: str = "", except_count: int = 0) -> None:
        for stream in leases.leased_streams(self.layout.leases):
            if stream == except_stream or stream.endswith(f"-of-{except_count:05d}"):
                continue
            attempt, holder = leases.newest_lease(self.layout.leases, stream)
            if holder is not None and leases.is_alive(
                self.layout.leases, holder, attempt, self.stale_seconds
            ):
                raise leases.refusal(holder)

    def lease(self) -> leases.Lease:
        """The lease of this shard's stream; no process of another shard count may be alive."""
        lease = leases.acquire(self.layout.leases, self.shard.name, self.files, self.stale_seconds)
        try:
            self._refuse_living(self.shard.name, self.shard.count)
        except BaseException:
            lease.release()
            raise
        return lease

    def start(self, lease: leases.Lease) -> Run:
        """The open run: run.json there, the stream cut back to what is committed."""
        kept = Kept.read(self.layout) or self._begin()
        finished = finished_run(self.layout)
        if finished is not None:
            lease.release()
            return self._run(kept.settings, finished=finished)
        ended = self.layout.corpus_end.exists()
        stream = Stream(self.layout.stream(self.shard), self.files, check_all=ended)
        return self._run(
            kept.settings,
            stream=stream,
            lease=lease,
            inputs=kept.inputs,
            paths=self.configuration.inputs,
            mentions_total=counts(kept.free).get("mentions"),
        )

    def _begin(self) -> Kept:
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
        self._drop_fusion_record()
        self.files.create_file(self.layout.configuration, to_json(content))
        kept = Kept.read(self.layout)
        assert kept is not None
        differences = self._differences(kept)
        if differences:
            raise LongbelError(
                f"{self.layout.out}: another shard has just begun this run with other options:",
                "Start all shards with the same options and input.",
                exit_code=4,
                details=differences,
            )
        return kept

    def _drop_fusion_record(self) -> None:
        """Away with what a fusion says that was under this name: its file is given up by now, and
        no run.json is there yet, so that at no moment two records speak of one file."""
        record = self.layout.fusion_record
        if record.exists():
            self.files.unlink(record)
            self.files.sync_folder(record.parent)
