"""The corpus of a link job: read from the start or a place, with the knowledge base's groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from kb_builder.errors import LongbelError, check_choice
from longbel_cli.corpora import Corpus, OnProblem, Problem, fail, ignore, log_remark
from longbel_cli.corpora.formats import CORPUS_FORMATS, check_format
from longbel_cli.corpora.records import ON_ERROR
from longbel_cli.corpora.resolve import UNKNOWN, TypeResolver, resolve_types
from longbel_cli.linking.checks import at_least_one
from longbel_cli.runs.corpus_source import corpus_source, input_files
from longbel_cli.runs.windows import Source
from longbel_cli.types import Document


@dataclass(frozen=True)
class CorpusOptions:
    """How to read a corpus; what cannot be read is quarantined, or ends the run (`fail`)."""

    paths: tuple[Path, ...]
    format: str = "auto"
    type_map: Mapping[str, str] = field(default_factory=dict)
    on_error: str = "quarantine"
    unknown_group: str = "error"
    limit: int | None = None
    not_corpus: frozenset[Path] = frozenset()  # files that may lie among the corpus's
    text_column: str | None = None  # of tables of texts; None: guessed
    id_column: str | None = None
    texts_alone: bool = False  # mentions that the corpus has are left out: others are detected

    def __post_init__(self) -> None:
        check_format(self.format)
        check_choice("--on-error", self.on_error, ON_ERROR)
        check_choice("--unknown-group", self.unknown_group, UNKNOWN)
        at_least_one("--limit", self.limit)


@dataclass
class Survey:
    """What a first read of the corpus found."""

    documents: int = 0
    mentions: int = 0
    by_group: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class CorpusReader:
    """A corpus whose mentions carry the knowledge base's groups, read from the start or a place."""

    def __init__(
        self,
        options: CorpusOptions,
        groups: Sequence[str],
        on_remark: OnProblem = log_remark,
        corpus_of_document: Callable[[str], str | None] = lambda document: None,
    ) -> None:
        """`corpus_of_document` names the corpus from which the knowledge base knows a document."""
        self.options = options
        self._corpus_of_document = corpus_of_document
        self.surveyed: Survey | None = None
        self._on_remark = on_remark
        self._resolver = TypeResolver(groups, options.type_map)
        self._corpus = Corpus(
            options.paths, options.format, on_remark, not_corpus=options.not_corpus,
            columns=(options.text_column, options.id_column),
        )  # fmt: skip

    def survey(self, check: Callable[[], None] = ignore) -> Survey:
        """Read everything once; LongbelError lists every type without a group, with its count.
        `check` is called at each document and may raise."""
        survey = Survey()
        types: dict[str, int] = {}
        on_problem = fail if self.options.on_error == "fail" else survey.problems.append
        for _, document in self._corpus.read(on_problem, on_remark=self._on_remark):
            check()
            self._refuse_known(document.id)
            survey.documents += 1
            survey.mentions += len(document.mentions)
            for mention in () if self.options.texts_alone else document.mentions:
                types[mention.entity_type] = types.get(mention.entity_type, 0) + 1
            if survey.documents == self.options.limit:
                break
        if not self.options.texts_alone and self._is_text_alone:
            raise LongbelError(
                f"{', '.join(map(str, self.options.paths))}: no document has a mention to link",
                "Give --detector dictionary, which finds mentions in texts as `longbel detect` "
                "does, or a corpus that has mentions.",
            )
        if self.options.unknown_group == "error":
            self._resolver.require(types)
        for name, count in types.items():
            group = self._resolver.group(name) or name
            survey.by_group[group] = survey.by_group.get(group, 0) + count
        self.surveyed = survey
        return survey

    @property
    def _is_text_alone(self) -> bool:
        """Whether no file of the corpus is of a format that can hold mentions."""
        return not any(CORPUS_FORMATS[file.format].annotated for file in self._corpus.files)

    def _refuse_known(self, document: str) -> None:
        """Answers for documents whose gold the knowledge base holds would say nothing."""
        corpus = self._corpus_of_document(document)
        if corpus is not None:
            raise LongbelError(
                f"document {document}: names of the knowledge base came from it (--names-from "
                f"{corpus})",
                hint="Link other documents, or leave that corpus out (of the KB, or here).",
                exit_code=2,
            )

    def documents(self) -> Iterator[Document]:
        """All documents that can be read, mentions resolved; what is left out is not reported."""
        for _, document in islice(self._corpus.read(ignore), self.options.limit):
            yield self._resolved(document, ignore)

    @property
    def files(self) -> list[Path]:
        """Every file of the corpus."""
        return input_files(self._corpus)

    def source(self) -> Source:
        """As a run reads it."""
        also = fail if self.options.on_error == "fail" else ignore
        return corpus_source(self._corpus, self._resolved, also)

    def _resolved(self, document: Document, on_problem: OnProblem) -> Document:
        if self.options.texts_alone:
            return replace(document, mentions=())
        return next(
            resolve_types([document], self._resolver, self.options.unknown_group, on_problem)
        )
