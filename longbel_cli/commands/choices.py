"""Options that take one of several values, which come from the tables of the rooms.

A table is imported when its values are needed: by the help that lists them, by the check of a
value, by shell completion. So a row that is added to a table is found in all three, and a command's
help imports no more than the tables that it shows. Enums would be made when this is imported, and
import every room.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer

from kb_builder.errors import LongbelError, listed


@dataclass(frozen=True)
class Choice:
    """The names of a table (a mapping of names to rows or to lines of help, rows with a `name`, or
    a function that returns these), after `first`."""

    module: str
    table: str
    first: Mapping[str, str] | None = None

    def helps(self) -> dict[str, str]:
        """Each name with a line of help, empty where the table has none."""
        table = getattr(import_module(self.module), self.table)
        rows = table() if callable(table) else table
        if not isinstance(rows, Mapping):
            rows = {row if isinstance(row, str) else row.name: row for row in rows}
        return dict(self.first or {}) | {name: _help_of(row) for name, row in rows.items()}

    def check(self, label: str, value: str) -> None:
        """Raise LongbelError (usage), listing the names, where the value is none of them."""
        names = self.helps()
        if value not in names:
            raise LongbelError(f"{label} {value}: choose {listed(names)}", exit_code=2)


def _help_of(row: object) -> str:
    """A row's line of help, empty where it has none."""
    if isinstance(row, str):
        return row
    line: str = getattr(row, "help", "") or getattr(row, "title", "")
    return line


CHOICES: dict[str, Choice] = {
    "corpus_formats": Choice(
        "longbel_cli.corpora.formats", "CORPUS_FORMATS", {"auto": "known by names and content"}
    ),
    "annotated_formats": Choice(
        "longbel_cli.corpora.formats", "annotated_formats", {"auto": "known by names and content"}
    ),
    "written_formats": Choice("longbel_cli.corpora.outputs", "written_formats"),
    "file_outputs": Choice("longbel_cli.corpora.outputs", "FILE_OUTPUTS"),
    "on_error": Choice("longbel_cli.corpora.records", "ON_ERROR"),
    "unknown_group": Choice("longbel_cli.corpora.resolve", "UNKNOWN"),
    "prompt_formats": Choice("longbel_cli.prompting.formats", "PROMPT_FORMATS"),
    "languages": Choice("longbel_cli.prompting.sentences", "PUNKT_MODELS"),
    "linkers": Choice("longbel_cli.linking.linkers", "linkers"),
    "decoders": Choice("longbel_cli.model.decoders", "DECODERS"),
    "fusions": Choice("longbel_cli.linking.fusion", "FUSIONS"),
    "poolings": Choice("longbel_cli.linking.options", "POOLINGS"),
    "abbreviations": Choice("longbel_cli.linking.options", "ABBREVIATIONS"),
    "detectors": Choice("longbel_cli.detecting.opening", "DETECTORS"),
    "detected_abbreviations": Choice("longbel_cli.detecting.options", "ABBREVIATIONS"),
    "dtypes": Choice("longbel_cli.model.devices", "DTYPES"),
    "saved_dtypes": Choice("longbel_cli.model.devices", "SAVED_DTYPES"),
    "sources": Choice("kb_builder.sources", "SOURCES"),
    "presets": Choice("kb_builder.semantics", "PRESETS"),
    "suppressible": Choice("kb_builder.sources.choices", "SUPPRESSIBLE"),
    "ambiguous": Choice("kb_builder.rules", "AMBIGUOUS"),
    "groupings": Choice("kb_builder.sources.choices", "GROUPINGS"),
    "codes": Choice("kb_builder.sources.choices", "CODES"),
    "scopes": Choice("kb_builder.sources.choices", "SCOPES"),
    "matches": Choice("longbel_cli.scoring.metrics", "MATCHES"),
    "partitions": Choice("longbel_cli.scoring.partitions", "PARTITIONS"),
    "tables": Choice("longbel_cli.scoring.table_writers", "WRITERS"),
    "methods": Choice("longbel_cli.explaining.methods", "METHODS"),
    "baselines": Choice("longbel_cli.explaining.methods", "BASELINES"),
    "paths": Choice("longbel_cli.explaining.methods", "PATHS"),
    "sizes": Choice("longbel_cli.training.base.fresh", "FRESH_SIZES"),
    "targets": Choice("longbel_cli.training.data.target_rules", "TARGET_RULES"),
    "memories": Choice("longbel_cli.training.options", "MEMORIES"),
}

_PLACEHOLDER = re.compile(r"\{(\w+)(?::([\w-]+))?\}")


def filled(text: str) -> str:
    """A help text with the names of a choice for `{choice}`, with their help for `{choice:help}`,
    and where that is longer for `{choice:kinds}`; with the kinds of sources that an option of
    `build-kb` applies to for `{takers:--option}`."""

    def names(match: re.Match[str]) -> str:
        if match[1] == "takers":
            from kb_builder.sources import takers

            return listed(takers(match[2]))
        helps = CHOICES[match[1]].helps()
        if not match[2]:
            return listed(helps)
        if match[2] == "kinds":
            return "; ".join(f"{name}: {line}" for name, line in helps.items())
        return ", ".join(f"{name} ({line})" if line else name for name, line in helps.items())

    return _PLACEHOLDER.sub(names, text)


def checked(name: str, commas: bool) -> Callable[..., Any]:
    """A callback that refuses what is not in a choice; `commas`: values may be lists by commas."""

    def check(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
        values = value if isinstance(value, list | tuple) else [] if value is None else [value]
        for given in values:
            for part in given.split(",") if commas else [given]:
                CHOICES[name].check(parameter.opts[0], part.strip())
        return value

    return check


def completed(name: str, commas: bool) -> Callable[[str], list[tuple[str, str]]]:
    """A function that completes what was typed of a value."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        before, comma, begun = incomplete.rpartition(",") if commas else ("", "", incomplete)
        return [
            (f"{before}{comma}{value}", line)
            for value, line in CHOICES[name].helps().items()
            if value.startswith(begun)
        ]

    return complete
