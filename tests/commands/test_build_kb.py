"""`longbel build-kb` and `longbel kb` as typed: output, exit codes, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kb_builder.store.knowledge_base import KnowledgeBase
from tests.benchmarks.kb_generate import generate
from tests.benchmarks.kb_tokenizers import save_model_folder, trained
from tests.support.command_line import Longbel
from tests.support.kb_cases import conso_row, sty_row, write_release
from tests.support.paths import ROOT


@pytest.fixture
def release(tmp_path: Path) -> Path:
    conso = [
        conso_row("C1", "Cold", ts="P"),
        conso_row("C2", "Cold", ts="P"),
        conso_row("C3", "Asthma", ts="P"),
        conso_row("C3", "ASTHMA"),
        conso_row("C3", "Asthme", lat="FRE"),
    ]
    sty = [sty_row(f"C{index}", "T047") for index in (1, 2, 3)]
    return write_release(tmp_path / "release", conso, sty)


def test_build_and_summary(longbel: Longbel, release: Path, tmp_path: Path) -> None:
    model = save_model_folder(trained(["Cold Asthma"] * 5, 280), tmp_path / "model")
    kb = tmp_path / "kb"
    words = ("build-kb", release, "--out", kb, "--tokenizer", model)
    done = longbel(*words)
    assert done.code == 0
    out = done.out
    for told in (
        "Disorders", "ENG", "FRE", "ALL-CAPS names dropped", "without any name: C2", "trie",
        "names longer than 128 tokens", "GB of memory", KnowledgeBase.open(kb).signature,
    ):  # fmt: skip
        assert told in out
    assert len(list((kb / "tries").glob("*.parquet"))) == 1


def test_dry_run_prints_plan_and_counts(longbel: Longbel, release: Path, tmp_path: Path) -> None:
    words = ("build-kb", release, "--out", tmp_path / "kb", "--dry-run", "--languages", "ENG,FRE")
    done = longbel(*words)
    assert done.code == 0
    out = done.out
    assert "ENG, FRE" in out and "names kept" in out and "nothing was written" in out
    assert not (tmp_path / "kb").exists()


def test_quiet_says_nothing(longbel: Longbel, release: Path, tmp_path: Path) -> None:
    words = ("build-kb", release, "--out", tmp_path / "kb", "--quiet")
    done = longbel(*words)
    assert done.code == 0
    assert done.out == done.err == ""


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--preset", "nothing"], 2, "choose quaero or medmentions-st21pv"),
        (["--semantic-groups", "Diseases"], 2, "unknown semantic group"),
        (["--suppressible", "maybe"], 2, "drop or keep"),
        (["--max-bad-rows", "-1"], 2, "max-bad-rows"),
        (["--languages", "EN"], 2, "not a UMLS language code"),
        (["--languages", "FRA"], 3, "no atom in language FRA"),
        (["--tokenizer", "nowhere"], 3, "no tokenizer at nowhere"),
    ],
)
def test_exit_codes(
    longbel: Longbel, release: Path, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    words = ("build-kb", release, "--out", tmp_path / "kb", *options)
    done = longbel(*words)
    assert done.code == code
    assert message in done.err
    assert not (tmp_path / "kb").exists()


def test_a_source_that_is_not_there(longbel: Longbel, tmp_path: Path) -> None:
    words = ("build-kb", tmp_path / "none", "--out", tmp_path / "kb")
    done = longbel(*words)
    assert done.code == 3
    assert "no such file" in done.err


def test_refused_then_overwritten(longbel: Longbel, release: Path, tmp_path: Path) -> None:
    words = ("build-kb", release, "--out", tmp_path / "kb", "--quiet")
    assert longbel(*words).code == 0
    done = longbel(*words)
    assert done.code == 4
    assert "--overwrite" in done.err
    assert longbel(*words, "--overwrite").code == 0


def test_quarantined_rows_exit_5_and_are_named(
    longbel: Longbel, release: Path, tmp_path: Path
) -> None:
    with (release / "MRCONSO.RRF").open("a") as file:
        file.write("C1|ENG|too short|\n" + conso_row("C9", "Nowhere secret"))
    words = ("build-kb", release, "--out", tmp_path / "kb")
    done = longbel(*words)
    assert done.code == 5
    err = done.err
    assert "MRCONSO.RRF:6: 3 columns instead of 18" in err
    assert "MRCONSO.RRF:7: concept without a semantic type" in err
    assert "secret" not in err
    assert KnowledgeBase.open(tmp_path / "kb").n_names == 3


def test_qualify(longbel: Longbel, release: Path, tmp_path: Path) -> None:
    words = ("build-kb", release, "--out", tmp_path / "kb", "--ambiguous", "qualify", "--quiet")
    assert longbel(*words).code == 0
    base = KnowledgeBase.open(tmp_path / "kb")
    row = base.lookup("Cold (Disease or Syndrome)", "Disorders")
    assert row is not None and base.code(row) == "C2"


def test_info_and_search(longbel: Longbel, release: Path, tmp_path: Path) -> None:
    kb = tmp_path / "kb"
    longbel("build-kb", release, "--out", kb, "--quiet")
    done = longbel("kb", "info", kb)
    assert done.code == 0
    out = done.out
    assert KnowledgeBase.open(kb).signature in out and "Licence" in out and "suppressible" in out
    done = longbel("kb", "info", kb, "--json")
    assert done.code == 0
    assert json.loads(done.out)["counts"]["names"] == 3
    done = longbel("kb", "search", kb, "asthma", "--group", "DISO")
    assert done.code == 0
    out = done.out
    assert "case-folded" in out and "all-caps" in out
    done = longbel("kb", "search", kb, "C2", "--json")
    assert done.code == 0
    result = json.loads(done.out)
    assert result["names"] == [] and result["concept"]["n_names"] == 0
    assert result["decisions"][0]["given_to"] == "C1"
    done = longbel("kb", "search", kb, "zzz")
    assert done.code == 0
    assert "nothing found" in done.out
    assert longbel("kb", "search", kb, "cold", "--group", "X").code == 2
    assert longbel("kb", "info", tmp_path).code == 3


@pytest.fixture(scope="module")
def large_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "release"
    generate(folder, 30_000)
    return folder


@pytest.mark.parametrize(("index", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_leaves_nothing(
    large_release: Path, tmp_path: Path, index: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "longbel_cli", "build-kb", str(large_release), "--out", "kb"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Strike while the draft is being written, which is when there is something to leave behind.
    limit = time.monotonic() + 60
    while not list(tmp_path.glob(".kb.*.draft")) and process.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.002)
    process.send_signal(index)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (code, 0), err  # 0: it was done before the signal arrived
    assert "Traceback" not in err
    left = {path.name for path in tmp_path.iterdir()}
    assert left == (set() if process.returncode else {"kb"})


def test_building_and_opening_load_no_torch(release: Path, tmp_path: Path) -> None:
    model = save_model_folder(trained(["Cold Asthma"] * 5, 280), tmp_path / "model")
    script = (
        "import sys\n"
        "from longbel_cli.app import app\n"
        f"app(['build-kb', {str(release)!r}, '--out', {str(tmp_path / 'kb')!r},"
        f" '--tokenizer', {str(model)!r}], standalone_mode=False)\n"
        f"app(['kb', 'search', {str(tmp_path / 'kb')!r}, 'cold'], standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'accelerate'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
