"""Which mentions of a predictions file are explained, and with what they were linked.

Reads run.json, chooses mentions and walks the corpus; the model is loaded when the first mention
is reached. Prints nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kb_builder.codes import is_no_code
from kb_builder.errors import LongbelError
from longbel_cli.corpora import Corpus, ignore
from longbel_cli.linking.linker import Linker
from longbel_cli.linking.options import MODEL_LINKER, LinkOptions
from longbel_cli.runs.facts import read_fusion_record
from longbel_cli.runs.files import read_json
from longbel_cli.runs.inputs import Inputs
from longbel_cli.runs.layout import Layout
from longbel_cli.sample_paths import model_path
from longbel_cli.types import Document, Prediction


@dataclass(frozen=True)
class Choice:
    """Mentions and documents to explain (both empty: all), narrowed down.

    `below` keeps top candidates scored under it, `wrong` those that are not the gold, `top` the
    that many with the lowest scores.
    """

    mentions: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    below: float | None = None
    wrong: bool = False
    top: int | None = None

    def __post_init__(self) -> None:
        if not (self.mentions or self.documents or self.wrong) and (
            self.below is None and self.top is None
        ):
            raise LongbelError(
                "no mention is chosen",
                "Give --mention DOC:ID, --document DOC, --below SCORE, --wrong or --top N.",
                exit_code=2,
            )
        for mention in self.mentions:
            if ":" not in mention:
                raise LongbelError(
                    f"--mention {mention}: not of the form DOC:ID",
                    "Write the document's id, a colon, and the mention's id.",
                    exit_code=2,
                )
        if self.below is not None and not math.isfinite(self.below):
            raise LongbelError(f"--below {self.below}: must be a finite number", exit_code=2)
        if self.top is not None and self.top < 1:
            raise LongbelError(f"--top {self.top}: not a number of mentions", exit_code=2)

    def of(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """The chosen predictions that have candidates, in the file's order."""
        chosen = [
            prediction
            for prediction in self._named(predictions)
            if prediction.candidates and self._kept(prediction)
        ]
        if self.top is not None:
            weakest = sorted(chosen, key=_score)
            kept = {_key(prediction) for prediction in weakest[: self.top]}
            chosen = [prediction for prediction in chosen if _key(prediction) in kept]
        if not chosen:
            raise LongbelError(
                "no mention with candidates meets what was chosen", "Choose less narrowly."
            )
        return chosen

    def _named(self, predictions: Sequence[Prediction]) -> Sequence[Prediction]:
        if not (self.mentions or self.documents):
            return predictions
        # Document and mention ids may both hold colons, so the pair is never taken apart.
        names, ids = set(self.mentions), set(self.documents)
        unknown = [
            *sorted(names - {":".join(_key(prediction)) for prediction in predictions}),
            *sorted(ids - {prediction.document_id for prediction in predictions}),
        ]
        if unknown:
            raise LongbelError(
                f"not in the predictions: {', '.join(unknown)}",
                "Ids are those of the keys document_id and mention_id.",
            )
        return [
            prediction
            for prediction in predictions
            if ":".join(_key(prediction)) in names or prediction.document_id in ids
        ]

    def _kept(self, prediction: Prediction) -> bool:
        answer, gold = prediction.answer, prediction.gold_concept_code
        if self.below is not None and not _score(prediction) < self.below:
            return False
        if self.wrong:
            code = answer.concept_code if answer is not None else None
            return gold is not None and not is_no_code(gold) and gold != code
        return True


def _key(prediction: Prediction) -> tuple[str, ...]:
    return prediction.document_id, prediction.mention_id


def _score(prediction: Prediction) -> float:
    """The answer's; no answer is weaker than any."""
    return prediction.answer.score if prediction.answer is not None else -math.inf


@dataclass(frozen=True)
class Sources:
    """What predictions were linked with, as told; None and empty: as run.json says."""

    corpus: tuple[Path, ...] = ()
    format: str | None = None
    model: str | None = None
    kb: Path | None = None
    context_format: str | None = None
    language: str | None = None
    device: str = "auto"
    dtype: str = "auto"


