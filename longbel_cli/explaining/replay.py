"""Linked mentions put together again as they were shown to the model.

From a document, its predictions and a linker: the memory as it was predicted, the names that
candidates consist of, the shortening that a model's context asks for. Loads no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from kb_builder.codes import parts_of
from kb_builder.errors import LongbelError
from longbel_cli.explaining.aggregation import document_sentences, plain_sentences
from longbel_cli.explaining.case import Case, candidate_names, fitting, linked_document, memories
from longbel_cli.linking.engine import max_prompt_tokens
from longbel_cli.prompting.formats import DocumentPrompts, SentenceSplitter
from longbel_cli.prompting.sentences import PUNKT_MODELS, splitter
from longbel_cli.types import Candidate, Document, Prediction

if TYPE_CHECKING:
    from longbel_cli.explaining.explainer import ExplainOptions
    from longbel_cli.explaining.explanation import Explanation
    from longbel_cli.linking.linker import Linker


class Reconstruction:
    """Rebuilds the cases of documents that `linker` (or one of the same settings) linked."""

    def __init__(self, linker: Linker) -> None:
        self._linker = linker
        self._limit = max_prompt_tokens(linker.context_tokens)
        language = linker.options.language or linker.checkpoint.language
        self._split: SentenceSplitter = (
            splitter(language) if language in PUNKT_MODELS else plain_sentences
        )

    def cases(
        self,
        document: Document,
        predictions: Sequence[Prediction],
        wanted: Callable[[Prediction], bool] = lambda prediction: True,
    ) -> Iterator[Case]:
        """The cases of a document's wanted predictions, in document order.

        `predictions` are all of the document: each is memory for those after it. Mentions without
        candidates are left out. Raises LongbelError where document and predictions disagree.
        """
        by_mention = {prediction.mention_id: prediction for prediction in predictions}
        linked = linked_document(document, by_mention)
        missing = by_mention.keys() - {mention.id for mention in linked.mentions}
        if missing:
            raise LongbelError(
                f"{document.source}: document {document.id} has no mention {min(missing)}, which "
                "the predictions have",
                "Give the corpus that was linked with --corpus.",
            )
        prompts = DocumentPrompts(linked, self._linker.form, self._linker.split)
        memory_of = memories(prompts, by_mention, self._names)
        sentences = document_sentences(linked, self._split)
        for mention in linked.mentions:
            prediction = by_mention[mention.id]
            if not prediction.candidates or not wanted(prediction):
                continue
            memory, window = fitting(
                prompts, mention, memory_of[mention.id], self._linker.checkpoint.encode, self._limit
            )
            names = tuple(self._names(candidate, prediction) for candidate in prediction.candidates)
            gold_name = self._gold_name(prediction)
            yield Case(prompts, mention, memory, prediction, names, window, sentences, gold_name)

    def _gold_name(self, prediction: Prediction) -> str | None:
        """The names of the gold's concepts, None where one is not in the knowledge base."""
        gold = prediction.gold_concept_code
        names = [] if gold is None else list(map(self._name_of_code, parts_of(gold)))
        return None if None in names or not names else " + ".join(filter(None, names))

    def _name_of_code(self, code: str) -> str | None:
        """The preferred name of a concept, else its first one; None where it has none."""
        base = self._linker.knowledge_base
        concept, rows = base.concept(code), base.names_of_concept(code)
        preferred = None if concept is None else concept["preferred_name"]
        return preferred or (base.name(rows[0]) if len(rows) else None)

    def _names(self, candidate: Candidate, prediction: Prediction) -> tuple[str, ...]:
        base, group = self._linker.knowledge_base, prediction.semantic_group
        # A group that the KB lacks was linked against all of them (--unknown-group all).
        groups = [group] if group in base.groups else base.groups
        try:
            return candidate_names(
                candidate,
                lambda name: any(
                    base.lookup(name, group_name) is not None for group_name in groups
                ),
            )
        except ValueError:
            raise LongbelError(
                f"document {prediction.document_id}: mention {prediction.mention_id}: the name of "
                f"candidate {candidate.rank} is not in the knowledge base",
                "Give the knowledge base that was linked with --kb; link again where the answer is "
                "of several concepts and the predictions do not say which.",
                exit_code=4,
            ) from None


def saliency_maps(
    linker: Linker, options: ExplainOptions | None = None
) -> Callable[[Sequence[Document], Sequence[Prediction]], Iterator[Explanation]]:
    """A function from documents and their predictions to explanations, in the same order.

    Mentions without candidates have none. Loads the linker's model.
    """
    from longbel_cli.explaining.explainer import Explainer

    reconstruction = Reconstruction(linker)
    explainer = Explainer(linker.checkpoint, linker.model, options)

    def explain(
        documents: Sequence[Document], predictions: Sequence[Prediction]
    ) -> Iterator[Explanation]:
        by_document: dict[str, list[Prediction]] = {}
        for prediction in predictions:
            by_document.setdefault(prediction.document_id, []).append(prediction)
        for document in documents:
            cases = reconstruction.cases(document, by_document.get(document.id, []))
            yield from map(explainer.explain, cases)

    return explain


def page_writer(
    linker: Linker, folder: Path, options: ExplainOptions | None = None
) -> Callable[[Sequence[Document], Sequence[Prediction]], None]:
    """A function that writes one page a document for a window of documents and predictions.

    Documents without an explained mention get no page.
    """
    from longbel_cli.explaining.html import html_page, page_name
    from longbel_cli.pages import write_page

    folder.mkdir(parents=True, exist_ok=True)
    explain = saliency_maps(linker, options)

    def write(documents: Sequence[Document], predictions: Sequence[Prediction]) -> None:
        for _, of_document in groupby(
            explain(documents, predictions), key=lambda explanation: id(explanation.document)
        ):
            explanations = list(of_document)
            name = page_name(explanations[0].document.id)
            write_page(html_page(explanations), folder / name)

    return write
