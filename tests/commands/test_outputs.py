"""No output is an input: exit code 2 before anything is opened, and every input as it was."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer

from kb_builder.errors import LongbelError
from kb_builder.files import refuse_inputs
from longbel_cli.app import COMMANDS
from tests.support.command_line import Longbel
from tests.support.link_cases import DOCUMENTS


def write_corpus(path: Path) -> None:
    path.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS))


@pytest.fixture
def root(tmp_path: Path, kb_folder: Path, model_folder: Path, longbel: Longbel) -> Path:
    """A folder with a corpus, its predictions twice, and whatever else commands read."""
    write_corpus(tmp_path / "corpus.jsonl")
    for name in ("a.jsonl", "b.jsonl"):
        out = tmp_path / name
        done = longbel(
            "link", tmp_path / "corpus.jsonl", "--kb", kb_folder, "--linker", "exact", "--out", out
        )
        assert done.code == 0, done.err
    write_corpus(tmp_path / "names.jsonl")
    files = {
        "names.tsv": "code\tname\tgroup\nC1\tFever\tDisorders\n", "types.tsv": "T\tDisorders\n",
        "stop.txt": "the\n", "text.txt": "Fever.", "retired.csv": "C1,C2\n",
        "ids.csv": "document_id,note_id\nd0,1\n", "map.csv": "code,concept_id\nC1,2\n",
        "weights.json": "{}", "athena/CONCEPT.csv": "concept_id\n",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "kb").symlink_to(kb_folder)
    (tmp_path / "model").symlink_to(model_folder)
    return tmp_path


# Every parameter of every command that is a path: what is written, and what is read. A command's
# output is named first: others may need it.
WRITTEN = {
    "build-kb": ("out",), "detect": ("out",), "link": ("out", "stats", "prompts", "saliency"),
    "score": ("report", "plots"), "explain": ("out",), "convert": ("out",), "train": ("out",),
    "fuse": ("out", "write_weights"),
}  # fmt: skip
READ = {
    "build-kb": ("source", "tokenizer", "names_from"),
    "check": ("corpus", "type_map", "kb", "retired", "train"),
    "detect": ("texts", "kb", "names_from", "type_map", "stop"),
    "link": ("corpus", "stop", "type_map", "model", "kb", "names_from"),
    "score": ("predictions", "gold", "train", "retired", "kb", "paired"),
    "explain": ("predictions", "corpus", "model", "kb"),
    "convert": ("preds", "corpus", "kb", "note_ids", "omop_vocabulary", "concept_map"),
    "train": ("corpus", "kb", "base", "retired", "predictions", "validate"),
    "fuse": ("predictions", "tune", "weights_from"),
    "kb info": ("kb",), "kb search": ("kb", "text"), "kb diff": ("old", "new", "codes"),
    # A run, to which `merge` alone adds what it was made for.
    "status": ("out",), "merge": ("out",),
}  # fmt: skip

# A command with its inputs in braces, then the flags of what it writes.
CASES = [
    ("build-kb {names.tsv} --overwrite", "--out"),
    ("build-kb {names.tsv} --names-from {corpus.jsonl} --tokenizer {model}", "--out"),
    (
        "detect {corpus.jsonl} --kb {kb} --type-map {types.tsv} --stop {stop.txt} --overwrite",
        "--out",
    ),
    ("detect {corpus.jsonl} --kb {kb} --names-from {names.jsonl}", "--out"),
    ("link {corpus.jsonl} --kb {kb} --linker exact --type-map {types.tsv} --overwrite", "--out"),
    ("link {corpus.jsonl} --kb {kb} --linker exact --names-from {names.jsonl}", "--out"),
    ("link {text.txt} --kb {kb} --linker exact --detector dictionary --stop {stop.txt}", "--out"),
    ("link {corpus.jsonl} --kb {kb} --linker exact --out new.jsonl", "--stats"),
    ("link {corpus.jsonl} --kb {kb} --linker exact --out -", "--stats"),
    ("link {corpus.jsonl} --kb {kb} --model {model} --out new.jsonl", "--prompts --saliency"),
    (
        "score {a.jsonl} --gold {corpus.jsonl} --train {names.jsonl} --kb {kb} --paired {b.jsonl} "
        "--retired {retired.csv}",
        "--report --plots",
    ),
    ("explain {a.jsonl} --corpus {corpus.jsonl} --kb {kb} --model {model}", "--out"),
    ("convert {a.jsonl} {corpus.jsonl} --to bigbio", "--out"),
    ("convert {a.jsonl} {corpus.jsonl} --to table --types --kb {kb}", "--out"),
    (
        "convert {a.jsonl} {corpus.jsonl} --to omop --date 2026-01-01 --note-ids {ids.csv} "
        "--concept-map {map.csv}",
        "--out",
    ),
    (
        "convert {a.jsonl} {corpus.jsonl} --to omop --date 2026-01-01 --kb {kb} "
        "--omop-vocabulary {athena}",
        "--out",
    ),
    (
        "train {corpus.jsonl} --kb {kb} --base {model} --validate {names.jsonl} "
        "--retired {retired.csv} --predictions {a.jsonl} --overwrite",
        "--out",
    ),
    ("fuse {a.jsonl} {b.jsonl} --overwrite", "--out"),
    ("fuse {a.jsonl} {b.jsonl} --tune {corpus.jsonl}", "--out --write-weights"),
    ("fuse {a.jsonl} {b.jsonl} --weights-from {weights.json}", "--out"),
]


def spellings(path: Path) -> list[Path]:
    """Other names of a file or folder: with dots, by a link, by a hard link."""
    link = path.with_name("link-" + path.name)
    link.symlink_to(path)
    names = [path, path.parent / "." / ".." / path.parent.name / path.name, link]
    if path.is_file():
        hard = path.with_name("hard-" + path.name)
        os.link(path, hard)
        names.append(hard)
    return names


def parameters(application: Any, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Each command's parameters with their annotations."""
    for registered in application.registered_commands:
        function = registered.callback
        command = prefix + (registered.name or function.__name__.replace("_", "-"))
        for name, hint in get_type_hints(function, include_extras=True).items():
            yield command, name, hint


