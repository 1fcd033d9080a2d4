"""A UMLS release (MRCONSO, MRSTY) as terms: which atoms are names, and which may be titles.

Read as streams, a block at a time; of the text only what may become a name is kept. Knows rules
1 and 2 and the columns of both files; ambiguity is not its business.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.errors import LongbelError
from kb_builder.progress import Progress
from kb_builder.rules.normalise import tidy_column
from kb_builder.rules.titles import best_titles
from kb_builder.sources.archives import Release, StoredFile
from kb_builder.sources.mrfiles import check_against_mrfiles
from kb_builder.sources.mrsty import STY_FIELDS, Types, read_types
from kb_builder.sources.rrf import NOT_UTF8, BadRow, Block, as_text, split_texts, whole_rows
from kb_builder.sources.selection import BadRows, Selection
from kb_builder.terms import (
    NOT_A_TITLE,
    Terms,
    Titles,
)
from kb_builder.trie.parallel import ordered_map

DEFAULT_LANGUAGES = ("ENG", "FRE", "SPA")
_CONSO_FIELDS = 18
_CUI, _LAT, _TS, _SAB, _TTY, _STR, _SUPPRESS = 0, 1, 2, 11, 12, 14, 16


def read_umls(release: Release, selection: Selection, bad: BadRows, progress: Progress) -> Terms:
    """The terms of a release under `selection`; unusable rows go to `bad`."""
    _check_languages(selection)
    conso, sty = _find(release, "MRCONSO.RRF"), _find(release, "MRSTY.RRF")
    check_against_mrfiles(release, {conso: _CONSO_FIELDS, sty: STY_FIELDS})
    types = read_types(sty, selection, bad, progress)
    terms = _read_atoms(conso, types, selection, bad, progress)
    terms.release = _release_name(release)
    return terms


def _check_languages(selection: Selection) -> None:
    """Before gigabytes are read. Tables of names may have other codes."""
    for code in selection.languages or ():
        if len(code) != 3:
            raise LongbelError(
                f"{code!r} is no UMLS language code",
                hint="Codes have three letters: ENG, FRE, SPA, GER, …",
                exit_code=2,
            )


def _release_name(release: Release) -> str | None:
    """What release.dat, where there is one, calls the release."""
    file = release.find("release.dat")
    if file is None:
        return None
    lines = b"".join(file.blocks()).decode("utf-8", "replace").splitlines()
    told = [line.partition("=")[2] for line in lines if line.startswith("umls.release.name=")]
    return told[0].strip() if told else None


def _find(release: Release, name: str) -> StoredFile:
    file = release.find(name)
    if file is None:
        raise LongbelError(
            f"{release.source}: no {name} in it",
            hint="A full release holds MRCONSO only after MetamorphoSys has run, or inside its "
            ".nlm files: give that folder or archive, with MRCONSO.RRF and MRSTY.RRF in it.",
        )
    return file


class _Atoms(NamedTuple):
    """What one block of MRCONSO gives; `cui`, `name` and `title` index the block's own lists."""

    bad: list[BadRow]
    n_rows: int
    language_keys: np.ndarray  # of all rows, distinct
    language_counts: np.ndarray
    vocabularies: set[bytes]
    counts: Counter[str]
    cuis: pa.LargeStringArray  # distinct, of all rows
    cui_line: np.ndarray  # where each first stands
    cui: np.ndarray
    name: np.ndarray
    language: np.ndarray  # key
    strings: pa.LargeStringArray  # tidied, not distinct
    title_cui: np.ndarray
    title_rank: np.ndarray
    title_language: np.ndarray
    titles: pa.LargeStringArray  # as spelled


