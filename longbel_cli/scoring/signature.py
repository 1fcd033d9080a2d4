"""One line that says what a score is a score of, so that two can be compared.

What is not known of a run is `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterable

from kb_builder.files import sha256_of
from longbel_cli.runs.facts import MODEL, SHORT_HASH, UNKNOWN, RunFacts
from longbel_cli.scoring.gold import ScoredMention


def gold_hash(mentions: Iterable[ScoredMention]) -> str:
    """A hash of the gold that was scored: documents, mentions and codes, in any order."""
    lines = sorted(f"{m.document_id}\t{m.mention_id}\t{m.gold}" for m in mentions)
    return sha256_of("\n".join(lines).encode())[:SHORT_HASH]


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
    if facts.abbreviations != UNKNOWN:
        fields.append(f"abbr:{facts.abbreviations}")
    if facts.names_from != UNKNOWN:
        fields.append(f"names:{facts.names_from}")
    if facts.tuned != UNKNOWN:
        fields.append(f"tuned:{facts.tuned}")
    if match != "exact":
        fields.append(f"match:{match}")
    fields.append(f"v:{version}")
    return "|".join(fields)
