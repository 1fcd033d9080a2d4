"""What of a source is wanted, and what becomes of rows that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from kb_builder.errors import LongbelError
from kb_builder.semantics import (
    GROUP_NAMES,
    PRESETS,
    SEMANTIC_TYPES,
    Preset,
    group_code_of,
    tui_of,
)
from kb_builder.sources.choices import SCOPES
from kb_builder.sources.rrf import BadRow

BAD_SHARE = 0.001
BAD_ROWS = 10
_CONVERT = "Convert it, for instance with iconv -f windows-1252 -t utf-8."
_KEPT_IN_REPORT = 1_000


@dataclass(frozen=True)
class Selection:
    """What is wanted of a source, and how it is read; None means all, or the source's default."""

    languages: tuple[str, ...] | None = None
    vocabularies: frozenset[str] | None = None
    group_words: frozenset[str] | None = None
    tuis: frozenset[str] | None = None
    preset: Preset = field(default_factory=Preset)
    keep_suppressed: bool = False
    group: str | None = None  # of all names, whatever the source says
    group_by: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # what a table's columns are called
    code: str | None = None
    domains: frozenset[str] | None = None
    standard_only: bool = False
    synonyms: tuple[str, ...] | None = None

    def given(self) -> set[str]:
        """The options that were chosen, as the command line calls them."""
        return {
            option
            for option, is_given in {
                "--languages": self.languages is not None,
                "--vocabularies": self.vocabularies is not None,
                "--semantic-groups": self.group_words is not None,
                "--semantic-types": self.tuis is not None,
                "--preset": self.preset != Preset(),
                "--suppressible": self.keep_suppressed,
                "--group": self.group is not None,
                "--group-by": self.group_by is not None,
                "--columns": bool(self.columns),
                "--code": self.code is not None,
                "--domains": self.domains is not None,
                "--standard-only": self.standard_only,
                "--synonyms": self.synonyms is not None,
            }.items()
            if is_given
        }

    def wants_types(self, tuis: np.ndarray, tree_numbers: pa.LargeBinaryArray) -> np.ndarray:
        """bool[n]: whether rows of MRSTY (TUI number, tree number) are selected."""
        codes = _resolved(self.group_words, group_code_of, "semantic group")
        wanted = np.zeros(1000, dtype=bool)
        for tui, kind in SEMANTIC_TYPES.items():
            wanted[int(tui[1:])] = self._wants(tui, kind.group_code, codes)
        chosen = wanted[tuis]
        if self.preset.tree_prefixes:
            prefixes = tuple(prefix.encode() for prefix in self.preset.tree_prefixes)
            encoded = tree_numbers.dictionary_encode()
            begins = [value.startswith(prefixes) for value in encoded.dictionary.to_pylist()]
            chosen = chosen & np.array(begins, dtype=bool)[encoded.indices.to_numpy()]
        return chosen

    def _wants(self, tui: str, group_code: str, codes: frozenset[str] | None) -> bool:
        preset_groups = self.preset.group_codes
        return (
            (codes is None or group_code in codes)
            and (self.tuis is None or tui in self.tuis)
            and (not preset_groups or group_code in preset_groups)
        )


def selection_of(
    languages: Iterable[str] | None = None,
    vocabularies: Iterable[str] | None = None,
    semantic_groups: Iterable[str] | None = None,
    semantic_types: Iterable[str] | None = None,
    preset: str | None = None,
    keep_suppressed: bool = False,
    group: str | None = None,
    domains: Iterable[str] | None = None,
    synonyms: Iterable[str] | None = None,
    **others: Any,
) -> Selection:
    """The selection that a user's words mean; a word that means nothing is an error."""
    if preset is not None and preset not in PRESETS:
        raise LongbelError(
            f"unknown preset {preset!r}", hint=f"Presets: {', '.join(PRESETS)}.", exit_code=2
        )
    return Selection(
        languages=None if languages is None else tuple(dict.fromkeys(map(_language, languages))),
        vocabularies=None if vocabularies is None else frozenset(vocabularies),
        group_words=None if semantic_groups is None else frozenset(semantic_groups),
        tuis=_resolved(semantic_types, tui_of, "semantic type"),
        preset=PRESETS[preset] if preset is not None else Preset(),
        keep_suppressed=keep_suppressed,
        group=_group(group),
        domains=None if domains is None else frozenset(domains),
        synonyms=None if synonyms is None else _scopes(synonyms),
        **others,
    )


