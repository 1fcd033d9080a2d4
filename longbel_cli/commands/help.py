"""Help pages: parameters in groups, choices filled in from the tables, an example at the end.

Plain text that looks the same under every version of typer; headings and names are coloured only
where a terminal shows them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from kb_builder.text import visible_line
from longbel_cli.commands.choices import filled
from longbel_cli.commands.leaving import endings_as_exit_codes

GENERAL = "General"
_WIDEST_NAME = 28

Row = tuple[str, str]


class _Page:
    """What commands and groups have in common."""

    epilog: str | None
    get_params: Any

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        words = ["[OPTIONS]", *(_metavar(param) for param in _arguments(self.get_params(ctx)))]
        if isinstance(self, TyperGroup):
            words.append("COMMAND [ARGS]...")
        formatter.write_usage(ctx.command_path, " ".join(words))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[Row]] = {}
        params = self.get_params(ctx)
        for param in (*_arguments(params), *_options(params)):
            panel = getattr(param, "rich_help_panel", None) or GENERAL
            groups.setdefault(panel, []).append((_left(param), _right(ctx, param)))
        if GENERAL in groups:  # last
            groups[GENERAL] = groups.pop(GENERAL)
        _write_groups(groups, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        if self.epilog:
            formatter.write(f"\n{_coloured('Example:', bold=True)}\n")
            for line in self.epilog.strip().splitlines():
                formatter.write(f"  {line}\n")


class Command(_Page, TyperCommand):
    """A command whose help groups its parameters by their panels."""


class Group(_Page, TyperGroup):
    """A group of commands, listed in the order they were added, each with a line of its own."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _visible_refusals(), endings_as_exit_codes():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        with _visible_refusals(), endings_as_exit_codes():
            return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[Row]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            panel = getattr(command, "rich_help_panel", None) or "Commands"
            groups.setdefault(panel, []).append((name, command.get_short_help_str(200)))
        _write_groups(groups, formatter)
        super().format_options(ctx, formatter)


@contextmanager
def _visible_refusals() -> Iterator[None]:
    """A refused command line may quote file names that a pattern of the shell matched."""
    try:
        yield
    except Exception as error:
        if isinstance(getattr(error, "message", None), str):
            error.message = visible_line(error.message)  # type: ignore[attr-defined]  # click's
        raise


def _write_groups(groups: dict[str, list[Row]], formatter: Any) -> None:
    """Sections whose second columns stand below each other."""
    names = [left for rows in groups.values() for left, _ in rows]
    width = max((len(name) for name in names if len(name) <= _WIDEST_NAME), default=0)
    for panel, rows in groups.items():
        with formatter.section(_coloured(panel, bold=True)):
            formatter.write_dl(
                [(_coloured(f"{left:<{width}}", fg="cyan"), right) for left, right in rows],
                col_max=_WIDEST_NAME,
            )


def _arguments(params: Iterable[Any]) -> list[Any]:
    return [param for param in params if param.param_type_name == "argument"]


def _options(params: Iterable[Any]) -> list[Any]:
    return [param for param in params if param.param_type_name == "option" and not param.hidden]


def _metavar(param: Any) -> str:
    """How the usage line and the list of arguments call an argument, or a value of an option."""
    name: str = param.metavar or (param.name or "").upper()
    if param.param_type_name == "argument":
        name += "..." if param.nargs == -1 and not name.endswith(("...", "...]")) else ""
        return name if param.required or name.startswith("[") else f"[{name}]"
    return name


def _left(param: Any) -> str:
    if param.param_type_name == "argument":
        return _metavar(param)
    names = ", ".join(sorted(param.opts, key=len))
    return names if param.is_flag else f"{names} {_metavar(param)}"


def _right(ctx: Any, param: Any) -> str:
    """The help text, then what else is to be known, in brackets."""
    notes = []
    envvar = param.envvar if isinstance(param.envvar, str) else None
    if envvar and getattr(param, "show_envvar", True):
        notes.append(f"env var: {envvar}")
    default = _default(ctx, param)
    if default:
        notes.append(f"default: {default}")
    if param.required:
        notes.append("required")
    text = filled(param.help or "")
    return f"{text}  [{'; '.join(notes)}]" if notes else text


def _default(ctx: Any, param: Any) -> str:
    if isinstance(param.show_default, str):
        return param.show_default
    value = param.get_default(ctx, call=False)
    # Others are flags, lists, and an older click's mark of no default.
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value) if param.show_default else ""
    return ""


def _coloured(text: str, **style: Any) -> str:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not sys.stdout.isatty() else typer.style(text, **style)
