"""What the tests of runs share: a fast folder, corpora, the scripted linker, and its result."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.run_driver import Driver, Reference, write_corpus

_MEMORY = Path("/dev/shm")


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder; in memory where that is to be had, since these tests flush much."""
    parent = _MEMORY if _MEMORY.is_dir() else None
    path = Path(tempfile.mkdtemp(prefix="longbel-test-", dir=parent))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def corpus(folder: Path) -> Path:
    """Ten documents."""
    return write_corpus(folder / "corpus.jsonl", 10)


@pytest.fixture
def driver(session_driver: Driver) -> Iterator[Driver]:
    """The scripted linker, one process at a time."""
    yield session_driver
    if session_driver.running:  # the test failed before it waited
        session_driver.kill()


@pytest.fixture(scope="session")
def session_driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """The scripted linker, one process at a time."""
    started = Driver(tmp_path_factory.mktemp("driver") / "log")
    yield started
    started.close()


@pytest.fixture
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A second scripted linker, to run beside the first."""
    started = Driver(tmp_path_factory.mktemp("driver") / "log")
    yield started
    started.close()


@pytest.fixture
def reference(folder: Path, driver: Driver) -> Reference:
    """17 documents, three broken lines, 7 windows."""
    corpus = write_corpus(folder / "corpus.jsonl", 17)
    out = folder / "reference.jsonl"
    assert driver.run(corpus, out) == 0, driver.said
    ledger = out.with_name("reference.jsonl.run") / "ledger.jsonl"
    errors = out.with_name("reference.jsonl.run") / "errors.jsonl"
    windows = len(ledger.read_bytes().splitlines())
    return Reference(corpus, out.read_bytes(), errors.read_bytes(), windows)
