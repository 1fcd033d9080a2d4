"""From a source to a knowledge base: read, disambiguate, write, add tries, publish.

The result appears under its final name whole or not at all. Nothing here prints; what was done
comes back as a report.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from kb_builder.errors import LongbelError
from kb_builder.files import Draft
from kb_builder.progress import Progress, silent
from kb_builder.rules.columns import distinct, pairs, used
from kb_builder.rules.disambiguate import disambiguate
from kb_builder.rules.pairs import RULES, Names
from kb_builder.sources import read_terms
from kb_builder.sources.selection import BadRows, Quarantined, selection_of
from kb_builder.store.knowledge_base import FORMAT_VERSION, KnowledgeBase
from kb_builder.store.tables import write_tables
from kb_builder.terms import Terms, tui_text

if TYPE_CHECKING:
    from kb_builder.trie.tokenization import AnswerTokenizer

_LISTED_NAMELESS = 1_000
LICENCE = (
    "Licence: names and codes belong to the source's owners and keep its terms; a knowledge base "
    "made from UMLS or SNOMED CT may be shared only with holders of their licences."
)


@dataclass(frozen=True)
class BuildOptions:
    """What to build, from what, and where to put it."""

    source: Path
    out: Path
    tokenizers: tuple[Path, ...] = ()
    preset: str | None = None
    languages: tuple[str, ...] | None = None
    vocabularies: tuple[str, ...] | None = None
    semantic_groups: tuple[str, ...] | None = None
    semantic_types: tuple[str, ...] | None = None
    suppressible: str = "drop"
    ambiguous: str = "drop"
    max_bad_rows: int | None = None
    overwrite: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        choices = {"suppressible": ("drop", "keep"), "ambiguous": ("drop", "qualify")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise LongbelError(
                    f"--{name} is {' or '.join(allowed)}, not {getattr(self, name)!r}", exit_code=2
                )

    def deciding(self) -> dict[str, Any]:
        """The options that decide the names, as kb.json records them."""
        keep = (
            "preset", "languages", "vocabularies", "semantic_groups", "semantic_types",
            "suppressible", "ambiguous",
        )  # fmt: skip
        return {name: value for name, value in asdict(self).items() if name in keep}


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


def build_kb(options: BuildOptions, progress: Progress = silent) -> BuildReport:
    """Build the knowledge base that `options` describe and report on it."""
    started = time.perf_counter()
    stages: list[Stage] = []
    bad = BadRows(options.max_bad_rows)
    selection = selection_of(
        options.languages, options.vocabularies, options.semantic_groups,
        options.semantic_types, options.preset, options.suppressible == "keep",
    )  # fmt: skip
    draft = None if options.dry_run else Draft(options.out, options.overwrite)
    tokenizers = _load_tokenizers(options)
    with _staged(stages, "read") as stage:
        terms = read_terms(options.source, selection, bad, progress)
        stage.rows = terms.counts.get("atoms", len(terms.concept))
    with _staged(stages, "disambiguate") as stage:
        progress("disambiguate", 0, None)
        stage.rows = len(terms.concept)
        names = disambiguate(terms, options.ambiguous == "qualify")
        terms = _without_names(terms)
        pa.default_memory_pool().release_unused()
    if names.kept.n == 0:
        raise LongbelError(
            f"{options.source}: nothing is left under these options",
            hint="Choose other languages, vocabularies or groups.",
        )
    info = _info(options, terms, names, bad)
    report = BuildReport(
        path=options.out, info=info, stages=stages, quarantined=bad.listed,
        n_unreadable=sum(bad.unreadable.values()), n_untyped=bad.untyped,
        nameless=terms.codes.take(pa.array(names.nameless()[:_LISTED_NAMELESS])).to_pylist(),
        dry_run=options.dry_run,
    )  # fmt: skip
    if draft is not None:
        with draft.open() as folder:
            with _staged(stages, "write") as stage:
                progress("write", 0, None)
                stage.rows = names.kept.n
                _write(folder, terms, names, info, bad)
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
    terms.concept = terms.name = terms.language = empty
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
            "name": options.source.name,
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
    digest = hashlib.sha256(json.dumps(options.deciding(), sort_keys=True).encode())
    digest.update(json.dumps([FORMAT_VERSION, terms.groups, terms.languages]).encode())
    for strings in (names.strings, terms.codes):
        _, offsets, data = strings.buffers()
        digest.update(np.diff(np.frombuffer(offsets, np.int64)[: len(strings) + 1]).tobytes())
        if data is not None:
            digest.update(memoryview(data))
    for column in (*names.kept, names.preferred):
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()[:16]


def _write(folder: Path, terms: Terms, names: Names, info: dict[str, Any], bad: BadRows) -> None:
    concepts = np.flatnonzero(names.claimants)
    row_of = np.full(len(terms.codes), -1, dtype=np.int32)
    row_of[concepts] = np.arange(len(concepts), dtype=np.int32)
    kept = names.kept
    concept = row_of[kept.concept]
    by_concept = np.argsort(concept, kind="stable").astype(np.int32)
    write_tables(
        pa.table(
            {
                "name": names.strings.take(pa.array(kept.name)),
                "code": terms.codes.take(pa.array(kept.concept)),
                "group": _words(terms.groups, kept.group),
                "language": _words(terms.languages, kept.language),
                "preferred": pa.array(names.preferred),
                "concept": pa.array(concept),
                "by_concept": pa.array(by_concept),
            }
        ),
        folder,
        "names",
    )
    write_tables(_concepts_table(terms, names, concepts, concept), folder, "concepts")
    _write_audit(folder, terms, names)
    _write_quarantine(folder, bad)
    text = json.dumps(info, indent=1, ensure_ascii=False) + "\n"
    (folder / "kb.json").write_text(text, encoding="utf-8")
    (folder / "tries").mkdir()


def _words(words: tuple[str, ...], index: np.ndarray) -> pa.Array:
    """A column of few words by their numbers, -1 for none; stored as a dictionary."""
    indices = pa.array(index.astype(np.int32), mask=index < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(words, pa.string()))


def _concepts_table(
    terms: Terms, names: Names, concepts: np.ndarray, row_concept: np.ndarray
) -> pa.Table:
    counts = np.bincount(row_concept, minlength=len(concepts))
    title = names.title[concepts]
    preferred = names.strings.take(pa.array(title, mask=title < 0))
    pair = distinct(pairs(row_concept, names.kept.group))
    group_words = pa.array(terms.groups, pa.string()).take(pa.array(pair & 0xFFFFFFFF))
    return pa.table(
        {
            "code": terms.codes.take(pa.array(concepts)),
            "preferred_name": preferred,
            "semantic_types": _types_column(terms, concepts),
            "groups": _lists(pair >> 32, group_words, len(concepts)),
            "n_names": pa.array(counts.astype(np.int32)),
            "names_first": pa.array((np.cumsum(counts) - counts).astype(np.int64)),
        }
    )


def _types_column(terms: Terms, concepts: np.ndarray) -> pa.Array:
    words = pa.array([tui_text(number) for number in range(1000)])
    if terms.concept_types is None:
        return _lists(np.zeros(0, np.int64), words[:0], len(concepts))
    row_of = np.full(len(terms.codes), -1, dtype=np.int64)
    row_of[concepts] = np.arange(len(concepts))
    rows = row_of[terms.concept_types.concept]
    tuis = words.take(pa.array(terms.concept_types.tui[rows >= 0]))
    return _lists(rows[rows >= 0], tuis, len(concepts))


def _lists(row: np.ndarray, values: pa.Array, n_rows: int) -> pa.ListArray:
    """Lists of the values by their sorted rows."""
    first = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=n_rows))))
    return pa.ListArray.from_arrays(pa.array(first, pa.int32()), values)


def _write_audit(folder: Path, terms: Terms, names: Names) -> None:
    import pyarrow.parquet as pq

    audit = names.audit
    table = pa.table(
        {
            "rule": _words(RULES, audit.rule),
            "group": _words(terms.groups, audit.group),
            "name": names.strings.take(pa.array(audit.name)),
            "code": terms.codes.take(pa.array(audit.concept)),
            "given_to": terms.codes.take(pa.array(audit.given_to, mask=audit.given_to < 0)),
        }
    )
    pq.write_table(table, folder / "audit.parquet", compression="zstd",
                   use_dictionary=["rule", "group"], write_statistics=False)  # fmt: skip


def _write_quarantine(folder: Path, bad: BadRows) -> None:
    if not bad.total:
        return
    lines = [json.dumps(row._asdict(), ensure_ascii=False) for row in bad.listed]
    text = "".join(f"{line}\n" for line in lines)
    (folder / "quarantine.jsonl").write_text(text, encoding="utf-8")
