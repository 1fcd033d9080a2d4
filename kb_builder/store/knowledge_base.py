"""A knowledge base on disk: a directory of tables, opened by memory map and read on demand.

`names.parquet`, `concepts.parquet`, `audit.parquet` and `tries/<tokenizer hash>.parquet` are
the format; the `.arrow` files beside them hold the same tables in a form that is mapped and not
read, so that processes of a machine share one copy. Knows tokenizers only by their hash until a
trie has to be built; no pickle anywhere.
"""

from __future__ import annotations

import json
import logging
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kb_builder.errors import LongbelError
from kb_builder.files import sweep
from kb_builder.files.locks import locked
from kb_builder.store.beside import DOCUMENTS, document_hash, open_beside
from kb_builder.store.tables import BUILD_AGAIN, check_name, open_table, read_stored
from kb_builder.store.tries import cache_folder, is_writable, load_trie, save_trie
from kb_builder.terms import Term
from kb_builder.trie.trie import Trie, build_trie

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from kb_builder.trie.tokenization import AnswerTokenizer

FORMAT_VERSION = 1
_DESCRIPTION = ("source", "options", "signature", "licence", "counts", "groups", "languages")
_DESCRIPTION_OF_GROUP = ("name", "names", "concepts", "languages")
MAX_ANSWER_TOKENS = 128
log = logging.getLogger(__name__)


