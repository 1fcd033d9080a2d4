"""Where notes go: what both packages log becomes lines on stderr, above a progress bar.

The only place that sets logging up; from Python the packages print nothing unless the caller does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from kb_builder.text import visible, visible_line
from longbel_cli.progress import write_line

PACKAGES = ("kb_builder", "longbel_cli")


class _OneLine(logging.Formatter):
    """A note is a line, whatever ids and file names it has; other libraries' may be several."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        own = record.name.partition(".")[0] in PACKAGES
        return visible_line(text) if own else visible(text)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            write_line(self.format(record))
        except Exception:
            self.handleError(record)


@contextmanager
def notes_on_stderr() -> Iterator[None]:
    """Write notes and warnings as `longbel: MESSAGE` while the block runs.

    Of other libraries only warnings are written.
    """
    handler, loggers = _Lines(), [logging.getLogger(name) for name in (None, *PACKAGES)]
    handler.setFormatter(_OneLine("longbel: %(message)s"))
    levels = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    set_quiet(False)
    try:
        yield
    finally:
        loggers[0].removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def set_quiet(quiet: bool) -> None:
    """Write errors alone, or notes and warnings too."""
    logging.getLogger().setLevel(logging.ERROR if quiet else logging.WARNING)
    for name in PACKAGES:
        logging.getLogger(name).setLevel(logging.ERROR if quiet else logging.INFO)
