"""OBO files as terms of an ontology, stanza by stanza.

fastobo reads every stanza that is valid OBO. Of one that is not, a plain reading takes id, name,
namespace, synonyms, parents and successors; what of these it cannot read is quarantined.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fastobo

from kb_builder.files import new_sha256
from kb_builder.sources.archives import head, stored
from kb_builder.sources.curies import curie_of
from kb_builder.sources.ontology import OntologyTerm, Synonym, read_ontology
from kb_builder.sources.reading import Reading
from kb_builder.sources.rrf import NOT_UTF8, whole_rows
from kb_builder.sources.selection import BadRows
from kb_builder.terms import Terms

_BATCH = 500  # stanzas that are handed to fastobo together
_HEADER = "format-version: 1.4\n\n"
_LANGUAGE_TAGS = ("xml:lang", "lang", "language")
_STANZA = re.compile(r"\s*\[([^\]]*)\]\s*(?:!.*)?\Z")
_CLAUSE = re.compile(r"\s*([\w-]+)\s*:\s*(.*?)\s*\Z", re.DOTALL)


class _Stanza(NamedTuple):
    """A [Term] stanza: its line, and the lines below it with their numbers."""

    line: int
    lines: list[tuple[int, str]]

    @property
    def text(self) -> str:
        return "".join(("[Term]\n", *(f"{text}\n" for _, text in self.lines), "\n"))


class OboFile:
    """One OBO file."""

    def __init__(self, path: Path, bad: BadRows) -> None:
        self.path = path
        self._bad = bad
        self._digest = new_sha256()
        self._n_lines = 0
        self.release: str | None = None
        self.namespace: str | None = None
        self.language: str | None = None
        self.n_partly_read = 0
        self.partly_read_line = 0
        self.edges: list[tuple[str, str, int]] = []  # parents stand in their stanzas

    @property
    def about(self) -> dict[str, object]:
        """What is to be said of the file."""
        return {"name": self.path.name, "rows": self._n_lines, "sha256": self._digest.hexdigest()}

    def terms(self) -> Iterator[OntologyTerm]:
        """Every term that has an id."""
        batch: list[_Stanza] = []
        for stanza in self._stanzas():
            batch.append(stanza)
            if len(batch) == _BATCH:
                yield from self._read(batch)
                batch = []
        yield from self._read(batch)

    def _stanzas(self) -> Iterator[_Stanza]:
        """The [Term] stanzas; the header is read on the way, other stanzas are left out."""
        stanza: _Stanza | None = None
        kind = "header"
        for line_number, line in self._lines():
            head = _STANZA.match(line) if "[" in line else None
            if head is not None and line.lstrip().startswith("["):
                if stanza is not None:
                    yield stanza
                kind = head[1].strip()
                stanza = _Stanza(line_number, []) if kind == "Term" else None
            elif line.lstrip().startswith("["):
                self._bad.add(self.path.name, line_number, "a stanza's head that is not closed")
                if stanza is not None:
                    yield stanza
                stanza, kind = None, ""
            elif stanza is not None:
                stanza.lines.append((line_number, line))
            elif kind == "header":
                self._read_header(line)
        if stanza is not None:
            yield stanza

    def _lines(self) -> Iterator[tuple[int, str]]:
        for block in whole_rows(stored(self.path).blocks(self._digest.update), self.path.name):
            for line in block.data.split(b"\n")[:-1]:
                self._n_lines += 1
                if self._n_lines == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                try:
                    yield self._n_lines, line.removesuffix(b"\r").decode("utf-8")
                except UnicodeDecodeError:
                    self._bad.add(self.path.name, self._n_lines, NOT_UTF8)

    def _read_header(self, line: str) -> None:
        clause = _CLAUSE.match(line)
        if clause is None:
            return
        tag, value = clause[1], _plain(clause[2])
        if tag == "default-namespace":
            self.namespace = value
        elif tag == "data-version":
            self.release = value
        elif tag == "property_value":
            about, _, rest = value.partition(" ")
            if re.search(r"[:/#]language\Z", about):
                self.language = rest.strip().strip('"').split('"')[0]

    def _read(self, batch: list[_Stanza]) -> Iterator[OntologyTerm]:
        frames = _frames([stanza.text for stanza in batch])
        for stanza, frame in zip(batch, frames, strict=True):
            if frame is not None:
                yield _term_of(frame, stanza.line)
                continue
            self.n_partly_read += 1
            self.partly_read_line = self.partly_read_line or stanza.line
            term = self._read_plainly(stanza)
            if term is not None:
                yield term

    def _read_plainly(self, stanza: _Stanza) -> OntologyTerm | None:
        term = OntologyTerm("", stanza.line)
        for line_number, line in stanza.lines:
            clause = _CLAUSE.match(line)
            take = None if clause is None else _PLAIN.get(clause[1])
            if clause is None or take is None:
                continue
            if not take(term, clause[1], clause[2]):
                self._bad.add(self.path.name, line_number, f"{clause[1]} that cannot be read")
        if not term.id:
            self._bad.add(self.path.name, stanza.line, "a term without an id")
            return None
        return term


def _frames(stanzas: list[str]) -> list[Any]:
    """A frame for each stanza, None where it is not valid."""
    frames: list[Any] = []
    reader = fastobo.iter(io.BytesIO((_HEADER + "".join(stanzas)).encode()), threads=1)
    while True:
        try:
            frames.append(next(reader))
        except StopIteration:
            break
        except SyntaxError:
            frames.append(None)
    if len(frames) != len(stanzas):  # it sees other borders between them than we do
        return [_frames([stanza])[0] for stanza in stanzas] if len(stanzas) > 1 else [None]
    return frames


def _term_of(frame: Any, line: int) -> OntologyTerm:
    term = OntologyTerm(_text_of(frame.id), line)
    for clause in frame:
        take = _CLAUSES.get(type(clause))
        if take is not None:
            take(term, clause)
    return term


def _text_of(identifier: Any) -> str:
    """An identifier without escapes, a URL as a CURIE."""
    if isinstance(identifier, fastobo.id.PrefixedIdent):
        return f"{identifier.prefix}:{identifier.local}"
    if isinstance(identifier, fastobo.id.UnprefixedIdent):
        return str(identifier.unescaped)
    return curie_of(str(identifier))


def _language_of(clause: Any) -> str | None:
    for qualifier in clause.qualifiers or ():
        if _text_of(qualifier.key).lower() in _LANGUAGE_TAGS:
            return str(qualifier.value)
    return None


def _take_name(term: OntologyTerm, clause: Any) -> None:
    if term.name is None:
        term.name, term.language = str(clause.name), _language_of(clause)


def _take_synonym(term: OntologyTerm, clause: Any) -> None:
    synonym = clause.synonym
    scope = str(synonym.scope or "RELATED").lower()
    term.synonyms.append(Synonym(str(synonym.desc), scope, _language_of(clause)))


def _take_namespace(term: OntologyTerm, clause: Any) -> None:
    term.namespace = _text_of(clause.namespace)


def _take_obsolete(term: OntologyTerm, clause: Any) -> None:
    term.obsolete = bool(clause.obsolete)


_CLAUSES: dict[type, Callable[[OntologyTerm, Any], None]] = {
    fastobo.term.NameClause: _take_name,
    fastobo.term.SynonymClause: _take_synonym,
    fastobo.term.NamespaceClause: _take_namespace,
    fastobo.term.IsObsoleteClause: _take_obsolete,
    fastobo.term.IsAClause: lambda term, clause: term.parents.append(_text_of(clause.term)),
    fastobo.term.AltIdClause: lambda term, clause: term.merged.append(_text_of(clause.alt_id)),
    fastobo.term.XrefClause: lambda term, clause: term.xrefs.append(_text_of(clause.xref.id)),
    fastobo.term.ReplacedByClause: (
        lambda term, clause: term.replaced_by.append(_text_of(clause.term))
    ),
}

# The plain reading: a clause of that tag into the term, False where it cannot be read. ----------

_ESCAPES = {"n": "\n", "W": " ", "t": "\t"}
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*([A-Z]*)', re.DOTALL)
_LANGUAGE = re.compile(r'\{[^{}]*\b(?:xml:)?lang(?:uage)?="([A-Za-z-]+)"[^{}]*\}', re.IGNORECASE)
_TRAILING = re.compile(r"\s*(?:(?<!\\)\{[^{}]*(?<!\\)\})?\s*(?:(?<!\\)!.*)?\Z", re.DOTALL)
_OLD_SCOPES = tuple(f"{scope}_synonym" for scope in ("exact", "related", "broad", "narrow"))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text, flags=re.DOTALL)


def _plain(value: str) -> str:
    """A value without qualifiers and comment."""
    return _unescaped(value[: _TRAILING.search(value).start()])  # type: ignore[union-attr]  # matches


def _identifier(value: str) -> str:
    words = _plain(value).split()
    return curie_of(words[0]) if words else ""


def _plain_id(term: OntologyTerm, tag: str, value: str) -> bool:
    term.id = _identifier(value)
    return bool(term.id)


def _plain_name(term: OntologyTerm, tag: str, value: str) -> bool:
    name = _plain(value)
    if name and term.name is None:
        match = _LANGUAGE.search(value)
        term.name, term.language = name, match[1] if match else None
    return bool(name)


def _plain_namespace(term: OntologyTerm, tag: str, value: str) -> bool:
    term.namespace = _plain(value) or None
    return term.namespace is not None


def _plain_synonym(term: OntologyTerm, tag: str, value: str) -> bool:
    match = _QUOTED.match(value)
    if match is None:
        return False
    scope = tag.partition("_")[0] if tag in _OLD_SCOPES else match[2].lower() or "related"
    language = _LANGUAGE.search(value, match.end())
    term.synonyms.append(Synonym(_unescaped(match[1]), scope, language[1] if language else None))
    return True


def _plain_obsolete(term: OntologyTerm, tag: str, value: str) -> bool:
    word = _plain(value)
    term.obsolete = word == "true"
    return word in ("true", "false")


def _into(field: str) -> Callable[[OntologyTerm, str, str], bool]:
    def take(term: OntologyTerm, tag: str, value: str) -> bool:
        code = _identifier(value)
        if code:
            getattr(term, field).append(code)
        return bool(code)

    return take


_PLAIN: dict[str, Callable[[OntologyTerm, str, str], bool]] = {
    "id": _plain_id,
    "name": _plain_name,
    "namespace": _plain_namespace,
    "synonym": _plain_synonym,
    **dict.fromkeys(_OLD_SCOPES, _plain_synonym),
    "is_a": _into("parents"),
    "alt_id": _into("merged"),
    "is_obsolete": _plain_obsolete,
    "replaced_by": _into("replaced_by"),
}


def read(reading: Reading) -> Terms:
    """The terms of OBO files."""
    return read_ontology([OboFile(path, reading.bad) for path in reading.paths], reading)


def matches(path: Path) -> bool:
    """By its name, or by its first line where the name says nothing."""
    name = path.name.lower().removesuffix(".gz")
    return path.is_file() and (
        name.endswith(".obo")
        or ("." not in name and head(path).startswith((b"format-version:", b"ontology:")))
    )
