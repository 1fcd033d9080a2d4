"""Opening a knowledge base for linking: this version against another, in turn.

    python -m tests.benchmarks.kb_opening --base TREE      # a checkout of the other version

Each version builds a knowledge base from the same generated release (seeded, kept under --work)
with a trie for the same tokenizer, and then opens its own, each time in a fresh process, after one
that is not counted. Open is what can decode: all roots are expanded, and the end of a name found.
Resident memory is what the process holds above its imports and the tokenizer, when open and after
every page of the arrays was read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from tests.benchmarks.kb_generate import generate
from tests.benchmarks.kb_tokenizers import benchmark_tokenizer

_BUILD = """
import sys
from pathlib import Path
from kb_builder.build import BuildOptions, build_kb
source, out, tokenizer = map(Path, sys.argv[1:4])
build_kb(BuildOptions(source, out, (tokenizer,), overwrite=True))
"""
_OPEN = """
import gc, json, resource, sys, time
from pathlib import Path
try:
    from kb_builder.store.knowledge_base import KnowledgeBase
    from kb_builder.trie.tokenization import load_tokenizer, tokenizer_hash
    from kb_builder.trie.trie import Trie
except ModuleNotFoundError:  # 0.1.0
    from kb_builder.store import KnowledgeBase
    from kb_builder.tokenization import load_tokenizer, tokenizer_hash
    from kb_builder.trie import Trie
def resident():
    gc.collect()
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()
tokenizer = load_tokenizer(Path(sys.argv[2]))
tokenizer_hash(tokenizer)
before, started, cpu = resident(), time.perf_counter(), time.process_time()
base = KnowledgeBase.open(Path(sys.argv[1]))
trie = base.trie(tokenizer)
for group in base.groups:
    trie.children(trie.roots[group])
trie.leaf(trie.n_inner)  # the end of a name, which needs the index over tails
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
opened = resident() - before
arrays = [getattr(trie, name) for name in Trie.ARRAYS] + [base.row_concepts]
total = sum(int(array.sum()) for array in arrays)
print(json.dumps(dict(seconds=seconds, cpu=cpu, opened=opened, touched=resident() - before)))
"""


def _run(tree: Path, script: str, *arguments: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        check=True, stdout=subprocess.PIPE, text=True, cwd="/",
        env=os.environ | {"PYTHONPATH": str(tree.resolve())},
    )  # fmt: skip
    return done.stdout


def measure(trees: dict[str, Path], work: Path, atoms: int, repeats: int) -> dict[str, list[dict]]:
    """The openings of each version's own knowledge base, versions in turn."""
    release = work / f"release-{atoms}"
    if not (release / "MRSTY.RRF").exists():
        generate(release, atoms)
    with (release / "MRCONSO.RRF").open(encoding="utf-8", newline="\n") as rows:
        texts = [row.split("|")[14] for row, _ in zip(rows, range(200_000), strict=False)]
    tokenizer, _ = benchmark_tokenizer(work / "tokenizer", texts)
    folders = {name: work / f"kb-opening-{index}" for index, name in enumerate(trees)}
    for name, tree in trees.items():
        _run(tree, _BUILD, release.resolve(), folders[name].resolve(), tokenizer.resolve())
    results: dict[str, list[dict]] = {name: [] for name in trees}
    for repeat in range(repeats + 1):
        for name, tree in trees.items():
            printed = _run(tree, _OPEN, folders[name].resolve(), tokenizer.resolve())
            if repeat:
                results[name].append(json.loads(printed))
    return results


def table(results: dict[str, list[dict]]) -> str:
    """Results as Markdown, a version a row: medians, and the lowest and highest."""
    lines = [
        "| version | openings | CPU ms | wall ms | resident when open | all touched |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, runs in results.items():
        cells = []
        for key, scale, unit in (
            ("cpu", 1e3, ""), ("seconds", 1e3, ""), ("opened", 1e-6, " MB"),
            ("touched", 1e-6, " MB"),
        ):  # fmt: skip
            values = sorted(run[key] * scale for run in runs)
            cells.append(f"{median(values):.1f}{unit} ({values[0]:.1f}–{values[-1]:.1f})")
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="Tree of the other version.")
    parser.add_argument("--base-name", default="0.1.0")
    parser.add_argument("--atoms", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    trees = {options.base_name: options.base, "this": Path(__file__).parents[2]}
    load = os.getloadavg()[0]
    results = measure(trees, options.work, options.atoms, options.repeats)
    print(table(results))
    print(f"\n{options.atoms:,} atoms; load {load:.1f} before, {os.getloadavg()[0]:.1f} after.")


if __name__ == "__main__":
    main()
