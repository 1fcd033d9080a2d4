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
        try:
            content = json.loads(layout.configuration.read_bytes())
            form = content["format"]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise LongbelError(
                f"{layout.configuration} is damaged",
                "Put it back, or start over with --restart (keeps the old run aside).",
                exit_code=4,
            ) from error
        if form != FORMAT:
            raise LongbelError(
                f"{layout.configuration}: format {form}, not {FORMAT}",
                "It was written by another version of longbel. Start over with --restart.",
                exit_code=4,
            )
        inputs = Inputs.load(layout.inputs)
        return cls(content["configuration"], inputs, content["free"])
