"""A release in Rich Release Format (UMLS, RxNorm) as terms, codes, parents and retired codes.

Read as streams. Which files hold what is a layout; ambiguity is not its business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import DTypeLike

from kb_builder.errors import LongbelError
from kb_builder.files import new_sha256
from kb_builder.sources.archives import Release, StoredFile, holds, is_stored_as
from kb_builder.sources.history import Retirements
from kb_builder.sources.mrconso import (
    CONSO_FIELDS,
    AtomKinds,
    Atoms,
    language_code,
    language_key,
    read_block,
    umls_title_ranks,
)
from kb_builder.sources.mrfiles import check_against_mrfiles
from kb_builder.sources.mrrel import REL_FIELDS, RelationKinds, read_relations, read_retired_cuis
from kb_builder.sources.mrsty import STY_FIELDS, Types, read_types
from kb_builder.sources.progress import Progress
from kb_builder.sources.reading import DEFAULT_LANGUAGES, Reading
from kb_builder.sources.rrf import Block, whole_rows
from kb_builder.sources.selection import BadRows, Selection
from kb_builder.terms import SourceCodes, Terms, Titles
from kb_builder.trie.parallel import ordered_map


@dataclass(frozen=True)
class Layout:
    """The files of a release, and what differs in reading them."""

    conso: str
    sty: str
    rel: str
    retired: str
    retired_fields: int
    kinds: AtomKinds
    parents_by_rela: bool
    read_retired: Callable[[StoredFile, Retirements, BadRows], dict[str, Any]]
    hint: str


UMLS = Layout(
    conso="MRCONSO.RRF",
    sty="MRSTY.RRF",
    rel="MRREL.RRF",
    retired="MRCUI.RRF",
    retired_fields=7,
    kinds=AtomKinds(umls_title_ranks),
    parents_by_rela=False,
    read_retired=read_retired_cuis,
    hint="A full release holds MRCONSO only after MetamorphoSys has run, or inside its "
    ".nlm files: give that folder or archive, with MRCONSO.RRF and MRSTY.RRF in it.",
)


def matches(path: Path) -> bool:
    """Whether this is a release, or its table of names. Also a folder or archive in which nothing
    is known: what it lacks can then be said."""
    archive = path.suffix.lower() in (".zip", ".nlm")
    return path.is_dir() or archive or holds(path, UMLS.conso)


def read(reading: Reading) -> Terms:
    """The terms of a UMLS release."""
    return read_release(reading, UMLS)


def read_release(reading: Reading, layout: Layout) -> Terms:
    """The terms of a release; its file of atoms stands for the folder in which it lies."""
    _check_languages(reading.selection)
    path = reading.path
    folder = path.parent if path.is_file() and is_stored_as(path.name, layout.conso) else path
    with Release(folder) as release:
        return _read_files(release, layout, reading)


def _read_files(release: Release, layout: Layout, reading: Reading) -> Terms:
    selection, bad, progress = reading.selection, reading.bad, reading.progress
    conso, sty = (_find(release, layout, name) for name in (layout.conso, layout.sty))
    rel, retired = release.find(layout.rel), release.find(layout.retired)
    fields = {conso: CONSO_FIELDS, sty: STY_FIELDS}
    fields |= {rel: REL_FIELDS} if rel else {}
    fields |= {retired: layout.retired_fields} if retired else {}
    check_against_mrfiles(release, fields)
    types = read_types(sty, selection, bad, progress)
    terms = _read_atoms(conso, layout, types, selection, bad, progress)
    terms.release = _release_name(release)
    if rel is not None:
        kinds = RelationKinds(layout.parents_by_rela, selection.keep_suppressed)
        terms.relations, about = read_relations(rel, terms.codes, kinds, bad, progress)
        terms.files.append(about)
    if retired is not None:
        retirements = Retirements(bad)
        terms.files.append(layout.read_retired(retired, retirements, bad))
        terms.replaced = retirements.table()
    return terms


def _check_languages(selection: Selection) -> None:
    """Before gigabytes are read. Tables of names may have other codes."""
    for code in selection.languages or ():
        if len(code) != 3:
            raise LongbelError(
                f"{code!r} is not a UMLS language code",
                hint="Codes have three letters: ENG, FRE, SPA, GER, …",
                exit_code=2,
            )


def _release_name(release: Release) -> str | None:
    """What release.dat, where there is one, calls the release."""
    file = release.find("release.dat")
    if file is None:
        return None
    lines = b"".join(file.blocks()).decode("utf-8", "replace").splitlines()
    values = [line.partition("=")[2] for line in lines if line.startswith("umls.release.name=")]
    return values[0].strip() if values else None


def _find(release: Release, layout: Layout, name: str) -> StoredFile:
    file = release.find(name)
    if file is None:
        beside = f"{layout.conso} is there: put {name} of the same release beside it."
        hint = layout.hint if release.find(layout.conso) is None else beside
        raise LongbelError(f"{release.source}: no {name} in it", hint=hint)
    return file


def _read_atoms(
    file: StoredFile,
    layout: Layout,
    types: Types,
    selection: Selection,
    bad: BadRows,
    progress: Progress,
) -> Terms:
    digest = new_sha256()
    blocks = whole_rows(file.blocks(digest.update), file.location)
    gathered = _Gathered(types)
    n_bytes = 0
    for size, atoms in ordered_map(partial(_sized, selection, layout.kinds), blocks):
        n_bytes += size
        bad.add_all(file.location, atoms.bad)
        gathered.add(atoms)
        progress("atoms", n_bytes, file.size)
    bad.check(file.location, gathered.n_rows)
    bad.add_untyped(file.location, gathered.untyped_lines())
    gathered.check_selection(selection)
    terms = gathered.terms(selection)
    terms.files = [
        {"name": file.name, "rows": gathered.n_rows, "sha256": digest.hexdigest()},
        types.file,
    ]
    return terms


def _sized(selection: Selection, kinds: AtomKinds, block: Block) -> tuple[int, Atoms]:
    return len(block.data), read_block(block, selection, kinds)


class _Gathered:
    """The blocks read so far, and how they become one set of columns."""

    def __init__(self, types: Types) -> None:
        self.types = types
        self.blocks: list[Atoms] = []
        self.counts: Counter[str] = Counter()
        self.languages: Counter[int] = Counter()
        self.vocabularies: set[str] = set()
        self.n_rows = 0

    def add(self, atoms: Atoms) -> None:
        self.blocks.append(atoms)
        self.n_rows += atoms.n_rows
        self.counts.update(atoms.counts)
        self.vocabularies.update(atoms.vocabularies)
        keys, counts = atoms.language_keys.tolist(), atoms.language_counts.tolist()
        self.languages.update(dict(zip(keys, counts, strict=True)))

    def check_selection(self, selection: Selection) -> None:
        """A language or vocabulary that the release does not hold is a slip of the pen."""
        held = {language_code(key) for key in self.languages}
        for code in selection.languages or ():
            if code not in held:
                raise LongbelError(
                    f"the release has no atom in language {code}",
                    hint=f"It holds {', '.join(sorted(held))}.",
                )
        for name in sorted(selection.vocabularies or ()):
            if name not in self.vocabularies:
                raise LongbelError(
                    f"the release has no atom of vocabulary {name}",
                    hint="Names are SAB abbreviations, as MRSAB.RRF lists them (MSH, SNOMEDCT_US).",
                )

    def _cui_positions(self) -> np.ndarray:
        """Each distinct CUI of each block as its place in MRSTY's list, -1 where it has none."""
        if not hasattr(self, "_positions"):
            cuis = pa.chunked_array([atoms.cuis for atoms in self.blocks], pa.large_string())
            positions = pc.index_in(cuis, value_set=self.types.all_cuis)
            self._positions = positions.fill_null(-1).to_numpy().astype(np.int32)
        return self._positions

    def untyped_lines(self) -> list[int]:
        """The first line of every CUI that MRSTY does not name."""
        positions = self._cui_positions()
        first: dict[str, int] = {}
        start = 0
        for atoms in self.blocks:
            missing = np.flatnonzero(positions[start : start + len(atoms.cuis)] < 0)
            start += len(atoms.cuis)
            for cui, line in zip(
                atoms.cuis.take(pa.array(missing)).to_pylist(), atoms.cui_line[missing].tolist(),
                strict=True,
            ):  # fmt: skip
                first[cui] = min(line, first.get(cui, line))
        return sorted(first.values())

    def terms(self, selection: Selection) -> Terms:
        """All blocks as one; the blocks are given up on the way."""
        positions = self._cui_positions()
        per_cui = np.where(positions >= 0, self.types.concept_of_cui[positions], -1)
        languages = self._languages(selection)
        columns = _Columns(languages, tuple(sorted(self.vocabularies)))
        cui_start = 0
        for index, atoms in enumerate(self.blocks):
            concept = per_cui[cui_start : cui_start + len(atoms.cuis)]
            cui_start += len(atoms.cuis)
            columns.add(atoms, concept)
            self.blocks[index] = None  # type: ignore[call-overload]  # given up for its memory
        return Terms(
            codes=self.types.codes,
            groups=self.types.groups,
            languages=languages,
            concept=_joined(columns.concepts, np.int32),
            name=_joined(columns.names, np.int32),
            group=None,
            language=_joined(columns.languages, np.int16),
            strings=pa.chunked_array(columns.strings, pa.large_string()),
            titles=columns.titles(),
            concept_groups=self.types.concept_groups,
            concept_types=self.types.concept_types,
            source_codes=columns.source_codes(),
            counts={"atoms": self.n_rows, **dict(self.counts)},
            atoms_by_language={
                language_code(key): count for key, count in sorted(self.languages.items())
            },
        )

    def _languages(self, selection: Selection) -> tuple[str, ...]:
        chosen = tuple(selection.languages or DEFAULT_LANGUAGES)
        others = sorted({language_code(key) for key in self.languages} - set(chosen))
        return chosen + tuple(others)


