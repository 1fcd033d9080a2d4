"""Works with no network at all: the sample run in a process in which sockets are forbidden."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT, SAMPLE

# Any attempt to reach out ends the process at once, whatever would catch an exception.
FORBIDDEN = """
import os, socket, sys
def forbidden(*arguments, **options):
    os.write(2, b"NETWORK\\n")
    os._exit(99)
for name in ("create_connection", "getaddrinfo", "gethostbyname"):
    setattr(socket, name, forbidden)
socket.socket.connect = socket.socket.connect_ex = forbidden
"""


def offline(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", FORBIDDEN + code, *map(str, arguments)],
        env=environment, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip


@pytest.mark.parametrize(
    "reach",
    [
        "socket.create_connection(('example.org', 80))",
        "socket.socket().connect(('127.0.0.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
    ],
)
def test_the_guard_would_notice(reach: str) -> None:
    assert offline(reach).returncode == 99


# In one process, since most of it is spent importing torch.
RUN = """
from longbel_cli.app import main
preds = sys.argv.pop()
for command in (["link", *sys.argv[1:], "--out", preds], ["score", preds, "--json"]):
    sys.argv[1:] = command
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, stop.code
"""


@pytest.mark.slow
def test_the_sample_is_linked_and_scored_without_a_network(tmp_path: Path) -> None:
    preds = tmp_path / "preds.jsonl"
    corpus = SAMPLE / "corpus" / "brat" / "es"
    done = offline(RUN, corpus, "--limit", 1, "--beams", 2, preds)
    assert done.returncode == 0, done.stderr
    assert preds.stat().st_size and '"recall@1"' in done.stdout