def _read_block(block: Block, selection: Selection) -> _Atoms:
    rows, cuis, bad = split_texts(block, _CONSO_FIELDS, _CUI)
    language = rows.key(_LAT, 3)
    mth = rows.equals(_SAB, b"MTH")
    usable = np.ones(len(rows), dtype=bool)
    if not selection.keep_suppressed:
        usable = rows.equals(_SUPPRESS, b"N")
    counts = Counter(suppressed=int(np.count_nonzero(~usable)))
    vocabularies: set[bytes] = set()
    if selection.vocabularies is not None:
        source = rows.column(_SAB).dictionary_encode()
        vocabularies = set(source.dictionary.to_pylist())
        wanted = [value.decode("ascii", "replace") in selection.vocabularies
                  for value in source.dictionary.to_pylist()]  # fmt: skip
        in_vocabulary = np.array(wanted, dtype=bool)[source.indices.to_numpy()] | mth
        counts["other_vocabulary"] = int(np.count_nonzero(usable & ~in_vocabulary))
        usable &= in_vocabulary
    keys = [_key(code) for code in selection.languages or DEFAULT_LANGUAGES]
    listed = usable & (np.isin(language, keys) | mth)
    counts["other_language"] = int(np.count_nonzero(usable & ~listed))
    rank = _title_ranks(rows.equals(_TTY, b"PN"), mth, rows.equals(_TS, b"P"), language)
    may_be_title = usable & (rank < NOT_A_TITLE)
    taken = np.flatnonzero(listed | may_be_title)
    raw, readable = as_text(rows.column(_STR, taken))
    if readable is not None:
        bad += [BadRow(int(rows.lines[row]), NOT_UTF8) for row in taken[~readable]]
        taken = taken[readable]
    encoded = raw.dictionary_encode()
    string, strings = encoded.indices.to_numpy(), encoded.dictionary
    cui = cuis.dictionary_encode()
    cui_index = cui.indices.to_numpy()
    cui_line = np.zeros(len(cui.dictionary), dtype=np.int64)
    cui_line[cui_index[::-1]] = rows.lines[::-1]
    is_name, is_title = listed[taken], may_be_title[taken]
    title_cui, title_string = cui_index[taken[is_title]], string[is_title]
    title_rank = rank[taken[is_title]]
    title_language = language[taken[is_title]]
    place = _language_places(title_language, keys)
    best = best_titles(title_cui, title_rank, title_string, place, strings)
    language_keys, language_counts = np.unique(language, return_counts=True)
    return _Atoms(
        bad=bad,
        n_rows=block.n_lines,
        language_keys=language_keys,
        language_counts=language_counts,
        vocabularies=vocabularies,
        counts=counts,
        cuis=cui.dictionary,
        cui_line=cui_line,
        cui=cui_index[taken[is_name]],
        name=string[is_name],
        language=language[taken[is_name]],
        strings=tidy_column(strings),
        title_cui=title_cui[best],
        title_rank=title_rank[best],
        title_language=title_language[best],
        titles=strings.take(pa.array(title_string[best])),
    )


def _key(code: str) -> int:
    return int.from_bytes(code.encode(), "big")


def _code(key: int) -> str:
    return int(key).to_bytes(3, "big").strip(b"\0").decode("ascii", "replace") if key >= 0 else "?"


