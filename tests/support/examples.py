"""How many examples property tests draw: a third, unless LONGBEL_THOROUGH is set."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("LONGBEL_THOROUGH"))
DEFAULT = 100  # of hypothesis


def some(examples: int) -> int:
    """So many in a thorough run, a third of them (at least ten) in a quick one."""
    return examples if THOROUGH else max(examples // 3, 10)
