"""MRFILES.RRF, a release's own table of contents, held against the files themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kb_builder.errors import LongbelError
from kb_builder.sources.archives import Release, StoredFile
from kb_builder.sources.rrf import whole_rows

_HINT = (
    "The release is incomplete or was changed: unpack it again. To build from it as it is, "
    "take MRFILES.RRF out of it."
)


def check_against_mrfiles(release: Release, n_fields: Mapping[StoredFile, int]) -> None:
    """Stop if MRFILES is there and promises other columns, bytes or rows than a file has."""
    contents = release.find("MRFILES.RRF")
    if contents is None:
        return
    promised = _promised(contents)
    for file, fields in n_fields.items():
        row = promised.get(file.name)
        if row is None:
            raise LongbelError(f"{contents.location}: no row for {file.name}", hint=_HINT)
        columns, n_rows, n_bytes = row
        if columns != fields:
            raise LongbelError(
                f"{contents.location}: {file.name} has {columns} columns, not {fields}", hint=_HINT
            )
        if file.size is not None and file.size != n_bytes:
            raise LongbelError(
                f"{file.location}: {file.size} bytes, but MRFILES.RRF says {n_bytes}", hint=_HINT
            )
        counted = _count_rows(file)
        if counted != n_rows:
            raise LongbelError(
                f"{file.location}: {counted} rows, but MRFILES.RRF says {n_rows}", hint=_HINT
            )


def _promised(contents: StoredFile) -> dict[str, tuple[int, int, int]]:
    """Columns, rows and bytes by file name."""
    promised = {}
    for block in whole_rows(contents.blocks(), contents.location):
        for line_number, line in enumerate(block.data.decode("utf-8", "replace").split("\n"), 1):
            fields = line.split("|")
            if len(fields) < 6:
                continue
            try:
                promised[fields[0].rpartition("/")[2]] = (
                    int(fields[3]), int(fields[4]), int(fields[5]),
                )  # fmt: skip
            except ValueError as error:
                raise LongbelError(
                    f"{contents.location}:{line_number}: counts that are not numbers", hint=_HINT
                ) from error
    return promised


def _count_rows(file: StoredFile) -> int:
    """Lines of the file; the last one counts without its end too."""
    count, last = 0, b"\n"
    for block in file.blocks():
        count += int(np.count_nonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")))
        last = block[-1:]
    return count + (last != b"\n")
