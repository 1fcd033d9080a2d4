"""The one exception that a user is meant to see, and checks that raise it."""

from __future__ import annotations

from collections.abc import Iterable


class LongbelError(Exception):
    """Something a user can mend: what is wrong and where, and as `hint` what to do next.

    Messages name files, lines, ids and offsets, never document text. `exit_code` is what the
    command line leaves with: 2 usage, 3 bad input or knowledge base, 4 refused.
    """

    def __init__(self, message: str, hint: str = "", exit_code: int = 3) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


def listed(names: Iterable[str], last: str = "or") -> str:
    """`a`, `a or b`, `a, b or c`."""
    *most, end = names
    return f"{', '.join(most)} {last} {end}" if most else end


def check_choice(label: str, value: str, choices: Iterable[str]) -> None:
    """Raise LongbelError (usage), listing the choices, where `value` is none of them."""
    names = list(choices)
    if value not in names:
        raise LongbelError(f"{label} {value}: choose {listed(names)}", exit_code=2)
