"""How well and how fast mentions are detected in plain text, and what each rule gains.

    python -m tests.benchmarks.detecting --kb KB --data DATA [--large KB]

F1 of mentions (exact borders and group; every mention of the corpus counts, discontinuous ones as
missed) on the development sets of `DATA/corpora`, with the groups that the corpus annotates. With
`--large`, speed and memory over a knowledge base of many names, each in a fresh process.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psutil

from kb_builder.semantics import resolve_group
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.corpora import Corpus, ignore
from longbel_cli.detecting.cache import name_index
from longbel_cli.detecting.dictionary import DictionaryDetector
from longbel_cli.detecting.index import NameIndex
from longbel_cli.detecting.learning import learn
from longbel_cli.detecting.names import NameFilter
from longbel_cli.detecting.options import DictionaryOptions, Rules
from longbel_cli.detecting.tokens import Folding
from longbel_cli.types import Document, Passage

CORPORA = {
    "BC5CDR": "bc5cdr",
    "NCBI": "ncbi_disease",
    "GSC": "gsc_hpo",
    "EMEA": "quaero_emea",
    "SPACCC": "spaccc",
}
# What these corpora call a group; QUAERO's types are groups.
TYPES = {
    "Chemical": "CHEM", "Disease": "DISO", "SpecificDisease": "DISO", "DiseaseClass": "DISO",
    "CompositeMention": "DISO", "Modifier": "DISO", "SINTOMA": "DISO", "ENFERMEDAD": "DISO",
    "PROCEDIMIENTO": "PROC", "Phenotype": "DISO",
}  # fmt: skip
WITHOUT = ("NCI",)
# Each rule switched off by itself.
LACKING = {
    "plural and possessive": Rules(folding=Folding(plural=False)),
    "accents": Rules(folding=Folding(accents=False)),
    "hyphens": Rules(folding=Folding(hyphens=False)),
    "letters and digits": Rules(folding=Folding(digits=False)),
    "capitals": Rules(capitals=False),
    "function words": Rules(function_words=False),
    "general words": Rules(general_words=False),
    "all groups compete": Rules(all_compete=False),
}


class Split(NamedTuple):
    """Annotated documents, and the groups that they annotate."""

    documents: list[Document]
    groups: tuple[str, ...]


def split_of(data: Path, corpus: str, name: str, base: KnowledgeBase) -> Split:
    path = data / "corpora" / CORPORA[corpus] / f"{name}.jsonl.gz"
    documents = []
    for _, document in Corpus([path]).read(ignore):
        mentions = [
            replace(
                mention,
                semantic_group=resolve_group(
                    TYPES.get(mention.entity_type, mention.entity_type), base.groups
                ),
            )
            for mention in document.mentions
        ]
        documents.append(replace(document, mentions=tuple(mentions)))
    groups = {mention.semantic_group for each in documents for mention in each.mentions}
    return Split(documents, tuple(sorted(groups)))


def f1(detector: DictionaryDetector, documents: Sequence[Document]) -> float:
    """In percent."""
    right = detected = annotated = 0
    for document in documents:
        gold = {(mention.spans, mention.semantic_group) for mention in document.mentions}
        result = {((each.span,), each.group) for each in detector.detect(document)}
        right, detected = right + len(gold & result), detected + len(result)
        annotated += len(gold)
    return 200 * right / max(detected + annotated, 1)


class Bench:
    """The development sets, and indexes of one knowledge base."""

    def __init__(self, base: KnowledgeBase, data: Path) -> None:
        self.base, self.data = base, data
        self.dev = {corpus: split_of(data, corpus, "dev", base) for corpus in CORPORA}

    def index(self, names: NameFilter = NameFilter(), rules: Rules = Rules()) -> NameIndex:
        return name_index(self.base, names, rules)

    def scores(self, index: NameIndex, taught: bool = False, **options: object) -> dict[str, float]:
        """F1 of each corpus."""
        scores = {}
        for corpus, (documents, groups) in self.dev.items():
            chosen = DictionaryOptions(semantic_groups=groups, **options)  # type: ignore[arg-type]
            train = split_of(self.data, corpus, "train", self.base) if taught else None
            learned = None if train is None else learn(index, chosen, train.documents)
            scores[corpus] = f1(DictionaryDetector(index, chosen, learned), documents)
        return scores

    def tables(self) -> Iterator[str]:
        whole, without = self.index(), self.index(NameFilter(without_vocabularies=WITHOUT))
        yield _head("names")
        yield _row("knowledge base as it is", self.scores(whole))
        yield _row("without vocabulary NCI", self.scores(without))
        yield _row("as it is, names from train", self.scores(whole, taught=True))
        yield _row("without NCI, names from train", self.scores(without, taught=True))
        yield _row("without NCI, names from train, nested",
                   self.scores(without, taught=True, nested=True))  # fmt: skip
        yield ""
        yield _head("F1 lost without")
        full = self.scores(whole)
        for name, rules in LACKING.items():
            yield self._lost(name, full, self.index(rules=rules), rules=rules)
        yield self._lost("abbreviations", full, whole, abbreviations="off")
        dropped = NameFilter(audit=False)
        yield self._lost("names that rules dropped", full, self.index(dropped), names=dropped)

    def _lost(self, name: str, full: dict[str, float], index: NameIndex, **options: object) -> str:
        scores = self.scores(index, **options)
        return _row(name, {corpus: full[corpus] - score for corpus, score in scores.items()})


def _head(what: str) -> str:
    return f"| {what} | {' | '.join(CORPORA)} |\n|---|{'---:|' * len(CORPORA)}"


def _row(name: str, values: dict[str, float]) -> str:
    cells = [f"{value:.1f}".replace("-0.0", "0.0") for value in values.values()]
    return f"| {name} | {' | '.join(cells)} |"


def cost(kb: Path, data: Path) -> dict[str, float]:
    """Opening, speed and memory, of this fresh process."""
    base = KnowledgeBase.open(kb)
    with gzip.open(data / "corpora/bc5cdr/dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [
            " ".join(part for passage in json.loads(line)["passages"] for part in passage["text"])
            for line in lines
        ]
    process = psutil.Process()
    before, started = process.memory_full_info().rss, time.perf_counter()
    detector = DictionaryDetector(name_index(base), DictionaryOptions())
    opened = time.perf_counter() - started
    began = time.process_time()
    mentions = sum(
        len(detector.detect(Document(str(i), (Passage(text),), ()))) for i, text in enumerate(texts)
    )
    seconds = time.process_time() - began
    size = sum(len(text.encode()) for text in texts)
    return {
        "names": base.n_names, "opened": opened, "rate": size / seconds / 1e6,
        "memory": (process.memory_full_info().rss - before) / 1e6, "mentions": mentions,
    }  # fmt: skip


def cost_table(kbs: Sequence[Path], data: Path) -> Iterator[str]:
    yield "| names | opened in s | MB of text a processor second | MB more in memory |"
    yield "|---:|---:|---:|---:|"
    for kb in kbs:
        name_index(KnowledgeBase.open(kb))  # built where it is not there yet
        command = [sys.executable, "-m", __spec__.name, "--kb", kb, "--data", data, "--cost"]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        result = json.loads(done.stdout)
        yield (
            f"| {result['names']:,} | {result['opened']:.2f} | {result['rate']:.2f} | "
            f"{result['memory']:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kb", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--large", type=Path)
    parser.add_argument("--cost", action="store_true", help="this process alone, as JSON")
    arguments = parser.parse_args()
    if arguments.cost:
        print(json.dumps(cost(arguments.kb, arguments.data)))
        return
    for line in Bench(KnowledgeBase.open(arguments.kb), arguments.data).tables():
        print(line, flush=True)
    kbs = [arguments.kb, *([arguments.large] if arguments.large else [])]
    print("\n" + "\n".join(cost_table(kbs, arguments.data)))


if __name__ == "__main__":
    main()
