"""Where terms come from: one row of SOURCES for each kind of source.

A kind is a module beside this one with two functions, `matches(path)` and `read(reading)`. It is
imported when there is a path to know or to read: naming the kinds loads nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from kb_builder.errors import LongbelError

if TYPE_CHECKING:
    from kb_builder.sources.reading import Reading
    from kb_builder.terms import Terms


@dataclass(frozen=True)
class Source:
    """A kind of source: its module, what messages call it, the files that it comes in, and the
    options of the selection that apply to it. `several` of its files may be read together."""

    name: str
    module: str
    title: str
    files: str
    options: frozenset[str]
    several: bool = False

    @property
    def help(self) -> str:
        return f"{self.title} ({self.files})"

    def matches(self, path: Path) -> bool:
        """Whether a path is of this kind."""
        return bool(import_module(f"{__name__}.{self.module}").matches(path))

    def read(self, reading: Reading) -> Terms:
        """The terms at the paths."""
        terms: Terms = import_module(f"{__name__}.{self.module}").read(reading)
        return terms


_ALL = frozenset({"--semantic-groups"})
_RELEASE = _ALL | {
    "--languages", "--vocabularies", "--semantic-types", "--preset", "--suppressible"
}  # fmt: skip
_OMOP = _ALL | {
    "--languages", "--vocabularies", "--group", "--code", "--domains", "--standard-only"
}  # fmt: skip
_MESH = _ALL | {"--group", "--suppressible"}
_TABLE = _ALL | {"--languages", "--group", "--columns"}
_ONTOLOGY = _ALL | {"--languages", "--vocabularies", "--group", "--group-by", "--synonyms"}

# The first row that matches is the kind of a source.
SOURCES: tuple[Source, ...] = (
    Source("obo", "obo", "an OBO file", ".obo", _ONTOLOGY, several=True),
    Source(
        "obograph", "obograph", "an OBO Graph JSON file", ".json", _ONTOLOGY, several=True
    ),
    Source("text_to_code", "text_to_code", "text_to_code.json", "of a checkpoint", _ALL),
    Source("mesh", "mesh", "a MeSH XML file", ".xml", _MESH, several=True),
    Source("omop", "omop", "an OMOP vocabulary folder", "CONCEPT.csv and others", _OMOP),
    Source(
        "table", "tables", "a table of names", ".tsv, .csv, .parquet with code, name and group",
        _TABLE, several=True,
    ),
    Source("rxnorm", "rxnorm", "an RxNorm release", "folder, .zip", _RELEASE),
    Source("umls", "umls", "a UMLS release", "folder, .zip, .nlm", _RELEASE),
)  # fmt: skip


def takers(option: str) -> list[str]:
    """The names of the kinds that an option applies to."""
    return [source.name for source in SOURCES if option in source.options]


# Files that are known and not read, by their suffix: why, and what to do.
_REFUSED: dict[tuple[str, ...], tuple[str, str]] = {
    (".owl", ".owx", ".ofn", ".omn", ".ttl", ".rdf"): (
        "OWL is not read, OBO and OBO Graph JSON are",
        "Convert it with ROBOT: robot convert --input {name} --output {stem}.obo --check false",
    ),
    (".pkl", ".pickle"): (
        "pickles are never read, they run code",
        "A checkpoint's text_to_code.json holds the same names.",
    ),
}


def read_terms(reading: Reading) -> Terms:
    """The terms of the sources at the paths, all of one kind."""
    source = source_of(reading.paths)
    refused = sorted(reading.selection.given() - source.options)
    if refused:
        takers = ", ".join(row.title for row in SOURCES if refused[0] in row.options)
        raise LongbelError(
            f"{refused[0]} does not apply to {source.title}",
            hint=f"It applies to {takers}." if takers else "",
            exit_code=2,
        )
    return source.read(reading)


def source_of(paths: tuple[Path, ...]) -> Source:
    """The kind of source that all of these are."""
    kinds = [_kind(path) for path in paths]
    for path, kind in zip(paths, kinds, strict=True):
        if kind is not kinds[0]:
            raise LongbelError(
                f"{paths[0]} is {kinds[0].title}, {path} is {kind.title}",
                hint="A knowledge base is built from sources of one kind.",
                exit_code=2,
            )
    if len(paths) > 1 and not kinds[0].several:
        raise LongbelError(f"{paths[1]}: only one {kinds[0].name} source is read", exit_code=2)
    if len({path.resolve() for path in paths}) < len(paths):
        raise LongbelError("a source is named twice", exit_code=2)
    return kinds[0]


def _kind(path: Path) -> Source:
    if not path.exists():
        raise LongbelError(f"{path}: no such file or folder")
    for suffixes, (why, hint) in _REFUSED.items():
        if path.name.lower().removesuffix(".gz").endswith(suffixes):
            hint = hint.format(name=path.name, stem=path.name.split(".")[0])
            raise LongbelError(f"{path}: {why}", hint=hint)
    for source in SOURCES:
        if source.matches(path):
            return source
    raise LongbelError(
        f"{path}: the name does not tell which kind of source it is",
        hint=f"Known are {', '.join(source.title for source in SOURCES)}.",
    )
