"""What all writers share: answers, file names made of ids, and a folder that appears when whole.

Document ids come from the corpus and are not trusted: no id can name a file outside the folder.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol

from kb_builder.codes import parts_of
from kb_builder.errors import LongbelError
from kb_builder.files import sweep, whole_folder
from longbel_cli.corpora.records import Problem, Read
from longbel_cli.types import Mention, Prediction

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """One concept given to a mention; a composite answer is several."""

    code: str
    name: str


class Changes(Counter[str]):
    """What a writer had to change, counted over a corpus and logged once."""

    def log(self, written: str) -> None:
        for change, count in self.items():
            if count:
                warn(Problem.of_file(written, f"{count} {change}"))


Answers = Mapping[str, tuple[Answer, ...]]


class Writer(Protocol):
    """Writes documents with answers by mention id; made with a folder and a database name (the
    prefix of the codes). `replace_gold`: answers take the place of the corpus's own codes, in a
    format that could keep both. What the format cannot hold is logged."""

    def __init__(self, folder: Path, database: str, replace_gold: bool = False) -> None: ...

    def keeps_gold(self, read: Read) -> bool:
        """Whether the corpus's own codes stay in what is written of a document."""
        ...

    def write(self, read: Read, answers: Answers) -> None: ...

    def close(self) -> None: ...


def answers_of(prediction: Prediction) -> tuple[Answer, ...]:
    """The concepts of the answer; none where the model found none."""
    best = prediction.answer
    if best is None:
        return ()
    if best.concepts:
        return tuple(Answer(code, name) for code, name in sorted(best.concepts) if code)
    # Which name is whose is not on record: each code has all of them.
    codes = dict.fromkeys(code for code in parts_of(best.concept_code) if code)
    return tuple(Answer(code, best.concept_name) for code in codes)


# Tabs, and all that ends a line where others split text into lines (Unicode's, as `splitlines`).
BREAK = r"\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029"


def one_line(text: str) -> str:
    """The text with tabs and line ends as blanks, one for one."""
    return re.sub(f"[{BREAK}]", " ", text)


def unbroken(text: str) -> Iterator[tuple[int, int]]:
    """The stretches of a text without tabs and line ends."""
    return (match.span() for match in re.finditer(f"[^{BREAK}]+", text))


_UNSAFE = re.compile(r'[\x00-\x1f\x7f%\\:*?"<>|\ud800-\udfff]')  # the last has no UTF-8
_FILE_SUFFIX = re.compile(r"\.(?=(?:txt|ann)$)", re.IGNORECASE)
_LONGEST_NAME = 180


def safe_path(document_id: str) -> Path:
    """A relative path for an id: `/` makes folders, and what is unsafe in a name is
    percent-encoded, so that different ids get different paths. A folder has no suffix of a file:
    `a` may lie beside `a.txt/b`."""
    *folders, name = (_safe_name(part) for part in document_id.split("/"))
    return Path(*(_FILE_SUFFIX.sub("%2E", folder) for folder in folders), name)


def _safe_name(part: str) -> str:
    if not part:
        return "%"
    name = _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", part)
    if name[0] in ". " or name[-1] in ". ":
        name = re.sub(r"^[. ]+|[. ]+$", lambda match: _encoded(match[0]), name)
    if len(name.encode("utf-8")) > _LONGEST_NAME:
        digest = blake2b(part.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        cut = name.encode("utf-8")[: _LONGEST_NAME - len(digest) - 1].decode("utf-8", "ignore")
        name = f"{cut}~{digest}"
    return name


def _encoded(text: str) -> str:
    return "".join(f"%{ord(character):02X}" for character in text)


def write_new(folder: Path, path: Path, data: bytes) -> None:
    """Write a file below a folder; it must not be there yet, and links lead nowhere else."""
    target = folder / path
    with suppress(FileExistsError, NotADirectoryError):  # told of the file below
        target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise LongbelError(f"{target}: this file would lie outside {folder}")
    try:
        with target.open("xb") as handle:
            handle.write(data)
    except (FileExistsError, NotADirectoryError):
        raise LongbelError(f"{target}: two documents would be written to this file") from None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which is renamed to `out` at the end; `out` must be new or empty."""
    sweep(out.parent)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LongbelError(
            f"{out}: something is there already", "Give another --out, or remove it.", exit_code=4
        )
    try:
        with whole_folder(out) as folder:
            yield folder
    except OSError as error:
        raise LongbelError(f"{out}: cannot be written ({error.strerror})") from None


def warn(problem: Problem) -> None:
    """Log what a person should know of what is converted."""
    log.warning("warning: %s", problem.message)


def warn_of(read: Read, mention: Mention | None, reason: str) -> None:
    """Log a warning about a document or one of its mentions."""
    mention_id = None if mention is None else mention.id
    warn(Problem(read.document.source, None, read.document.id, mention_id, reason, False))
