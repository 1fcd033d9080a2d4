"""Whether files that hold text of documents are their owner's alone, or a shared project's."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from kb_builder.files import owner_only

SHARED = "LONGBEL_SHARED"  # 1: the umask decides, as in a project folder that a group works in


def is_shared() -> bool:
    """Whether the user says that others may read what their umask lets them."""
    return os.environ.get(SHARED, "") not in ("", "0")


def files_of_text() -> AbstractContextManager[None]:
    """Files are made for their owner alone while the block runs, unless the user shares them."""
    return nullcontext() if is_shared() else owner_only()
