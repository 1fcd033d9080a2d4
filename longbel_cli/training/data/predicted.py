"""Predicted memory: the names that a predictions file gives the mentions of training documents.

Knows files of `link`, not who made them: a fold's model, or another linker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.corpora.prediction_index import PredictionIndex
from longbel_cli.explaining.case import candidate_names
from longbel_cli.training.data.corpus import TrainingDocument
from longbel_cli.training.data.examples import Names
from longbel_cli.training.optimise.validation import n_right
from longbel_cli.types import Prediction


def predictions_for(
    path: Path, documents: Sequence[TrainingDocument], hint: str
) -> dict[str, list[Prediction]]:
    """The predictions for each mention, by document id.

    LongbelError, with what to do in `hint`, where a document is missing or its mentions are others.
    """
    file = PredictionIndex(path)
    by_document: dict[str, list[Prediction]] = {}
    for document in (training.document for training in documents):
        predictions = list(file.of(document.id))
        if [line.mention_id for line in predictions] != [m.id for m in document.mentions]:
            wrong = "are not those of its mentions" if predictions else "are missing"
            raise LongbelError(f"{path}: the predictions of document {document.id} {wrong}", hint)
        by_document[document.id] = predictions
    return by_document


def names_of(
    predictions: Mapping[str, Sequence[Prediction]], knowledge_base: KnowledgeBase
) -> dict[str, list[Names]]:
    """The first candidate's names for each mention, by document id."""
    return {
        document_id: [_first(prediction, knowledge_base) for prediction in of_document]
        for document_id, of_document in predictions.items()
    }


def recall_of(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Recall@1 of those with a gold concept, and how many these are."""
    gold, right = n_right(predictions)
    return {"recall@1": round(right / max(gold, 1), 6), "mentions": gold}


def _first(prediction: Prediction, knowledge_base: KnowledgeBase) -> Names:
    """As memory shows it; None where nothing was predicted."""
    answer = prediction.answer
    if answer is None:
        return None
    group, known = prediction.semantic_group, knowledge_base.groups
    # A group that the knowledge base lacks was linked against all of them.
    groups = [group] if group in known else known
    try:
        return candidate_names(
            answer,
            lambda name: any(
                knowledge_base.lookup(name, group_name) is not None for group_name in groups
            ),
        )
    except ValueError as error:
        raise LongbelError(
            f"document {prediction.document_id}, mention {prediction.mention_id}: the predicted "
            "name is none of this knowledge base",
            "Link the corpora with the knowledge base that is trained with.",
        ) from error
