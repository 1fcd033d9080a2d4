"""OMOP concept ids for codes of a knowledge base: by a map, a vocabulary folder, or the knowledge
base itself.

A code's concept is the standard one ("Maps to"), its source concept the one that its vocabulary has
for it. 0 stands for none, as in OMOP.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from kb_builder.codes import joined_code, plain
from kb_builder.errors import LongbelError
from kb_builder.headers import delimiter_of, shown_columns

# Sources as UMLS abbreviates them, by OMOP's vocabulary_id, those first whose codes map best.
VOCABULARIES = {
    "SNOMED": ("SNOMEDCT_US", "SNOMEDCT", "SCTSPA"),
    "RxNorm": ("RXNORM",),
    "LOINC": ("LNC",),
    "ICD10CM": ("ICD10CM",),
    "ICD10": ("ICD10",),
    "ICD9CM": ("ICD9CM",),
    "ICDO3": ("ICDO3", "ICDO"),
    "MedDRA": ("MDR",),
    "ATC": ("ATC",),
    "CPT4": ("CPT",),
    "HCPCS": ("HCPCS",),
    "CVX": ("CVX",),
    "NCIt": ("NCI",),
    "MeSH": ("MSH", "MESH"),
    "HPO": ("HPO", "HP"),
    "OMIM": ("OMIM",),
}
_VOCABULARY_OF = {source: name for name, sources in VOCABULARIES.items() for source in sources}
_MAP_COLUMNS = (("code", "concept_id", ""), ("source_code", "target_concept_id", "invalid_reason"))


class ConceptIds(NamedTuple):
    """The standard concept of a code and the concept of its source."""

    concept: int
    source: int


NONE = ConceptIds(0, 0)


class SourceCode(NamedTuple):
    """A concept's code in a vocabulary of the knowledge base."""

    source: str
    code: str


class ConceptMap(Protocol):
    """OMOP concepts by code."""

    def ids_of(self, code: str) -> ConceptIds:
        """0 and 0 for a code that it does not have."""
        ...


class GivenMap:
    """Ids by code, from whatever file."""

    def __init__(self, ids: Mapping[str, ConceptIds]) -> None:
        self._ids = ids

    def ids_of(self, code: str) -> ConceptIds:
        return self._ids.get(code, NONE)


class OwnIds:
    """A knowledge base whose codes are concept ids."""

    def ids_of(self, code: str) -> ConceptIds:
        return ConceptIds(int(code), int(code)) if code.isdecimal() else NONE


def read_map(path: Path) -> GivenMap:
    """A table `code,concept_id`, or of the layout of SOURCE_TO_CONCEPT_MAP, of which rows that are
    no longer valid are passed over. LongbelError for a code with two targets."""
    ids: dict[str, ConceptIds] = {}
    for line, row in _table(path):
        layout = next((each for each in _MAP_COLUMNS if {*each[:2]} <= row.keys()), None)
        if layout is None:
            raise LongbelError(
                f"{path}: its columns ({shown_columns([*row])}) are no map to OMOP concepts",
                "Give `code,concept_id`, or a table with the columns of SOURCE_TO_CONCEPT_MAP.",
            )
        code, target, invalid = (row.get(column, "").strip() for column in layout)
        if invalid or not target:
            continue
        code = plain(joined_code(code))
        source = row.get("source_concept_id", "").strip() or "0"
        if not (target.isdecimal() and source.isdecimal()):
            raise LongbelError(f"{path}:{line}: a concept id is no whole number", "Mend the row.")
        made = ConceptIds(int(target), int(source))
        if ids.setdefault(code, made).concept != made.concept:
            raise LongbelError(
                f"{path}:{line}: {code} has two targets, {ids[code].concept} and {target}",
                "Keep the one that NOTE_NLP should have.",
            )
    return GivenMap(ids)


def read_note_ids(path: Path) -> dict[str, int]:
    """A table `document_id,note_id`. LongbelError where a document has two notes, or a note two
    documents."""
    note_of: dict[str, int] = {}
    for line, row in _table(path):
        if not {"document_id", "note_id"} <= row.keys():
            raise LongbelError(
                f"{path}: its columns ({shown_columns([*row])}) are not document_id and note_id",
                "Give a table `document_id,note_id`.",
            )
        document, text = row["document_id"], row["note_id"].strip()
        try:
            note = int(text)
        except ValueError as error:
            raise LongbelError(f"{path}:{line}: a note_id is no whole number") from error
        if note_of.setdefault(document, note) != note:
            raise LongbelError(f"{path}:{line}: document {document} has two note ids")
    if len({*note_of.values()}) < len(note_of):
        raise LongbelError(f"{path}: two documents have the same note_id", "Mend the table.")
    return note_of


