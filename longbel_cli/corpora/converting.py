"""Predictions back into a corpus's own form: joined by document and mention id. Knows no format."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kb_builder.errors import LongbelError
from longbel_cli.corpora.prediction_index import PredictionIndex
from longbel_cli.corpora.records import Problem, Read
from longbel_cli.corpora.writing import (
    Answer,
    Answers,
    Writer,
    answers_of,
    new_folder,
    warn,
    warn_of,
)
from longbel_cli.types import Mention

log = logging.getLogger(__name__)

_LISTED_FILES = 10


@dataclass
class ConvertReport:
    """What was written, how many predictions found no mention, and of how many mentions the own
    codes are not written, by file."""

    documents: int = 0
    mentions: int = 0
    answered: int = 0
    unjoined: int = 0
    gold_dropped: Counter[str] = field(default_factory=Counter)

    def add(self, read: Read, answers: Answers, keeps_gold: bool) -> None:
        """Count one document."""
        self.documents += 1
        self.mentions += len(read.document.mentions)
        self.answered += len(answers)
        if not keeps_gold:
            dropped = sum(_lost(mention, answers) for mention in read.document.mentions)
            self.gold_dropped.update({read.file.path: dropped} if dropped else {})


def _lost(mention: Mention, answers: Answers) -> bool:
    """Whether a mention has a code of its own that is none of its answers."""
    return not {*(mention.gold or ())} <= {code for code, _ in answers.get(mention.id, ())}


def convert(
    predictions: PredictionIndex,
    corpus: Iterable[Read],
    make_writer: type[Writer],
    out: Path,
    database: str,
    replace_gold: bool = False,
) -> ConvertReport:
    """Write the corpus with the predictions into the new folder `out`.

    A prediction joins the mention of its document and mention id if the offsets agree; each other
    one is logged. Raises LongbelError, writing nothing, where none joins.
    """
    report = ConvertReport()
    waiting = set(predictions.document_ids)
    with new_folder(out) as folder:
        writer = make_writer(folder, database, replace_gold)
        try:
            for read in corpus:
                waiting.discard(read.document.id)
                answers = _joined(predictions, read, report)
                writer.write(read, answers)
                report.add(read, answers, writer.keeps_gold(read))
        finally:
            writer.close()
        _count_lost(predictions, waiting, report)
        _log_dropped(report.gold_dropped)
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


def _log_dropped(dropped: Counter[str]) -> None:
    for path, count in dropped.most_common(_LISTED_FILES):
        reason = f"the corpus's own codes of {count} mentions are not written"
        warn(Problem.of_file(path, reason))
    if len(dropped) > _LISTED_FILES:
        log.warning(
            "warning: and so in %d more files; the own codes of %d mentions are not written",
            len(dropped) - _LISTED_FILES, dropped.total(),
        )  # fmt: skip


def _count_lost(predictions: PredictionIndex, waiting: set[str], report: ConvertReport) -> None:
    for document_id in sorted(waiting):
        count = sum(1 for _ in predictions.of(document_id))
        report.unjoined += count
        reason = f"its {count} predictions find no such document in the corpus"
        warn(Problem(str(predictions.path), None, document_id, None, reason, False))