class KnowledgeBase:
    """Names of concepts in semantic groups, by row of the names table.

    Rows are sorted by group and then by name in code-point order, so a group's rows are a
    range. Opening maps files; nothing is read until it is asked for.
    """

    def __init__(
        self, path: Path, info: dict[str, Any], names: pa.Table, concepts: pa.Table
    ) -> None:
        self.path = path
        self.info = info
        self.groups: tuple[str, ...] = tuple(group["name"] for group in info["groups"])
        self.signature: str = info["signature"]
        self._names, self._concepts = names, concepts
        sizes = [group["names"] for group in info["groups"]]
        self._group_first = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
        self._concept = _numpy(names["concept"])
        self._tries: dict[str, Trie] = {}
        # Of documents that names came from, by the hash of their ids; None: not read yet.
        self.corpus_of_hash: dict[str, str] | None = None
        # bool[n_names]: the names of corpora that were added since; None: there are none.
        self.annotated: np.ndarray | None = None

    @classmethod
    def open(cls, path: Path | str) -> KnowledgeBase:
        """The knowledge base in directory `path`."""
        path = Path(path)
        check_name(path)
        file = path / "kb.json"
        if not file.is_file():
            raise LongbelError(
                f"{path}: not a knowledge base (it has no kb.json)",
                hint="`longbel build-kb SOURCE --out KB` makes one.",
            )
        info = _described(file)
        base = cls(path, info, open_table(path, "names"), open_table(path, "concepts"))
        if len(base._concept) != base._group_first[-1]:
            raise LongbelError(
                f"{path}: kb.json and the names table differ", hint="Build it again."
            )
        return base

    @property
    def n_names(self) -> int:
        return len(self._concept)

    @property
    def n_concepts(self) -> int:
        return len(self._concepts)

    @property
    def signature_on_disk(self) -> str:
        """The signature of the directory, whatever names were added since it was opened."""
        kept: str = self.info.get("signature_on_disk", self.signature)
        return kept

    @property
    def names_added(self) -> dict[str, str]:
        """The corpora, with their hashes, whose names were added since it was opened."""
        added: dict[str, str] = self.info.get("names_added", {})
        return added

    @property
    def names_table(self) -> pa.Table:
        """The names: name, code, group, language, preferred, concept, by_concept."""
        return self._names

    @property
    def concepts_table(self) -> pa.Table:
        """The concepts, by code: code, preferred_name, semantic_types, groups, n_names."""
        return self._concepts

    @property
    def row_concepts(self) -> np.ndarray:
        """int32[n_names]: the concept's row in the concepts table, which is sorted by code."""
        return self._concept

    def name(self, row: int) -> str:
        return self._names["name"][int(row)].as_py()

    def term(self, row: int) -> Term:
        """Everything that the names table says of a row."""
        language = self._names["language"][int(row)].as_py()
        preferred = self._names["preferred"][int(row)].as_py()
        return Term(self.code(row), self.name(row), self.group(row), language, preferred)

    def names_of(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """The names of several rows."""
        return self._names["name"].take(pa.array(np.asarray(rows, dtype=np.int64))).to_pylist()

    def name_column(self, rows: range) -> pa.LargeStringArray:
        """The names of consecutive rows as one column."""
        chunks = self._names["name"].slice(rows.start, len(rows)).chunks
        return pa.concat_arrays([pa.array([], pa.large_string()), *chunks])

    def code(self, row: int) -> str:
        return self._concepts["code"][int(self._concept[row])].as_py()

    def codes_of(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """The concept codes of several rows."""
        concepts = self._concept[np.asarray(rows, dtype=np.int64)]
        return self._concepts["code"].take(pa.array(concepts)).to_pylist()

    def group(self, row: int) -> str:
        return self.groups[int(np.searchsorted(self._group_first, row, side="right")) - 1]

    def rows_of_group(self, group: str) -> range:
        """The rows of a group, which stand together."""
        index = self._group_index(group)
        return range(int(self._group_first[index]), int(self._group_first[index + 1]))

    def _group_index(self, group: str) -> int:
        if group not in self.groups:
            raise LongbelError(
                f"no semantic group {group!r} in {self.path}",
                hint=f"It has {', '.join(self.groups)}.",
            )
        return self.groups.index(group)

    def has_code(self, code: str) -> bool:
        """Whether the code is one of the concepts, be it with names or left without."""
        return self._concept_index(code) is not None

    def concept(self, code: str) -> dict[str, Any] | None:
        """The concept's row: code, preferred_name, semantic_types, groups, n_names."""
        index = self._concept_index(code)
        return None if index is None else self._concepts.slice(index, 1).to_pylist()[0]

    def concept_row(self, code: str) -> int:
        """The concept's row in the concepts table, which the tables beside the names refer to."""
        index = self._concept_index(code)
        if index is None:
            raise LongbelError(f"{self.path}: no concept {code}")
        return index

    def concept_codes(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """The codes of concepts by their rows in the concepts table."""
        return self._concepts["code"].take(pa.array(np.asarray(rows, dtype=np.int64))).to_pylist()

    def _concept_index(self, code: str) -> int | None:
        return _find(self._concepts["code"], code, 0, len(self._concepts))

    def names_of_concept(self, code: str, group: str | None = None) -> np.ndarray:
        """int64: the rows of a concept's names, ascending; of one group where it is given."""
        index = self._concept_index(code)
        if index is None:
            return np.zeros(0, dtype=np.int64)
        first = self._concepts["names_first"][index].as_py()
        stop = first + self._concepts["n_names"][index].as_py()
        rows = np.sort(_numpy(self._names["by_concept"])[first:stop].astype(np.int64))
        if group is None:
            return rows
        of_group = self.rows_of_group(group)
        return rows[(rows >= of_group.start) & (rows < of_group.stop)]

    def lookup(self, name: str, group: str) -> int | None:
        """The row of exactly this name in the group."""
        rows = self.rows_of_group(group)
        return _find(self._names["name"], name, rows.start, rows.stop)

    def search(self, text: str, group: str | None = None) -> dict[str, np.ndarray]:
        """Rows by how their names match `text`: exact, case-folded, prefix; each row once."""
        rows = range(self.n_names) if group is None else self.rows_of_group(group)
        folded = pc.utf8_lower(pa.scalar(text)).as_py()  # as the names are
        same, begins = [], []
        step = 1 << 18
        for start in range(rows.start, rows.stop, step):
            names = self._names["name"].slice(start, min(step, rows.stop - start)).combine_chunks()
            lower = pc.utf8_lower(names)
            same.append(start + _where(pc.equal(lower, folded)))
            begins.append(start + _where(pc.starts_with(lower, pattern=folded)))
        case_folded = np.concatenate([np.zeros(0, np.int64), *same])
        prefix = np.concatenate([np.zeros(0, np.int64), *begins])
        is_exact = np.array([name == text for name in self.names_of(case_folded)], dtype=bool)
        exact = case_folded[is_exact]
        return {
            "exact": exact,
            "case-folded": np.setdiff1d(case_folded, exact),
            "prefix": np.setdiff1d(prefix, case_folded),
        }

    def corpus_of_document(self, document: str) -> str | None:
        """The corpus from whose document of this id names of this knowledge base came."""
        if self.corpus_of_hash is None:
            self.corpus_of_hash = {}
            table = open_beside(self.path, DOCUMENTS) if "corpora" in self.info else None
            if table is not None:
                columns = (table[name].to_pylist() for name in ("document", "corpus"))
                self.corpus_of_hash = dict(zip(*columns, strict=True))
        return self.corpus_of_hash.get(document_hash(document)) if self.corpus_of_hash else None

    def audit(self) -> pa.Table:
        """What became of names that were dropped or given to another concept."""
        return read_stored(self.path / "audit.parquet")

    def trie(self, tokenizer: Tokenizer) -> Trie:
        """The trie of all groups for this tokenizer; built and kept where there is none yet."""
        from kb_builder.trie.tokenization import tokenizer_hash

        digest = tokenizer_hash(tokenizer)
        if digest not in self._tries:
            kept = self._find_trie(digest)
            self._tries[digest] = kept or self._make_trie(tokenizer, digest)
        return self._tries[digest]

    def _find_trie(self, digest: str) -> Trie | None:
        for folder in self._trie_folders():
            trie = load_trie(folder, digest, self.signature)
            if trie is not None:
                sweep(folder)  # of a process that was killed once a form of it was there
                return trie
        return None

    def _trie_folders(self) -> Iterator[Path]:
        if self.is_in_place():
            yield self.path / "tries"
        yield cache_folder() / "tries" / self.signature

    def is_in_place(self) -> bool:
        """Whether this knowledge base still has its path: another may have been put there."""
        try:
            return bool(_described(self.path / "kb.json")["signature"] == self.signature)
        except (LongbelError, OSError):
            return False

    def _make_trie(self, tokenizer: Tokenizer, digest: str) -> Trie:
        from kb_builder.trie.tokenization import AnswerTokenizer

        folder = next(
            (candidate for candidate in self._trie_folders() if is_writable(candidate)), None
        )
        if folder is None:
            log.warning(
                "no writable folder to keep the trie for this tokenizer in: building it in memory"
            )
            return self._build_trie(AnswerTokenizer(tokenizer))
        with locked(folder / f".{digest}.lock"):
            trie = load_trie(folder, digest, self.signature)  # another process may have built it
            if trie is None:
                log.info("building the trie of %d names for this tokenizer, once", self.n_names)
                built = self._build_trie(AnswerTokenizer(tokenizer))
                if folder == self.path / "tries" and not self.is_in_place():
                    return built  # replaced meanwhile: it is no trie of the new one's names
                save_trie(built, folder, digest, self.signature)
                log.info("kept the trie in %s", folder)
                trie = load_trie(folder, digest, self.signature)
        assert trie is not None
        return trie

    def _build_trie(self, answers: AnswerTokenizer) -> Trie:
        runs = answers.encode_column(self._names["name"])
        first = self._group_first.tolist()
        return build_trie(self.groups, first, runs, answers.prefix_id, MAX_ANSWER_TOKENS)

    def add_trie(self, answers: AnswerTokenizer) -> Trie:
        """Build the trie for this tokenizer into the knowledge base's own directory."""
        folder = self.path / "tries"
        folder.mkdir(exist_ok=True)
        save_trie(self._build_trie(answers), folder, answers.hash, self.signature)
        trie = load_trie(folder, answers.hash, self.signature)
        assert trie is not None
        return trie


def _described(file: Path) -> dict[str, Any]:
    """What `kb.json` says, with all that is asked of it."""
    try:
        info: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = info["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise LongbelError(
            f"{file}: not the description of a knowledge base", hint=BUILD_AGAIN
        ) from error
    if version != FORMAT_VERSION:
        raise LongbelError(
            f"{file}: format version {version}; this program reads {FORMAT_VERSION}",
            hint="Build the knowledge base again with this version of longbel.",
        )
    lacking = [key for key in _DESCRIPTION if key not in info]
    for group in info.get("groups", ()):
        known = group if isinstance(group, dict) else ()
        lacking += [f"{key} of a group" for key in _DESCRIPTION_OF_GROUP if key not in known]
    if lacking:
        raise LongbelError(f"{file}: it lacks {', '.join(lacking)}", hint=BUILD_AGAIN)
    return info


def _where(mask: pa.Array) -> np.ndarray:
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))


def _find(column: pa.ChunkedArray, text: str, low: int, high: int) -> int | None:
    """The position of `text` among strings that are sorted from `low` to `high`."""
    at = bisect_left(column, text, low, high, key=lambda value: value.as_py())
    return at if at < high and column[at].as_py() == text else None


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    """The column as numpy, without a copy where it is one chunk."""
    if column.num_chunks == 1:
        return column.chunk(0).to_numpy(zero_copy_only=True)
    return column.to_numpy()
