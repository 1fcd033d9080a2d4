"""What a command writes: seen while it runs, so that nobody has to know it."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from kb_builder.files import is_draft
from tests.support.storm import CRASHED, NAMES, WRITING, Work

Tree = dict[str, bytes | None]


def tree(folder: Path) -> Tree:
    """All that lies below a folder, by its path: the bytes of files, None for folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def written(work: Work, folder: Path) -> tuple[int, set[str]]:
    """Run some work in `folder`, in a process of its own: its exit code, and the path of whatever
    was opened for writing, renamed, made, linked or removed below the folder, drafts apart."""
    before = tree(folder)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = CRASHED
        try:
            os.chdir(folder)
            seen = _recorded(folder)
            code = work()
            os.close(reading)
            with os.fdopen(writing, "w") as stream:
                json.dump(sorted(seen), stream)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as stream:
        seen = set(json.loads(stream.read() or "[]"))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    after = tree(folder)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    changed |= after.keys() - before.keys()
    return code, {path for path in seen | changed if not _is_of_draft(Path(path))}


def _is_of_draft(path: Path) -> bool:
    return any(map(is_draft, (path, *path.parents)))


def _recorded(folder: Path) -> set[str]:
    """Fills with paths for the rest of this process."""
    seen: set[str] = set()
    root = folder.resolve()

    def add(path: Any) -> None:
        if isinstance(path, str | bytes):
            whole = Path(os.fsdecode(path)).absolute()
            if whole.is_relative_to(root) and whole != root:
                seen.add(whole.relative_to(root).as_posix())

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & WRITING:
                add(path)
        elif event in NAMES and not _is_relative_to_handle(event, arguments):
            add(arguments[0])
            add(arguments[NAMES[event]])

    sys.addaudithook(audit)
    return seen


def _is_relative_to_handle(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a name is that of a file in an open folder, as where a whole folder is removed: the
    folder itself is seen."""
    handles = arguments[2:] if event in ("os.rename", "os.link", "os.mkdir") else arguments[1:]
    return any(handle != -1 for handle in handles)
