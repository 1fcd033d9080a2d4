"""One process of the resume benchmark: link by script, stop after so many documents, tell times.

The real reader and the real run; a document's predictions are lines of the usual length.
"""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
from pathlib import Path  # noqa: E402

from longbel_cli.corpora import Corpus  # noqa: E402
from longbel_cli.runs.corpus_source import corpus_source, input_files  # noqa: E402
from longbel_cli.runs.run import RunConfiguration, open_run  # noqa: E402
from longbel_cli.types import Candidate, Document, Prediction  # noqa: E402

_IMPORTED = time.perf_counter()


def lines_of(document: Document) -> list[str]:
    beams = tuple(
        Candidate(rank, f"C{rank:07d}", "a name of usual length", 0.5) for rank in range(1, 6)
    )
    return [
        json.dumps(
            Prediction(
                document.id, mention.id, mention.text, "Disorders", mention.spans, beams
            ).to_json()
        )
        for mention in document.mentions
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stop-after", type=int, required=True)
    arguments = parser.parse_args()
    corpus = Corpus([arguments.corpus])
    configuration = RunConfiguration({"beams": 5}, input_files(corpus))
    told: dict[str, float] = {"import_seconds": _IMPORTED - _STARTED}
    documents = mentions = windows = written = 0
    commit_seconds = 0.0
    began = time.perf_counter()
    with open_run(arguments.out, configuration) as run:
        for window in run.pending(corpus_source(corpus)):
            if not windows:
                told["first_window_seconds"] = time.perf_counter() - began
            lines = [line for document in window.documents for line in lines_of(document)]
            before = time.perf_counter()
            run.commit(window, lines)
            commit_seconds += time.perf_counter() - before
            documents += len(window.documents)
            mentions += window.mentions
            windows += 1
            written += sum(len(line) + 1 for line in lines)
            if documents >= arguments.stop_after:
                break
    told.update(documents=documents, mentions=mentions, windows=windows, bytes=written,
                commit_seconds=commit_seconds)  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    main()