def _language_places(language: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Numbers that sort languages as they are preferred: the chosen ones, then by their codes."""
    place = language.astype(np.int64) + len(chosen)
    for number, key in enumerate(chosen):
        place[language == key] = number
    return place


def _title_ranks(
    is_pn: np.ndarray, is_mth: np.ndarray, is_preferred: np.ndarray, language: np.ndarray
) -> np.ndarray:
    """uint8[n]: PN, then MTH, then the preferred term in English, French, Spanish."""
    rank = np.full(len(is_pn), NOT_A_TITLE, dtype=np.uint8)
    for place in (2, 1, 0):
        rank[is_preferred & (language == _key(DEFAULT_LANGUAGES[place]))] = 2 + place
    rank[is_mth] = 1
    rank[is_pn] = 0
    return rank


def _read_atoms(
    file: StoredFile, types: Types, selection: Selection, bad: BadRows, progress: Progress
) -> Terms:
    digest = hashlib.sha256()
    blocks = whole_rows(file.blocks(digest), file.place)
    gathered = _Gathered(types)
    n_bytes = 0
    for atoms in ordered_map(partial(_sized, selection), blocks):
        n_bytes += atoms[0]
        bad.add_all(file.place, atoms[1].bad)
        gathered.add(atoms[1])
        progress("atoms", n_bytes, file.size)
    bad.check(file.place, gathered.n_rows)
    bad.add_untyped(file.place, gathered.untyped_lines())
    gathered.check_selection(selection)
    terms = gathered.terms(selection)
    terms.files = [
        {"name": file.name, "rows": gathered.n_rows, "sha256": digest.hexdigest()},
        types.file,
    ]
    return terms


def _sized(selection: Selection, block: Block) -> tuple[int, _Atoms]:
    return len(block.data), _read_block(block, selection)


class _Gathered:
    """The blocks read so far, and how they become one set of columns."""

    def __init__(self, types: Types) -> None:
        self.types = types
        self.blocks: list[_Atoms] = []
        self.counts: Counter[str] = Counter()
        self.languages: Counter[int] = Counter()
        self.vocabularies: set[bytes] = set()
        self.n_rows = 0

    def add(self, atoms: _Atoms) -> None:
        self.blocks.append(atoms)
        self.n_rows += atoms.n_rows
        self.counts.update(atoms.counts)
        self.vocabularies |= atoms.vocabularies
        keys, counts = atoms.language_keys.tolist(), atoms.language_counts.tolist()
        self.languages.update(dict(zip(keys, counts, strict=True)))

    def check_selection(self, selection: Selection) -> None:
        """A language or vocabulary that the release does not hold is a slip of the pen."""
        held = {_code(key) for key in self.languages}
        for code in selection.languages or ():
            if code not in held:
                raise LongbelError(
                    f"the release has no atom in language {code}",
                    hint=f"It holds {', '.join(sorted(held))}.",
                )
        for name in sorted(selection.vocabularies or ()):
            if name.encode() not in self.vocabularies:
                raise LongbelError(
                    f"the release has no atom of vocabulary {name}",
                    hint="Names are SAB abbreviations, as MRSAB.RRF lists them (MSH, SNOMEDCT_US).",
                )

    def _cui_positions(self) -> np.ndarray:
        """Each distinct CUI of each block as its place in MRSTY's list, -1 where it has none."""
        if not hasattr(self, "_positions"):
            cuis = pa.chunked_array([atoms.cuis for atoms in self.blocks], pa.large_string())
            found = pc.index_in(cuis, value_set=self.types.all_cuis)
            self._positions = found.fill_null(-1).to_numpy().astype(np.int32)
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
        concept_of = self.types.concept_of_cui
        positions = self._cui_positions()
        per_cui = np.where(positions >= 0, concept_of[positions], -1)
        languages = self._language_order(selection)
        index_of = {_key(code): index for index, code in enumerate(languages)}
        concepts, names, name_languages, strings = [], [], [], []
        titles: dict[str, list] = {"concept": [], "rank": [], "language": [], "string": []}
        cui_start = string_start = 0
        for number, atoms in enumerate(self.blocks):
            concept = per_cui[cui_start : cui_start + len(atoms.cuis)]
            cui_start += len(atoms.cuis)
            kept = concept[atoms.cui] >= 0
            concepts.append(concept[atoms.cui[kept]])
            names.append((atoms.name[kept] + string_start).astype(np.int32))
            name_languages.append(_mapped(atoms.language[kept], index_of))
            strings.append(atoms.strings)
            string_start += len(atoms.strings)
            kept = concept[atoms.title_cui] >= 0
            titles["concept"].append(concept[atoms.title_cui[kept]])
            titles["rank"].append(atoms.title_rank[kept])
            titles["language"].append(_mapped(atoms.title_language[kept], index_of))
            titles["string"].append(atoms.titles.filter(pa.array(kept)))
            self.blocks[number] = None  # type: ignore[call-overload]  # given up for its memory
        return Terms(
            codes=self.types.codes,
            groups=self.types.groups,
            languages=languages,
            concept=np.concatenate([np.zeros(0, np.int32), *concepts]),
            name=np.concatenate([np.zeros(0, np.int32), *names]),
            group=None,
            language=np.concatenate([np.zeros(0, np.int16), *name_languages]),
            strings=pa.chunked_array(strings, pa.large_string()),
            titles=Titles(
                concept=np.concatenate([np.zeros(0, np.int32), *titles["concept"]]),
                string=pa.concat_arrays([pa.array([], pa.large_string()), *titles["string"]]),
                rank=np.concatenate([np.zeros(0, np.uint8), *titles["rank"]]),
                language=np.concatenate([np.zeros(0, np.int16), *titles["language"]]),
            ),
            concept_groups=self.types.concept_groups,
            concept_types=self.types.concept_types,
            counts={"atoms": self.n_rows, **dict(self.counts)},
            atoms_by_language={_code(key): count for key, count in sorted(self.languages.items())},
        )

    def _language_order(self, selection: Selection) -> tuple[str, ...]:
        chosen = tuple(selection.languages or DEFAULT_LANGUAGES)
        others = sorted({_code(key) for key in self.languages} - set(chosen))
        return chosen + tuple(others)


def _mapped(keys: np.ndarray, index_of: dict[int, int]) -> np.ndarray:
    if len(keys) == 0:
        return np.zeros(0, dtype=np.int16)
    distinct, inverse = np.unique(keys, return_inverse=True)
    values = [index_of.get(int(key), index_of.get(_key(_code(key)), -1)) for key in distinct]
    return np.array(values, dtype=np.int16)[inverse]
