"""The one exception that a user is meant to see, and checks that raise it."""

from __future__ import annotations

from collections.abc import Iterable

from kb_builder.text import visible_line


class LongbelError(Exception):
    """Something a user can mend: what is wrong and where, and as `hint` what to do next.

    Messages name files, lines, ids and offsets, never document text. `exit_code` is what the
    command line leaves with: 2 usage, 3 bad input or knowledge base, 4 refused. `details` are
    further lines of a message; none of its parts can hold a line end of its own when printed.
    """

    def __init__(
        self, message: str, hint: str = "", exit_code: int = 3, details: Iterable[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.details = tuple(details)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """What is printed: the message, its details and the hint, with controls made visible."""
        parts = (self.message, *self.details, *([self.hint] if self.hint else []))
        return [visible_line(part) for part in parts]


def listed(names: Iterable[str], last: str = "or") -> str:
    """`a`, `a or b`, `a, b or c`."""
    *most, end = names
    return f"{', '.join(most)} {last} {end}" if most else end


def check_choice(label: str, value: str, choices: Iterable[str]) -> None:
    """Raise LongbelError (usage), listing the choices, where `value` is none of them."""
    names = list(choices)
    if value not in names:
        raise LongbelError(f"{label} {value}: choose {listed(names)}", exit_code=2)
