"""Makes a detector of the flags that `detect` and `link --detector` share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.commands import options as shared
from longbel_cli.corpora.resolve import load_type_map
from longbel_cli.detecting.detector import Detector
from longbel_cli.detecting.names import NameFilter
from longbel_cli.detecting.opening import examples_of, open_detector, stop_texts
from longbel_cli.detecting.options import DictionaryOptions

# Flags of `link` that mean something with --detector alone, by the names of their parameters.
OF_DETECTORS = (
    "stop", "semantic_groups", "semantic_types", "vocabularies", "without_vocabularies", "nested",
)  # fmt: skip


def detector_of(given: Mapping[str, Any], base: KnowledgeBase) -> Detector:
    """The detector that the parameters of a command ask for."""
    options = DictionaryOptions(
        names=NameFilter(
            vocabularies=shared.listed(given["vocabularies"]),
            without_vocabularies=shared.listed(given["without_vocabularies"]),
            semantic_types=shared.listed(given["semantic_types"]),
        ),
        semantic_groups=shared.listed(given["semantic_groups"]),
        stop=stop_texts(given["stop"]),
        abbreviations=given["abbreviations"],
        nested=given["nested"],
    )
    corpora: list[Path] = given["names_from"] or []
    type_map = {} if given["type_map"] is None else load_type_map(given["type_map"])
    return open_detector(given["detector"], base, options, examples_of(corpora, base, type_map))


def refuse_without_detector(given: Mapping[str, Any]) -> None:
    """LongbelError (usage) for a flag that means nothing where mentions are not detected."""
    for name in OF_DETECTORS:
        if given[name]:
            raise LongbelError(
                f"--{name.replace('_', '-')} is for mentions that are detected",
                "Add --detector, or leave it out.",
                exit_code=2,
            )
