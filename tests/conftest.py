"""What the tests share: a tiny model folder and a small knowledge base, each made once."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from hypothesis import settings

# Tests run one process a core; tiny models on several threads each would only wait. Before torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.support.chromium import Chromium, find_chromium
from tests.support.command_line import Longbel
from tests.support.examples import DEFAULT, some
from tests.support.tiny import save_model_folder

settings.register_profile("longbel", max_examples=some(DEFAULT))
settings.load_profile("longbel")

# (code, semantic type, names in English)
CONCEPTS = (
    ("C0000001", "T184", ("Fever", "Pyrexia", "Fever of unknown origin")),
    ("C0000002", "T184", ("Cough",)),
    ("C0000003", "T047", ("Lupus Nephritis", "Nephritis in lupus")),
    ("C0000004", "T047", ("Lupus Erythematosus, Systemic", "Systemic lupus")),
    ("C0000005", "T047", ("Renal failure", "Kidney failure")),
    ("C0000006", "T023", ("Kidney", "Kidneys")),
    ("C0000007", "T023", ("Heart",)),
    ("C0000008", "T121", ("Aspirin",)),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(1200))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    """What was captured goes from process to process as UTF-8, whatever file names are in it."""
    outcome = yield
    report = outcome.get_result()
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]


def write_release(folder: Path) -> Path:
    """CONCEPTS in the layout of a UMLS release."""
    folder.mkdir(parents=True, exist_ok=True)
    types, names = [], []
    for code, tui, written in CONCEPTS:
        types.append(f"{code}|{tui}|A1|A type|AT{code}||\n")
        for index, name in enumerate(written):
            key = f"{code[1:]}{index}"
            kind = "PT" if index == 0 else "SY"
            row = [
                code, "ENG", "P" if index == 0 else "S", f"L{key}", "PF", f"S{key}", "Y",
                f"A{key}", "", "", "", "MTH", kind, key, name, "0", "N", "", "",
            ]  # fmt: skip
            names.append("|".join(row) + "\n")
    (folder / "MRSTY.RRF").write_text("".join(types), encoding="utf-8")
    (folder / "MRCONSO.RRF").write_text("".join(names), encoding="utf-8")
    return folder


@pytest.fixture
def longbel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Longbel:
    """The command line in this process, without model and knowledge base of its environment."""
    return Longbel(monkeypatch, capsys)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread, so that sums are added up in one order."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """A headless Chromium with one page; a test that asks for it is slow."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium on the path")
    with Chromium(executable) as opened:
        yield opened


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with its tokenizer."""
    return save_model_folder(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="session")
def kb_folder(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A knowledge base of CONCEPTS, with a trie for the tiny model."""
    from kb_builder.build import BuildOptions, build_kb

    folder = tmp_path_factory.mktemp("kb")
    release = write_release(folder / "release")
    build_kb(BuildOptions(release, folder / "kb", tokenizers=(model_folder,)))
    return folder / "kb"


@pytest.fixture(scope="session", autouse=True)
def commands_built_once() -> Iterator[None]:
    """Calling a Typer app resolves the types of every flag of every command anew, which takes
    longer than most of the calls made here."""
    built_once = cache(typer.main.get_command)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("typer.main.get_command", built_once)
        patched.setattr("typer.testing._get_command", built_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes to the user's cache or asks the network."""
    before = {name: os.environ.get(name) for name in ("XDG_CACHE_HOME", "HF_HUB_OFFLINE")}
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
