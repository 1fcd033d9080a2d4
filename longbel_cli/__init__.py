"""Document-level biomedical entity linking.

from longbel_cli import Linker
linker = Linker.load("model/", "kb/")
for prediction in linker.link(documents, beams=5): ...
"""

from __future__ import annotations

from typing import Any

__all__ = ["Linker"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the command line's help must not wait for it.
    if name == "Linker":
        from longbel_cli.linker import Linker

        return Linker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
