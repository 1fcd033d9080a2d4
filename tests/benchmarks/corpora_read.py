"""How fast corpora are read, and in how much memory: `python tests/benchmarks/corpora_read.py`.

Writes a made corpus of N documents (100,000; about 1,700 characters and 10 mentions each) in each
format, reads it with all checks in a fresh process, and prints documents and mentions a second,
and the resident memory after a tenth of the documents and after all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORDS = (
    *("fever", "cough", "œdème", "asthma", "patient", "treated"),
    *("with", "aspirin", "for", "chronic", "😷", "pain"),
)
FORMATS = ("jsonl", "jsonl.gz", "json", "parquet", "pubtator", "xml", "brat")


def made(ordinal: int) -> tuple[str, list[tuple[int, int, str]]]:
    """A text and its mentions: start, end, text."""
    words = [
        WORDS[(ordinal + location * 7 + location * location) % len(WORDS)]
        for location in range(240)
    ]
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    mentions = [
        (starts[location], starts[location] + len(words[location]), words[location])
        for location in range(5, 240, 24)
    ]
    return " ".join(words), mentions


def page(ordinal: int) -> dict[str, Any]:
    text, mentions = made(ordinal)
    return {
        "id": str(ordinal),
        "document_id": f"doc{ordinal}",
        "passages": [{"id": "p", "type": "document", "text": [text], "offsets": [[0, len(text)]]}],
        "entities": [
            {
                "id": f"T{location}",
                "type": "DISO",
                "text": [mention],
                "offsets": [[start, end]],
                "normalized": [{"db_name": "UMLS", "db_id": f"C{location:07}"}],
            }
            for location, (start, end, mention) in enumerate(mentions, start=1)
        ],
        "events": [],
        "coreferences": [],
        "relations": [],
    }


def write(form: str, count: int, folder: Path) -> Path:
    """A corpus of that format; the path to give to the reader."""
    if form in ("jsonl", "jsonl.gz"):
        import gzip

        path = folder / f"corpus.{form}"
        opener = gzip.open if form.endswith("gz") else open
        with opener(path, "wt", encoding="utf-8") as handle:
            for ordinal in range(count):
                handle.write(json.dumps(page(ordinal), ensure_ascii=False) + "\n")
        return path
    if form == "json":
        path = folder / "corpus.json"
        with path.open("w", encoding="utf-8") as handle:
            for ordinal in range(count):
                handle.write(("," if ordinal else "[") + json.dumps(page(ordinal)))
            handle.write("]")
        return path
    if form == "parquet":
        return write_parquet(count, folder / "corpus.parquet")
    if form == "brat":
        for ordinal in range(count):
            text, mentions = made(ordinal)
            location = folder / "brat" / f"{ordinal // 1000:04}"
            location.mkdir(parents=True, exist_ok=True)
            (location / f"{ordinal}.txt").write_text(text, encoding="utf-8")
            (location / f"{ordinal}.ann").write_text(
                "".join(
                    f"T{index}\tDISO {start} {end}\t{mention}\n"
                    f"N{index}\tReference T{index} UMLS:C{index:07}\tname\n"
                    for index, (start, end, mention) in enumerate(mentions, start=1)
                ),
                encoding="utf-8",
            )
        return folder / "brat"
    path = folder / f"corpus.{form}"
    with path.open("w", encoding="utf-8") as handle:
        for part in pubtator(count) if form == "pubtator" else bioc(count):
            handle.write(part)
    return path


def write_parquet(count: int, path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.Table.from_pylist([{**page(0), **NO_MORE}]).schema
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, count, 1000):
            pages = [{**page(ordinal), **NO_MORE} for ordinal in range(first, first + 1000)]
            writer.write_table(pa.Table.from_pylist(pages, schema=schema))
    return path


NO_MORE: dict[str, Any] = {"events": None, "coreferences": None, "relations": None}


def pubtator(count: int) -> Iterator[str]:
    for ordinal in range(count):
        text, mentions = made(ordinal)
        yield f"{ordinal}|t|{text[:60]}\n{ordinal}|a|{text[61:]}\n"
        for start, end, mention in mentions:
            if start > 60:
                yield f"{ordinal}\t{start}\t{end}\t{mention}\tDisease\tC1\n"
        yield "\n"


def bioc(count: int) -> Iterator[str]:
    yield "<collection><source/>"
    for ordinal in range(count):
        text, mentions = made(ordinal)
        yield f"<document><id>{ordinal}</id><passage><offset>0</offset><text>{text}</text>\n"
        for index, (start, end, mention) in enumerate(mentions, start=1):
            yield (
                f'<annotation id="{index}"><infon key="type">Disease</infon>'
                f'<location offset="{start}" length="{end - start}"/>'
                f"<text>{mention}</text></annotation>"
            )
        yield "</passage></document>"
    yield "</collection>"


def resident() -> int:
    """Megabytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 // 1_000_000


def measure(path: str, count: int) -> dict[str, Any]:
    from longbel_cli.corpora import read_corpus

    started, begun = time.perf_counter(), time.process_time()
    documents = mentions = early = 0
    for document in read_corpus([path]):
        documents += 1
        mentions += len(document.mentions)
        if documents == count // 10:
            early = resident()
    seconds = time.perf_counter() - started
    return {
        "documents": documents,
        "documents_per_second": round(documents / seconds),
        "mentions_per_second": round(mentions / seconds),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(time.process_time() - begun, 2),
        "resident_mb_at_a_tenth": early,
        "resident_mb_at_the_end": resident(),
    }


def row(form: str, result: dict[str, Any]) -> str:
    """A row of the table, documents a second of processor time."""
    cells = (
        form,
        f"{result['documents']:,}",
        f"{result['documents'] / result['cpu_seconds']:,.0f}",
        result["cpu_seconds"],
        result["resident_mb_at_a_tenth"],
        result["resident_mb_at_the_end"],
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--folder", type=Path, help="where to write the corpora")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure, chosen.documents)))
        return
    print("| format | documents | documents/s | processor s | MB after a tenth | at the end |")
    print("|---|---:|---:|---:|---:|---:|")
    for form in chosen.formats.split(","):
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            path = write(form, chosen.documents, Path(folder))
            command = [
                sys.executable,
                "-m",
                "tests.benchmarks.corpora_read",
                "--measure",
                str(path),
            ]
            command += ["--documents", str(chosen.documents)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            print(row(form, json.loads(done.stdout)), flush=True)


if __name__ == "__main__":
    main()
