"""MeSH in XML: descriptors and supplementary concept records, record by record.

Entities are refused: a file of NLM's has none. A record's code is its UI; all terms of all its
concepts are its names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from kb_builder.errors import LongbelError
from kb_builder.files import new_sha256
from kb_builder.semantics import GROUP_NAMES, group_of_tui
from kb_builder.sources.archives import head, stored
from kb_builder.sources.collected import Collected
from kb_builder.sources.reading import Reading, umls_language
from kb_builder.terms import Terms

SOURCE = "MSH"  # as UMLS calls it
# By the longest prefix of a tree number.
GROUP_OF_TREE: dict[str, str] = {
    "A": "ANAT", "B": "LIVB", "C": "DISO", "D": "CHEM", "E": "PROC", "E07": "DEVI", "F01": "ACTI",
    "F02": "PHYS", "F03": "DISO", "F04": "PROC", "G": "PHYS", "G01": "PHEN", "G02": "PHEN",
    "G16": "PHEN", "G17": "CONC", "H": "OCCU", "I": "CONC", "I03": "ACTI", "J": "OBJC",
    "K": "CONC", "L": "CONC", "M": "LIVB", "N": "CONC", "V": "CONC", "Z": "GEOG",
}  # fmt: skip
# SCRClass of a supplementary record: chemicals, protocols, diseases, organisms, populations,
# anatomy.
GROUP_OF_CLASS = {
    "1": "CHEM", "2": "PROC", "3": "DISO", "4": "LIVB", "5": "LIVB", "6": "ANAT",
}  # fmt: skip
_RECORDS = {"DescriptorRecord": "Descriptor", "SupplementalRecord": "SupplementalRecord"}
_REGISTRIES = {
    "CAS": re.compile(r"\d{2,7}-\d\d-\d"),
    "EC": re.compile(r"EC [\d.-]+"),
    "UNII": re.compile(r"[0-9A-Z]{10}"),
}
_CONCEPT = "ConceptList/Concept"
_TERM = f"{_CONCEPT}/TermList/Term"


@dataclass
class _Record:
    line: int
    kind: str
    scr_class: str = ""
    ui: str = ""
    name: str = ""
    terms: list[str] = field(default_factory=list)
    permuted: list[str] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    registry: list[str] = field(default_factory=list)


# Where in a record its values stand.
_LISTS = {
    "TreeNumberList/TreeNumber": "trees",
    "HeadingMappedToList/HeadingMappedTo/DescriptorReferredTo/DescriptorUI": "headings",
    f"{_CONCEPT}/SemanticTypeList/SemanticType/SemanticTypeUI": "types",
    f"{_CONCEPT}/RegistryNumberList/RegistryNumber": "registry",
    f"{_CONCEPT}/RegistryNumber": "registry",
}


class MeshFile:
    """One file of records."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_records = 0
        self.language = "ENG"
        self.release: str | None = None
        self._digest = new_sha256()
        self._open: list[str] = []  # tags within the record
        self._record: _Record | None = None
        self._text: list[str] = []
        self._is_permuted = False
        self._done: list[_Record] = []
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append
        for name in ("EntityDeclHandler", "SkippedEntityHandler", "ExternalEntityRefHandler"):
            setattr(self._parser, name, self._refuse)

    @property
    def about(self) -> dict[str, object]:
        """What is to be said of the file."""
        return {"name": self.path.name, "rows": self.n_records, "sha256": self._digest.hexdigest()}

    def records(self) -> Iterator[_Record]:
        """Every record in turn."""
        try:
            for block in stored(self.path).blocks(self._digest.update):
                self._parser.Parse(block, False)
                yield from self._taken()
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise LongbelError(
                f"{self.path}:{error.lineno}: not well-formed XML "
                f"({expat.errors.messages.get(error.code, 'unknown')})",
                hint="The file is damaged or cut short: download it again.",
            ) from error
        yield from self._taken()

    def _taken(self) -> list[_Record]:
        done, self._done = self._done, []
        return done

    def _refuse(self, *_: object) -> NoReturn:
        raise LongbelError(
            f"{self.path}:{self._parser.CurrentLineNumber}: entities are not read",
            hint="NLM's own files have none: download it again.",
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._record is None:
            if tag in _RECORDS:
                line = self._parser.CurrentLineNumber
                self._record = _Record(line, _RECORDS[tag], attributes.get("SCRClass", ""))
            elif tag.endswith("RecordSet"):
                self.language = umls_language(attributes.get("LanguageCode", "eng"))
            return
        self._open.append(tag)
        if tag == "Term":
            self._is_permuted = attributes.get("IsPermutedTermYN") == "Y"
        self._text.clear()

    def _end(self, tag: str) -> None:
        record = self._record
        if record is None:
            return
        if not self._open:
            self.n_records += 1
            self._done.append(record)
            self._record = None
            return
        path = "/".join(self._open)
        self._open.pop()
        text = "".join(self._text).strip()
        self._text.clear()
        if not text:
            return
        if path == f"{record.kind}UI":
            record.ui = text
        elif path == f"{record.kind}Name/String":
            record.name = text
        elif path == f"{_TERM}/String":
            (record.permuted if self._is_permuted else record.terms).append(text)
        elif path in _LISTS:
            getattr(record, _LISTS[path]).append(text)


def read(reading: Reading) -> Terms:
    """The terms of MeSH files; parents are known across them."""
    collected = Collected(reading)
    collected.counts.update(terms=0, suppressed=0)
    heading_of: dict[str, str] = {}  # by tree number
    below: list[tuple[int, str, str, int]] = []
    for path in reading.paths:
        file = MeshFile(path)
        for record in file.records():
            if file.n_records % 1000 == 0:
                reading.progress("records", file.n_records, None)
            concept = _add(record, file, reading, collected)
            if concept is not None:
                heading_of.update(dict.fromkeys(record.trees, record.ui))
                below += [(concept, tree, path.name, record.line) for tree in record.trees]
        collected.counts["terms"] += file.n_records
        collected.files.append(file.about)
        reading.bad.check(path.name, file.n_records)
    for concept, tree, name, line in below:
        parent = heading_of.get(tree.rpartition(".")[0])
        if parent is not None:
            collected.add_parent(concept, parent, "parent", name, line)
    return collected.terms(collected.parents(), lambda code: SOURCE, None)


def _add(record: _Record, file: MeshFile, reading: Reading, collected: Collected) -> int | None:
    """A record's number, None where it is none of the concepts."""
    source = file.path.name
    if not record.ui or not record.name:
        reading.bad.add(source, record.line, "a record without a UI or a name")
        return None
    group = reading.selection.group
    groups = [group] if group is not None else sorted(groups_of(record))
    if not groups:
        reading.bad.add(source, record.line, "a record without a known group")
        return None
    concept = collected.concept(record.ui)
    collected.add_name(concept, record.name, file.language, is_title=True)
    for term in record.terms:
        collected.add_name(concept, term, file.language)
    if reading.selection.keep_suppressed:
        for term in record.permuted:
            collected.add_name(concept, term, file.language)
    else:
        collected.counts["suppressed"] += len(record.permuted)
    for name in groups:
        collected.add_group(concept, name)
    for registered in record.registry:
        registry = next(
            (key for key, form in _REGISTRIES.items() if form.fullmatch(registered)), None
        )
        if registry is not None:
            collected.add_code(concept, registry, registered)
    for heading in record.headings:
        collected.add_parent(concept, heading.lstrip("*"), "mapped_to", source, record.line)
    return concept


def groups_of(record: _Record) -> set[str]:
    """By semantic types, which older files have; else by tree numbers, else by the class."""
    groups = {group_of_tui(tui) for tui in record.types} - {None}
    if groups:
        return {group for group in groups if group is not None}
    codes = {_group_of_tree(tree) for tree in record.trees}
    if not codes and record.kind != "Descriptor":
        codes = {GROUP_OF_CLASS.get(record.scr_class)}
    return {GROUP_NAMES[code] for code in codes if code is not None}


def _group_of_tree(tree: str) -> str | None:
    category = tree.partition(".")[0]
    return GROUP_OF_TREE.get(category) or GROUP_OF_TREE.get(category[:1])


def matches(path: Path) -> bool:
    """By its first element."""
    if not path.is_file() or not re.search(r"\.(xml|gz)\Z", path.name, re.IGNORECASE):
        return False
    return re.search(rb"<(Descriptor|Supplemental)RecordSet\b", head(path)) is not None
