"""Concept codes in one spelling: of gold, predictions, knowledge bases and training corpora alike.

A text says one of three things: a code, that there is no concept (NO_CODE), or nothing (None).
Prefixes that name a database are no part of a code; ids of ontologies (`HP:0001250`) are whole.
Knows no file format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

NO_CODE = "NO_CODE"
"""The gold of a mention for which the annotators found no concept."""

# Spelled in any letter case.
_NO_CONCEPT = frozenset(("no_code", "cui-less", "cuiless", "nil", "nomap", "unk", "0"))
_UNKNOWN = frozenset(("", "-", "-1", "na", "n/a", "nan", "null", "none", "<na>"))


class Database(NamedTuple):
    """A database by its name and how prefixes spell it: letters and digits alone, in lower case.

    `plain_numbers`: its codes are numbers that another database may have too.
    """

    name: str
    spellings: tuple[str, ...]
    plain_numbers: bool = False


DATABASES = (
    Database("UMLS", ("umls", "cui", "umlscui", "umlscuis", "openkb")),
    Database("MeSH", ("mesh", "msh", "meshid", "meshdescriptor")),
    Database("HPO", ("hpo",)),
    Database(
        "SNOMEDCT",
        ("snomedct", "snomedctus", "snomedctes", "snomed", "snomedid", "sctid", "sct", "sctspa"),
        True,
    ),
    Database("OMIM", ("omim", "mim"), True),
    Database(
        "NCBIGene", ("ncbigene", "ncbigeneidentifier", "entrezgene", "entrez", "geneid"), True
    ),
    Database("NCBITaxID", ("ncbitaxid", "ncbitaxonomy", "taxonomy", "taxonomyid", "taxid"), True),
    Database("RXNORM", ("rxnorm", "rxcui"), True),
    Database("PubChem", ("pubchem", "pubchemcid"), True),
    Database("OMOP", ("omop", "omopconceptid"), True),
    Database("ICD10CM", ("icd10cm",)),
    Database("ICD10", ("icd10",)),
    Database("ICD9CM", ("icd9cm",)),
    Database("ICDO", ("icdo", "icdo3")),
)
_BY_SPELLING = {spelling: base for base in DATABASES for spelling in base.spellings}
_BY_NAME = {base.name: base for base in DATABASES}

# The plus of 3.86661E+08 parts nothing: it has to be seen as damage.
_PLUS = r"(?<![0-9][Ee])\+|\+(?![0-9])"
_JOINED, _SEVERAL = re.compile(_PLUS), re.compile(rf"[|;,]|{_PLUS}")
# tmVar's own form: `p|SUB|P|799|L`, perhaps with facts of the gene behind it. One id.
_VARIANT = re.compile(
    r"\s*(?:[\w-][\w -]*:\s*)*[cgmnpr]\|(?:SUB|DEL|INS|INDEL|DUP|FS|Allele)\|", re.IGNORECASE
)
# PubTator's genes with their species: 1017(Tax:9606).
_SPECIES = re.compile(r"\(Tax:[0-9]+\)\Z", re.IGNORECASE)
# What spreadsheets make of long numbers: 386661006.0, 3.86661E+08. 250.0, 1E30 and 8E47 are codes.
_SPREADSHEET = re.compile(r"[0-9]{4,}\.0+|[0-9](?:\.[0-9]+)?E\+[0-9]+", re.IGNORECASE)
# By which codes are told from words: C0015967, 22298006 or HP:0001945; DOID:162, NCIT:C3 or
# Orphanet:558; E11.9; 8140/3/H. Four digits alone are a year.
_CODE = re.compile(
    r"(?:[A-Za-z]+[:_])*(?:[A-Za-z]{1,4}[0-9]{4}|[0-9]{5}|(?<=[:_])[0-9]{4})[0-9A-Za-z.:_-]*"
    r"|(?:[A-Z][A-Za-z]*[A-Z][A-Za-z]*|Orphanet)[:_][A-Za-z]{0,4}[0-9][0-9A-Za-z.:_-]*"
    r"|[A-Z][0-9][0-9AB]\.[0-9A-Z]{1,4}"
    r"|[89][0-9]{3}/[0-9]{1,2}(?:/H)?"
)
_AFTER_DATABASE = re.compile(r"[A-Za-z]{0,4}[0-9][0-9A-Za-z.:_/-]*")


def one_code(text: str, database: str = "") -> str | None:
    """What a text that stands for one concept says; None where it says nothing.

    `database` is what the file says beside the code. Codes of databases whose codes are plain
    numbers keep the database (`NCBIGene:9606`) until `plain` takes it off.
    """
    code, base = _SPECIES.sub("", text.strip()), _database(database)
    while True:
        if code.casefold() in _UNKNOWN:
            return None
        if code.casefold() in _NO_CONCEPT:
            return NO_CODE
        prefix, colon, rest = code.partition(":")
        named = _database(prefix) if colon else None
        if named is None:
            break
        base, code = named, rest.strip()
    if base is not None and base.plain_numbers and code.isascii() and code.isdigit():
        return f"{base.name}:{code}"
    return code


def is_database(spelling: str) -> bool:
    """Whether a text names a database of the table."""
    return _database(spelling) is not None


def _database(spelling: str) -> Database | None:
    return _BY_SPELLING.get("".join(filter(str.isalnum, spelling)).casefold())


def looks_like_code(text: str) -> bool:
    """Whether a text has the shape of one code, with or without a database before it."""
    text = text.strip()
    prefix, colon, rest = text.partition(":")
    if colon and is_database(prefix):
        return _AFTER_DATABASE.fullmatch(rest.strip()) is not None or looks_like_code(rest)
    return _CODE.fullmatch(text) is not None or _VARIANT.match(text) is not None


def says_a_state(text: str) -> bool:
    """Whether a text says that there is no concept, or that nothing is known."""
    return one_code(text) in (None, NO_CODE)


def codes_of(text: str) -> list[str]:
    """The texts of several codes in one: separated by `|`, `+`, `;` or `,`; a variant is one."""
    return [text] if _VARIANT.match(text) else _SEVERAL.split(text)


def parts_of(code: str) -> list[str]:
    """The codes of a composite one, as `joined_code` writes it; a variant is one."""
    return [code] if _VARIANT.match(code) else code.split("+")


def gold_codes(*texts: str, database: str = "") -> tuple[str, ...] | None:
    """The gold of a mention: its codes sorted, each once; None where no text says anything.

    With plain codes' databases, as `one_code` says.
    """
    parts = {one_code(part, database) for text in texts for part in codes_of(text)}
    return tuple(sorted(part for part in parts if part is not None)) or None


def joined_code(text: str) -> str:
    """A code as predictions and scores write it, of a composite one the parts sorted, each once:
    ` B + A` is `A+B`. Empty where it says nothing."""
    parts = [text] if _VARIANT.match(text) else _JOINED.split(text)
    return "+".join(sorted({code for part in parts if (code := one_code(part)) is not None}))


def is_no_code(gold: str) -> bool:
    """Whether the annotators found no concept for the mention, or for a part of it."""
    return NO_CODE in parts_of(gold)


def plain(code: str) -> str:
    """A code (perhaps composite) without the databases of plain numbers."""
    return "+".join(sorted({_plain_part(part) for part in parts_of(code)}))


def _plain_part(code: str) -> str:
    return code if database_of(code) is None else code.partition(":")[2]


def database_of(code: str) -> str | None:
    """The database that `one_code` left on a code of plain numbers."""
    name, colon, digits = code.partition(":")
    base = _BY_NAME.get(name) if colon and digits.isdigit() else None
    return name if base is not None and base.plain_numbers else None


def plain_numbers_meet(codes: Iterable[str]) -> bool:
    """Whether these codes are of two databases of plain numbers: then the databases stay."""
    names: set[str] = set()
    for code in codes:
        for part in parts_of(code):
            name = database_of(part)
            if name is not None:
                names.add(name)
        if len(names) > 1:
            return True
    return False


def is_damaged(code: str) -> bool:
    """Whether a spreadsheet has changed a code beyond repair (386661006.0, 3.86661E+08)."""
    return _SPREADSHEET.fullmatch(code.strip()) is not None


class DamagedCodeError(ValueError):
    """A code that a spreadsheet has changed; its text is the message."""


def refuse_damaged(code: str) -> str:
    """The code; DamagedCodeError where a spreadsheet has changed it or one of its parts."""
    if is_damaged(code) or any(map(is_damaged, parts_of(code))):
        raise DamagedCodeError(code.strip())
    return code
