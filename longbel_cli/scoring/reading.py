"""Reads what a score needs: predictions, gold, training corpus, and knowledge base."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from longbel_cli.corpora.prediction_file import PredictionFile, distinct_names
from longbel_cli.corpora.predictions import read_predictions
from longbel_cli.scoring.alignment import align
from longbel_cli.scoring.background import base_for, gold_in_kb, kb_facts, training_facts
from longbel_cli.scoring.gold import (
    GoldMention,
    Joined,
    gold_inside,
    gold_of_corpus,
    gold_of_predictions,
)
from longbel_cli.scoring.joining import join
from longbel_cli.scoring.partitions import Background
from longbel_cli.scoring.request import ScoreRequest
from longbel_cli.scoring.retired import Retired
from longbel_cli.types import Document

if TYPE_CHECKING:
    from longbel_cli.corpora import Problem

log = logging.getLogger(__name__)


def predictions_of(path: Path, successors: Retired | None) -> PredictionFile:
    file = read_predictions(path)
    return file if successors is None else successors.predictions(file)


def joined_gold(files: Sequence[PredictionFile], request: ScoreRequest) -> list[Joined]:
    if request.gold:
        gold = corpus_gold(request.gold, request.gold_format, request.successors)
        return [join(gold, file, same_group(file)) for file in files]
    inside = [gold_inside(files[0])]
    for file in files[1:]:
        if any(prediction.gold_concept_code is not None for prediction in file.predictions):
            inside.append(gold_inside(file))
        else:
            log.info("%s: has no gold; that of %s is used", file.path, files[0].path)
            inside.append(join(gold_of_predictions(files[0]), file, same_group(file)))
    if len(files) == 1:
        return inside
    names = distinct_names([file.path for file in files])
    return align(list(zip(names, inside, strict=True)))


def read_documents(
    paths: Sequence[Path], corpus_format: str, role: str, successors: Retired | None
) -> Iterator[Document]:
    """The documents of an annotated corpus; what its reader leaves out is logged, the first of it
    in full."""
    from longbel_cli.corpora import read_corpus

    problems: list[Problem] = []
    documents = read_corpus(paths, corpus_format, problems.append)
    yield from documents if successors is None else successors.documents(documents)
    if problems:
        log.warning(
            "%d document(s) or mention(s) of the %s corpus left out, the first: %s",
            len(problems),
            role,
            problems[0].message,
        )


def corpus_gold(
    paths: Sequence[Path], corpus_format: str, successors: Retired | None = None
) -> tuple[GoldMention, ...]:
    """What an annotated corpus says of each of its mentions."""
    return gold_of_corpus(read_documents(paths, corpus_format, "gold", successors))


def same_group(file: PredictionFile) -> Callable[[str, str], bool]:
    """Whether a corpus's type means a predicted group, by the groups that predictions have."""
    resolved = group_of(file)
    return lambda entity_type, group: resolved(entity_type) == group


def group_of(file: PredictionFile) -> Callable[[str], str]:
    """From a corpus's type to a predicted group; a type that is none stays as it is."""
    from longbel_cli.corpora.resolve import TypeResolver

    groups = sorted({prediction.semantic_group for prediction in file.predictions})
    resolver = TypeResolver(groups)
    return lambda entity_type: resolver.group(entity_type) or entity_type


def background_of(request: ScoreRequest, joined: Sequence[Joined]) -> Background:
    training = kb = None
    if request.train:
        training = training_facts(
            read_documents(request.train, request.gold_format, "training", request.successors)
        )
    if request.kb is not None:
        kb = kb_facts(request.kb, [mention for mentions in joined for mention in mentions.mentions])
    base = base_for(request.kb, request.predictions)
    held = None if base is None else gold_in_kb(base, joined[0].mentions)
    return Background(training, kb, held)
