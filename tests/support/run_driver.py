"""A linker without a model, in a process of its own: what the run tests kill, starve and restart.

    python -m tests.support.run_driver CORPUS OUT [--shard I/N] [--sleep SECONDS]
        [--fail STEP:KIND] …

The corpus is JSONL of {"id", "mentions"}; a line that is no JSON is quarantined. Predictions are a
function of document and mention. `--fail 12:kill` kills the process at the twelfth step of the
file layer (every operation that changes the disk has a step before it, one in its middle where it
can be done in part, and one after it); `12:ENOSPC` and `12:EIO` make that operation fail.
`--count-steps` prints how many steps a run has.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from longbel_cli.runs.configuration import provenance
from longbel_cli.runs.run import (
    Auto,
    Files,
    Run,
    RunConfiguration,
    StopSignals,
    open_run,
    shard_of,
)
from longbel_cli.runs.windows import Position, Quarantine
from longbel_cli.types import Document, Mention, Passage, Span
from tests.support.paths import ROOT


class FailingFiles(Files):
    """The file layer with a step counter; `fail_at` and `kind` say where and how it fails."""

    def __init__(self, fail_at: int | None = None, kind: str = "kill") -> None:
        self.steps = 0
        self._fail_at, self._kind = fail_at, kind

    def _step(self, can_fail: bool = True) -> None:
        self.steps += 1
        if self.steps != self._fail_at:
            return
        if self._kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if can_fail:
            index = getattr(errno, self._kind)
            raise OSError(index, os.strerror(index))

    def write(self, fd: int, data: bytes) -> None:
        self._step()
        half = len(data) // 2
        super().write(fd, data[:half])
        self._step()
        super().write(fd, data[half:])
        self._step(can_fail=False)

    def sync(self, fd: int) -> None:
        self._step()
        super().sync(fd)
        self._step(can_fail=False)

    def truncate(self, fd: int, size: int) -> None:
        self._step()
        super().truncate(fd, size)
        self._step(can_fail=False)

    def replace(self, source: Path, target: Path) -> None:
        self._step()
        super().replace(source, target)
        self._step(can_fail=False)

    def link(self, source: Path, target: Path) -> None:
        self._step()
        super().link(source, target)
        self._step(can_fail=False)

    def unlink(self, path: Path) -> None:
        self._step()
        super().unlink(path)
        self._step(can_fail=False)

    def exchange(self, new: Path, old: Path) -> None:
        self._step()
        super().exchange(new, old)
        self._step(can_fail=False)


class RecordedFiles(Files):
    """Notes what is written, flushed and renamed: a kill keeps what was never flushed, a power
    cut does not, and no test can cut the power."""

    def __init__(self) -> None:
        self._done: list[tuple[str, int]] = []

    def write(self, fd: int, data: bytes) -> None:
        self._done.append(("write", os.fstat(fd).st_ino))
        super().write(fd, data)

    def sync(self, fd: int) -> None:
        self._done.append(("sync", os.fstat(fd).st_ino))
        super().sync(fd)

    def replace(self, source: Path, target: Path) -> None:
        self._done.append(("replace", source.stat().st_ino))
        super().replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        self._done.append(("link", source.stat().st_ino))
        super().link(source, target)

    def done(self, folder: Path) -> list[str]:
        """All of it in order, by the names that the files below `folder` bear now."""
        names = {path.stat().st_ino: path.name for path in (folder, *folder.rglob("*"))}
        return [f"{what} {names.get(index, 'what is gone')}" for what, index in self._done]


def read_documents(
    corpus: Path, start: Position, quarantine: Quarantine
) -> Iterator[tuple[Position, Document]]:
    """Documents of the scripted corpus from a byte offset."""
    with corpus.open("rb") as stream:
        stream.seek(start or 0)
        offset = start or 0
        for line in stream:
            offset += len(line)
            try:
                entry = json.loads(line)
            except ValueError:
                quarantine({"source": corpus.name, "offset": offset - len(line),
                            "reason": "not JSON", "whole_document": True})  # fmt: skip
                continue
            yield offset, document_of(entry)


def document_of(entry: dict[str, Any]) -> Document:
    text = "x" * max(1, entry["mentions"])
    mentions = tuple(
        Mention(f"T{index + 1}", (Span(index, index + 1),), "x", "Disorders")
        for index in range(entry["mentions"])
    )
    return Document(entry["id"], (Passage(text),), mentions)


def count_mentions(corpus: Path) -> int:
    result = read_documents(corpus, None, lambda problem: None)
    return sum(len(document.mentions) for _, document in result)


def predictions(document: Document) -> Iterator[str]:
    """One line a mention; each depends on the one before, as a memory does."""
    memory = ""
    for mention in document.mentions:
        memory = hashlib.sha256(f"{memory}{document.id}{mention.id}".encode()).hexdigest()
        line = {"document_id": document.id, "mention_id": mention.id, "answer": memory[:40]}
        yield json.dumps(line)


def write_corpus(path: Path, documents: int, broken: bool = True) -> Path:
    """A corpus of `documents` documents of 0 to 6 mentions, every ninth line broken."""
    lines = []
    for index in range(documents):
        if broken and index % 9 == 4:
            lines.append("{broken")
        lines.append(json.dumps({"id": f"d{index}", "mentions": index * 5 % 7}))
    if broken:
        lines.append("{broken at the end")
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass(frozen=True)
class Reference:
    """A corpus and what an undisturbed run makes of it."""

    corpus: Path
    predictions: bytes
    errors: bytes
    windows: int

    def is_at(self, out: Path) -> bool:
        """Whether `out` is that result, quarantine records included."""
        errors = out.with_name(out.name + ".run") / "errors.jsonl"
        return out.read_bytes() == self.predictions and errors.read_bytes() == self.errors


def link_all(run: Run, corpus: Path, sleep: float, stop: StopSignals) -> None:
    def source(start: Position, quarantine: Quarantine) -> Iterator[tuple[Position, Document]]:
        return read_documents(corpus, start, quarantine)

    for window in run.pending(source):
        lines = []
        for document in window.documents:
            stop.check()
            time.sleep(sleep)
            lines.extend(predictions(document))
        run.commit(window, lines, note={"budget": run.settings["budget"]})
    run.finish()


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shard", default="1/1")
    parser.add_argument("--sleep", type=float, default=0.0)
    parser.add_argument("--fail", default="")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--window", type=int, default=3)
    parser.add_argument("--window-mentions", type=int, default=10)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--time-limit", type=float)
    parser.add_argument("--restart", action="store_true")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--count-steps", action="store_true")
    arguments = parser.parse_args(argv)
    fail_at, _, kind = arguments.fail.partition(":")
    files = FailingFiles(int(fail_at) if fail_at else None, kind)
    configuration = RunConfiguration(
        results={"beams": arguments.beams, "budget": Auto(lambda: os.getpid())},
        inputs=[arguments.corpus],
        free={"mentions": Auto(lambda: count_mentions(arguments.corpus))},
        window_documents=arguments.window,
        window_mentions=arguments.window_mentions,
        limit=arguments.limit,
    )
    try:
        with (
            StopSignals(arguments.time_limit) as stop,
            open_run(
                arguments.out,
                configuration,
                shard_of(arguments.shard),
                restart=arguments.restart,
                overwrite=arguments.overwrite,
                files=files,
            ) as run,
        ):
            if run.finished is None:
                link_all(run, arguments.corpus, arguments.sleep, stop)
    except LongbelError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    assert "torch" not in sys.modules
    if arguments.count_steps:
        print(files.steps)
    return 0


def serve() -> None:
    """Run the requests of standard input one after the other, each in a fork of this process.

    A request is a JSON line {"argv", "log", "environment"}; the answers are the fork's process id
    and, once it has ended, its exit code (negative: the signal that ended it).
    """
    provenance()  # what it looks up is kept, and every fork has it
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ.update(request["environment"])
            code = 1
            try:
                code = main(request["argv"])
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        print(pid, flush=True)
        # Its number stays taken until whoever asked has read this and can no longer kill it.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        print("ended", flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


class Driver:
    """Starts scripted linkers, one at a time, in processes of their own within milliseconds."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._pid: int | None = None
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.run_driver", "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def start(self, *argv: object, **environment: str) -> int:
        """The process id of a new linker."""
        assert self._server.stdin is not None and self._server.stdout is not None
        request = {
            "argv": [str(argument) for argument in argv],
            "log": str(self.log),
            "environment": environment,
        }
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        self._pid = int(self._server.stdout.readline())
        return self._pid

    def kill(self) -> int:
        """End the linker started last, wherever it is; its exit code if it was faster."""
        assert self._pid is not None
        os.kill(self._pid, signal.SIGKILL)
        return self.wait()

    @property
    def running(self) -> bool:
        """Whether a linker was started and not yet waited for."""
        return self._pid is not None

    def wait(self) -> int:
        """The exit code of the linker started last, once it has ended."""
        assert self._server.stdin is not None and self._server.stdout is not None
        assert self._server.stdout.readline() == "ended\n"
        self._pid = None
        self._server.stdin.write("reap\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def run(self, *argv: object, **environment: str) -> int:
        self.start(*argv, **environment)
        return self.wait()

    @property
    def said(self) -> str:
        return self.log.read_text()

    def close(self) -> None:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        sys.exit(main(sys.argv[1:]))
