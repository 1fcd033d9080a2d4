"""The file in which tuned weights of a fusion are kept, and which systems they are for.

Knows nothing of how they were chosen.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.files import write_whole
from kb_builder.store.beside import document_hash
from longbel_cli.linking.fusion import FusionOptions
from longbel_cli.runs.facts import RunFacts
from longbel_cli.runs.files import to_json

log = logging.getLogger(__name__)

FORMAT = "longbel fusion weights 1"
# What a system is, and what of it may change with a hint: weights for one order of systems are
# wrong for another, while a retrained model or a renewed knowledge base may keep its weight.
_IS, _MAY_CHANGE = ("linker", "context_format"), ("model", "kb", "beams", "names_from")


@dataclass(frozen=True)
class FusionWeights:
    """How to fuse systems like these. `tuned` is the hash of the gold they were tuned on,
    `documents` hashes of its documents' ids; `measured` what tuning found."""

    by: str
    k: int
    weights: tuple[float, ...]
    threshold: float | None
    systems: tuple[Mapping[str, str], ...]
    tuned: str
    documents: tuple[str, ...]
    measured: Mapping[str, Any]

    def save(self, path: Path) -> None:
        content = {"format": FORMAT} | {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }
        write_whole(path, to_json(content))

    def applied(self, options: FusionOptions) -> FusionOptions:
        """The options with these weights and all that goes with them."""
        return replace(
            options, by=self.by, k=self.k, weights=self.weights, threshold=self.threshold
        )

    def check(self, paths: Sequence[Path], facts: Sequence[RunFacts]) -> None:
        """LongbelError (refused) where the systems are others than those that were tuned; a hint
        where one of them has changed since."""
        if len(facts) != len(self.systems):
            raise LongbelError(
                f"the weights are for {len(self.systems)} systems, {len(facts)} files are given",
                "Give one file a system, in the order of the tuning.",
                exit_code=2,
            )
        for path, tuned, given in zip(paths, self.systems, facts, strict=True):
            now = given.to_json()
            other = [key for key in _IS if tuned.get(key, now[key]) != now[key]]
            if other:
                raise LongbelError(
                    f"{path}: the weights in its place were tuned for {tuned[other[0]]}, "
                    f"this is {now[other[0]]}",
                    "Give the files in the order of the tuning, or tune again.",
                    exit_code=4,
                )
            changed = [key for key in _MAY_CHANGE if tuned.get(key, now[key]) != now[key]]
            if changed:
                log.warning(
                    "%s: another %s than when the weights were tuned", path, " and ".join(changed)
                )


def hashes(documents: Sequence[str]) -> tuple[str, ...]:
    """What stands for ids of documents, sorted."""
    return tuple(sorted(map(document_hash, documents)))


def read_weights(path: Path) -> FusionWeights:
    """The weights that `save` wrote; LongbelError where the file is another one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError
        content = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
        weights = FusionWeights(**content)
        if not all(isinstance(weight, int | float) for weight in weights.weights):
            raise ValueError
    except OSError as error:
        raise LongbelError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LongbelError(
            f"{path}: no weights of a fusion",
            "Give the file that `longbel fuse --tune --write-weights` wrote.",
        ) from error
    return weights
