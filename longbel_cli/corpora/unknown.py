"""What files are that no format reads, and what to do with them: for messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from longbel_cli.corpora import stored


class Kind(NamedTuple):
    """Files that are known and not read: by suffix (lower case) or by their first bytes."""

    what: str
    advice: str
    suffixes: tuple[str, ...] = ()
    bytes: tuple[bytes, ...] = ()


# The first row that fits says it.
_KINDS = (
    Kind("named twice over", "Rename it so that its name ends in .ann.", (".ann.txt",)),
    Kind(
        "an Office document", "Save its text as .txt and its tables as .tsv.",
        (".docx", ".xlsx", ".doc", ".xls", ".odt", ".ods"),
    ),
    Kind("a zip archive", "Unpack it, and give the folder.", (".zip",), (b"PK\x03\x04",)),
    Kind(
        "an archive", "Unpack it, and give the folder.",
        (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar"),
    ),
    Kind("a PDF", "Extract its text first.", (".pdf",), (b"%PDF",)),
    Kind(
        "concept labels of n2c2 (.norm)",
        "Write them as N lines of BRAT: N1<TAB>Reference T1 UMLS:C0015967<TAB>name.", (".norm",),
    ),
    Kind(
        "BioNLP stand-off (.a1, .a2)", "Join the .a1 and .a2 of each text as one .ann.",
        (".a1", ".a2"),
    ),
    Kind(
        "a WebAnno or INCEpTION file", "Export the project as BioC.", (),
        (b"#FORMAT=WebAnno",),
    ),
    Kind(
        "a UIMA CAS", "Export it as BioC, for instance with INCEpTION.", (".xmi", ".xcas"),
        (b"omg.org/XMI", b"<CAS"),
    ),
)  # fmt: skip


def kind_of(path: Path) -> Kind | None:
    """What a file is, where that is known."""
    name = path.name.lower()
    head = stored.head(str(path), 512)
    for kind in _KINDS:
        if name.endswith(kind.suffixes or "/") or any(part in head for part in kind.bytes):
            return kind
    return None


def described(files: Sequence[Path]) -> tuple[str, str | None]:
    """How many files of which suffix there are, the first with what it is; and what to do."""
    if not files:
        return "there is no file", None
    counts = Counter(path.suffix.lower() or "no suffix" for path in files)
    listed = ", ".join(f"{count} of {suffix}" for suffix, count in sorted(counts.items()))
    what = f"there are {listed}" if len(files) > 1 else f"there is {listed}"
    known = ((path, kind_of(path)) for path in files)
    first = next(((path, kind) for path, kind in known if kind is not None), None)
    if first is None or first[1] is None:
        return what, None
    return f"{what}; {first[0].name} is {first[1].what}", first[1].advice


def any_case(path: Path) -> Path:
    """The path, or the file of that name whose suffix is in capitals."""
    if path.exists():
        return path
    capital = path.with_suffix(path.suffix.upper())
    return capital if capital.exists() else path
