"""What the tests of runs do in this process: a configuration, and linking by a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from longbel_cli.runs.run import (
    Run,
    RunConfiguration,
    open_run,
)
from longbel_cli.runs.windows import Position, Quarantine
from longbel_cli.types import Document
from tests.support.run_driver import (
    predictions,
    read_documents,
)


def configuration(corpus: Path, **results: object) -> RunConfiguration:
    return RunConfiguration(
        {"model": "abc", "beams": 5, **results},
        [corpus],
        window_documents=3,
        window_mentions=100,
        command=["link"],
    )


def link(run: Run, corpus: Path, windows: int | None = None) -> int:
    """Link up to so many windows; how many there were."""

    def source(start: Position, quarantine: Quarantine) -> Iterator[tuple[Position, Document]]:
        return read_documents(corpus, start, quarantine)

    done = 0
    for window in run.pending(source):
        run.commit(window, [line for doc in window.documents for line in predictions(doc)])
        done += 1
        if done == windows:
            return done
    run.finish()
    return done


def whole_run(out: Path, corpus: Path, **results: object) -> bytes:
    with open_run(out, configuration(corpus, **results)) as run:
        assert run.finished is None
        link(run, corpus)
    return out.read_bytes()
