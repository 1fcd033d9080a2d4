"""What a predictions file's run says of itself: model, knowledge base, settings, version.

Read from `<predictions>.run/run.json` (or, of fused predictions, `<predictions>.fusion.json`); what
is not known is `unknown`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from kb_builder.files import sha256_of_file
from longbel_cli.runs.layout import Layout

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
    "abbreviations": "abbreviations",
    "names_from": "names_from",
    "tuned": "tuned",
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
    abbreviations: str = UNKNOWN
    names_from: str = UNKNOWN
    tuned: str = UNKNOWN

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def fusion_record_path(predictions: Path) -> Path:
    """Where the record of what was fused lies, beside a fused predictions file."""
    return Layout(predictions).fusion_record


def read_fusion_record(predictions: Path) -> dict[str, Any] | None:
    """The record of a fused file as it is now; None where there is none.

    A record is written just before its file, and holds the earlier one under `replaced`: whichever
    file a kill in between leaves, its record is there.
    """
    record = _json_object(fusion_record_path(predictions))
    if record is None or "sha256" not in record:  # of a version that kept no hash
        return record
    try:
        digest = sha256_of_file(predictions)
    except OSError:
        return None
    earlier = record.get("replaced")
    known = [entry for entry in (record, earlier) if isinstance(entry, dict)]
    return next((entry for entry in known if entry.get("sha256", digest) == digest), None)


def tuned_documents(predictions: Path) -> frozenset[str]:
    """Hashes of the ids of the documents that the weights of a fusion were tuned on."""
    fusion = (read_fusion_record(predictions) or {}).get("fusion")
    documents = fusion.get("tuned_documents") if isinstance(fusion, dict) else None
    return frozenset(documents) if isinstance(documents, list) else frozenset()


def _json_object(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def run_facts(predictions: Path) -> RunFacts:
    """Read the facts beside a predictions file; a missing or odd file leaves `unknown`."""
    for record in (
        _json_object(Layout(predictions).configuration),
        read_fusion_record(predictions),
    ):
        configuration = {} if record is None else record.get("configuration")
        if not configuration:
            continue
        if isinstance(configuration, dict):
            known = {field: _known(configuration.get(key)) for field, key in KEYS.items()}
            return RunFacts(**known)
    return RunFacts()


def run_date(predictions: Path) -> date | None:
    """The day on which the run began (UTC), as it says itself."""
    record = _json_object(Layout(predictions).configuration) or {}
    provenance = record.get("provenance")
    created = provenance.get("created") if isinstance(provenance, dict) else None
    try:
        return datetime.fromisoformat(created).date() if isinstance(created, str) else None
    except ValueError:
        return None


def run_kb(predictions: Path) -> tuple[Path, str] | None:
    """The knowledge base that a run was given, by its path then, and its signature."""
    try:
        record = json.loads(Layout(predictions).configuration.read_text(encoding="utf-8"))
        path, signature = record["free"]["kb_path"], record["configuration"]["kb"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (Path(path), signature) if isinstance(path, str) and isinstance(signature, str) else None


def _known(value: object) -> str:
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