@dataclass
class LinkedRun:
    """The linker, the corpus and the settings that a predictions file came from."""

    linker: Linker
    corpus: Corpus
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, predictions: Path, sources: Sources) -> LinkedRun:
        """As run.json beside the predictions says, or as told where it does not.

        Raises LongbelError, exit code 4, where model, knowledge base or corpus are not those
        that run.json has on record.
        """
        _refuse_fused(predictions)
        layout = Layout(predictions)
        record = read_json(layout.configuration) or {}
        settings, free = record.get("configuration", {}), record.get("free", {})
        if settings.get("linker", MODEL_LINKER) != MODEL_LINKER:
            raise LongbelError(
                f"{predictions}: linked by the baseline {settings['linker']}",
                "Only what --linker longbel wrote can be explained.",
                exit_code=2,
            )
        options = LinkOptions(
            context_format=sources.context_format or settings.get("context_format"),
            language=sources.language or settings.get("language"),
            device=sources.device,
            dtype=sources.dtype,
            context_tokens=settings.get("context_tokens"),
        )
        model = sources.model or free.get("model_path")
        paths = sources.corpus or tuple(map(Path, free.get("corpus", ())))
        if model is None or not paths:
            raise LongbelError(
                f"{layout.configuration}: missing, so model and corpus of the run are unknown",
                "Give --corpus, --model and --kb.",
                exit_code=2,
            )
        kb = sources.kb or free.get("kb_path")
        linker = Linker.open(model_path(model), None if kb is None else Path(kb), options)
        columns = settings.get("text_column"), settings.get("id_column")
        corpus = Corpus(paths, sources.format or settings.get("format", "auto"), columns=columns)
        run = cls(linker, corpus, settings)
        run._refuse_others(layout)
        return run

    def _refuse_others(self, layout: Layout) -> None:
        asked = {
            "model": self.linker.checkpoint.fingerprint,
            "tokenizer": self.linker.checkpoint.tokenizer_fingerprint,
            "kb": self.linker.knowledge_base.signature,
            "context_format": self.linker.form.name,
        }
        for name, value in asked.items():
            known = self.settings.get(name, value)
            if name == "model" and "tokenizer" not in self.settings:
                continue  # linked by a version that knew models by something else
            if known != value:
                raise LongbelError(
                    f"{name}: {known} when {layout.out.name} was linked, {value} now",
                    f"{layout.configuration} says what it was linked with.",
                    exit_code=4,
                )
        if self.settings and layout.inputs.exists():
            from longbel_cli.runs.corpus_source import input_files

            changes = Inputs.load(layout.inputs).changes(input_files(self.corpus))
            if changes:
                raise LongbelError(
                    "the corpus is not what was linked:",
                    "Give the corpus as it was with --corpus.",
                    exit_code=4,
                    details=changes,
                )

    def documents(self, ids: set[str]) -> Iterator[Document]:
        """The documents of those ids, in the corpus's order; raises LongbelError if one lacks."""
        lacking = set(ids)
        for _, document in self.corpus.read(ignore):
            if document.id in lacking:
                lacking.remove(document.id)
                yield document
                if not lacking:
                    return
        raise LongbelError(
            f"the corpus has no document {min(lacking)}",
            "Give the corpus that was linked with --corpus.",
        )


def _refuse_fused(predictions: Path) -> None:
    """A fused candidate was no model's answer to one prompt."""
    record = read_fusion_record(predictions)
    if record is not None:
        names = ", ".join(system["name"] for system in record["fusion"]["systems"])
        raise LongbelError(
            f"{predictions}: fused from {names}; there is no single model to explain",
            "Explain the predictions of one of these.",
            exit_code=2,
        )


def explanations(
    run: LinkedRun,
    predictions: Sequence[Prediction],
    chosen: Sequence[Prediction],
    explain: Callable[[Any], Any],
) -> Iterator[Any]:
    """`explain(case)` for each chosen prediction, documents in the corpus's order."""
    from longbel_cli.explaining.replay import Reconstruction

    keys = {_key(prediction) for prediction in chosen}
    ids = {prediction.document_id for prediction in chosen}
    by_document: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        if prediction.document_id in ids:
            by_document.setdefault(prediction.document_id, []).append(prediction)
    reconstruction = Reconstruction(run.linker)
    for document in run.documents(ids):
        cases = reconstruction.cases(
            document, by_document[document.id], lambda prediction: _key(prediction) in keys
        )
        yield from map(explain, cases)
