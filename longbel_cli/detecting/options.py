"""How mentions are detected: options, each checked once. Loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kb_builder.errors import check_choice
from longbel_cli.detecting.names import NameFilter
from longbel_cli.detecting.tokens import Folding

DICTIONARY = "dictionary"
# What becomes of an abbreviation that the document defines.
ABBREVIATIONS = {
    "on": "a mention where its long form is a name, and none where it is not",
    "off": "as any other text",
}


@dataclass(frozen=True)
class Rules:
    """The rules of matching, all on; switched off only to measure what each gains."""

    folding: Folding = field(default_factory=Folding)
    capitals: bool = True
    function_words: bool = True
    general_words: bool = True
    all_compete: bool = True


@dataclass(frozen=True)
class DictionaryOptions:
    """How names are found. `stop` are texts that are no mentions; `semantic_groups`, as the
    knowledge base spells them, are kept of all matches (empty: all)."""

    names: NameFilter = field(default_factory=NameFilter)
    semantic_groups: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    abbreviations: str = "on"
    nested: bool = False
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        check_choice("--abbreviations", self.abbreviations, ABBREVIATIONS)

    def settings(self) -> dict[str, Any]:
        """What of it can change detections, as a run keeps it."""
        return {
            "detector": DICTIONARY,
            "detector_names": self.names.to_json(),
            "detector_groups": list(self.semantic_groups),
            "detector_abbreviations": self.abbreviations,
            "detector_nested": self.nested,
        }
