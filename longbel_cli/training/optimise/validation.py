"""Validation: Recall@1 of the model in training, by the constrained decoder that `link` uses.

The sample is drawn once, by the seed; nothing of the training's own randomness is touched, so the
losses are the same with and without. The best weights so far are kept, of equally good ones the
later, which have seen more.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from kb_builder.codes import NO_CODE
from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.linker import Linker
from longbel_cli.linking.options import LinkOptions
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.training.data.corpus import gold_documents
from longbel_cli.training.journal import Journal
from longbel_cli.training.optimise.processes import Processes
from longbel_cli.training.optimise.state import BestWeights
from longbel_cli.training.options import Callbacks, TrainOptions
from longbel_cli.types import Document, Mention, Prediction

log = logging.getLogger(__name__)

# Prompt tokens in flight: the same on every machine, and little beside a training.
_TOKENS_IN_FLIGHT = 8_192


class LinkerInTraining(Linker):
    """A linker whose weights are those of a model in training."""

    in_training: PreTrainedModel

    @property
    def model(self) -> PreTrainedModel:
        return self.in_training


class _StoppedError(Exception):
    """Somebody asked to stop while documents were linked."""


@dataclass(frozen=True)
class Sample:
    """The documents that are validated on, how many of their mentions count, and how many
    documents or mentions of the corpora were left out."""

    documents: tuple[Document, ...]
    mentions: int
    left_out: int


def counts(mention: Mention) -> bool:
    """Whether a mention has a gold concept to be measured by."""
    return bool(mention.gold) and NO_CODE not in (mention.gold or ())


def n_right(predictions: Sequence[Prediction]) -> tuple[int, int]:
    """How many predictions have a gold concept, and of how many it is the answer."""
    gold = [
        prediction
        for prediction in predictions
        if prediction.gold_concept_code not in (None, "", NO_CODE)
    ]
    right = [
        prediction
        for prediction in gold
        if prediction.answer and prediction.answer.concept_code == prediction.gold_concept_code
    ]
    return len(gold), len(right)


def draw_sample(options: TrainOptions, groups: Sequence[str]) -> Sample | None:
    """Whole documents, drawn by the seed until they have enough mentions; None without corpora."""
    if not options.validate:
        return None
    left_out: list[object] = []
    documents = [
        document
        for document in gold_documents(options.validate, options, groups, left_out.append)
        if any(counts(mention) for mention in document.mentions)
    ]
    if not documents:
        raise LongbelError(
            f"{', '.join(options.validate)}: no mention has a gold concept to validate with",
            "Give --validate a corpus with gold concepts.",
        )
    random.Random(f"{options.seed}/validate").shuffle(documents)
    drawn: list[Document] = []
    mentions = 0
    for document in documents:
        if mentions >= options.validate_mentions:
            break
        drawn.append(document)
        mentions += sum(counts(mention) for mention in document.mentions)
    if left_out:
        log.warning("%d documents or mentions of --validate quarantined", len(left_out))
    log.info("validating on %d of %d documents, %d mentions", len(drawn), len(documents), mentions)
    return Sample(tuple(drawn), mentions, len(left_out))


class Validator:
    """Measures a model every so many steps, and keeps the best weights."""

    def __init__(
        self,
        sample: Sample,
        options: TrainOptions,
        knowledge_base: KnowledgeBase,
        checkpoint: Checkpoint,
        best: BestWeights,
        journal: Journal,
        processes: Processes,
        callbacks: Callbacks,
    ) -> None:
        self._sample, self._every = sample, options.validate_every
        self._best, self._journal = best, journal
        self._processes, self._callbacks = processes, callbacks
        link = LinkOptions(
            context_format=options.context_format,
            language=options.language,
            composite=options.composite,
            max_batch_tokens=_TOKENS_IN_FLIGHT,
        )
        self._linker = LinkerInTraining(checkpoint, knowledge_base, link)

    def due(self, step: int) -> bool:
        """Whether to measure after this step, with more to come."""
        return step > 0 and step % self._every == 0 and step not in self._journal.validations

    def measure(self, model: PreTrainedModel, step: int) -> bool:
        """Measure the model after `step` steps, unless that was done; False where stopped."""
        if step in self._journal.validations:
            return True
        try:
            recall = self.recall(model)
        except _StoppedError:
            return False
        best = self._best.note()
        better = best is None or recall >= best["recall@1"]
        self._processes.wait()  # all have read what was best before
        if better and self._processes.first:
            self._best.keep(model, {"step": step, "recall@1": recall})
        self._journal.validation(step, recall, self._sample.mentions)
        mark = ", the best so far" if better else ""
        log.info("step %d: Recall@1 %.4f%s", step, recall, mark)
        return True

    def facts(self) -> dict[str, Any]:
        """For the model's card: on how much was validated, and what came out."""
        last = max(self._journal.validations)
        return {
            "documents": len(self._sample.documents),
            "mentions": self._sample.mentions,
            "best": self._best.note(),
            "last": {"step": last, "recall@1": self._journal.validations[last]["recall@1"]},
        }

    def recall(self, model: PreTrainedModel) -> float:
        """The share of the sample's mentions whose first candidate is the gold concept."""
        attention = model.config._attn_implementation
        training = model.training
        self._linker.in_training = model.eval()
        try:
            right = self._n_right()
        finally:
            model.set_attn_implementation(attention)
            model.train(training)
        total = self._processes.sum(torch.tensor(float(right), device=model.device))
        return round(total.item() / self._sample.mentions, 6)

    def _n_right(self) -> int:
        """Of this process's share of the documents."""
        share = self._sample.documents[self._processes.rank :: self._processes.count]
        predictions = self._linker.engine().link_window(share, self._heed)
        return n_right(predictions)[1]

    def _heed(self, finished: int) -> None:
        # Processes that stopped at different times would wait for each other.
        if self._processes.count == 1 and self._callbacks.should_stop():
            raise _StoppedError
