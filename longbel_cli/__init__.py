"""Document-level biomedical entity linking.

from longbel_cli import Linker
linker = Linker.load("model/", "kb/")
for prediction in linker.link(documents, beams=5): ...
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

from longbel_cli.version import __version__

# Public name: its module. Loaded on first use, since the command line's help must not wait.
_PUBLIC = {
    "Linker": "longbel_cli.explaining.notebook",
    "display_saliency_map": "longbel_cli.explaining.notebook",
}

__all__ = ["Linker", "__version__", "display_saliency_map"]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
