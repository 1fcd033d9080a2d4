"""A published checkpoint's `text_to_code.json`: {group: {name: code}}, taken as it stands.

The rules were applied when it was made. A checkpoint's `candidate_trie.pkl` is never read:
pickles run code.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from kb_builder.errors import LongbelError
from kb_builder.files import sha256_of_file
from kb_builder.sources.reading import Reading
from kb_builder.sources.tables import sorted_words, wanted_groups
from kb_builder.terms import Terms, Titles

FILE_NAME = "text_to_code.json"


def read(reading: Reading) -> Terms:
    """The candidate set of a checkpoint: its file, or the folder that holds it."""
    path = reading.path
    file = path / FILE_NAME if path.is_dir() else path
    digest = sha256_of_file(file)
    names, codes, groups = [], [], []
    for group, entries in _entries(file).items():
        for name, code in _checked(entries, group, file).items():
            if name:
                names.append(name)
                codes.append(code)
                groups.append(group)
    reading.progress("names", len(names), len(names))
    wanted = pa.array(wanted_groups(pa.array(groups, pa.large_string()), reading.selection))
    columns = [
        pa.array(column, pa.large_string()).filter(wanted) for column in (codes, groups, names)
    ]
    code, group, name = (column.dictionary_encode() for column in columns)
    sorted_codes, concept = sorted_words(code)
    sorted_groups, group_index = sorted_words(group)
    return Terms(
        codes=sorted_codes,
        groups=tuple(sorted_groups.to_pylist()),
        languages=(),
        concept=concept,
        name=name.indices.to_numpy().astype(np.int32),
        group=group_index,
        language=np.full(len(concept), -1, np.int16),
        strings=pa.chunked_array([name.dictionary]),
        titles=Titles(
            np.zeros(0, np.int32), pa.array([], pa.large_string()), np.zeros(0, np.uint8),
            np.zeros(0, np.int16),
        ),
        as_they_stand=True,
        counts={"atoms": len(names)},
        files=[{"name": file.name, "rows": len(names), "sha256": digest}],
    )  # fmt: skip


def _entries(file: Path) -> dict[str, object]:
    try:
        with file.open(encoding="utf-8-sig") as stream:
            content = json.load(stream)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise LongbelError(f"{file}:{line}: not readable JSON in UTF-8") from error
    if not isinstance(content, dict) or not content:
        raise LongbelError(f"{file}: not an object of groups", hint="{group: {name: code}}")
    return content


def _checked(entries: object, group: str, file: Path) -> dict[str, str]:
    if not isinstance(entries, dict) or not all(isinstance(code, str) for code in entries.values()):
        raise LongbelError(
            f"{file}: group {group!r} is not an object of names and codes",
            hint="Expected {group: {name: code}} with codes as text.",
        )
    for text in (group, *entries, *entries.values()):
        if not _is_whole(text):
            raise LongbelError(
                f"{file}: a name or code of group {group!r} holds half of a surrogate pair",
                hint="Such text is not valid UTF-8: mend the file.",
            )
    return entries


def _is_whole(text: str) -> bool:
    """JSON may write half of a pair of surrogates, which no encoding has."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def matches(path: Path) -> bool:
    """Whether this is such a file, or a checkpoint's folder that holds one."""
    return path.suffix.lower() == ".json" or (path / FILE_NAME).is_file()
