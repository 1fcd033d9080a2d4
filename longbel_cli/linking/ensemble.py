"""An ensemble: one corpus linked in several prompt formats, each into a run of its own, then fused.

The runs lie beside the fused file (`preds.long.jsonl` beside `preds.jsonl`) and are resumed like
any other; the fused file is written once all of them are finished. Knows runs and predictions
files; knows no model and no command line.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.files import sha256_of_file, write_whole
from longbel_cli.linking.fused_file import fuse_files
from longbel_cli.linking.job import LinkJob, survey_if_new
from longbel_cli.linking.job_options import JobOptions
from longbel_cli.linking.linker import Linker
from longbel_cli.linking.protocols import EntityLinker, PagesOf
from longbel_cli.linking.reading import CorpusReader
from longbel_cli.linking.statistics import Outcome
from longbel_cli.runs.facts import fusion_record_path, read_fusion_record
from longbel_cli.runs.layout import Layout
from longbel_cli.runs.run import StopSignals, set_run_aside
from longbel_cli.types import Marks

log = logging.getLogger(__name__)


def linkers_in_formats(linker: Linker, names: Sequence[str]) -> list[Linker]:
    """One linker for each prompt format, sharing one model; LongbelError for fewer than two."""
    formats = list(dict.fromkeys(names))
    if len(formats) < 2:
        raise LongbelError("--ensemble needs at least two formats", exit_code=2)
    return [linker.in_format(name) for name in formats]


def link_corpus(
    linkers: Sequence[EntityLinker],
    reader: CorpusReader,
    options: JobOptions,
    stop: StopSignals,
    command: Sequence[str] = (),
    pages: PagesOf | None = None,
) -> Outcome:
    """Link a corpus into one run, or into one for each of several linkers, which are then fused.

    `already` where an earlier call has finished everything. `pages` makes the writer of the pages
    that `options.saliency` asks for. Raises Stopped when `stop` says so,
    and LongbelError (exit code 4) where a file of other origin lies in the place of the fusion.
    """
    if len(linkers) > 1:
        return _Ensemble(linkers, reader, options).run(stop, command, pages)
    stop.check()
    survey_if_new(reader, [options.out], options, stop.check)
    return _link(linkers[0], reader, options, stop, command, pages)


def _link(
    linker: EntityLinker,
    reader: CorpusReader,
    options: JobOptions,
    stop: StopSignals,
    command: Sequence[str],
    pages: PagesOf | None,
) -> Outcome:
    """Link into one run, and log how that ended."""
    folder = options.saliency
    make_writer = None if folder is None or pages is None else partial(pages, linker, folder)
    outcome = LinkJob(linker, reader, options, make_writer).run(command, stop)
    outcome.log(options.out)
    return outcome


class _Ensemble:
    """The runs of an ensemble and the file that they are fused into."""

    def __init__(
        self, linkers: Sequence[EntityLinker], reader: CorpusReader, options: JobOptions
    ) -> None:
        self._linkers, self._reader, self._options = linkers, reader, options
        self._each = options.in_formats(linkers)
        self._fusion = FusedFile(options.out, tuple(own.out for own in self._each))

    def run(self, stop: StopSignals, command: Sequence[str], pages: PagesOf | None) -> Outcome:
        stop.check()
        survey_if_new(self._reader, self._fusion.runs, self._options, stop.check)
        self._make_way()
        outcomes = [
            _link(linker, self._reader, own, stop, command, pages)
            for linker, own in zip(self._linkers, self._each, strict=True)
        ]
        whole = Outcome(
            already=all(outcome.already for outcome in outcomes),
            finished=all(outcome.finished for outcome in outcomes),
            quarantined=max(outcome.quarantined for outcome in outcomes),
        )
        if whole.finished:
            # An earlier call that stopped before it fused has not reported what it quarantined.
            whole.already = whole.already and self._fusion.is_current()
            self._fusion.write(self._options.marks, self._options.overwrite)
        return whole

    def _make_way(self) -> None:
        """Refuse, or move aside, what lies where the fusion is to be, but for an earlier fusion of
        the same runs and what `overwrite` replaces."""
        options, out = self._options, self._options.out
        run = Layout(out).configuration
        if self._fusion.exists() or not (out.exists() or run.exists()):
            return
        if not (options.overwrite or options.restart):
            raise LongbelError(
                f"{out} exists and is no fusion of "
                f"{', '.join(path.name for path in self._fusion.runs)}",
                "Choose another --out, or use --overwrite (replaces it) or --restart (keeps it "
                "aside).",
                exit_code=4,
            )
        if options.restart or run.exists():  # else `score` would take the run for the fusion's
            set_run_aside(out, self._reader.files)


@dataclass(frozen=True)
class FusedFile:
    """The file that an ensemble makes of the predictions files of its `runs`."""

    path: Path
    runs: tuple[Path, ...]

    def exists(self) -> bool:
        """Whether the file is a fusion of these runs; an empty one is that of no mentions."""
        if Layout(self.path).configuration.exists() or not self.path.exists():
            return False
        if not self.path.stat().st_size:
            return True
        fused = [(system["name"], system["weight"]) for system in self._systems()]
        return fused == [(run.name, 1.0) for run in self.runs]

    def is_current(self) -> bool:
        """Whether the file is the fusion of these runs as they are now."""
        if not self.exists():
            return False
        if not self.path.stat().st_size:
            return not self._has_mentions()
        return [system["sha256"] for system in self._systems()] == list(
            map(sha256_of_file, self.runs)
        )

    def write(self, marks: Marks = Marks(), overwrite: bool = False) -> None:
        """Fuse the runs; replaces an earlier fusion of them, anything else with `overwrite`."""
        if self._has_mentions():
            fuse_files(
                self.runs,
                self.path,
                marks=marks,
                overwrite=overwrite or self.exists(),
            )
            return
        write_whole(self.path, b"")
        fusion_record_path(self.path).unlink(missing_ok=True)  # of an earlier fusion
        log.info("%s: the corpus has no mentions", self.path)

    def _has_mentions(self) -> bool:
        return any(run.stat().st_size for run in self.runs)

    def _systems(self) -> list[dict[str, Any]]:
        """What the record beside the file says of the files that were fused."""
        record = read_fusion_record(self.path) or {}
        systems: list[dict[str, Any]] = record.get("fusion", {}).get("systems", [])
        return systems