def _group(text: str | None) -> str | None:
    """A group of UMLS by its code or name, else a group of the user's own."""
    if text is None:
        return None
    if not text.strip():
        raise LongbelError("--group needs the name of a group", exit_code=2)
    code = group_code_of(text)
    return text.strip() if code is None else GROUP_NAMES[code]


def _scopes(words: Iterable[str]) -> tuple[str, ...]:
    """Scopes of synonyms; `none` for terms under their own names alone."""
    chosen = {word.strip().casefold() for word in words}
    unknown = sorted(chosen - {*SCOPES, "none"})
    if unknown or ("none" in chosen and len(chosen) > 1):
        raise LongbelError(
            f"--synonyms: {', '.join(unknown) or 'none excludes all others'}",
            hint=f"Scopes are {', '.join(SCOPES)}; or none.",
            exit_code=2,
        )
    return tuple(scope for scope in SCOPES if scope in chosen)


def _language(text: str) -> str:
    code = text.strip().upper()
    if len(code) not in (2, 3) or not code.isascii() or not code.isalpha():
        raise LongbelError(
            f"{text!r} is not a language code",
            hint="UMLS has ENG, FRE, SPA, GER, …; for a table, a value of its language column.",
            exit_code=2,
        )
    return code


def _resolved(words: Iterable[str] | None, resolve: object, what: str) -> frozenset[str] | None:
    if words is None:
        return None
    resolved = {}
    for word in words:
        resolved[word] = resolve(word)  # type: ignore[operator]  # one of two functions of text
        if resolved[word] is None:
            raise LongbelError(
                f"unknown {what} {word!r}",
                hint="Give codes or names of UMLS: DISO or Disorders, T047 or Disease or Syndrome.",
                exit_code=2,
            )
    return frozenset(resolved.values())


class Quarantined(NamedTuple):
    """A row that was not used: its file, its line (0: the whole file) and why. Never its text."""

    file: str
    line: int
    reason: str


class BadRows:
    """Collects unusable rows and says when there are too many."""

    def __init__(self, allowed: int | None = None) -> None:
        self.allowed = allowed
        self.listed: list[Quarantined] = []  # the first ones of each kind
        self.unreadable: dict[str, int] = {}  # by file
        self.untyped = 0

    @property
    def total(self) -> int:
        return sum(self.unreadable.values()) + self.untyped

    def add(self, file: str, line: int, reason: str) -> None:
        """One row that cannot be read."""
        self.unreadable[file] = self.unreadable.get(file, 0) + 1
        if self.unreadable[file] <= _KEPT_IN_REPORT:
            self.listed.append(Quarantined(file, line, reason))

    def add_all(self, file: str, rows: Iterable[BadRow]) -> None:
        for row in rows:
            self.add(file, row.line, row.reason)

    def add_untyped(self, file: str, lines: Iterable[int]) -> None:
        """Concepts without a semantic type, by the first line of each."""
        for line in lines:
            self.untyped += 1
            if self.untyped <= _KEPT_IN_REPORT:
                self.listed.append(Quarantined(file, line, "concept without a semantic type"))

    def check(self, file: str, n_rows: int, required: bool = True) -> None:
        """Stop if `file` has more unreadable rows than are allowed, or no other rows where it is
        `required`."""
        count = self.unreadable.get(file, 0)
        limit = max(BAD_ROWS, BAD_SHARE * n_rows) if self.allowed is None else self.allowed
        if count <= limit and not (required and 0 < n_rows == count):
            return
        first = [row for row in self.listed if row.file == file][:3]
        listed = "; ".join(f"{row.file}:{row.line}: {row.reason}" for row in first)
        if count == n_rows:
            rows = "the only row is" if count == 1 else f"all {count} rows are"
            encoded = any("UTF-8" in row.reason for row in first)
            raise LongbelError(
                f"{rows} unreadable: {listed}",
                hint=_CONVERT if encoded else "Check the file's columns.",
            )
        raise LongbelError(
            f"{count} of {n_rows} rows cannot be read: {listed}",
            hint="Check the file; --max-bad-rows N builds without up to N of them.",
        )
