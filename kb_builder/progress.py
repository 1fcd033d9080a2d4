"""How a long step tells how far it is: its name, what is done, and of how much where known."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]


def silent(stage: str, done: int, of: int | None) -> None:
    """Tell nothing."""
