"""The packed decoder of this tree against that of another, in turn, by processor time.

    python -m tests.benchmarks.against --tree ../longbel-0.1.0 --kb KB [--corpus FILE]

Each measurement is `decode_speed` in a process of its own whose packages are those of one tree; a
row's two trees take turns. The last rows link one document alone, on one thread and on two, by the
clock. Prints a Markdown table: a ratio above 1 means that this tree is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Row(NamedTuple):
    """`context` None: the corpus's own documents."""

    context_format: str
    context: int | None
    documents: int = 2
    threads: int = 1
    clock: str = "cpu"


ROWS = (
    Row("hybrid_long", 400), Row("short", 400), Row("long", 400), Row("hybrid_long", 1500),
    Row("short", None, 8), Row("hybrid_long", None, 8), Row("long", None, 8),
    Row("echoed", None, 8),
    Row("hybrid_long", 400, 1, 1, "wall"), Row("hybrid_long", 400, 1, 2, "wall"),
)  # fmt: skip


def rate(tree: Path, row: Row, args: argparse.Namespace) -> float:
    """Mentions a second of the packed decoder of a tree."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        texts = ["--corpus", str(args.corpus)] if row.context is None else []
        command = [
            sys.executable, "-m", "tests.benchmarks.decode_speed", "--kb", str(args.kb),
            "--model", args.model, "--context", str(row.context or 400),
            "--documents", str(row.documents), "--formats", row.context_format,
            "--threads", str(row.threads), "--clock", row.clock, "--json", str(out),
            "--baseline-mentions", "1", "--baseline-batches", "1", *texts,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": str(row.threads)}
        done = subprocess.run(command, env=environment, cwd=tree, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{tree}: {done.stderr}")
        return float(json.loads(out.read_text())[0]["mentions_per_second"])


def measured(row: Row, args: argparse.Namespace) -> dict[str, Any]:
    """The ratios of a row, one for each turn, and both trees' median rates."""
    ours, theirs = [], []
    for _ in range(args.repeats):
        theirs.append(rate(args.tree, row, args))
        ours.append(rate(ROOT, row, args))
    ratios = sorted(first / other for first, other in zip(ours, theirs, strict=True))
    return {
        **row._asdict(),
        "ours": statistics.median(ours),
        "theirs": statistics.median(theirs),
        "ratios": ratios,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| texts | format | documents | threads | mentions/s | before | times faster |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        texts = "corpus" if row["context"] is None else f"{row['context']} tokens"
        low, middle, high = (
            row["ratios"][0], statistics.median(row["ratios"]), row["ratios"][-1],
        )  # fmt: skip
        lines.append(
            f"| {texts} | `{row['context_format']}` | {row['documents']} | {row['threads']} "
            f"| {row['ours']:.2f} | {row['theirs']:.2f} | **{middle:.2f}** ({low:.2f}–{high:.2f}) |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tree", type=Path, required=True, help="The other version.")
    parser.add_argument("--kb", type=Path, required=True)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--model", default="small")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    args.tree, args.kb = args.tree.resolve(), args.kb.resolve()
    args.corpus = args.corpus and args.corpus.resolve()
    rows = []
    for row in ROWS:
        if row.context is None and args.corpus is None:
            continue
        rows.append(measured(row, args))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
