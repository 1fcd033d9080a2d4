"""`longbel` with a tiny random model and a small knowledge base, and a corpus to link."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Longbel, write_json_lines
from tests.support.link_cases import DOCUMENTS


@pytest.fixture
def longbel(
    longbel: Longbel, monkeypatch: pytest.MonkeyPatch, model_folder: Path, kb_folder: Path
) -> Longbel:
    """Takes the tiny model and knowledge base from the environment."""
    monkeypatch.setenv("LONGBEL_MODEL", str(model_folder))
    monkeypatch.setenv("LONGBEL_KB", str(kb_folder))
    return longbel


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_json_lines(tmp_path / "corpus.jsonl", *DOCUMENTS)
