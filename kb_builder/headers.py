"""The header of a table: its delimiter, and the names of its columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

DELIMITERS = ("\t", ",", ";", "|")
_SHOWN = 20


def delimiter_of(header: str, usual: str) -> str:
    """What parts the fields of a first line: what stands most often outside quotes, `usual` where
    nothing stands more often."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max((usual, *DELIMITERS), key=bare.count)


def shown_columns(header: Sequence[str]) -> str:
    """The column names that a message lists. A line of text, where there is no header, is none."""
    names = [name for name in header[:_SHOWN] if re.fullmatch(r"[\w .#-]{1,40}", name)]
    more = ", …" if len(header) > _SHOWN else ""
    return (", ".join(names) or "none of them a name") + more
