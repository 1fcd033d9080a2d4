"""Progress of a long command: a bar on a terminal, a line every half minute in a log file.

Shown where notes are: nothing with `--quiet`, nor from Python unless logging is set up for INFO.
The one module that knows tqdm.
"""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger(__name__)

_LOG_SECONDS = 30.0


def ignore(*_: object) -> None:
    """Do nothing: the callback of whoever gives none."""


def duration_text(seconds: float) -> str:
    """`3 h 12 min`, `4 min`, `20 s`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    days, hours_left = divmod(hours, 24)
    return f"{days} d {hours_left} h" if days else f"{hours} h {minutes} min"


def write_line(text: str) -> None:
    """Write a line to stderr, above the bars that are shown there."""
    if "tqdm" not in sys.modules:
        print(text, file=sys.stderr, flush=True)
        return
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


class Progress:
    """Counts the units of a task, of `total` where that is known; a context manager.

    Without `unit` (in the singular) a line in a log file gives the share that is done.
    """

    def __init__(self, task: str, unit: str = "", total: int | None = None) -> None:
        self._command, self._unit = task, unit
        self._with_bar = sys.stderr.isatty() and log.isEnabledFor(logging.INFO)
        self._bar: tqdm | None = None
        self._logged = time.monotonic()
        self._start(task, total)
        if self._with_bar:  # at once: what a task begins with may take long
            self._bar = self._new_bar(0)

    def _start(self, task: str, total: int | None) -> None:
        self._task, self._total, self._done = task, total, 0
        self._started = time.monotonic()
        self._close()

    def _new_bar(self, done: int) -> tqdm:
        from tqdm import tqdm

        return tqdm(
            desc=self._task,
            total=self._total,
            initial=done,
            unit=self._unit,
            unit_scale=not self._unit,
            file=sys.stderr,
        )

    def begin(self, task: str, total: int | None = None) -> None:
        """Go on to another task, of which a bar is shown once it counts; a log file names it."""
        self._start(task, total)
        if not self._with_bar:
            log.info("%s", task)

    def stage(self, name: str, done: int, total: int | None) -> None:
        """Be at `done` of a stage, a new one where the name is new: what `build_kb` calls."""
        task = f"{self._command}: {name}"
        if task != self._task:
            self._start(task, total)
        self.reach(done)

    def advance(self, units: int = 1) -> None:
        """Count `units` more."""
        self.reach(self._done + units)

    def reach(self, done: int, figures: str = "") -> None:
        """Be at `done` units; `figures` are shown too, in a log file in place of units."""
        self._done = done
        if self._with_bar:
            if self._bar is None:
                self._bar = self._new_bar(done)
            if figures:
                self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if now - self._logged >= _LOG_SECONDS:
            self._logged = now
            log.info("%s", self._task + (f": {figures}" if figures else self._counts(now)))

    def _counts(self, now: float) -> str:
        if not self._unit:
            return f", {self._done / self._total:.0%}" if self._total else ""
        seconds = now - self._started
        rate = self._done / seconds if seconds else 0.0
        of, left = "", ""
        if self._total is not None:
            of = f" of {self._total}"
            if rate:
                left = f", about {duration_text(max(self._total - self._done, 0) / rate)} left"
        return f": {self._done}{of} {self._unit}s, {rate:.2f}/s{left}"

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.leave = self._bar.n > 0  # of a task that never began nothing is kept
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
