"""What formats in JSON share: ids, and documents one at a time from JSON or JSON Lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from longbel_cli.corpora import stored
from longbel_cli.corpora.records import Item, Position, UnreadableError, unreadable

# From a JSON value, its offset and its line.
ToItem = Callable[[Any, int, int | None], Item]


def json_items(
    path: str, start: Position, arrays: tuple[str, ...], to_item: ToItem
) -> Iterator[Item]:
    """The documents of a file from `start` on; see `stored.json_documents` for `arrays`.

    A name in `.json` (or `.json.gz`) says JSON, any other JSON Lines.
    """
    if path.lower().removesuffix(".gz").endswith(".json"):
        for document in stored.json_documents(path, arrays, start.offset, start.line):
            yield to_item(document.value, document.offset, document.line)
    else:
        yield from _json_lines(path, start, to_item)


def _json_lines(path: str, start: Position, to_item: ToItem) -> Iterator[Item]:
    """One document a line; blank lines are none."""
    for line in stored.lines(path, start.offset, start.line or 1):
        if not line.data.strip():
            continue
        try:
            text = stored.decoded(line.data, "the line", line.offset)
            value = stored.json_value(text, line.line_number)
        except UnreadableError as error:
            yield unreadable(line.offset, line.line_number, error.reason)
            continue
        yield to_item(value, line.offset, line.line_number)


def identifier(value: Any) -> str | None:
    """An id as text; numbers are taken, nothing or something else is None."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None
