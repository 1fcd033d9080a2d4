"""Where the bundled sample lies: inside the installed package, else in the source tree."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

SAMPLE = "sample"
"""What `--model` calls the bundled model; a folder of that name is `./sample`."""

_PLACES = (
    Path(__file__).parent / "sample",
    Path(__file__).parents[1] / "sample_data",
)


def sample(part: str) -> Path:
    """The path of `kb`, `model`, `corpus` or `release` of the sample."""
    return next(
        (folder / part for folder in _PLACES if (folder / part).exists()), _PLACES[-1] / part
    )


def model_path(model: str) -> str:
    """The folder or hub id of a model; of `sample`, the bundled one's folder."""
    return str(sample("model")) if model == SAMPLE else model


def kb_or_sample(kb: Path | None) -> Path:
    """The knowledge base that was named, else the sample's, which the log says."""
    if kb is None:
        log.info("no --kb: using the bundled sample knowledge base")
    return kb or sample("kb")
