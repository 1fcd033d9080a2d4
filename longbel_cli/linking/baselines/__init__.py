"""Baselines: other ways to link, behind the same job, files and scores as the model.

A baseline is a module beside this one with a function `open_linker`, and a row of BASELINES. The
module is imported when the baseline is opened: importing this loads no torch, and `exact` and
`tfidf` never do.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from kb_builder.errors import check_choice
from longbel_cli.linking.options import BaselineOptions

if TYPE_CHECKING:
    from kb_builder.store.knowledge_base import KnowledgeBase
    from longbel_cli.linking.protocols import EntityLinker


@dataclass(frozen=True)
class Baseline:
    """`flags` are those of `longbel link` that it takes, of those that not every linker does, by
    the names of their parameters."""

    module: str
    help: str
    flags: frozenset[str] = frozenset()

    def open(self, knowledge_base: KnowledgeBase, options: BaselineOptions) -> EntityLinker:
        """The linker, ready for a job; LongbelError where an option is missing."""
        module = import_module(f"{__name__}.{self.module}")
        linker: EntityLinker = module.open_linker(knowledge_base, options)
        return linker


_LOOK_UP = frozenset({"abbreviations", "names_from"})
BASELINES = {
    "exact": Baseline("exact", "names that are the mention", _LOOK_UP),
    "tfidf": Baseline("tfidf", "names with like trigrams", _LOOK_UP),
    "dense": Baseline(
        "dense",
        "names nearest by an encoder",
        _LOOK_UP | {"model", "device", "pooling"},
    ),
    "seq2seq": Baseline(
        "seq2seq",
        "an encoder-decoder",
        frozenset({"model", "device", "language", "max_batch_tokens", "prompts"}),
    ),
}


def open_baseline(
    name: str, knowledge_base: KnowledgeBase, options: BaselineOptions | None = None
) -> EntityLinker:
    """The baseline of that name, ready for a job; LongbelError where an option is missing."""
    check_choice("--linker", name, BASELINES)
    return BASELINES[name].open(knowledge_base, options or BaselineOptions())
