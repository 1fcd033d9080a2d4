"""What a corpus says of a mention beside its concept: negated, family, certainty and the like.

Detecting such things is another tool's work; what it found goes through to every output. A flag is
True; other values are texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from longbel_cli.corpora.json_items import identifier
from longbel_cli.types import Attributes


def attributes_of(values: Any) -> Attributes:
    """Those of a JSON object whose values are texts, numbers or truth values; others are none."""
    if not isinstance(values, Mapping):
        return ()
    return gathered(
        (str(name), value)
        for name, entry in values.items()
        if (value := entry if isinstance(entry, bool) else identifier(entry)) is not None
    )


def gathered(pairs: Iterable[tuple[str, str | bool]]) -> Attributes:
    """Each name once, in the order of appearance; several texts of a name are joined by `|`."""
    values: dict[str, str | bool] = {}
    texts: dict[str, dict[str, None]] = {}
    for name, value in pairs:
        if isinstance(value, str):
            texts.setdefault(name, {})[value] = None
        values.setdefault(name, value)
    values.update((name, "|".join(alike)) for name, alike in texts.items())
    return tuple(values.items())
