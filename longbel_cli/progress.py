"""How far a long command is: a bar on a terminal, a line now and then in a log. On stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType

_LOG_SECONDS = 30.0


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


class Progress:
    """Counts units of work; a context manager. `total` may be unknown."""

    def __init__(self, task: str, unit: str, quiet: bool = False, total: int | None = None) -> None:
        self._task, self._unit, self._quiet, self._total = task, unit, quiet, total
        self._done = 0
        self._bar = None
        self._started = self._told = time.monotonic()
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=task, unit=unit, file=sys.stderr)

    def advance(self, units: int = 1) -> None:
        """Count `units` more."""
        self._done += units
        if self._bar is not None:
            self._bar.update(units)
        elif not self._quiet and time.monotonic() - self._told >= _LOG_SECONDS:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        seconds = self._told - self._started
        of = f" of {self._total}" if self._total is not None else ""
        rate = self._done / seconds if seconds else 0.0
        left = ""
        if self._total is not None and rate:
            left = f", about {duration_text(max(self._total - self._done, 0) / rate)} left"
        print(
            f"longbel {self._task}: {self._done}{of} {self._unit}s, {rate:.2f}/s{left}",
            file=sys.stderr,
            flush=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
