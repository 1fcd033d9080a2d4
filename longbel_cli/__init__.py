"""Document-level biomedical entity linking.

from longbel_cli import Linker
linker = Linker.load("model/", "kb/")
for prediction in linker.link(documents, beams=5): ...
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["Linker", "display_saliency_map"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the command line's help must not wait for them.
    if name == "Linker":
        from longbel_cli.linking.linker import Linker

        return Linker
    if name == "display_saliency_map":
        from longbel_cli.explaining.html import display_saliency_map

        return display_saliency_map
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
