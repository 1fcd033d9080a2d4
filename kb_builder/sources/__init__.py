"""Where terms come from: one row of SOURCES for each kind of source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kb_builder.errors import LongbelError
from kb_builder.sources.archives import is_stored_as, names_within
from kb_builder.sources.mesh import is_mesh, read_mesh
from kb_builder.sources.obo import is_obo, read_obo
from kb_builder.sources.obograph import is_obograph, read_obograph
from kb_builder.sources.omop import read_omop
from kb_builder.sources.omop_tables import CONCEPT
from kb_builder.sources.reading import Reading, Source
from kb_builder.sources.rxnorm import RXNORM, read_rxnorm
from kb_builder.sources.tables import is_table, read_table
from kb_builder.sources.text_to_code import is_text_to_code, read_text_to_code
from kb_builder.sources.umls import UMLS, read_umls
from kb_builder.terms import Terms

_ALL = frozenset({"--semantic-groups"})
_RELEASE = _ALL | {
    "--languages", "--vocabularies", "--semantic-types", "--preset", "--suppressible"
}  # fmt: skip

_OMOP = _ALL | {
    "--languages", "--vocabularies", "--group", "--code", "--domains", "--standard-only"
}  # fmt: skip
_MESH = _ALL | {"--group", "--suppressible"}
_ONTOLOGY = _ALL | {"--languages", "--vocabularies", "--group", "--group-by", "--synonyms"}


def _holds(name: str) -> Callable[[Path], bool]:
    """Whether a path is the file `name` of a release, or a folder or archive in which it is."""

    def matches(path: Path) -> bool:
        return any(is_stored_as(held, name) for held in names_within(path))

    return matches


def _is_release(path: Path) -> bool:
    """Also a folder or archive in which nothing is known: what it lacks can then be said."""
    archive = path.suffix.lower() in (".zip", ".nlm")
    return path.is_dir() or archive or _holds(UMLS.conso)(path)


# The first row that matches is the kind of a source.
SOURCES: tuple[Source, ...] = (
    Source("obo", "an OBO file", is_obo, read_obo, _ONTOLOGY, several=True),
    Source(
        "obograph", "an OBO Graph JSON file", is_obograph, read_obograph, _ONTOLOGY, several=True
    ),
    Source("text_to_code", "text_to_code.json", is_text_to_code, read_text_to_code, _ALL),
    Source("mesh", "a MeSH XML file", is_mesh, read_mesh, _MESH, several=True),
    Source("omop", "an OMOP vocabulary folder", _holds(CONCEPT), read_omop, _OMOP),
    Source(
        "table", "a table of names", is_table, read_table,
        _ALL | {"--languages", "--group", "--columns"}, several=True,
    ),
    Source("rxnorm", "an RxNorm release", _holds(RXNORM.conso), read_rxnorm, _RELEASE),
    Source("umls", "a UMLS release", _is_release, read_umls, _RELEASE),
)  # fmt: skip

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
        f"{path}: no kind of source that is known by this name",
        hint=f"Known are {', '.join(source.title for source in SOURCES)}.",
    )
