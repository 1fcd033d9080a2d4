"""One line that says what a score is a score of, so that two can be compared.

Reads what a run says of itself from `<predictions>.run/run.json` (or, of fused predictions,
`<predictions>.fusion.json`); what is not known is `unknown`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from longbel_cli.runs.layout import Layout
from longbel_cli.scoring.gold import ScoredMention

UNKNOWN = "unknown"
SHORT_HASH = 12
MODEL = "longbel"  # the linker that goes without saying

# field -> key of the configuration in run.json, which a fusion's record has too
KEYS = {
    "kb": "kb",
    "model": "model",
    "beams": "beams",
    "context_format": "context_format",
    "version": "longbel version",
    "linker": "linker",
}


@dataclass(frozen=True)
class RunFacts:
    """What a run says of itself, as short strings."""

    kb: str = UNKNOWN
    model: str = UNKNOWN
    beams: str = UNKNOWN
    context_format: str = UNKNOWN
    version: str = UNKNOWN
    linker: str = UNKNOWN

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def fusion_record_path(predictions: Path) -> Path:
    """Where the record of what was fused lies, beside a fused predictions file."""
    return Layout(predictions).fusion_record


def run_facts(predictions: Path) -> RunFacts:
    """Read the facts beside a predictions file; a missing or odd file leaves `unknown`."""
    for path in (Layout(predictions).configuration, fusion_record_path(predictions)):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        configuration = record.get("configuration") if isinstance(record, dict) else None
        if isinstance(configuration, dict):
            return RunFacts(**{field: _told(configuration.get(key)) for field, key in KEYS.items()})
    return RunFacts()


def _told(value: object) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
        return short(str(value))
    return UNKNOWN


def short(value: str) -> str:
    """A hash cut to what a line can bear; `|` would end the field."""
    value = value.replace("|", "/").replace("\n", " ")
    bare = value.removeprefix("sha256:")
    if len(bare) >= 40 and all(character in "0123456789abcdef" for character in bare):
        return bare[:SHORT_HASH]
    return value


def gold_hash(mentions: Iterable[ScoredMention]) -> str:
    """A hash of the gold that was scored: documents, mentions and codes, in any order."""
    lines = sorted(f"{m.document_id}\t{m.mention_id}\t{m.gold}" for m in mentions)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:SHORT_HASH]


def signature(
    facts: RunFacts, gold: str, ks: Iterable[int], n_boot: int, seed: int, match: str, version: str
) -> str:
    """`R@1|kb:…|model:…|beams:5|ctx:…|gold:…|boot:1000|seed:…|v:…`; a baseline's name stands
    before the model."""
    fields = [
        "R@" + ",".join(str(k) for k in ks),
        f"kb:{facts.kb}",
        f"model:{facts.model}",
        f"beams:{facts.beams}",
        f"ctx:{facts.context_format}",
        f"gold:{gold}",
        f"boot:{n_boot}",
        f"seed:{seed}",
    ]
    if facts.linker not in (UNKNOWN, MODEL):
        fields.insert(2, f"linker:{facts.linker}")
    if match != "exact":
        fields.append(f"match:{match}")
    fields.append(f"v:{version}")
    return "|".join(fields)
