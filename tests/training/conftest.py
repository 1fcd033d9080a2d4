"""Trainings from scratch make their tokenizer from fewer synthetic documents than they would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from longbel_cli.training.data import corpus


@pytest.fixture(scope="session", autouse=True)
def few_documents_for_tokenizers() -> Iterator[None]:
    """They are most of what a training of a few steps costs, and no test is about their number."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(corpus, "_TOKENIZER_DOCUMENTS", 20)
        yield
