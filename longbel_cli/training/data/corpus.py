"""What is trained on: gold documents with their target names, synthetic ones, and epochs of both.

Knows nothing of models or files of a training.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.prompting.formats import SentenceSplitter, sentence_splitter
from longbel_cli.training.data.batches import EpochPlan
from longbel_cli.training.data.examples import Cropping, Example, ExampleMaker, Names
from longbel_cli.training.data.lexicon import StoredNames, read_lexicon
from longbel_cli.training.data.target_rules import TARGET_RULES
from longbel_cli.training.data.targets import NearestNames, document_targets
from longbel_cli.training.options import TrainOptions
from longbel_cli.training.synthetic.documents import SyntheticDocuments
from longbel_cli.types import Document

_TOKENIZER_DOCUMENTS = 3000


@dataclass(frozen=True)
class TrainingDocument:
    """A document with the target names of its mentions (None: cannot be trained on), and the
    names that memory shows of them (None: no line)."""

    document: Document
    targets: tuple[Names, ...]
    memory: tuple[Names, ...]

    @property
    def trainable(self) -> list[int]:
        return [index for index, target in enumerate(self.targets) if target is not None]


class TrainingCorpus:
    """All that is trained on: the gold documents, and the maker of synthetic ones."""

    def __init__(
        self, knowledge_base: KnowledgeBase, documents: Iterator[Document], options: TrainOptions
    ) -> None:
        self._stored = StoredNames(knowledge_base)
        self._nearest = NearestNames(self._stored)
        self._rule = TARGET_RULES[options.target]
        self._composite = options.composite
        self._synonyms, self._seed = options.synonyms, options.seed
        # All names in memory, only where documents are made of them; shared by parts of a corpus.
        self._synthetic = cache(
            lambda: SyntheticDocuments(read_lexicon(knowledge_base.path), options.seed)
        )
        self.n_mentions = 0
        self.documents: list[TrainingDocument] = []
        for document in documents:
            self.n_mentions += len(document.mentions)
            training = self._with_targets(document)
            if training.trainable:
                self.documents.append(training)

    @property
    def n_trainable(self) -> int:
        return sum(len(training.trainable) for training in self.documents)

    def only(self, documents: Sequence[TrainingDocument]) -> TrainingCorpus:
        """The same with these gold documents alone."""
        part = copy(self)
        part.documents = list(documents)
        return part

    def remembering(self, predicted: Mapping[str, Sequence[Names]]) -> TrainingCorpus:
        """The same with the names that were predicted for each document's mentions as memory."""
        return self.only(
            [
                replace(document, memory=tuple(predicted[document.document.id]))
                for document in self.documents
            ]
        )

    def synthetic_document(self, index: int) -> TrainingDocument:
        document = self._synthetic().document(index)
        rng = random.Random(f"{self._seed}/synonyms/{index}")
        return self._with_targets(document, lambda: rng.random() < self._synonyms)

    def texts(self, synthetic: bool) -> Iterator[str]:
        """What a fresh tokenizer is trained on: names, gold documents, and synthetic ones if
        there shall be any."""
        for name in self._stored.texts():
            yield name
            yield name.lower()
        for training in self.documents:
            yield training.document.text
        if synthetic:
            for index in range(_TOKENIZER_DOCUMENTS):
                yield self._synthetic().document(-1 - index).text

    def _with_targets(
        self, document: Document, synonym: Callable[[], bool] = lambda: False
    ) -> TrainingDocument:
        targets = document_targets(document, self._nearest, self._rule, synonym)
        if not self._composite:
            targets = [None if target and len(target) > 1 else target for target in targets]
        return TrainingDocument(document, tuple(targets), tuple(targets))


class ItemSource:
    """The items of an epoch by number: first the corpus's mentions, then synthetic documents.

    Of a corpus document an epoch has `mentions_per_document` items, drawn from its mentions, or
    one item for each mention.
    """

    def __init__(
        self, corpus: TrainingCorpus, options: TrainOptions, checkpoint: Checkpoint
    ) -> None:
        self._corpus, self._options = corpus, options
        # What the model has no place for is shortened too, as `link` does.
        self._max_length = min(options.max_length, checkpoint.max_tokens)
        self._makers = [
            ExampleMaker(
                checkpoint,
                form,
                splitter_of(options),
                Cropping(options.crop, options.crop_share),
                options.memory_weight,
                options.memory_dropout if options.memory == "dropout" else 0.0,
                self._max_length,
            )
            for form in options.formats
        ]
        self._items: list[tuple[int, int | None]] = []
        for document, training in enumerate(corpus.documents):
            mentions = training.trainable
            most = options.mentions_per_document
            if most is None or most >= len(mentions):
                self._items += [(document, mention) for mention in mentions]
            else:
                self._items += [(document, None)] * most

    def __len__(self) -> int:
        return len(self._items) + self._options.synthetic

    def make(self, item: int, epoch: int, rng: random.Random) -> Example | None:
        """The example of an item; None where it trains nothing, or where not even the mention
        alone fits into `max_length` and the model's positions."""
        mention: int | None
        if item < len(self._items):
            document, mention = self._items[item]
            training = self._corpus.documents[document]
        else:
            count = item - len(self._items) + epoch * self._options.synthetic
            training, mention = self._corpus.synthetic_document(count), None
        if mention is None:
            mentions = training.trainable
            if not mentions:
                return None
            # Late mentions have more memory before them, in which names can be trained as well.
            mention = max(rng.choice(mentions), rng.choice(mentions))
        maker = self._makers[0] if len(self._makers) == 1 else rng.choice(self._makers)
        example = maker.example(training.document, training.targets, mention, rng, training.memory)
        return example if len(example) <= self._max_length else None


def epoch_plan(options: TrainOptions, corpus: TrainingCorpus, checkpoint: Checkpoint) -> EpochPlan:
    """The epochs of a training; LongbelError where nothing can be trained on."""
    source = ItemSource(corpus, options, checkpoint)
    if not len(source):
        raise LongbelError(
            "no mention of the corpus has a target in the knowledge base",
            "Gold concepts must be in the KB, in the mention's group; see `longbel check --kb`.",
        )
    pad = checkpoint.tokenizer.pad_token_id
    return EpochPlan(
        n_items=len(source),
        make=source.make,
        tokens_per_batch=options.tokens_per_batch,
        seed=options.seed,
        pad=checkpoint.tokenizer.eos_token_id if pad is None else pad,
    )


def splitter_of(options: TrainOptions) -> SentenceSplitter | None:
    """The sentence splitter, where the format needs one; LongbelError without a language."""
    form = next((form for form in options.formats if form.context == "sentence"), None)
    return None if form is None else sentence_splitter(form, options.language)


def gold_documents(
    paths: Sequence[str],
    options: TrainOptions,
    groups: Sequence[str],
    on_problem: Callable[[Any], None],
) -> Iterator[Document]:
    """The corpora's documents with semantic groups as the knowledge base spells them."""
    from longbel_cli.corpora import read_corpus
    from longbel_cli.corpora.resolve import TypeResolver, resolve_types
    from longbel_cli.scoring.retired import read_retired

    if not paths:
        return iter(())
    documents = read_corpus(paths, options.corpus_format, on_problem)
    if options.retired is not None:
        documents = read_retired(Path(options.retired)).documents(documents)
    return resolve_types(documents, TypeResolver(groups), options.unknown_group, on_problem)
