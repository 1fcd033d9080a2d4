"""From a source to a knowledge base: read, disambiguate, write, add tries, publish.

The result appears under its final name whole or not at all. Nothing here prints; what was done
comes back as a report.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from kb_builder.errors import LongbelError, check_choice
from kb_builder.files import new_sha256, refuse_inputs
from kb_builder.rules import AMBIGUOUS
from kb_builder.rules.annotated import Annotated, annotated_names
from kb_builder.rules.columns import distinct, pairs, used
from kb_builder.rules.disambiguate import disambiguate
from kb_builder.rules.pairs import Names
from kb_builder.sources import read_terms
from kb_builder.sources.choices import CODES, GROUPINGS, SUPPRESSIBLE
from kb_builder.sources.progress import Progress, ignore
from kb_builder.sources.reading import Reading
from kb_builder.sources.selection import BadRows, Quarantined, selection_of
from kb_builder.store.draft import Draft
from kb_builder.store.knowledge_base import FORMAT_VERSION, KnowledgeBase
from kb_builder.store.source_tables import count_beside
from kb_builder.store.writing import write
from kb_builder.terms import CorpusNames, Terms

if TYPE_CHECKING:
    from kb_builder.trie.tokenization import AnswerTokenizer

_LISTED_NAMELESS = 1_000
LICENCE = (
    "Licence: names and codes belong to the source's owners and keep its terms; a knowledge base "
    "made from UMLS or SNOMED CT may be shared only with holders of their licences."
)


# Options with a few values.
CHOICES: dict[str, Mapping[str, str]] = {
    "suppressible": SUPPRESSIBLE,
    "ambiguous": AMBIGUOUS,
    "group_by": GROUPINGS,
    "code": CODES,
}
_OF_ALL_SOURCES = (
    "preset", "languages", "vocabularies", "semantic_groups", "semantic_types", "suppressible",
    "ambiguous",
)  # fmt: skip
_OF_SOME_SOURCES = (
    "group", "group_by", "columns", "code", "domains", "standard_only", "synonyms",
)  # fmt: skip


@dataclass(frozen=True)
class BuildOptions:
    """What to build, from what, and where to put it."""

    source: Path | tuple[Path, ...]  # several are of one kind
    out: Path
    tokenizers: tuple[Path, ...] = ()
    preset: str | None = None
    languages: tuple[str, ...] | None = None
    vocabularies: tuple[str, ...] | None = None
    semantic_groups: tuple[str, ...] | None = None
    semantic_types: tuple[str, ...] | None = None
    suppressible: str = "drop"
    ambiguous: str = "drop"
    group: str | None = None
    group_by: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    domains: tuple[str, ...] | None = None
    standard_only: bool = False
    synonyms: tuple[str, ...] | None = None
    names_from: tuple[CorpusNames, ...] = ()
    names_min_documents: int = 1
    max_bad_rows: int | None = None
    overwrite: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        refuse_inputs([("--out", self.out)], (*self.sources, *self.tokenizers))
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value is not None:
                check_choice(f"--{name.replace('_', '-')}", value, allowed)

        if self.names_min_documents < 1 or (self.names_min_documents > 1 and not self.names_from):
            raise LongbelError(
                "--names-min-documents is 1 or more, and needs --names-from", exit_code=2
            )

    @property
    def sources(self) -> tuple[Path, ...]:
        """Where the terms come from."""
        return self.source if isinstance(self.source, tuple) else (self.source,)

    @property
    def source_name(self) -> str:
        """What the sources are called, without their folders."""
        return ", ".join(path.name for path in self.sources)

    def deciding(self) -> dict[str, Any]:
        """The options that decide the names, as kb.json records them.

        Those of one kind of source alone are left out where they were not chosen: older
        knowledge bases, and their signatures, do not know them.
        """
        chosen = {name: getattr(self, name) for name in _OF_SOME_SOURCES if getattr(self, name)}
        if "columns" in chosen:
            chosen["columns"] = dict(sorted(self.columns.items()))
        if self.names_from:
            chosen["names_from"] = {corpus.name: corpus.sha256 for corpus in self.names_from}
            chosen["names_min_documents"] = self.names_min_documents
        return {name: getattr(self, name) for name in _OF_ALL_SOURCES} | chosen


@dataclass
class Stage:
    """How long a step took and how many rows it went through."""

    name: str
    seconds: float
    rows: int


@dataclass
class BuildReport:
    """What was built, for the summary."""

    path: Path
    info: dict[str, Any]
    stages: list[Stage] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    n_unreadable: int = 0
    n_untyped: int = 0
    nameless: list[str] = field(default_factory=list)
    tries: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    dry_run: bool = False


def build_kb(options: BuildOptions, progress: Progress = ignore) -> BuildReport:
    """Build the knowledge base that `options` describe and report on it."""
    started = time.perf_counter()
    stages: list[Stage] = []
    bad = BadRows(options.max_bad_rows)
    selection = selection_of(
        options.languages, options.vocabularies, options.semantic_groups,
        options.semantic_types, options.preset, options.suppressible == "keep", options.group,
        options.domains, options.synonyms, group_by=options.group_by, columns=options.columns,
        code=options.code, standard_only=options.standard_only,
    )  # fmt: skip
    draft = None if options.dry_run else Draft(options.out, options.overwrite)
    tokenizers = _load_tokenizers(options)
    with _staged(stages, "read") as stage:
        terms = read_terms(Reading(options.sources, selection, bad, progress))
        stage.rows = terms.counts.get("atoms", len(terms.concept))
    with _staged(stages, "disambiguate") as stage:
        progress("disambiguate", 0, None)
        stage.rows = len(terms.concept)
        annotated = _annotated(terms, options)
        names = disambiguate(terms, options.ambiguous, annotated)
        terms = _without_names(terms)
        pa.default_memory_pool().release_unused()
    if names.kept.n == 0:
        raise LongbelError(
            f"{options.source_name}: no name is left with these options",
            hint="Choose other languages, vocabularies or groups.",
        )
    info = _info(options, terms, names, bad)
    if annotated is not None:
        info["corpora"] = _about_corpora(options, annotated)
    report = BuildReport(
        path=options.out, info=info, stages=stages, quarantined=bad.listed,
        n_unreadable=sum(bad.unreadable.values()), n_untyped=bad.untyped,
        nameless=terms.codes.take(pa.array(names.nameless()[:_LISTED_NAMELESS])).to_pylist(),
        dry_run=options.dry_run,
    )  # fmt: skip
    if draft is None:
        info["tables"] = count_beside(terms, names, annotated)
    else:
        with draft.open() as folder:
            with _staged(stages, "write") as stage:
                progress("write", 0, None)
                stage.rows = names.kept.n
                write(folder, terms, names, info, annotated)
                _write_quarantine(folder, bad)
            del names, terms
            pa.default_memory_pool().release_unused()
            for path, answers in tokenizers:
                with _staged(stages, "trie") as stage:
                    progress("trie", 0, None)
                    report.tries.append(_add_trie(folder, path, answers))
                    stage.rows = info["counts"]["names"]
    report.seconds = time.perf_counter() - started
    report.peak_memory_bytes = _peak_memory()
    return report


def _annotated(terms: Terms, options: BuildOptions) -> Annotated | None:
    """The names of corpora; a corpus without any that the source has a concept for is a slip."""
    if not options.names_from:
        return None
    annotated = annotated_names(terms, options.names_from, options.names_min_documents)
    for name, documents in zip(annotated.corpora, annotated.documents, strict=True):
        if not documents:
            raise LongbelError(
                f"--names-from {name}: no mention of it is annotated with a concept of "
                f"{options.source_name} (in {options.names_min_documents} documents or more)",
                hint="Are its codes those of another terminology?",
            )
    return annotated


def _about_corpora(options: BuildOptions, annotated: Annotated) -> list[dict[str, Any]]:
    """What is kept of each corpus whose words the knowledge base holds."""
    return [
        {"name": corpus.name, "documents": len(documents), "mentions": len(corpus.rows),
         "sha256": corpus.sha256}
        for corpus, documents in zip(options.names_from, annotated.documents, strict=True)
    ]  # fmt: skip


@contextmanager
def _staged(stages: list[Stage], name: str) -> Iterator[Stage]:
    stage, started = Stage(name, 0.0, 0), time.perf_counter()
    yield stage
    stage.seconds = time.perf_counter() - started
    stages.append(stage)


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _load_tokenizers(options: BuildOptions) -> list[tuple[Path, AnswerTokenizer]]:
    """Before the work starts, so that a wrong path is not found out after it."""
    if not options.tokenizers:
        return []
    from kb_builder.trie.tokenization import AnswerTokenizer, load_tokenizer

    return [(path, AnswerTokenizer(load_tokenizer(path))) for path in options.tokenizers]


def _add_trie(folder: Path, path: Path, answers: AnswerTokenizer) -> dict[str, Any]:
    trie = KnowledgeBase.open(folder).add_trie(answers)
    return {
        "tokenizer": path.name,
        "hash": answers.hash,
        "leaves": trie.n_leaves,
        "inner_nodes": trie.n_inner,
        "tail_tokens": len(trie.tail_token),
        "bytes": trie.nbytes,
        "too_long": trie.too_long,
        "indistinct": trie.indistinct,
    }


def _without_names(terms: Terms) -> Terms:
    """The terms less the columns that the names have replaced, for their memory."""
    empty = np.zeros(0, dtype=np.int32)
    terms.name = terms.language = empty
    if terms.source_codes is None:
        terms.concept = empty
    terms.group = None
    terms.strings = pa.chunked_array([], pa.large_string())
    return terms


def _info(options: BuildOptions, terms: Terms, names: Names, bad: BadRows) -> dict[str, Any]:
    kept = names.kept
    n_groups = len(terms.groups)
    held = [index for index in range(n_groups) if (kept.group == index).any()]
    group_of_pair = distinct(pairs(kept.group, kept.concept)) >> 32
    groups = [
        {
            "name": terms.groups[index],
            "names": int(np.count_nonzero(kept.group == index)),
            "concepts": int(np.count_nonzero(group_of_pair == index)),
            "languages": _by_language(kept.language[kept.group == index], terms.languages),
        }
        for index in held
    ]
    concepts = used(kept.concept, len(terms.codes))
    return {
        "format_version": FORMAT_VERSION,
        "source": {
            "name": options.source_name,
            "release": terms.release,
            "files": terms.files,
        },
        "options": options.deciding(),
        "signature": _signature(options, terms, names),
        "licence": LICENCE,
        "counts": {
            "names": kept.n,
            "concepts": len(concepts),
            "concepts_without_a_name": len(names.nameless()),
            "unreadable_rows": sum(bad.unreadable.values()),
            "concepts_without_a_type": bad.untyped,
            **terms.counts,
            **names.counts,
        },
        "groups": groups,
        "languages": _by_language(kept.language, terms.languages),
        "atoms_by_language": terms.atoms_by_language,
    }


def _by_language(language: np.ndarray, languages: tuple[str, ...]) -> dict[str, int]:
    counts = np.bincount(language[language >= 0], minlength=len(languages)).tolist()
    return {name: count for name, count in zip(languages, counts, strict=True) if count}


def _signature(options: BuildOptions, terms: Terms, names: Names) -> str:
    """16 hex digits over the names table and the options that decided it."""
    digest = new_sha256(json.dumps(options.deciding(), sort_keys=True).encode())
    digest.update(json.dumps([FORMAT_VERSION, terms.groups, terms.languages]).encode())
    for strings in (names.strings, terms.codes):
        _, offsets, data = strings.buffers()
        digest.update(np.diff(np.frombuffer(offsets, np.int64)[: len(strings) + 1]).tobytes())
        if data is not None:
            digest.update(memoryview(data))
    for column in (*names.kept, names.preferred):
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()[:16]


def _write_quarantine(folder: Path, bad: BadRows) -> None:
    if not bad.total:
        return
    lines = [json.dumps(row._asdict(), ensure_ascii=False) for row in bad.listed]
    text = "".join(f"{line}\n" for line in lines)
    (folder / "quarantine.jsonl").write_text(text, encoding="utf-8")
