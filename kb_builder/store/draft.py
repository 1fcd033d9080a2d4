"""The directory that a knowledge base is built into: there when it is whole, in nobody's way."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kb_builder.errors import LongbelError
from kb_builder.files import real_path, whole_folder
from kb_builder.store.tables import check_name


class Draft:
    """A knowledge base that is being built and will be `final`.

    Refuses a `final` that exists, unless `overwrite` and it is a knowledge base (or empty).
    """

    def __init__(self, final: Path, overwrite: bool) -> None:
        self.final = real_path(final)
        check_name(self.final)
        self.overwrite = overwrite
        self._refuse_occupied()

    def _refuse_occupied(self) -> None:
        if not self.final.exists() and not self.final.is_symlink():
            return
        empty = self.final.is_dir() and not any(self.final.iterdir())
        if empty:
            return
        if not (self.final / "kb.json").is_file():
            raise LongbelError(
                f"{self.final}: exists and is not a knowledge base",
                hint="Choose another name for --out.",
                exit_code=4,
            )
        if not self.overwrite:
            raise LongbelError(
                f"{self.final}: a knowledge base is there already",
                hint="--overwrite replaces it.",
                exit_code=4,
            )

    @contextmanager
    def open(self) -> Iterator[Path]:
        """The directory to write into; published when the block ends well, else deleted."""
        try:
            with whole_folder(self.final, overwrite=self.overwrite) as folder:
                yield folder
                self._refuse_occupied()  # the name may have been taken meanwhile
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> LongbelError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space" in str(error)
        return LongbelError(
            f"{self.final}: cannot be written ({error.strerror or error})",
            hint="The disk is full: free some space; nothing was left behind."
            if full
            else "Nothing was left behind.",
        )
