"""What a run was started with, kept in run.json, and the difference to what is asked now.

Knows which settings can change results only by what it is told.
"""

from __future__ import annotations

import json
import platform
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from longbel_cli.version import package_version

FORMAT = 1
VERSIONS = ("longbel", "torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class Auto:
    """A setting that is resolved when the run begins and then kept, by whatever process."""

    resolve: Callable[[], Any]


@dataclass(frozen=True)
class RunConfiguration:
    """Everything that a run is started with.

    `results` holds what can change predictions (JSON values, or `Auto`): a run resumes only with
    the same. `free` is recorded when the run begins and may differ later (`Auto` too: a count of
    `documents` and `mentions` there gives `longbel status` the time left). `window_documents` and
    `window_mentions` close a window, `limit` documents the run; they and the versions are part of
    the results without being named there. `inputs` are the files read (see
    `corpus_source.input_files`). `command` is the command line. `keeps_mentions` says that the run
    writes a file of detected mentions too.
    """

    results: Mapping[str, Any]
    inputs: Sequence[Path] = ()
    free: Mapping[str, Any] = field(default_factory=dict)
    window_documents: int | Auto = 64
    window_mentions: int | Auto = 1000
    limit: int | None = None
    command: Sequence[str] = ()
    keeps_mentions: bool = False

    def compared(self) -> dict[str, Any]:
        """The settings that must agree, flat; `Auto` values unresolved."""
        return {
            **self.results,
            "window_documents": self.window_documents,
            "window_mentions": self.window_mentions,
            "limit": self.limit,
            **{f"{package} version": _version(package) for package in VERSIONS},
        }

    def resolved(self) -> dict[str, Any]:
        """As `compared`, each `Auto` resolved now, as JSON keeps it."""
        return resolved(self.compared())


def resolved(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Each `Auto` resolved now, all values as JSON keeps them."""
    values = {
        key: value.resolve() if isinstance(value, Auto) else value
        for key, value in settings.items()
    }
    kept: dict[str, Any] = json.loads(json.dumps(values))
    return kept


def difference(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """One line for each setting that is not as the run keeps it; `Auto` agrees with anything."""
    lines = []
    for key in sorted(kept.keys() | asked.keys()):
        now = asked.get(key)
        if isinstance(now, Auto):
            continue
        before, now = kept.get(key), json.loads(json.dumps(now))
        if before != now:
            lines.append(f"{key}: {_shown(before)} in the run, {_shown(now)} now")
    return lines


def _shown(value: Any) -> str:
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)


def provenance() -> dict[str, Any]:
    """Where and on what a run is made; recorded, never compared."""
    packages = (*VERSIONS, "numpy", "pyarrow", "accelerate", "safetensors")
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": {package: _version(package) for package in packages},
        "git": git_state(Path(__file__).parent),
    }


@cache
def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and cleanliness of the source tree that the package runs from; None outside one.

    A folder that git does not track (an installation inside some repository) is outside.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    tracked = _git(folder, "ls-files", "--error-unmatch", "configuration.py")
    if not commit or tracked is None:
        return None
    return {"commit": commit, "changed": bool(_git(folder, "status", "--porcelain", "-uno", "."))}


@cache
def _version(package: str) -> str:
    return package_version(package)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
