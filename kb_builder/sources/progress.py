"""Progress callbacks for long steps: name, what is done, of how much where known; and none."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]


def ignore(*_: object) -> None:
    """Do nothing: the callback of whoever gives none."""
