"""The batch script, run here with stand-ins for Slurm's commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.runs.slurm import SlurmJob, sbatch_script
from tests.support.command_line import Longbel

LINK = ["my corpus.jsonl", "--out", "preds.jsonl", "--kb", "umls.kb"]


def test_an_array_with_all_that_requeueing_needs() -> None:
    script = sbatch_script(SlurmJob(LINK, tasks=8, memory="64G", partition="gpu"))
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    for directive in (
        "--array=1-8", "--ntasks=1", "--gpus-per-task=1", "--signal=USR1@120", "--requeue",
        "--open-mode=append", "--output=preds.jsonl.%A_%a.log", "--mem=64G", "--partition=gpu",
        "--time=20:00:00",
    ):  # fmt: skip
        assert f"#SBATCH {directive}" in lines
    assert "export HF_HUB_OFFLINE=1" in lines
    assert "--wrap='longbel merge preds.jsonl'" in script
    assert (
        "srun longbel link 'my corpus.jsonl' --out preds.jsonl --kb umls.kb --shard auto" in script
    )


def test_what_the_job_writes_is_its_owner_s_alone_unless_it_is_shared() -> None:
    assert "\numask 077\n" in sbatch_script(SlurmJob(LINK))
    script = sbatch_script(SlurmJob(LINK, shared=True))
    assert "umask" not in script.replace("the umask to say", "")
    assert "\nexport LONGBEL_SHARED=1\n" in script


HOSTILE = ["$(touch owned)", "`touch owned`", "; touch owned", "a\ntouch owned", "'; touch owned #"]


@pytest.mark.parametrize("argument", HOSTILE)
def test_an_argument_is_never_run_as_a_command(tmp_path: Path, argument: str) -> None:
    script = sbatch_script(SlurmJob([argument, "--out", "preds.jsonl", "--kb", argument]))
    tool = tmp_path / "srun"
    tool.write_text("#!/bin/bash\nprintf '%s\\0' \"$@\" > arguments\n")
    tool.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert done.returncode == 0 and not (tmp_path / "owned").exists()
    given = (tmp_path / "arguments").read_text().split("\0")
    assert given[2:7] == [argument, "--out", "preds.jsonl", "--kb", argument]


def test_one_job_needs_no_array_and_no_merge() -> None:
    script = sbatch_script(SlurmJob(LINK, gpus=0))
    assert "--array" not in script
    assert "merge" not in script
    assert "gpus" not in script
    assert "#SBATCH --output=preds.jsonl.%j.log" in script


@pytest.mark.parametrize(
    "options",
    [
        {"tasks": 0},
        {"processes": 0},
        {"time": "20:00:00\n#SBATCH --nodes=9"},
        {"partition": "gpu --nodes=9"},
        {"arguments": ["c.jsonl"]},
        {"arguments": ["c.jsonl", "--out", "-"]},
        {"arguments": ["c.jsonl", "--out", "a\n#SBATCH --wrap=evil"]},
        {"arguments": ["c.jsonl", "--out=a\rb"]},
        {"arguments": ["c.jsonl", "--out", 'a" --uid=0 "b']},
        {"arguments": [*LINK, "--shard", "1/2"]},
        {"arguments": [*LINK, "--shard=auto"]},
    ],
)
def test_what_makes_no_script(options: dict[str, object]) -> None:
    with pytest.raises(LongbelError) as raised:
        sbatch_script(SlurmJob(**{"arguments": LINK, **options}))  # type: ignore[arg-type]
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (75, True), (3, False), (5, False)])
def test_the_script_requeues_after_75_alone(tmp_path: Path, code: int, requeued: bool) -> None:
    """`srun` and `scontrol` are stand-ins that write down what they were given."""
    for name, ending in (("srun", code), ("scontrol", 0)):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/bash\nprintf "%s\\n" "{name}" "$@" >> calls\nexit {ending}\n')
        tool.chmod(0o755)
    (tmp_path / "job.sh").write_text(sbatch_script(SlurmJob(LINK, tasks=2, setup="export DONE=1")))
    done = subprocess.run(
        ["bash", "job.sh"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "4711"},
    )
    assert done.returncode == code
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[:4] == ["srun", "longbel", "link", "my corpus.jsonl"]
    assert (calls[-3:] == ["scontrol", "requeue", "4711"]) is requeued


def test_the_command(longbel: Longbel) -> None:
    done = longbel("slurm", "--tasks", 3, "--", *LINK)
    assert done.code == 0
    assert done.out == sbatch_script(SlurmJob(LINK, tasks=3))
    assert done.err == ""


@pytest.mark.parametrize(
    ("arguments", "gpus"),
    [
        ([], 1),
        (["--linker", "longbel"], 1),
        (["--linker", "dense"], 1),
        (["--linker", "exact"], 0),
        (["--linker=tfidf"], 0),
    ],
)
def test_the_command_asks_for_a_gpu_where_the_linker_uses_one(
    longbel: Longbel, arguments: list[str], gpus: int
) -> None:
    done = longbel("slurm", "--", *LINK, *arguments)
    assert done.out == sbatch_script(SlurmJob([*LINK, *arguments], gpus=gpus))
    done = longbel("slurm", "--gpus", 2, "--", *LINK, *arguments)
    assert "#SBATCH --gpus-per-task=2" in done.out


def test_the_command_refuses_a_linker_that_does_not_exist(longbel: Longbel) -> None:
    done = longbel("slurm", "--", *LINK, "--linker", "exakt")
    assert done.code == 2 and "exact" in done.err


def test_the_command_says_that_the_folder_of_the_logs_must_be_there(
    longbel: Longbel, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "preds.jsonl"
    done = longbel("slurm", "--", "notes.jsonl", "--out", out)
    assert done.code == 0 and done.out.startswith("#!/bin/bash")
    assert f"make {out.parent} before sbatch" in done.err
