"""Memory and opening time: the knowledge base against nested dicts, pickles and marisa-trie.

    python -m tests.benchmarks.kb_build --atoms 10000000        # makes the names
    pip install marisa-trie                                     # optional
    python -m tests.benchmarks.kb_memory --kb .bench/kb-10000000 --names 1000000 5000000

Every structure is made in a process of its own from the same names (evenly spread rows of the
knowledge base) with the same token ids. Resident memory is what the process holds above what it
held before, garbage collected; files are counted by size. `pickle` reads only what this script
has just written.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

_PRELUDE = """
import gc, json, pickle, resource, sys, time
from pathlib import Path
import numpy as np
folder, tokens_file, kb_path = map(Path, sys.argv[1:4])
def resident():
    gc.collect()
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()
def told(**figures):
    print(json.dumps(figures))
"""

_NAMES = (
    _PRELUDE
    + """
import pyarrow.parquet as pq
table = pq.read_table(folder / "names.parquet", columns=["name", "code", "group"])
names, codes = table["name"], table["code"]
groups = table["group"].to_pylist()
tokens = np.load(tokens_file)["tokens"]; offsets = np.load(tokens_file)["offsets"]
"""
)

_STRUCTURES = {
    # The published form: one nested dict a group, a node a dict, the end an empty one.
    "nested dicts": _NAMES
    + """
def ids(first, last):
    flat = tokens[offsets[first]:offsets[last]].tolist()
    starts = (offsets[first:last + 1] - offsets[first]).tolist()
    return [flat[a:b] for a, b in zip(starts, starts[1:])]
before = resident()
tries = {}
for first in range(0, len(groups), 100_000):
    last = min(first + 100_000, len(groups))
    for group, sequence in zip(groups[first:last], ids(first, last)):
        node = tries.setdefault(group, {})
        for token in sequence:
            node = node.setdefault(token, {})
        node[-1] = {}
    sequence = None
trie_bytes = resident() - before
before = resident()
text_to_code = {}
for first in range(0, len(groups), 100_000):
    part = slice(first, min(first + 100_000, len(groups)))
    pairs = zip(groups[part], names[part].to_pylist(), codes[part].to_pylist())
    for group, name, code in pairs:
        text_to_code.setdefault(group, {})[name] = code
    pairs = name = code = None
code_bytes = resident() - before
sys.setrecursionlimit(10_000)
file = folder / "nested.pkl"
with file.open("wb") as stream:
    pickle.dump((tries, text_to_code), stream, protocol=5)
told(trie=trie_bytes, codes=code_bytes, file=file.stat().st_size)
""",
    "unpickling": _PRELUDE
    + """
sys.setrecursionlimit(10_000)
before, started = resident(), time.perf_counter()
with (folder / "nested.pkl").open("rb") as stream:
    loaded = pickle.load(stream)
told(seconds=time.perf_counter() - started, resident=resident() - before)
""",
    "marisa-trie": _NAMES
    + """
import marisa_trie
points = np.arange(tokens.max() + 1) + 256
points[points >= 0xD800] += 0x800          # not the surrogates
first_of = {group: chr(33 + place) for place, group in enumerate(dict.fromkeys(groups))}
def keys():
    for first in range(0, len(groups), 100_000):
        last = min(first + 100_000, len(groups))
        text = "".join(map(chr, points[tokens[offsets[first]:offsets[last]]].tolist()))
        base = offsets[first]
        for row in range(first, last):
            yield first_of[groups[row]] + text[offsets[row] - base:offsets[row + 1] - base]
before, started = resident(), time.perf_counter()
trie = marisa_trie.Trie(keys())
built = time.perf_counter() - started
file = folder / "marisa.trie"
trie.save(str(file))
trie = None
before, started = resident(), time.perf_counter()
trie = marisa_trie.Trie().load(str(file))
told(file=file.stat().st_size, seconds=time.perf_counter() - started,
     resident=resident() - before, built=built)
""",
    # Ready to decode: the trie's arrays and the rows' concepts; then every page of them touched.
    "arrays, mapped": _PRELUDE
    + """
