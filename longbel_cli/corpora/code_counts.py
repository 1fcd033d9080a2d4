"""Which concept codes a corpus or a predictions file uses, and how often."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from kb_builder.codes import NO_CODE, parts_of
from longbel_cli.corpora import Corpus, stored
from longbel_cli.corpora.prediction_tables import COLUMNS
from longbel_cli.corpora.predictions import read_predictions
from longbel_cli.corpora.records import Problem

log = logging.getLogger(__name__)


def counted_codes(path: Path) -> dict[str, dict[str, int]]:
    """Mentions by code, as `gold` and as `predicted` (the answer); of composites every part."""
    gold: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    if _is_predictions(path):
        for prediction in read_predictions(path).predictions:
            answer = prediction.answer
            gold.update(_parts(prediction.gold_concept_code))
            predicted.update(_parts(None if answer is None else answer.concept_code))
    else:
        problems: list[Problem] = []
        for _, document in Corpus([path]).read(problems.append):
            for mention in document.mentions:
                gold.update(_parts(mention.gold_code))
        if problems:
            message = "%d parts of the corpus could not be read, the first: %s"
            log.warning(message, len(problems), problems[0].message)
    codes = sorted({*gold, *predicted})
    return {code: {"gold": gold[code], "predicted": predicted[code]} for code in codes}


def _is_predictions(path: Path) -> bool:
    """By its first line: an object with an answer's code, or a header with such a column."""
    if not path.is_file():
        return False
    line = stored.head(str(path)).lstrip().split(b"\n", 1)[0].decode("utf-8", "replace")
    if line.startswith("{"):
        return '"pred_concept_code"' in line
    return bool({*COLUMNS["predicted"]} & {*line.strip().split("\t")})


def _parts(code: str | None) -> set[str]:
    return {part for part in parts_of(code or "") if part and part != NO_CODE}
