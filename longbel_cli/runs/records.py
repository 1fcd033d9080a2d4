"""JSON records of a run as dataclasses, whoever wrote or altered them: what is not of the stated
fields and types is none.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from longbel_cli.runs.files import read_json

Record = TypeVar("Record")


def read_record(path: Path, kind: type[Record]) -> Record | None:
    """The record that a file holds; None where there is no file, or it is no such record."""
    return record_of(read_json(path), kind)


def record_of(content: Any, kind: type[Record]) -> Record | None:
    """The record that a JSON object is; None where it is none."""
    types = {name: _alternatives(hint) for name, hint in get_type_hints(kind).items()}
    if not isinstance(content, dict) or not content.keys() <= types.keys():
        return None
    if not all(type(value) in types[name] for name, value in content.items()):
        return None
    try:
        return kind(**content)
    except TypeError:  # a field lacks
        return None


@cache
def _alternatives(hint: Any) -> tuple[type, ...]:
    """The types that a value may have."""
    hints = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return tuple(NoneType if each is None else get_origin(each) or each for each in hints)
