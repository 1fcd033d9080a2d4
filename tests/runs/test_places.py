"""A run in odd places: its folder on another device, no hard links, a dangling link as its result,
and no folder left by a refused start."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.runs.files import Files
from longbel_cli.runs.layout import Layout
from longbel_cli.runs.lock import setup_lock
from longbel_cli.runs.run import merge_run, open_run
from longbel_cli.runs.shards import Shard
from longbel_cli.runs.standard_input import corpus_paths
from tests.support.run_cases import configuration, link


class OtherDevice(Files):
    """A disk on which the run's folder lies on another device than its result."""

    def replace(self, source: Path, target: Path) -> None:
        if (source.parent.name == "out.jsonl.run") != (target.parent.name == "out.jsonl.run"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        super().replace(source, target)


class NoLinks(Files):
    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("files", [OtherDevice(), NoLinks()], ids=["other device", "no links"])
@pytest.mark.parametrize("shards", [1, 2])
def test_a_run_goes_its_way_on_an_odd_file_system(
    folder: Path, corpus: Path, files: Files, shards: int
) -> None:
    out, usual = folder / "out.jsonl", folder / "usual.jsonl"
    for path, disk in ((out, files), (usual, Files())):
        for index in range(1, shards + 1):
            shard = Shard(index, shards)
            with open_run(path, configuration(corpus), shard, files=disk) as run:
                link(run, corpus)
        if shards > 1:
            merge_run(path, disk)
    assert out.read_bytes() == usual.read_bytes()
    with open_run(out, configuration(corpus), files=files, restart=True) as run:
        link(run, corpus)
    assert (folder / "out.jsonl.run.1" / "out.jsonl").read_bytes() == out.read_bytes()
    out.write_text("a file of other origin\n")
    with open_run(out, configuration(corpus), files=files, overwrite=True) as run:
        link(run, corpus)
    assert out.read_bytes() == usual.read_bytes()


def test_the_run_s_folder_lies_on_another_device(
    folder: Path, corpus: Path, tmp_path: Path
) -> None:
    if tmp_path.stat().st_dev == folder.stat().st_dev:
        pytest.skip("there is one device alone")
    out, elsewhere = folder / "out.jsonl", tmp_path / "elsewhere"
    elsewhere.mkdir()
    Layout(out).folder.symlink_to(elsewhere)
    for index in (1, 2):
        with open_run(out, configuration(corpus), Shard(index, 2)) as run:
            link(run, corpus)
    merge_run(out)
    with open_run(folder / "usual.jsonl", configuration(corpus)) as run:
        link(run, corpus)
    assert out.read_bytes() == (folder / "usual.jsonl").read_bytes()
    with open_run(out, configuration(corpus)) as run:
        assert run.finished is not None


@pytest.mark.parametrize("held", [False, True])
def test_a_dangling_link_as_result_is_a_name_for_a_new_file(
    folder: Path, corpus: Path, held: bool
) -> None:
    """What is published takes the place of the link, as a rename does; its target is not made."""
    out = folder / "out.jsonl"
    out.symlink_to(folder / ("there.jsonl" if held else "nowhere/there.jsonl"))
    with open_run(out, configuration(corpus)) as run:
        link(run, corpus)
    assert out.is_file() and out.read_bytes().count(b"\n") > 5
    with open_run(out, configuration(corpus)) as run:
        assert run.finished is not None


def test_a_refused_start_leaves_no_folder(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    out.write_text("of other origin\n")
    before = sorted(folder.iterdir())
    with pytest.raises(LongbelError, match="is not a finished run"):
        open_run(out, configuration(corpus))
    assert sorted(folder.iterdir()) == before


def test_a_refused_start_from_standard_input_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the corpus\n")))
    layout = Layout(folder / "out.jsonl")
    with pytest.raises(LongbelError, match="refused"), corpus_paths(["-"], layout.out) as paths:
        assert paths[0].read_bytes() == b"the corpus\n"
        with setup_lock(layout, Files()):
            raise LongbelError("refused")
    assert list(folder.iterdir()) == []


def test_a_run_s_folder_with_anything_in_it_stays(folder: Path, corpus: Path) -> None:
    layout = Layout(folder / "out.jsonl")
    with open_run(layout.out, configuration(corpus)) as run:
        link(run, corpus, windows=1)
    held = {path.name for path in layout.folder.iterdir()}
    with pytest.raises(LongbelError), setup_lock(layout, Files()):
        raise LongbelError("refused")
    assert {path.name for path in layout.folder.iterdir()} == held
