"""Predictions back into a corpus's own form: joined by document and mention id. Knows no format."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from kb_builder.errors import LongbelError
from kb_builder.files import sweep, whole_file
from longbel_cli.corpora.file_writing import OutputOptions
from longbel_cli.corpora.outputs import FileOutput
from longbel_cli.corpora.prediction_index import PredictionIndex
from longbel_cli.corpora.records import Problem, Read
from longbel_cli.corpora.writing import (
    Answers,
    Writer,
    answers_of,
    new_folder,
    warn,
    warn_of,
)
from longbel_cli.types import Mention, Prediction

log = logging.getLogger(__name__)

_LISTED_FILES = 10


@dataclass
class ConvertReport:
    """What was written, how many predictions found no mention, of how many mentions the own codes
    are not written, by file, and how many answers were below the threshold (`nil`)."""

    documents: int = 0
    mentions: int = 0
    answered: int = 0
    unjoined: int = 0
    gold_dropped: Counter[str] = field(default_factory=Counter)
    nil: int = 0

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
    nil_score: float | None = None,
) -> ConvertReport:
    """Write the corpus with the predictions into the new folder `out`.

    A prediction joins the mention of its document and mention id if the offsets agree; each other
    one is logged. Answers below `nil_score` are none. Raises LongbelError, writing nothing, where
    no prediction joins.
    """
    report = ConvertReport()
    with new_folder(out) as folder:
        writer = make_writer(folder, database, replace_gold)
        try:
            for read, joined in _all_joined(predictions, corpus, report, nil_score):
                given = {mention_id: answers_of(each) for mention_id, each in joined.items()}
                answers = {mention_id: each for mention_id, each in given.items() if each}
                writer.write(read, answers)
                report.add(read, answers, writer.keeps_gold(read))
        finally:
            writer.close()
        _log_dropped(report.gold_dropped)
    return report


def convert_to_file(
    predictions: PredictionIndex,
    corpus: Iterable[Read],
    output: FileOutput,
    out: Path,
    options: OutputOptions,
    nil_score: float | None = None,
) -> ConvertReport:
    """As `convert`, into one new file."""
    suffix = output.suffix_of(out)
    report = ConvertReport()
    if out.exists():
        raise LongbelError(f"{out} exists", "Give another --out, or remove it.", exit_code=4)
    sweep(out.parent)
    try:
        with whole_file(out) as draft:
            writer = output.open(draft, suffix, options)
            try:
                for read, joined in _all_joined(predictions, corpus, report, nil_score):
                    writer.write(read, joined)
                    answers = {key: answers_of(each) for key, each in joined.items() if each.answer}
                    report.add(read, answers, keeps_gold=True)
            finally:
                writer.close()
    except OSError as error:
        raise LongbelError(f"{out}: cannot be written ({error.strerror})") from error
    return report


def _all_joined(
    predictions: PredictionIndex,
    corpus: Iterable[Read],
    report: ConvertReport,
    nil_score: float | None,
) -> Iterator[tuple[Read, dict[str, Prediction]]]:
    """The documents with their predictions by mention id; what is left at the end is logged.
    LongbelError where none was joined."""
    waiting = set(predictions.document_ids)
    for read in corpus:
        waiting.discard(read.document.id)
        yield read, _joined(predictions, read, report, nil_score)
    _count_lost(predictions, waiting, report)
    if predictions.lines and report.unjoined == predictions.lines:
        detected = predictions.path.with_name(f"{predictions.path.name}.mentions.jsonl")
        raise LongbelError(
            f"{predictions.path}: none of its {predictions.lines} predictions belongs to a "
            "mention of this corpus",
            f"The mentions were detected in that run: give {detected} as the corpus."
            if detected.exists()
            else "Give the corpus that was linked, by the same path: ids of BRAT documents are "
            "paths below the corpus.",
        )


def _joined(
    predictions: PredictionIndex, read: Read, report: ConvertReport, nil_score: float | None
) -> dict[str, Prediction]:
    mentions = {mention.id: mention for mention in read.document.mentions}
    joined: dict[str, Prediction] = {}
    for prediction in predictions.of(read.document.id):
        mention = mentions.get(prediction.mention_id)
        if mention is None:
            reason = f"its prediction for {prediction.mention_id} finds no such mention"
        elif sorted(mention.spans) != sorted(prediction.spans):
            reason = f"the prediction for {mention.id} has other offsets than the mention"
        elif mention.id in joined:
            reason = f"a second prediction for {mention.id} is left out"
        else:
            joined[mention.id] = _without_unsure(prediction, nil_score, report)
            continue
        report.unjoined += 1
        warn_of(read, None, reason)
    return joined


def _without_unsure(
    prediction: Prediction, nil_score: float | None, report: ConvertReport
) -> Prediction:
    """The prediction without candidates where its answer scores below the threshold."""
    answer = prediction.answer
    if nil_score is None or answer is None or not round(answer.score, 6) < nil_score:
        return prediction  # also where the score is unknown
    report.nil += 1
    return replace(prediction, candidates=())


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
