"""Predictions back into a corpus's own form: joined by document and mention id. Knows no format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kb_builder.errors import LongbelError
from longbel_cli.corpora.prediction_index import PredictionIndex
from longbel_cli.corpora.records import Problem, Read
from longbel_cli.corpora.writing import Answer, Writer, answers_of, new_folder, warn, warn_of


@dataclass
class ConvertReport:
    """What was written, and how many predictions found no mention."""

    documents: int = 0
    mentions: int = 0
    answered: int = 0
    unjoined: int = 0


def convert(
    predictions: PredictionIndex,
    corpus: Iterable[Read],
    make_writer: Callable[[Path, str], Writer],
    out: Path,
    database: str,
) -> ConvertReport:
    """Write the corpus with the predictions as its codes into the new folder `out`.

    A prediction joins the mention of its document and mention id if the offsets agree; each other
    one is logged. Raises LongbelError, writing nothing, where none joins.
    """
    report = ConvertReport()
    waiting = set(predictions.document_ids)
    with new_folder(out) as folder:
        writer = make_writer(folder, database)
        try:
            for read in corpus:
                waiting.discard(read.document.id)
                answers = _joined(predictions, read, report)
                writer.write(read, answers)
                report.documents += 1
                report.mentions += len(read.document.mentions)
                report.answered += len(answers)
        finally:
            writer.close()
        _count_lost(predictions, waiting, report)
        if predictions.lines and report.unjoined == predictions.lines:
            raise LongbelError(
                f"{predictions.path}: none of its {predictions.lines} predictions belongs to a "
                "mention of this corpus",
                "Give the corpus that was linked, by the same path: ids of BRAT documents are "
                "paths below the corpus.",
            )
    return report


def _joined(
    predictions: PredictionIndex, read: Read, report: ConvertReport
) -> dict[str, tuple[Answer, ...]]:
    mentions = {mention.id: mention for mention in read.document.mentions}
    answers: dict[str, tuple[Answer, ...]] = {}
    for prediction in predictions.of(read.document.id):
        mention = mentions.get(prediction.mention_id)
        if mention is None:
            reason = f"its prediction for {prediction.mention_id} finds no such mention"
        elif sorted(mention.spans) != sorted(prediction.spans):
            reason = f"the prediction for {mention.id} has other offsets than the mention"
        elif mention.id in answers:
            reason = f"a second prediction for {mention.id} is left out"
        else:
            answers[mention.id] = answers_of(prediction)
            continue
        report.unjoined += 1
        warn_of(read, None, reason)
    return {mention_id: found for mention_id, found in answers.items() if found}


def _count_lost(predictions: PredictionIndex, waiting: set[str], report: ConvertReport) -> None:
    for document_id in sorted(waiting):
        count = sum(1 for _ in predictions.of(document_id))
        report.unjoined += count
        reason = f"its {count} predictions find no such document in the corpus"
        warn(Problem(str(predictions.path), None, document_id, None, reason, False))
