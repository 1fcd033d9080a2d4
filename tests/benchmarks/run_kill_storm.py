"""Kill, starve and damage runs, and count what is lost.

    python -m tests.benchmarks.run_kill_storm

Scripted linkers in real processes that load no torch. Every result is compared byte for byte with
that of an undisturbed run. `--kills 1000` random SIGKILLs by default; `--only` names parts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from longbel_cli.runs.layout import Layout
from longbel_cli.runs.ledger import read_ledger
from longbel_cli.runs.publish import committed
from longbel_cli.runs.run import merge_run
from tests.support.run_driver import Driver, Reference, write_corpus

SHARD_COUNTS = (1, 2, 5)


def reference_in(folder: Path, driver: Driver, documents: int) -> Reference:
    corpus = write_corpus(folder / "corpus.jsonl", documents)
    out = folder / "reference.jsonl"
    assert driver.run(corpus, out) == 0, driver.said
    run = Layout(out)
    windows = len(read_ledger(run.stream_of_one, merged=True)[0])
    return Reference(corpus, out.read_bytes(), run.errors.read_bytes(), windows)


class Drivers:
    """Scripted linkers that are lent to one thread at a time."""

    def __init__(self, folder: Path, ordinal: int) -> None:
        self.all = [Driver(folder / f"log-{index}") for index in range(ordinal)]
        self._free = list(self.all)
        self._lock = threading.Condition()

    def lend(self) -> Driver:
        with self._lock:
            self._lock.wait_for(lambda: self._free)
            return self._free.pop()

    def take_back(self, driver: Driver) -> None:
        with self._lock:
            self._free.append(driver)
            self._lock.notify()

    def close(self) -> None:
        for driver in self.all:
            driver.close()


# --- at every step of the file layer ------------------------------------------------------------


def every_step(folder: Path, drivers: Drivers) -> Iterator[str]:
    driver = drivers.lend()
    reference = reference_in(folder, driver, 12)
    assert driver.run(reference.corpus, folder / "steps.jsonl", "--count-steps") == 0
    steps = int(driver.said.splitlines()[-1])
    drivers.take_back(driver)
    for kind in ("kill", "ENOSPC", "EIO"):
        codes: Counter[int] = Counter()
        failures: list[int] = []

        def single(step: int, kind: str = kind, failures: list[int] = failures) -> int:
            driver = drivers.lend()
            out = folder / f"{kind}-{step}" / "out.jsonl"
            code = driver.run(reference.corpus, out, "--fail", f"{step}:{kind}")
            again = driver.run(reference.corpus, out)
            if again != 0 or not reference.is_at(out):
                failures.append(step)
            drivers.take_back(driver)
            shutil.rmtree(out.parent)
            return code

        with ThreadPoolExecutor(2) as pool:
            codes.update(pool.map(single, range(1, steps + 1)))
        expected = {-9} if kind == "kill" else {0, 3}
        assert set(codes) <= expected, codes
        yield (
            f"{kind} at each of {steps} steps of a run: "
            f"{steps - len(failures)} of {steps} gone on with to the same bytes"
        )
        assert not failures, failures


# --- at random instants ------------------------------------------------------------------------


@dataclass
class Storm:
    """One run under fire; `seen` are the windows that were ever seen committed."""

    out: Path
    reference: Reference
    drivers: Drivers
    chance: random.Random
    seen: set[int] = field(default_factory=set)
    kills: int = 0
    lost: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def phase(self, count: int, most_kills: int | None) -> None:
        """All shards of one count, each killed again and again until it is done, or so often."""
        seeds = [self.chance.random() for _ in range(count)]
        threads = [
            threading.Thread(target=self._shard, args=(index + 1, count, most_kills, seed))
            for index, seed in enumerate(seeds)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._look()

    def _shard(self, index: int, count: int, most_kills: int | None, seed: float) -> None:
        driver = self.drivers.lend()
        chance = random.Random(seed)
        kills = 0
        while most_kills is None or kills < most_kills:
            driver.start(
                self.reference.corpus, self.out, "--shard", f"{index}/{count}", "--sleep", 0.001
            )
            time.sleep(chance.expovariate(1 / 0.05))
            code = driver.kill()
            if code == 0:
                break
            assert code == -9, driver.said
            kills += 1
            self._look()
        with self.lock:
            self.kills += kills
        self.drivers.take_back(driver)

    def _look(self) -> None:
        """No window that was once committed may be missing later."""
        with self.lock:
            if self.out.exists():
                return
            now = {placed.record.window for placed in committed(Layout(self.out))}
            if self.out.exists():
                return
            self.lost += len(self.seen - now)
            self.seen |= now


def random_kills(folder: Path, drivers: Drivers, wanted: int) -> Iterator[str]:
    driver = drivers.lend()
    reference = reference_in(folder, driver, 40)
    drivers.take_back(driver)
    chance = random.Random(6)
    kills: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    wrong = lost = doubled = 0
    while sum(kills.values()) < wanted:
        counts = [chance.choice(SHARD_COUNTS) for _ in range(chance.choice((1, 1, 2, 3)))]
        storm = Storm(
            folder / f"run-{sum(runs.values())}" / "out.jsonl", reference, drivers, chance
        )
        for count in counts[:-1]:
            storm.phase(count, most_kills=2)
        storm.phase(counts[-1], most_kills=None)
        if counts[-1] > 1 and not storm.out.exists():
            windows = [placed.record.window for placed in committed(Layout(storm.out))]
            doubled += len(windows) - len(set(windows))
            merge_run(storm.out)
        kind = f"{counts[0]}" if len(counts) == 1 else "changing"
        kills[kind] += storm.kills
        runs[kind] += 1
        lost += storm.lost
        wrong += not reference.is_at(storm.out)
        shutil.rmtree(storm.out.parent)
    for kind in sorted(runs):
        yield f"shards {kind}: {runs[kind]} runs, {kills[kind]} SIGKILLs at random instants"
    total, all_runs = sum(kills.values()), sum(runs.values())
    yield (
        f"together: {total} SIGKILLs in {all_runs} runs; windows lost {lost}, doubled {doubled}; "
        f"same sha256 as the undisturbed run in {all_runs - wrong} of {all_runs}"
    )
    assert not (wrong or lost or doubled)


# --- damage to the last record -----------------------------------------------------------------


def damage(folder: Path, drivers: Drivers) -> Iterator[str]:
    """A run stopped half way, its last record damaged at every byte, gone on with."""
    driver = drivers.lend()
    reference = reference_in(folder, driver, 12)
    base = _stopped_after_a_quarantine(folder, driver, reference)
    paths = Layout(base).stream_of_one
    records = read_ledger(paths)[0]
    starts = {
        paths.ledger: paths.ledger.read_bytes().rindex(b"\n", 0, -1) + 1,
        paths.data: records[-1].data.start,
        paths.errors: records[-1].errors.start,
    }
    ends = {paths.ledger: None, paths.data: records[-1].data.end,
            paths.errors: records[-1].errors.end}  # fmt: skip
    out = folder / "damaged.jsonl"
    for target, start in starts.items():
        whole = target.read_bytes()[: ends[target]]
        tried = recovered = 0
        for location in range(start, len(whole)):
            for damaged in (
                whole[:location],
                whole[:location] + bytes(len(whole) - location),
                whole[:location] + bytes([whole[location] ^ 0x15]) + whole[location + 1 :],
            ):
                _copy_run(base, out)
                relative = target.relative_to(base.parent)
                renamed = Path(str(relative).replace(base.name, out.name))
                (out.parent / renamed).write_bytes(damaged)
                tried += 1
                recovered += driver.run(reference.corpus, out) == 0 and reference.is_at(out)
        yield f"last record of the {_kind(target)} damaged: {recovered} of {tried} recovered"
        assert tried == recovered
    drivers.take_back(driver)


def _stopped_after_a_quarantine(folder: Path, driver: Driver, reference: Reference) -> Path:
    """A run killed when its last record had predictions and quarantine records."""
    for step in range(1, 1000):
        out = folder / f"base-{step}.jsonl"
        assert driver.run(reference.corpus, out, "--fail", f"{step}:kill") == -9
        records = read_ledger(Layout(out).stream_of_one)[0]
        if len(records) > 1 and records[-1].quarantined:
            return out
    raise AssertionError("no such window")


def _kind(path: Path) -> str:
    return {"ledger.jsonl": "ledger", "errors.jsonl": "quarantine file"}.get(path.name, "data")


def _copy_run(base: Path, out: Path) -> None:
    source, target = Layout(base), Layout(out)
    shutil.rmtree(target.folder, ignore_errors=True)
    out.unlink(missing_ok=True)
    shutil.copytree(source.folder, target.folder)
    shutil.copy(source.part, target.part)


# --- resume, and what committing costs -----------------------------------------------------------


def resume(folder: Path, documents: int) -> Iterator[str]:
    """A corpus of BigBio JSONL, all but the last documents finished; a new process goes on."""
    corpus = folder / "corpus.jsonl"
    text = "A patient was seen with fever and cough. " * 40
    with corpus.open("w") as stream:
        for ordinal in range(documents + 200):
            stream.write(json.dumps(_bigbio(ordinal, text)) + "\n")
    script = [sys.executable, "-m", "tests.benchmarks.run_resume", str(corpus)]
    out = str(folder / "out.jsonl")
    first = _json_of([*script, out, "--stop-after", str(documents)])
    again = _json_of([*script, out, "--stop-after", "64"])
    yield (
        f"corpus: {first['documents']:,} documents finished in {first['windows']:,} windows, "
        f"{corpus.stat().st_size / 1e6:.0f} MB of JSONL"
    )
    yield (
        f"resume: first new window after {again['first_window_seconds']:.2f} s "
        f"(new process, Python's start and imports {again['import_seconds']:.2f} s not counted)"
    )
    yield (
        f"commit: {first['commit_seconds'] / first['windows'] * 1000:.2f} ms a window of "
        f"{first['mentions'] / first['windows']:.0f} mentions, "
        f"{first['bytes'] / first['windows'] / 1000:.0f} kB; "
        f"{first['commit_seconds'] / (first['mentions'] / 100):.3%} of a run at 100 mentions/s, "
        f"{first['commit_seconds'] / (first['mentions'] / 15):.4%} at 15"
    )


def _bigbio(ordinal: int, text: str) -> dict[str, object]:
    entities = [
        {"id": f"T{location}", "type": "DISO", "text": ["fever"],
         "offsets": [[41 * location + 24, 41 * location + 29]], "normalized": []}
        for location in range(10)
    ]  # fmt: skip
    passage = {"id": "p", "type": "abstract", "text": [text], "offsets": [[0, len(text)]]}
    return {"id": str(ordinal), "document_id": f"document-{ordinal}", "passages": [passage],
            "entities": entities, "events": [], "coreferences": [], "relations": []}  # fmt: skip


def _json_of(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result: dict[str, float] = json.loads(done.stdout)
    return result


# --- the real command ----------------------------------------------------------------------------


def real(folder: Path, wanted: int, link_options: Sequence[str]) -> Iterator[str]:
    """`longbel link` on the sample's BRAT documents, killed at random instants of its work."""
    from longbel_cli.sample_paths import sample

    def command(out: Path) -> list[str]:
        return [
            sys.executable, "-m", "longbel_cli", "link", str(sample("corpus") / "brat"),
            "--out", str(out), "--window", "2", "--quiet", "--threads", "1",
            "--max-batch-tokens", "4096", *link_options,
        ]  # fmt: skip

    began = time.monotonic()
    done = subprocess.run(command(folder / "whole.jsonl"), capture_output=True, text=True)
    seconds = time.monotonic() - began
    assert done.returncode in (0, 5), done.stderr
    whole = (folder / "whole.jsonl").read_bytes()
    chance = random.Random(6)
    kills = runs = 0
    while kills < wanted:
        out = folder / f"real-{runs}.jsonl"
        while True:
            process = subprocess.Popen(command(out), stderr=subprocess.PIPE)
            time.sleep(chance.uniform(0.3, 1.1) * seconds)
            process.kill()
            _, said = process.communicate()
            if process.returncode in (0, 5):
                break
            assert process.returncode == -9, said.decode()
            kills += 1
        assert out.read_bytes() == whole
        runs += 1
    yield (
        f"`longbel link` (the bundled model, 12 documents, 6 windows): {kills} SIGKILLs at random "
        f"instants in {runs} runs, {runs} of {runs} with the same bytes"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--real-kills", type=int, default=30)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--link-options", default="", help="of the real link; default bundled")
    parser.add_argument("--folder", type=Path, help="where to work; default in memory")
    parser.add_argument("--only", default="steps,kills,damage,resume", help="also: real")
    arguments = parser.parse_args()
    memory = Path("/dev/shm")
    parent = arguments.folder or (memory if memory.is_dir() else Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        drivers = Drivers(folder, max(SHARD_COUNTS))
        parts: dict[str, Callable[[Path], Iterator[str]]] = {
            "steps": lambda location: every_step(location, drivers),
            "kills": lambda location: random_kills(location, drivers, arguments.kills),
            "damage": lambda location: damage(location, drivers),
            "resume": lambda location: resume(location, arguments.documents),
            "real": lambda location: real(
                location, arguments.real_kills, arguments.link_options.split()
            ),
        }
        for part in arguments.only.split(","):
            location = folder / part
            location.mkdir()
            began = time.monotonic()
            for line in parts[part](location):
                print(f"- {line}", flush=True)
            print(f"{part}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        drivers.close()
    times = os.times()
    print(f"CPU time: {sum(times[:4]):.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
