r"""What a model adds to the look-up: their fusion, tuned on one half of the documents and scored on
the other.

    python -m tests.benchmarks.fusion --gold dev.jsonl.gz --train train.jsonl.gz \
        --names tfidf.jsonl --model short.jsonl --documents 100

`--gold` is a development corpus (JSON Lines, gzipped) whose first documents both files are
predictions of. Documents are halved by a hash of their ids. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from longbel_cli.linking.fusion import FUSIONS

HEADER = (
    "| corpus | fused by | weights | look-up | model | fused | fused − look-up | seen mentions: "
    "look-up, fused | unseen: look-up, fused |\n|---|---|---|---|---|---|---|---|---|"
)


def longbel(*words: Any) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "longbel_cli", *map(str, words), "--quiet"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def halves(gold: Path, documents: int, folder: Path) -> tuple[Path, Path]:
    """The documents to tune on, and those to report, as corpora."""
    with gzip.open(gold, "rt", encoding="utf-8") as file:
        lines = list(islice((line for line in file if line.strip()), documents))
    paths = folder / "tune.jsonl", folder / "report.jsonl"
    for remainder, path in enumerate(paths):
        path.write_text(
            "".join(
                line
                for line in lines
                if sha256(json.loads(line)["document_id"].encode()).digest()[0] % 2 == remainder
            ),
            encoding="utf-8",
        )
    return paths


def shown(interval: dict[str, float], sign: str = "") -> str:
    value, low, high = (100 * interval[key] for key in ("value", "low", "high"))
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def row(args: argparse.Namespace, by: str, tune: Path, report: Path, folder: Path) -> str:
    """Tuned on one half, scored on the other."""
    pair, weights, out = (args.names, args.model), folder / f"{by}.json", folder / f"{by}.jsonl"
    longbel("fuse", *pair, "--by", by, "--tune", tune, "--write-weights", weights)
    longbel("fuse", *pair, "--weights-from", weights, "--out", out)
    how = ("--gold", report, "--train", args.train, "--by", "mention_seen", "--json")
    score = json.loads(longbel("score", out, "--paired", args.names, "--paired", args.model, *how))
    alone = json.loads(longbel("score", args.names, *how))
    chosen = json.loads(weights.read_text(encoding="utf-8"))
    lookup, model = score["paired"]
    parts = [
        [each["by"]["mention_seen"][part]["recall@1"]["value"] for each in (alone, score)]
        for part in ("seen", "unseen")
    ]
    cells = [
        args.gold.parent.name,
        by,
        ":".join(f"{weight:g}" for weight in chosen["weights"])
        + ("" if chosen["threshold"] is None else f", look-up alone from {chosen['threshold']:g}"),
        shown(lookup["recall@1"]),
        shown(model["recall@1"]),
        shown(score["recall@1"]),
        shown(lookup["difference"]["recall@1"], "+"),
        *(", ".join(f"{100 * value:.1f}" for value in both) for both in parts),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    for flag in ("--gold", "--train", "--names", "--model"):
        parser.add_argument(flag, type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tune, report = halves(args.gold, args.documents, Path(folder))
        print(HEADER)
        for by in FUSIONS:
            print(row(args, by, tune, report, Path(folder)))


if __name__ == "__main__":
    main()
