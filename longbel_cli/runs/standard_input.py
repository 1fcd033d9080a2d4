"""Standard input as a corpus: it is read more than once, so it is saved first."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kb_builder.errors import LongbelError
from longbel_cli.corpora.records import STDIN
from longbel_cli.runs.run import Stopped, drop_unused, spool


@contextmanager
def corpus_paths(corpus: Sequence[str], out: Path | None) -> Iterator[tuple[Path, ...]]:
    """The paths of a corpus, with a copy of standard input for `-`: kept with the run whose result
    is `out`, else until the block ends. Where the block is refused, the copy is removed: nothing
    resumes from it, and its text is to lie nowhere without need."""
    if STDIN not in corpus:
        yield tuple(map(Path, corpus))
        return
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / "stdin" if out is None else out
        saved = spool(sys.stdin.buffer, beside)
        try:
            yield tuple(saved if path == STDIN else Path(path) for path in corpus)
        except LongbelError as error:
            if not isinstance(error, Stopped):
                drop_unused(saved, beside)
            raise
