"""Baselines: other ways to link, behind the same job, files and scores as the model.

A row of BASELINES says how a baseline is opened and which flags mean something to it. Importing
this loads no torch; `exact` and `tfidf` never do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.linker import check_batch_tokens, check_beams
from longbel_cli.linking.protocols import EntityLinker


@dataclass(frozen=True)
class BaselineOptions:
    """How to link with a baseline; each takes what concerns it."""

    beams: int = 5
    model: str | None = None
    device: str = "auto"
    pooling: str = "cls"
    language: str | None = None
    max_batch_tokens: int | None = None

    def __post_init__(self) -> None:
        check_beams(self.beams)
        check_batch_tokens(self.max_batch_tokens)


@dataclass(frozen=True)
class Baseline:
    """`flags` are those of `longbel link` that it takes, of those that not every linker does."""

    open: Callable[[KnowledgeBase, BaselineOptions], EntityLinker]
    flags: frozenset[str] = frozenset()


def _exact(knowledge_base: KnowledgeBase, options: BaselineOptions) -> EntityLinker:
    from longbel_cli.linking.baselines.exact import ExactRanker

    return ExactRanker(knowledge_base, options.beams)


def _tfidf(knowledge_base: KnowledgeBase, options: BaselineOptions) -> EntityLinker:
    from longbel_cli.linking.baselines.tfidf import TfidfRanker

    return TfidfRanker(knowledge_base, options.beams)


def _dense(knowledge_base: KnowledgeBase, options: BaselineOptions) -> EntityLinker:
    from longbel_cli.linking.baselines.dense import DenseRanker
    from longbel_cli.linking.baselines.folder import PublishedModel

    encoder = PublishedModel.open(_model(options, "dense", "an encoder"))
    return DenseRanker(knowledge_base, encoder, options.pooling, options.device, options.beams)


def _seq2seq(knowledge_base: KnowledgeBase, options: BaselineOptions) -> EntityLinker:
    from longbel_cli.linking.baselines.folder import PublishedModel
    from longbel_cli.linking.baselines.seq2seq import Seq2SeqLinker

    model = PublishedModel.open(_model(options, "seq2seq", "an encoder-decoder"))
    linker = Seq2SeqLinker(model, knowledge_base, options)
    _ = linker.split  # a language that is missing is told before anything is read
    return linker


def _model(options: BaselineOptions, name: str, kind: str) -> str:
    if options.model is None:
        raise LongbelError(
            f"the linker {name} needs the folder of {kind}", "Give it with --model.", exit_code=2
        )
    return options.model


BASELINES = {
    "exact": Baseline(_exact),
    "tfidf": Baseline(_tfidf),
    "dense": Baseline(_dense, frozenset({"model", "device", "pooling"})),
    "seq2seq": Baseline(
        _seq2seq, frozenset({"model", "device", "language", "max_batch_tokens", "prompts"})
    ),
}


def open_baseline(
    name: str, knowledge_base: KnowledgeBase, options: BaselineOptions | None = None
) -> EntityLinker:
    """The baseline of that name, ready for a job; LongbelError where an option is missing."""
    return BASELINES[name].open(knowledge_base, options or BaselineOptions())
