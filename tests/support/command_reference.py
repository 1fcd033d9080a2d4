"""The command reference, a page of what `--help` prints.

`python -m tests.support.command_reference` renews it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.support.paths import ROOT

REFERENCE = ROOT / "longbel_cli/commands/README.md"
BLOCK = re.compile(r"<!-- help: ([a-z -]+) -->\n```\n(.*?)```\n", re.DOTALL)


def help_text(command: str) -> str:
    """What `longbel COMMAND --help` prints, 88 columns wide, without colour."""
    environment = {
        **os.environ, "COLUMNS": "88", "TERMINAL_WIDTH": "88", "NO_COLOR": "1", "TERM": "dumb",
    }  # fmt: skip
    arguments = [] if command == "longbel" else command.split()
    code = "import sys; sys.argv[0] = 'longbel'; from longbel_cli.app import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--help"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.rstrip() for line in answer.stdout.strip().splitlines())
    return "\n".join(lines) + "\n"


def renewed(text: str) -> str:
    """The page's text with every help block as it is now."""

    def block(match: re.Match[str]) -> str:
        return f"<!-- help: {match[1]} -->\n```\n{help_text(match[1])}```\n"

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    REFERENCE.write_text(renewed(REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")
