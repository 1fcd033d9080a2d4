"""Commands that are ended from outside, and standard streams that are closed, full or broken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.link_cases import bigbio
from tests.support.paths import ROOT

COMMAND = (sys.executable, "-m", "longbel_cli")


def run(*arguments: object, shell: str = "", cwd: Path, **settings: Any) -> Any:
    """`longbel` in a process of its own, with redirections of the shell where such are given."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        ["bash", "-c", f'exec "$@" {shell}', "bash", *command],
        cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True, **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory, kb_folder: Path) -> Path:
    """A folder with a corpus that takes long to convert, and its predictions."""
    folder = tmp_path_factory.mktemp("linked")
    documents = (bigbio(f"d{n}", "Fever, cough.", ("T1", "DISO", "Fever")) for n in range(4000))
    (folder / "corpus.jsonl").write_text("".join(json.dumps(each) + "\n" for each in documents))
    done = run(*link(kb_folder), "--out", "preds.jsonl", cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr
    return folder


def link(kb: Path) -> tuple[object, ...]:
    return ("link", "corpus.jsonl", "--kb", kb, "--linker", "exact")


CONVERT = ("convert", "preds.jsonl", "corpus.jsonl", "--to", "bigbio", "--out", "converted")


@pytest.mark.parametrize(("index", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_conversion_that_is_ended_leaves_nothing(
    linked: Path, index: signal.Signals, code: int
) -> None:
    before = sorted(linked.iterdir())
    process = subprocess.Popen(
        [*COMMAND, *CONVERT], cwd=linked, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = time.monotonic() + 60
    while not list(linked.glob(".converted.*.draft")) and process.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.001)
    process.send_signal(index)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err, err
    assert sorted(linked.iterdir()) == before


STARTED = "from longbel_cli.__main__ import main; print('started', flush=True); main()"


@pytest.mark.slow
def test_ctrl_c_at_any_moment_prints_no_traceback(linked: Path, kb_folder: Path) -> None:
    """While modules load, while they work and while they end; Python's own start is not ours."""
    command = [*map(str, link(kb_folder)), "--out", "interrupted.jsonl", "--restart"]
    for hundredths in range(0, 120, 3):
        process = subprocess.Popen(
            [sys.executable, "-c", STARTED, *command], cwd=linked,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        time.sleep(hundredths / 100)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT), (hundredths, err)
        assert "Traceback" not in err and "Exception ignored" not in err, (hundredths, err)


def slow(*values: object) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize("shell", [slow("<&-"), slow(">&-"), slow("2>&-"), "<&- >&- 2>&-"])
def test_closed_streams_do_a_run_no_harm(
    linked: Path, kb_folder: Path, tmp_path: Path, shell: str
) -> None:
    """No message goes into a file that would else have the number of a standard stream."""
    out = tmp_path / "preds.jsonl"
    done = run(*link(kb_folder), "--out", out, shell=shell, cwd=linked, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == (linked / "preds.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, f"{out.name}.run"]


@pytest.mark.parametrize(
    ("arguments", "shell", "code"),
    [
        (("score", "preds.jsonl", "--json"), ">&-", 3),  # a result that nobody gets
        (("score", "preds.jsonl", "--json"), "> /dev/full", 3),
        slow(("score", "preds.jsonl"), "2>&-", 0),
        slow(("score", "preds.jsonl"), "2> /dev/full", 0),
        (("score", "-", "--json"), "<&-", 3),
        slow(("check", "nothing.jsonl"), "2>&-", 3),
        slow(("--help",), "<&-", 0),
    ],
)
def test_what_a_closed_or_full_stream_means(
    linked: Path, arguments: tuple[str, ...], shell: str, code: int
) -> None:
    done = run(*arguments, shell=shell, cwd=linked, capture_output=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "command", ["score preds.jsonl --json", "kb info KB", "--help", "link --help", "link"]
)
def test_a_closed_pipe_is_quiet(linked: Path, kb_folder: Path, command: str) -> None:
    arguments = [str(kb_folder) if word == "KB" else word for word in command.split()]
    if command == "link":
        arguments = [*map(str, link(kb_folder)), "--out", "-", "--quiet"]
    reading, writing = os.pipe()
    os.close(reading)
    done = run(*arguments, cwd=linked, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 128 + signal.SIGPIPE
