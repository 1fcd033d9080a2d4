"""The README says what the program says."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest

from longbel_cli.app import COMMANDS
from tests.benchmarks import renew
from tests.support.command_reference import BLOCK, README, help_text

TEXT = README.read_text(encoding="utf-8")
BLOCKS = dict(BLOCK.findall(TEXT))


def test_every_command_has_its_help() -> None:
    names = {name for name, _, _ in COMMANDS} | {"longbel", "kb info", "kb search"}
    assert set(BLOCKS) == names


@pytest.mark.skipif(
    tuple(map(int, version("typer").split(".")[:2])) < (0, 29), reason="made by a newer typer"
)
@pytest.mark.parametrize("command", sorted(BLOCKS))
def test_help_is_as_printed(command: str) -> None:
    """Word for word; older versions of typer put some words in another way."""
    assert BLOCKS[command].split() == help_text(command).split(), (
        "Run: python -m tests.support.command_reference"
    )


def test_links_inside_the_page_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


def test_tables_are_what_benchmarks_printed() -> None:
    """`python -m tests.benchmarks.renew --write` puts them there."""
    assert {match[2] for match in renew.BLOCK.finditer(TEXT)} == set(renew.COMMANDS)
    assert renew.write(TEXT) == TEXT