def _table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV or TSV with a header, by lower-case column, each with its line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            delimiter = delimiter_of(stream.readline(), ",")
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=delimiter, restval="")
            for row in reader:
                yield (
                    reader.line_num,
                    {
                        name.strip().lower(): value
                        for name, value in row.items()
                        if name is not None
                    },
                )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is no table in UTF-8"
        raise LongbelError(f"{path}: cannot be read ({reason})") from error


# A vocabulary folder ------------------------------------------------------------------------------


def map_through(folder: Path, codes: Mapping[str, Iterable[SourceCode]]) -> GivenMap:
    """The concepts of codes by their source codes in an OMOP vocabulary folder.

    Of a code's source codes the first counts, in the order of VOCABULARIES, whose concept is
    standard or maps to one that is valid; without any, the first that the folder has gives the
    source concept alone. Of several targets the smallest id stands.
    """
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    by_code = {code: sorted(map(_as_omop, sources), key=_order) for code, sources in codes.items()}
    for sources in by_code.values():
        for source in sources:
            wanted[source.source].add(source.code)
    concepts = _concepts(_file(folder, "CONCEPT.csv"), wanted)
    mapped = _maps_to(
        _file(folder, "CONCEPT_RELATIONSHIP.csv"), [row.id for row in concepts.values()]
    )
    ids = {}
    for code, sources in by_code.items():
        there = [concepts[source] for source in sources if source in concepts]
        targets = ((row, row.id if row.is_standard else mapped.get(row.id, 0)) for row in there)
        first = next(((row, target) for row, target in targets if target), None)
        if first is not None:
            ids[code] = ConceptIds(first[1], first[0].id)
        elif there:
            ids[code] = ConceptIds(0, there[0].id)
    return GivenMap(ids)


class _Row(NamedTuple):
    id: int
    is_standard: bool


def _as_omop(source: SourceCode) -> SourceCode:
    return SourceCode(_VOCABULARY_OF.get(source.source, source.source), source.code)


def _order(source: SourceCode) -> tuple[int, str, str]:
    names = [*VOCABULARIES]
    known = source.source in VOCABULARIES
    return names.index(source.source) if known else len(names), source.source, source.code


def _file(folder: Path, name: str) -> Path:
    try:
        named = next((each for each in folder.iterdir() if each.name.upper() == name.upper()), None)
    except OSError as error:
        raise LongbelError(f"{folder}: cannot be read ({error.strerror})") from error
    if named is None:
        raise LongbelError(
            f"{folder}: no {name} in it",
            "Give the folder that Athena's archive was unpacked into.",
        )
    return named


def _concepts(path: Path, wanted: Mapping[str, set[str]]) -> dict[SourceCode, _Row]:
    """Concepts by vocabulary and code; of several with one code the valid one."""
    names = ("concept_id", "vocabulary_id", "concept_code", "standard_concept", "invalid_reason")
    codes = pa.array(sorted({code for of_source in wanted.values() for code in of_source}))
    concepts: dict[SourceCode, _Row] = {}
    invalid: dict[SourceCode, _Row] = {}
    for batch in _batches(path, names):
        kept = batch.filter(pc.is_in(batch["concept_code"], value_set=codes.cast(pa.string())))
        for concept, vocabulary, code, standard, reason in _rows(kept, names):
            if code in wanted.get(vocabulary, ()):
                row = _Row(int(concept), standard == "S" and not reason)
                (invalid if reason else concepts)[SourceCode(vocabulary, code)] = row
    return invalid | concepts


def _maps_to(path: Path, ids: Iterable[int]) -> dict[int, int]:
    """The smallest valid target of "Maps to", by concept."""
    names = ("concept_id_1", "concept_id_2", "relationship_id", "invalid_reason")
    wanted = pa.array([str(each) for each in ids], pa.string())
    target: dict[int, int] = {}
    for batch in _batches(path, names):
        kept = batch.filter(
            pc.and_(
                pc.equal(batch["relationship_id"], "Maps to"),
                pc.is_in(batch["concept_id_1"], value_set=wanted),
            )
        )
        for first, second, _, reason in _rows(kept, names):
            if not reason:
                target[int(first)] = min(int(second), target.get(int(first), int(second)))
    return target


def _rows(batch: pa.RecordBatch, names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(batch[name].to_pylist() for name in names), strict=True)


def _batches(path: Path, names: Iterable[str]) -> Iterator[pa.RecordBatch]:
    """Columns as text; Athena's files have tabs and no quoting at all."""
    columns = list(names)
    try:
        reader = pa.csv.open_csv(
            path,
            parse_options=pa.csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pa.csv.ConvertOptions(
                include_columns=columns,
                column_types={name: pa.string() for name in columns},
                strings_can_be_null=False,
            ),
        )
        yield from reader
    except (OSError, pa.ArrowException) as error:
        raise LongbelError(
            f"{path}: cannot be read as a table of an OMOP vocabulary ({type(error).__name__})",
            f"It needs the columns {', '.join(columns)}, separated by tabs.",
        ) from error