def all_parameters() -> Iterator[tuple[str, str, Any]]:
    for entry in COMMANDS:
        command = getattr(import_module(f"longbel_cli.commands.{entry.module}"), entry.function)
        if isinstance(command, typer.Typer):
            yield from parameters(command, f"{entry.name} ")
        else:
            for name, hint in get_type_hints(command, include_extras=True).items():
                yield entry.name, name, hint


def is_path(hint: Any) -> bool:
    """Whether a value is a path, or what stands for one: a corpus, a model, texts."""
    kind, *metadata = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
    metavar = str(getattr(metadata[0], "metavar", "")) if metadata else ""
    is_typed = kind is Path or any(
        part is Path or Path in get_args(part) for part in get_args(kind)
    )
    return is_typed or re.search(r"CORPUS|MODEL|^TEXT", metavar) is not None


def test_every_path_is_known_as_read_or_written() -> None:
    """A new one must be put into the tables above, and with them into the cases."""
    paths: dict[str, set[str]] = {}
    for command, name, hint in all_parameters():
        if is_path(hint):
            paths.setdefault(command, set()).add(name)
    known = {
        command: {*WRITTEN.get(command, ()), *READ.get(command, ())}
        for command in {*WRITTEN, *READ}
    }
    assert paths == known


def test_the_cases_have_every_output_with_every_input() -> None:
    flags = {command: set[str]() for command in WRITTEN}
    for line, outputs in CASES:
        flags[line.split()[0]] |= {word for word in f"{line} {outputs}".split() if word[:2] == "--"}
    for command, names in WRITTEN.items():
        positional = {"source", "texts", "corpus", "predictions", "preds"}
        for name in {*names, *READ[command]} - (positional - {"predictions"} if command == "train"
                                                else positional):  # fmt: skip
            assert f"--{name.replace('_', '-')}" in flags[command], command


EXPANDED = [
    (re.sub(r"[{}]", "", line), output, read)
    for line, outputs in CASES
    for output in outputs.split()
    for read in re.findall(r"\{([^}]*)\}", line)
]


@pytest.mark.parametrize(("line", "output", "read"), EXPANDED)
def test_an_output_that_is_an_input_is_refused(
    root: Path, longbel: Longbel, monkeypatch: pytest.MonkeyPatch, line: str, output: str,
    read: str,
) -> None:  # fmt: skip
    """By every name of the file, and with every byte as it was."""
    monkeypatch.chdir(root)
    names = spellings(root / read)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for name in names:
        done = longbel(*line.split(), output, name)
        assert done.code == 2, done.err
        # What is to be one file is no folder, whoever reads that.
        assert "which is read" in done.err or (name.is_dir() and "is a folder" in done.err)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


