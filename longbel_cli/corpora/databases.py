"""Whether a corpus's codes keep the databases that they are of.

They do where the corpus has codes of two databases whose codes are plain numbers: 9606 is a gene of
NCBI Gene and a species of NCBI Taxonomy. Elsewhere a plain number is what knowledge bases hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from kb_builder.codes import plain_numbers_meet
from longbel_cli.corpora import stored
from longbel_cli.corpora.records import STDIN, CorpusFile, Item, UnreadableError

# A file that spells fewer than two of these cannot hold codes of two such databases. In lower
# case: what every spelling has a part of, which is found 100 times as fast, and the spellings.
_SPELLINGS = tuple(
    (parts, re.compile(spelling))
    for parts, spelling in (
        ((b"snomed", b"sct"), rb"snomed|\bsct"),
        ((b"mim",), rb"\bo?mim\b"),
        ((b"ncbi", b"entrez", b"gene"), rb"ncbi[ _-]?gene|entrez|gene[ _-]?id"),
        ((b"tax",), rb"ncbi[ _-]?tax|taxonomy|tax[ _-]?id"),
        ((b"rxnorm", b"rxcui"), rb"rxnorm|rxcui"),
        ((b"pubchem",), rb"pubchem"),
        ((b"omop",), rb"omop"),
    )
)
_CHUNK, _OVERLAP = 1 << 20, 32


def databases_stay(files: Sequence[CorpusFile], items: Iterable[Item]) -> bool:
    """Whether the gold of a corpus has codes of two databases of plain numbers.

    The files are searched as bytes first; only where two databases are spelled out are the
    documents (`items`) taken apart. Standard input is read once, so there the answer is no.
    """
    if any(file.path == STDIN for file in files) or not _may_meet(files):
        return False
    return plain_numbers_meet(_codes(items))


def _may_meet(files: Sequence[CorpusFile]) -> bool:
    spelled: set[re.Pattern[bytes]] = set()
    for path in dict.fromkeys(file.path for file in files):
        if path.lower().endswith((".parquet", ".pq", ".arrow")):
            return True  # compressed: nothing can be told from the bytes
        for data in _chunks(path):
            lower = data.lower()
            spelled.update(
                spelling
                for parts, spelling in _SPELLINGS
                if spelling not in spelled
                and any(part in lower for part in parts)
                and spelling.search(lower)
            )
            if len(spelled) > 1:
                return True
    return False


def _chunks(path: str) -> Iterator[bytes]:
    """The bytes of a file in pieces that overlap; none of one that cannot be read, which is
    reported when it is read as a corpus."""
    try:
        with stored.opened(path) as handle:
            before = b""
            while data := handle.read(_CHUNK):
                yield before + data
                before = data[-_OVERLAP:]
    except (OSError, UnreadableError):
        return


def _codes(items: Iterable[Item]) -> Iterator[str]:
    for item in items:
        try:
            draft = item.build()
        except UnreadableError:
            continue
        for mention in draft.mentions:
            yield from mention.gold or ()