import numpy, pyarrow, tokenizers
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.trie.tokenization import load_tokenizer
from kb_builder.trie.trie import Trie
tokenizer = load_tokenizer(Path(sys.argv[4]))
# The hash once before: what it leaves in the allocator is the tokenizer's, not the names'.
from kb_builder.trie.tokenization import tokenizer_hash
tokenizer_hash(tokenizer)
before, started = resident(), time.perf_counter()
base = KnowledgeBase.open(folder)
trie = base.trie(tokenizer)
for group in base.groups:
    trie.children(trie.roots[group])
seconds = time.perf_counter() - started
opened = resident() - before
arrays = [getattr(trie, name) for name in Trie.ARRAYS] + [base.row_concepts]
total = sum(int(array.sum()) for array in arrays)   # touches every page
told(seconds=seconds, opened=opened, touched=resident() - before,
     trie=trie.nbytes, rows=base.row_concepts.nbytes)
""",
}

_SUBSET = (
    _PRELUDE
    + """
import pyarrow as pa, pyarrow.parquet as pq
from kb_builder.build import BuildOptions, build_kb
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.trie.tokenization import AnswerTokenizer, load_tokenizer
n = int(sys.argv[5])
big = KnowledgeBase.open(kb_path)
rows = np.linspace(0, big.n_names - 1, n).astype(np.int64)
table = pq.read_table(kb_path / "names.parquet", columns=["name", "code", "group"]).take(rows)
source = folder.parent / "names.parquet"
pq.write_table(table, source)
build_kb(BuildOptions(source, folder, (Path(sys.argv[4]),), overwrite=True))
base = KnowledgeBase.open(folder)
answers = AnswerTokenizer(load_tokenizer(Path(sys.argv[4])))
runs = answers.encode_column(base._names["name"])
np.savez(tokens_file, tokens=runs.tokens, offsets=runs.offsets)
told(names=base.n_names, tokens=len(runs.tokens))
"""
)


def _run(script: str, *arguments: object) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(n: int, kb: Path, tokenizer: Path) -> dict:
    """All structures over `n` names."""
    with tempfile.TemporaryDirectory(dir=kb.parent) as scratch:
        folder, tokens = Path(scratch) / "kb", Path(scratch) / "tokens.npz"
        result: dict = {"asked": n, **_run(_SUBSET, folder, tokens, kb, tokenizer, n)}
        for name, script in _STRUCTURES.items():
            if name == "marisa-trie" and importlib.util.find_spec("marisa_trie") is None:
                continue
            result[name] = _run(script, folder, tokens, kb, tokenizer)
            print(name, json.dumps(result[name]), file=sys.stderr)
    return result


def table(results: list[dict]) -> str:
    """Results as Markdown, bytes a name."""
    lines = [
        "| names | tokens a name | nested dicts: trie + codes | arrays: trie + codes | ratio |"
        " marisa-trie (keys alone) | unpickling | opening | resident when open | all touched |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in results:
        n, dicts, arrays = each["names"], each["nested dicts"], each["arrays, mapped"]
        marisa = each.get("marisa-trie")
        published = dicts["trie"] + dicts["codes"]
        ours = arrays["trie"] + arrays["rows"]
        keys = "not installed" if marisa is None else f"{marisa['file'] / n:.1f} B"
        lines.append(
            f"| {n:,} | {each['tokens'] / n:.1f} | {dicts['trie'] / n:.0f} + "
            f"{dicts['codes'] / n:.0f} B | {arrays['trie'] / n:.1f} + {arrays['rows'] / n:.1f} B |"
            f" {published / ours:.1f} | {keys} | {each['unpickling']['seconds']:.1f} s |"
            f" {arrays['seconds']:.2f} s | {arrays['opened'] / n:.1f} B |"
            f" {arrays['touched'] / n:.1f} B |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kb", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, default=None)
    parser.add_argument("--names", type=int, nargs="+", default=[1_000_000])
    arguments = parser.parse_args()
    tokenizer = arguments.tokenizer or arguments.kb.parent / "tokenizer"
    results = [measure(n, arguments.kb, tokenizer) for n in arguments.names]
    print(table(results))
    (arguments.kb.parent / "kb_memory.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
