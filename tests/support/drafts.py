"""Drafts that some process left: names as `kb_builder.files` gives them, of a writer of choice."""

from __future__ import annotations

import os
from pathlib import Path

from kb_builder.files import drafted

NO_PROCESS = 2**22 + 5  # above the largest process number


def own_draft(path: Path) -> Path:
    """A draft's name of this process, which lives."""
    with drafted(path) as draft:
        return draft


def dead_draft(path: Path) -> Path:
    """A draft's name of a process of this machine that is gone."""
    draft = own_draft(path)
    return draft.with_name(draft.name.replace(f"-{os.getpid()}-", f"-{NO_PROCESS}-"))
