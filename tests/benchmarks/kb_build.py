"""Time and peak memory of build-kb by number of atoms, each build in a process of its own.

    pip install --no-deps llama-models       # optional, for Llama 3's tokenizer
    python -m tests.benchmarks.kb_build --atoms 1000000 2000000 5000000 10000000

Releases are generated once (seeded) and kept under --work. Prints a Markdown table and writes
the same as JSON. The machine's load is told with every row: figures of a busy machine are
upper bounds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.kb_generate import generate
from tests.benchmarks.kb_tokenizers import benchmark_tokenizer

_CHILD = """
import json, os, sys
from pathlib import Path
from kb_builder.build import BuildOptions, build_kb
source, out, tokenizer = map(Path, sys.argv[1:4])
before = os.times()
report = build_kb(BuildOptions(source, out, (tokenizer,), overwrite=True))
print(json.dumps({
    "seconds": report.seconds, "peak": report.peak_memory_bytes, "trie": report.tries[0],
    "counts": report.info["counts"], "cpu": sum(os.times()[:2]) - sum(before[:2]),
    "stages": [[stage.name, stage.seconds, stage.rows] for stage in report.stages],
}))
"""


def measure(atoms: int, work: Path, tokenizer: Path) -> dict:
    """One build of `atoms` rows in a fresh process."""
    release = work / f"release-{atoms}"
    if not (release / "MRSTY.RRF").exists():
        generate(release, atoms)
    command = [sys.executable, "-c", _CHILD, release, work / f"kb-{atoms}", tokenizer]
    load = os.getloadavg()[0]
    done = subprocess.run(
        [str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout) | {"atoms": atoms, "load_before": load}


def table(results: list[dict], name: str) -> str:
    """Results as Markdown."""
    lines = [
        f"Tokenizer: {name}. {os.cpu_count()} cores. Growth: CPU s / (n log n), first = 1.",
        "",
        "| atoms | names | seconds | CPU s | growth | peak | read | rules | write |"
        " trie | trie B/name | load before |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    first = results[0]["cpu"] / _n_log_n(results[0])
    for each in results:
        rates = " | ".join(f"{rows / s / 1000:,.0f}k/s" for _, s, rows in each["stages"])
        n = each["counts"]["names"]
        lines.append(
            f"| {each['atoms']:,} | {n:,} | {each['seconds']:.1f} | {each['cpu']:.1f} | "
            f"{each['cpu'] / _n_log_n(each) / first:.2f} | {each['peak'] / 1e9:.2f} GB | {rates} |"
            f" {each['trie']['bytes'] / n:.1f} | {each['load_before']:.1f} |"
        )
    return "\n".join(lines)


def _n_log_n(result: dict) -> float:
    return result["atoms"] * math.log(result["atoms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--work", type=Path, default=Path(".bench"))
    arguments = parser.parse_args()
    smallest = arguments.work / f"release-{arguments.atoms[0]}"
    if not (smallest / "MRSTY.RRF").exists():
        generate(smallest, arguments.atoms[0])
    with (smallest / "MRCONSO.RRF").open(encoding="utf-8", newline="\n") as rows:
        texts = [row.split("|")[14] for row, _ in zip(rows, range(200_000), strict=False)]
    tokenizer, name = benchmark_tokenizer(arguments.work / "tokenizer", texts)
    results = []
    for atoms in arguments.atoms:
        results.append(measure(atoms, arguments.work, tokenizer))
        print(json.dumps(results[-1]["stages"]), file=sys.stderr)
    print(table(results, name))
    (arguments.work / "kb_build.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
