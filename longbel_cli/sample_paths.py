"""Where the bundled sample lies: inside the installed package, else in the source tree."""

from __future__ import annotations

from pathlib import Path

_PLACES = (
    Path(__file__).parent / "sample",
    Path(__file__).parents[1] / "sample_data",
)


def sample(part: str) -> Path:
    """The path of `kb`, `model`, `corpus` or `release` of the sample."""
    return next((place / part for place in _PLACES if (place / part).exists()), _PLACES[-1] / part)
