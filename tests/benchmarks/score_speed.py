"""Measures the scorer on made-up predictions: resampling alone, and whole files.

    python tests/benchmarks/score_speed.py

Prints a Markdown table; asserts nothing. Run it on an idle machine.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from longbel_cli.scoring.bootstrap import resampled_ratios
from longbel_cli.scoring.evaluation import evaluate_files
from longbel_cli.scoring.request import ScoreRequest

GROUPS = ("Anatomy", "Chemicals & Drugs", "Disorders", "Procedures")
N_FILES, N_DOCUMENTS, N_PER_DOCUMENT = 10, 500, 20


def write_predictions(path: Path, seed: int) -> None:
    """10,000 mentions of 500 documents with 5 beams each; the gold is the same for all seeds."""
    answers = random.Random(seed)
    gold = random.Random(0)
    with path.open("w", encoding="utf-8") as stream:
        for document in range(N_DOCUMENTS):
            concepts = [f"C{gold.randrange(2_000):07d}" for _ in range(8)]
            for index in range(N_PER_DOCUMENT):
                code, group = gold.choice(concepts), gold.choice(GROUPS)
                stream.write(json.dumps(mention(document, index, code, group, answers)) + "\n")


def mention(
    document: int, index: int, code: str, group: str, answers: random.Random
) -> dict[str, object]:
    codes = [f"D{answers.randrange(2_000):07d}" for _ in range(5)]
    if answers.random() < 0.9:
        codes[min(int(answers.expovariate(1.5)), 4)] = code
    scores = sorted((answers.random() for _ in codes), reverse=True)
    beams = [
        {
            "rank": rank,
            "pred_concept_code": result,
            "pred_concept_name": f"Name of {result}",
            "beam_score": round(score, 6),
        }
        for rank, (result, score) in enumerate(zip(codes, scores, strict=True), start=1)
    ]
    return {
        "document_id": f"document-{document}",
        "mention_id": f"T{index}",
        "mention": f"mention of {code}",
        "semantic_group": group,
        "spans": [[40 * index, 40 * index + 12]],
        **{key: value for key, value in beams[0].items() if key != "rank"},
        "beams": beams,
        "gold_concept_code": code,
    }


def timed(label: str, work: Callable[[], object]) -> None:
    start = time.perf_counter()
    work()
    print(f"| {label} | {time.perf_counter() - start:.2f} |", flush=True)


def main() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 40, size=(1_000, 20)).astype(np.float64)
    right = np.floor(sizes * 0.7)
    print("| what | seconds |\n|---|---:|")
    timed(
        "10,000 resamples of 1,000 documents, 20 ratios",
        lambda: resampled_ratios(right, sizes, 10_000, seed=1),
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"system-{index}.jsonl" for index in range(N_FILES)]
        for index, path in enumerate(paths):
            write_predictions(path, seed=index + 1)
        command = [sys.executable, "-m", "longbel_cli", "score"]

        def one_by_one() -> None:
            for path in paths:
                evaluate_files(ScoreRequest(path))

        def compared() -> None:
            others = [part for path in paths[1:] for part in ("--paired", str(path))]
            subprocess.run([*command, str(paths[0]), *others], check=True, capture_output=True)

        def reported() -> None:
            report = str(Path(folder) / "report.html")
            subprocess.run(
                [*command, str(paths[0]), "--report", report], check=True, capture_output=True
            )

        timed("10 files of 10,000 mentions, one process", one_by_one)
        timed("the same compared by `longbel score A --paired B ...`", compared)
        timed("one of them with --report", reported)


if __name__ == "__main__":
    main()