# What a command writes beside its output, which is read under that name.
DERIVED = [
    ("link new.jsonl.part --kb kb --linker exact --out new.jsonl", "new.jsonl.part"),
    ("link text.txt --kb kb --linker exact --detector dictionary --stop new.jsonl.mentions.jsonl "
     "--out new.jsonl", "new.jsonl.mentions.jsonl"),
    ("detect new.jsonl.part --kb kb --out new.jsonl", "new.jsonl.part"),
    ("fuse a.jsonl new.jsonl.fusion.json --out new.jsonl", "new.jsonl.fusion.json"),
    ("link new.jsonl.run/errors.jsonl --kb kb --linker exact --out new.jsonl",
     "new.jsonl.run/errors.jsonl"),
    ("detect corpus.jsonl --kb kb --stop new.jsonl.run/x.txt --out new.jsonl",
     "new.jsonl.run/x.txt"),
    ("fuse a.jsonl b.jsonl --tune new.jsonl.fusion.json --out new.jsonl", "new.jsonl.fusion.json"),
    ("fuse b.jsonl.run/old.jsonl a.jsonl --out b.jsonl --overwrite", "b.jsonl.run/old.jsonl"),
    ("train new.run/log.jsonl --kb kb --fresh nano --out new", "new.run/log.jsonl"),
    ("score plots/groups.svg --plots plots", "plots/groups.svg"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "read"), DERIVED)
def test_what_lies_beside_an_output_is_no_input(
    root: Path, longbel: Longbel, monkeypatch: pytest.MonkeyPatch, line: str, read: str
) -> None:
    monkeypatch.chdir(root)
    content = (root / ("a.jsonl" if line[0] in "fs" else "corpus.jsonl")).read_bytes()
    Path(read).parent.mkdir(exist_ok=True)
    Path(read).write_bytes(content)
    done = longbel(*line.split())
    assert done.code == 2 and "which is read" in done.err, done.err
    assert Path(read).read_bytes() == content


def test_a_run_lies_in_the_folder_of_its_corpus(
    tmp_path: Path, kb_folder: Path, longbel: Longbel
) -> None:
    """The same command again, and after a stop, finds the corpus that it found at first."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_corpus(folder / "notes.jsonl")
    out = folder / "preds.jsonl"
    command = ("link", folder, "--kb", kb_folder, "--linker", "exact", "--out", out)
    assert longbel(*command).code == 0
    first = out.read_bytes()
    again = longbel(*command)
    assert again.code == 0 and "already finished" in again.err
    assert longbel(*command, "--restart").code == 0
    assert out.read_bytes() == first
    shards = ["--out", folder / "shards.jsonl", "--shard"]
    for shard in ("1/2", "2/2"):
        assert longbel(*command[:6], *shards, shard).code == 0
    assert longbel("merge", folder / "shards.jsonl").code == 0
    assert (folder / "shards.jsonl").read_bytes() == first
    fused = ("fuse", out, folder / "shards.jsonl", "--out", folder / "fused.jsonl")
    assert longbel(*fused).code == 0
    assert longbel("check", folder).code == 0


def test_a_job_s_other_files_lie_there_too(
    tmp_path: Path, kb_folder: Path, longbel: Longbel
) -> None:
    write_corpus(tmp_path / "notes.jsonl")
    command = (
        "link", tmp_path, "--kb", kb_folder, "--linker", "exact", "--out", tmp_path / "p.jsonl",
        "--stats", tmp_path / "stats.json",
    )  # fmt: skip
    assert [longbel(*command).code for _ in range(2)] == [0, 0]
    assert longbel(*command, "--restart").code == 0
    assert (tmp_path / "stats.json").exists()


def test_a_folder_is_known_by_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under another name too that no link explains, as where case does not count."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    (tmp_path / "FOLDER").symlink_to("folder")
    monkeypatch.setattr(os.path, "realpath", os.path.abspath)
    for output in ("FOLDER", "FOLDER/a.txt"):
        with pytest.raises(LongbelError, match="which is read"):
            refuse_inputs([("--out", tmp_path / output)], [tmp_path / "folder" / "a.txt"])
    with pytest.raises(LongbelError, match="which is read"):
        refuse_inputs([("--out", tmp_path / "FOLDER" / "a.txt")], [tmp_path / "folder"])
    refuse_inputs([("--out", tmp_path / "FOLDER" / "b.txt")], [tmp_path / "folder"])


def test_what_is_written_beside_inputs_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    refuse_inputs([("--out", tmp_path / "folder" / "new.jsonl")], [tmp_path / "folder"])
    refuse_inputs([("--out", None), ("--out", Path("-"))], [Path("-"), None, tmp_path / "folder"])
    with pytest.raises(LongbelError, match="which is read"):
        refuse_inputs([("--out", tmp_path / "folder")], [tmp_path / "folder" / "a.txt"])
    with pytest.raises(LongbelError, match="which is read"):
        refuse_inputs([("--out", tmp_path / "folder" / "a.txt")], [tmp_path / "folder"])
