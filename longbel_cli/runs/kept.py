"""What run.json says of a run that was begun."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kb_builder.errors import LongbelError
from longbel_cli.runs.configuration import FORMAT
from longbel_cli.runs.inputs import Inputs
from longbel_cli.runs.layout import Layout


@dataclass(frozen=True)
class Kept:
    """What run.json says."""

    settings: dict[str, Any]
    inputs: Inputs
    free: dict[str, Any]

    @classmethod
    def read(cls, layout: Layout) -> Kept | None:
        damaged = LongbelError(
            f"{layout.configuration} is damaged",
            "Put it back, or start over with --restart (keeps the old run aside).",
            exit_code=4,
        )
        try:
            content = json.loads(layout.configuration.read_bytes())
            form = content["format"]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise damaged from error
        if form != FORMAT:
            raise LongbelError(
                f"{layout.configuration}: format {form}, not {FORMAT}",
                "It was written by another version of longbel. Start over with --restart.",
                exit_code=4,
            )
        settings, free = content.get("configuration"), content.get("free")
        if not isinstance(settings, dict) or not isinstance(free, dict):
            raise damaged
        return cls(settings, Inputs.load(layout.inputs), free)


def counts(free: Any) -> dict[str, int]:
    """The counts of a corpus among what run.json holds for free, by name."""
    kept = free if isinstance(free, dict) else {}
    return {name: value for name, value in kept.items() if type(value) is int}
