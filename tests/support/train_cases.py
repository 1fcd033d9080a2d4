"""What the tests of training share: a small corpus, and what a training leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from longbel_cli.training.train import TrainOptions

# (text, (mention, semantic type, concept)...)
Written = tuple[str, Sequence[tuple[str, str, str]]]

FOUR_DOCUMENTS: tuple[Written, ...] = (
    ("She had fever and a cough.", [("fever", "T184", "C0000001")]),
    ("Renal failure was found.", [("Renal failure", "T047", "C0000005")]),
    ("The kidneys were small.", [("kidneys", "T023", "C0000006")]),
    ("Aspirin was given for pyrexia.", [("pyrexia", "T184", "C0000001")]),
)
# Documents of several mentions, so that there is memory; of one mention no concept is known.
WITH_MEMORY: tuple[Written, ...] = (
    (
        "She had fever and a cough.",
        [("fever", "T184", "C0000001"), ("cough", "T184", "C0000002")],
    ),
    (
        "Renal failure of the kidneys, then fever.",
        [
            ("Renal failure", "T047", "C0000005"),
            ("kidneys", "T023", "C0000006"),
            ("fever", "T184", "C0000001"),
        ],
    ),
    (
        "The heart was well, the rash gone, aspirin stopped.",
        [
            ("heart", "T023", "C0000007"),
            ("rash", "T184", "C9999999"),
            ("aspirin", "T121", "C0000008"),
        ],
    ),
    (
        "Systemic lupus with nephritis in lupus.",
        [
            ("Systemic lupus", "T047", "C0000004"),
            ("nephritis in lupus", "T047", "C0000003"),
        ],
    ),
    (
        "Aspirin was given for pyrexia.",
        [("Aspirin", "T121", "C0000008"), ("pyrexia", "T184", "C0000001")],
    ),
)


def write_corpus(path: Path, documents: Sequence[Written]) -> Path:
    """The documents in BigBio's schema, d0, d1, ..."""
    lines = []
    for ordinal, (text, mentions) in enumerate(documents):
        entities = []
        for count, (word, kind, code) in enumerate(mentions, start=1):
            start = text.index(word)
            entities.append(
                {"id": f"T{count}", "type": kind, "text": [word],
                 "offsets": [[start, start + len(word)]],
                 "normalized": [{"db_name": "UMLS", "db_id": code}]}
            )  # fmt: skip
        passage = {"id": "p", "type": "", "text": [text], "offsets": [[0, len(text)]]}
        lines.append(
            {"id": f"d{ordinal}", "document_id": f"d{ordinal}", "passages": [passage],
             "entities": entities, "events": [], "coreferences": [], "relations": []}
        )  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def nano_options(kb: Path, corpus: Path, **changes: Any) -> TrainOptions:
    """A training of a second or two."""
    given: dict[str, Any] = {
        "kb": str(kb), "corpora": (str(corpus),), "fresh": "nano", "synthetic": 10, "epochs": 3,
        "learning_rate": 1e-3, "tokens_per_batch": 400, "dtype": "float32",
        "save_dtype": "float32", **changes,
    }  # fmt: skip
    return TrainOptions(**given)


def weights(out: Path) -> dict[str, Tensor]:
    return load_file(out / "model.safetensors")


def log_lines(out: Path) -> list[dict[str, Any]]:
    journal = out.with_name(out.name + ".run") / "log.jsonl"
    return [json.loads(line) for line in journal.read_text().splitlines()]


def losses(out: Path) -> list[dict[str, Any]]:
    return [line for line in log_lines(out) if "loss" in line]


class KilledError(Exception):
    """Stands for a kill: nothing is tidied up on its way out."""


def kill_at(ordinal: int, nth: int = 1) -> Callable[[Any], None]:
    """An `on_step` that kills at the nth step of this number."""
    seen = 0

    def on_step(step: Any) -> None:
        nonlocal seen
        seen += step.step == ordinal
        if seen == nth:
            raise KilledError

    return on_step
