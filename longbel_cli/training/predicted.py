"""Predicted memory: the names that a predictions file gives the mentions of training documents.

Knows files of `link`, not who made them: a fold's model, or another linker.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.store import KnowledgeBase
from longbel_cli.cases import candidate_names
from longbel_cli.corpora.predictions import PredictionIndex
from longbel_cli.training.corpus import TrainingDocument
from longbel_cli.training.examples import Names
from longbel_cli.training.validation import n_right
from longbel_cli.types import Prediction


def names_in_file(
    path: Path, documents: Sequence[TrainingDocument], knowledge_base: KnowledgeBase
) -> dict[str, list[Names]]:
    """The first candidate's names for each mention, by document id.

    LongbelError where a document is missing, or its mentions are others.
    """
    file = PredictionIndex(path)
    named: dict[str, list[Names]] = {}
    for one in documents:
        document = one.document
        predictions = list(file.of(document.id))
        if [line.mention_id for line in predictions] != [m.id for m in document.mentions]:
            wrong = "are not those of its mentions" if predictions else "are missing"
            raise LongbelError(
                f"{path}: the predictions of document {document.id} {wrong}",
                "It must hold what `longbel link` wrote for the same corpora, as they are now, "
                "with the same --format and --unknown-group.",
            )
        named[document.id] = [_first(line, knowledge_base) for line in predictions]
    return named


def recall_of_files(
    paths: Sequence[Path], documents: Sequence[TrainingDocument] | None = None
) -> dict[str, Any]:
    """Recall@1 over all files: of all their mentions, or of those of `documents` with a target."""
    targeted = None if documents is None else {one.document.id: one for one in documents}
    total = right = 0
    for path in paths:
        file = PredictionIndex(path)
        for document_id in file.document_ids:
            predictions = list(file.of(document_id))
            if targeted is not None:
                one = targeted.get(document_id)
                predictions = [] if one is None else [predictions[at] for at in one.trainable]
            gold, found = n_right(predictions)
            total, right = total + gold, right + found
    return {"recall@1": round(right / max(total, 1), 6), "mentions": total}


def _first(prediction: Prediction, knowledge_base: KnowledgeBase) -> Names:
    """As memory shows it; None where nothing was predicted."""
    if not prediction.candidates:
        return None
    group, known = prediction.semantic_group, knowledge_base.groups
    # A group that the knowledge base lacks was linked against all of them.
    groups = [group] if group in known else known
    return candidate_names(
        prediction.candidates[0].concept_name,
        prediction.candidates[0].concept_code,
        lambda name: any(knowledge_base.lookup(name, one) is not None for one in groups),
    )
