"""The command reference, a page of what `--help` prints.

`python -m tests.support.command_reference` renews it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache

from tests.support.paths import ROOT

REFERENCE = ROOT / "longbel_cli/commands/README.md"
BLOCK = re.compile(r"<!-- help: ([a-z -]+) -->\n```\n(.*?)```\n", re.DOTALL)


# One process for all commands: starting one takes longer than printing every help text.
PRINT_ALL = """
import contextlib, functools, io, json, sys
import typer.main
typer.main.get_command = functools.cache(typer.main.get_command)
from longbel_cli.app import main

printed = {}
for command in sys.argv[1:]:
    sys.argv = ["longbel", *command.split()[command == "longbel":], "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as stream, contextlib.suppress(SystemExit):
        main()
    printed[command] = stream.getvalue()
print(json.dumps(printed))
"""


@cache
def help_texts() -> dict[str, str]:
    """What `longbel COMMAND --help` prints for each command of the page, 88 columns wide, without
    colour."""
    environment = {
        **os.environ, "COLUMNS": "88", "TERMINAL_WIDTH": "88", "NO_COLOR": "1", "TERM": "dumb",
    }  # fmt: skip
    commands = [command for command, _ in BLOCK.findall(REFERENCE.read_text(encoding="utf-8"))]
    answer = subprocess.run(
        [sys.executable, "-c", PRINT_ALL, *commands],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        command: "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"
        for command, text in json.loads(answer.stdout).items()
    }


def renewed(text: str) -> str:
    """The page's text with every help block as it is now."""

    def block(match: re.Match[str]) -> str:
        return f"<!-- help: {match[1]} -->\n```\n{help_texts()[match[1]]}```\n"

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    REFERENCE.write_text(renewed(REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")
