"""Stopped anywhere, in any way, the same command makes the same file."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longbel_cli.runs.layout import Layout
from longbel_cli.runs.ledger import read_ledger
from longbel_cli.runs.run import merge_run
from longbel_cli.runs.shards import Shard
from tests.support.paths import ROOT
from tests.support.run_driver import Driver, Reference, write_corpus


def steps_of(driver: Driver, *argv: object) -> int:
    assert driver.run(*argv, "--count-steps") == 0, driver.said
    return int(driver.said.splitlines()[-1])


def committed(out: Path) -> int:
    return len(read_ledger(Layout(out).stream(Shard()))[0])


def test_killed_at_every_step(folder: Path, driver: Driver) -> None:
    """A new run for each step of the file layer, killed there and gone on with."""
    corpus = write_corpus(folder / "corpus.jsonl", 5)
    steps = steps_of(driver, corpus, folder / "whole.jsonl")
    whole = (folder / "whole.jsonl").read_bytes()
    assert steps > 60
    for step in range(1, steps + 1):
        out = folder / f"{step}.jsonl"
        assert driver.run(corpus, out, "--fail", f"{step}:kill") == -signal.SIGKILL, step
        assert driver.run(corpus, out) == 0, driver.said
        assert out.read_bytes() == whole, step


@pytest.mark.slow
def test_a_changed_result_is_replaced_wherever_that_is_killed(folder: Path, driver: Driver) -> None:
    corpus, out = write_corpus(folder / "corpus.jsonl", 4), folder / "out.jsonl"
    assert driver.run(corpus, out) == 0, driver.said
    whole = out.read_bytes()
    out.write_bytes(whole + b"\n")
    steps = steps_of(driver, corpus, out, "--overwrite")
    for step in range(1, steps + 1):
        out.write_bytes(whole + b"\n")
        assert driver.run(corpus, out, "--overwrite", "--fail", f"{step}:kill") == -signal.SIGKILL
        # Every other time without the option, which only a file still in the way asks for.
        again = ["--overwrite"] if step % 2 or out.exists() else []
        assert driver.run(corpus, out, *again) == 0, (step, driver.said)
        assert out.read_bytes() == whole, step


def test_killed_again_and_again(folder: Path, driver: Driver, reference: Reference) -> None:
    """One run, killed at its first step, gone on with, killed at that start's second step, and
    so on: no window that was committed is ever lost."""
    out = folder / "out.jsonl"
    kept = 0
    for step in itertools.count(1):
        code = driver.run(reference.corpus, out, "--fail", f"{step}:kill")
        if code == 0:
            break
        assert code == -signal.SIGKILL, driver.said
        if not out.exists():
            assert committed(out) >= kept
            kept = committed(out)
    assert step > 20
    assert reference.is_at(out)


def test_the_disk_fails_at_every_step(folder: Path, driver: Driver) -> None:
    """As above for every second step, full and broken in turn. It is told in one message; a mere
    courtesy (releasing a lease, removing a draft) may fail unsaid."""
    corpus = write_corpus(folder / "corpus.jsonl", 5)
    steps = steps_of(driver, corpus, folder / "whole.jsonl")
    whole = (folder / "whole.jsonl").read_bytes()
    codes = []
    for step in range(1, steps + 1, 2):
        out = folder / f"{step}.jsonl"
        error, words = (("ENOSPC", "the disk is full"), ("EIO", "disk reports an error"))[
            step // 2 % 2
        ]
        codes.append(driver.run(corpus, out, "--fail", f"{step}:{error}"))
        if codes[-1] == 3:
            assert words in driver.said and "run the same command again" in driver.said
            assert driver.run(corpus, out) == 0, driver.said
        assert out.read_bytes() == whole, step
    assert set(codes) == {0, 3}
    assert codes.count(3) > 12


@pytest.mark.parametrize("counts", [(1,), (2,), (5,), (3, 1), (1, 2), (2, 5, 1)])
def test_any_shards_and_any_kills_give_the_same_bytes(
    folder: Path, driver: Driver, reference: Reference, counts: tuple[int, ...]
) -> None:
    """Each count but the last is killed at random instants and left; the last one finishes."""
    out = folder / "out.jsonl"
    chance = random.Random(sum(counts))
    for count in counts:
        for index in range(1, count + 1):
            shard = ("--shard", f"{index}/{count}", "--sleep", 0.001)
            for _ in range(2):
                pid = driver.start(reference.corpus, out, *shard)
                time.sleep(chance.uniform(0, 0.08))
                os.kill(pid, signal.SIGKILL)
                driver.wait()
            if count == counts[-1]:
                assert driver.run(reference.corpus, out, *shard) == 0, driver.said
    if counts[-1] > 1:
        merge_run(out)
    assert reference.is_at(out)


@pytest.mark.parametrize(
    ("ordinal", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_a_signal_stops_with_all_committed(
    folder: Path, driver: Driver, reference: Reference, ordinal: int, code: int
) -> None:
    out = folder / "out.jsonl"
    pid = driver.start(reference.corpus, out, "--sleep", 0.02)
    while not (folder / "out.jsonl.part").exists() or committed(out) == 0:
        time.sleep(0.005)
    os.kill(pid, ordinal)
    assert driver.wait() == code, driver.said
    assert "The same command resumes" in driver.said
    assert 0 < committed(out) < reference.windows
    assert not out.exists()
    assert driver.run(reference.corpus, out) == 0, driver.said
    assert reference.is_at(out)


def test_a_time_limit_stops_before_it_is_reached(
    folder: Path, driver: Driver, reference: Reference
) -> None:
    out = folder / "out.jsonl"
    assert driver.run(reference.corpus, out, "--sleep", 0.05, "--time-limit", 0.3) == 75
    assert "the time limit is near" in driver.said
    assert driver.run(reference.corpus, out) == 0
    assert reference.is_at(out)


def test_the_end_of_a_slurm_job_stops(folder: Path, driver: Driver, reference: Reference) -> None:
    out = folder / "out.jsonl"
    past = str(int(time.time()) - 1)
    assert driver.run(reference.corpus, out, SLURM_JOB_END_TIME=past) == 75
    far = str(int(time.time()) + 10000)
    assert driver.run(reference.corpus, out, SLURM_JOB_END_TIME=far) == 0
    assert reference.is_at(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "processes"),
    [
        (["torch.distributed.run", "--nproc_per_node", "2"], 2),
        (["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"], 2),
        # On CPUs accelerate leaves the second process to MPI; the one it starts does all.
        (["accelerate.commands.launch", "--cpu", "--num_processes", "2"], 1),
    ],
)
def test_real_launchers(
    folder: Path, reference: Reference, launcher: list[str], processes: int
) -> None:
    out = folder / "out.jsonl"
    command = [
        sys.executable,
        "-m",
        *launcher,
        "-m",
        "tests.support.run_driver",
        reference.corpus,
        out,
    ]
    subprocess.run([*command, "--shard", "auto"], cwd=ROOT, check=True)
    assert len(list((folder / "out.jsonl.run").glob("ledger*.jsonl"))) == processes
    merge_run(out)
    assert reference.is_at(out)


def test_two_processes_of_a_launcher_share_a_run(
    folder: Path, driver: Driver, second: Driver, reference: Reference
) -> None:
    out = folder / "out.jsonl"
    for rank, each in enumerate((driver, second)):
        each.start(reference.corpus, out, "--shard", "auto", RANK=str(rank), WORLD_SIZE="2")
    assert (driver.wait(), second.wait()) == (0, 0), driver.said + second.said
    assert not out.exists()
    merge_run(out)
    assert reference.is_at(out)