class _Columns:
    """Blocks of atoms, each renumbered into one set of columns."""

    def __init__(self, languages: tuple[str, ...], vocabularies: tuple[str, ...]) -> None:
        self._index_of = {language_key(code): index for index, code in enumerate(languages)}
        self._vocabularies = vocabularies
        self._source_type = np.min_scalar_type(-len(vocabularies) - 1)
        self._vocabulary_index = {name: index for index, name in enumerate(vocabularies)}
        self.concepts: list[np.ndarray] = []
        self.names: list[np.ndarray] = []
        self.languages: list[np.ndarray] = []
        self.strings: list[pa.LargeStringArray] = []
        self._n_strings = self._n_codes = 0
        self._titles: list[Titles] = []
        self._codes: list[pa.LargeStringArray] = []
        self._coded: list[tuple[np.ndarray, np.ndarray]] = []
        self._more: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, atoms: Atoms, concept: np.ndarray) -> None:
        """A block; `concept` are its CUIs as concepts, -1 where nothing of one is selected."""
        kept = concept[atoms.cui] >= 0
        self.concepts.append(concept[atoms.cui[kept]])
        self.names.append((atoms.name[kept] + self._n_strings).astype(np.int32))
        self.languages.append(_mapped(atoms.language[kept], self._index_of))
        self.strings.append(atoms.strings)
        self._n_strings += len(atoms.strings)
        titled = concept[atoms.title_cui] >= 0
        self._titles.append(
            Titles(
                concept[atoms.title_cui[titled]],
                atoms.titles.filter(pa.array(titled)),
                atoms.title_rank[titled],
                _mapped(atoms.title_language[titled], self._index_of),
            )
        )
        self._add_codes(atoms, concept, kept)

    def _add_codes(self, atoms: Atoms, concept: np.ndarray, kept: np.ndarray) -> None:
        vocabulary = [self._vocabulary_index[name] for name in atoms.vocabularies]
        sources = np.array([*vocabulary, -1], dtype=self._source_type)  # -1 is the last
        self._coded.append((sources[atoms.source[kept]], _shifted(atoms.code[kept], self._n_codes)))
        known = concept[atoms.more_cui] >= 0
        self._more.append(
            (
                concept[atoms.more_cui[known]],
                sources[atoms.more_source[known]],
                _shifted(atoms.more_code[known], self._n_codes),
            )
        )
        self._codes.append(atoms.codes)
        self._n_codes += len(atoms.codes)

    def titles(self) -> Titles:
        """The candidates of all blocks."""
        concept, string, rank, language = _columns_of(self._titles, 4)
        return Titles(
            _joined(concept, np.int32),
            pa.concat_arrays([pa.array([], pa.large_string()), *string]),
            _joined(rank, np.uint8),
            _joined(language, np.int16),
        )

    def source_codes(self) -> SourceCodes:
        """Codes of the names, then those of concepts alone."""
        source, code = _columns_of(self._coded, 2)
        concept, more_source, more_code = _columns_of(self._more, 3)
        return SourceCodes(
            self._vocabularies,
            pa.chunked_array(self._codes, pa.large_string()),
            _joined((*source, *more_source), self._source_type),
            _joined((*code, *more_code), np.int32),
            _joined(concept, np.int32),
        )


def _columns_of(rows: Sequence[tuple[Any, ...]], n: int) -> tuple[tuple[Any, ...], ...]:
    return tuple(zip(*rows, strict=True)) or ((),) * n


def _joined(parts: Sequence[np.ndarray], dtype: DTypeLike) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _shifted(index: np.ndarray, by: int) -> np.ndarray:
    return np.where(index < 0, -1, index + by).astype(np.int32)


def _mapped(keys: np.ndarray, index_of: dict[int, int]) -> np.ndarray:
    if len(keys) == 0:
        return np.zeros(0, dtype=np.int16)
    distinct, inverse = np.unique(keys, return_inverse=True)
    values = [
        index_of.get(int(key), index_of.get(language_key(language_code(key)), -1))
        for key in distinct
    ]
    return np.array(values, dtype=np.int16)[inverse]
