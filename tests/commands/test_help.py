"""Help pages: groups of options, sentences, an example that could be run, and colours."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from longbel_cli.app import COMMANDS, app
from longbel_cli.commands.choices import filled
from tests.support.command_line import Longbel

ROOT_COMMAND: Any = typer.main.get_command(app)
WIDTH = 80
CODE = "import sys; sys.argv[0] = 'longbel'; from longbel_cli.app import main; main()"


def commands(group: Any = ROOT_COMMAND, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Each command by its name on the command line, those of groups included."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


ALL = dict(commands())
PARAMETERS = [
    pytest.param(name, parameter, id=f"{name} {parameter.opts[0]}")
    for name, command in ALL.items()
    for parameter in command.params
]


@pytest.mark.parametrize(("command", "parameter"), PARAMETERS)
def test_a_parameter_says_what_it_is(command: str, parameter: Any) -> None:
    """In a sentence, in a group of the page; and its value has a name."""
    text = filled(parameter.help)
    assert text[0].isupper()
    assert text.endswith((".", "...")) and "{" not in text
    assert parameter.rich_help_panel
    if parameter.param_type_name == "argument" or not parameter.is_flag:
        assert parameter.metavar and not parameter.metavar.islower()


def test_options_of_one_name_have_one_text() -> None:
    """Those that mean the same in every command."""
    shared = ("--format", "--type-map", "--on-error", "--unknown-group", "--model", "--device",
              "--context-format", "--language", "--quiet", "--overwrite", "--threads",
              "--time-limit", "--max-batch-tokens")  # fmt: skip
    texts: dict[str, set[str]] = {}
    for command in ALL.values():
        for parameter in command.params:
            # Which formats there are depends on whether mentions may be missing.
            text = parameter.help.replace("{annotated_formats}", "{corpus_formats}")
            texts.setdefault(parameter.opts[0], set()).add(text)
    assert {name for name in shared if len(texts[name]) > 1} == set()


@pytest.mark.parametrize("command", sorted(ALL))
def test_a_page_ends_with_an_example_of_the_command(command: str, longbel: Longbel) -> None:
    page = longbel(*command.split(), "--help").out
    example = page.rpartition("\nExample:\n")[2].splitlines()
    calls = [shlex.split(line, comments=True) for line in example if f"longbel {command}" in line]
    assert calls
    known = {name for parameter in ALL[command].params for name in parameter.opts}
    for call in calls:
        own = call[: call.index("--")] if "--" in call else call
        assert {word for word in own if word.startswith("--")} <= known


def test_the_list_of_commands_is_in_the_order_of_a_first_run(longbel: Longbel) -> None:
    """Each on a line of its own, which is not cut off."""
    page = longbel("--help").out
    listed = re.findall(r"^  ([a-z][a-z-]+)  +(.+)$", page, re.MULTILINE)
    assert [name for name, _ in listed] == [entry.name for entry in COMMANDS]
    assert all(text.endswith(".") and "..." not in text for _, text in listed)
    assert max(map(len, page.splitlines())) <= WIDTH


@pytest.mark.parametrize("command", sorted(ALL))
def test_a_page_fits_a_terminal(
    command: str, longbel: Longbel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for examples, which are there to be copied."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    page = longbel(*command.split(), "--help").out
    assert max(map(len, page.partition("\nExample:")[0].splitlines())) <= WIDTH


def on_a_terminal(**environment: str) -> str:
    """What `longbel fuse --help` writes to a terminal."""
    known = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    main, terminal = pty.openpty()
    with os.fdopen(main, "rb", closefd=True) as screen:
        done = subprocess.run(
            [sys.executable, "-c", CODE, "fuse", "--help"], stdout=terminal, check=True,
            env={**known, "TERM": "xterm", **environment},
        )  # fmt: skip
        os.close(terminal)
        assert done.returncode == 0
        return os.read(screen.fileno(), 1 << 16).decode()


def test_colours_are_for_terminals_that_show_them(longbel: Longbel) -> None:
    assert "\x1b[1mFusion" in on_a_terminal()
    assert "\x1b" not in on_a_terminal(NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(TERM="dumb")
    assert "\x1b" not in longbel("fuse", "--help").out
