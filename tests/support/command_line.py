"""Runs `longbel` in this process: its exit code and what it wrote on both streams."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@contextmanager
def same_signal_handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Longbel:
    """Calls the command line; no call may repeat the word Zanthoma, which texts of tests hold."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        for name in ("LONGBEL_MODEL", "LONGBEL_KB", "LONGBEL_DEBUG"):
            monkeypatch.delenv(name, raising=False)

    def __call__(self, *arguments: object, stdin: str | None = None) -> Done:
        from longbel_cli.app import main

        self._monkeypatch.setattr(sys, "argv", ["longbel", *map(str, arguments)])
        if stdin is not None:
            stream = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
            self._monkeypatch.setattr(sys, "stdin", stream)
        self._capsys.readouterr()
        code: Any = 0
        try:
            with same_signal_handlers():
                main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = self._capsys.readouterr()
        assert "Zanthoma" not in err and "Traceback" not in err
        return Done(code, out, err)


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_json_lines(path: Path, *values: Any) -> Path:
    """Each value on a line of its own; strings as they are, so that a line may be broken."""
    lines = [value if isinstance(value, str) else json.dumps(value) for value in values]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path
