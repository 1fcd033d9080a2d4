"""A detector by its name: the table of them, and what each is opened with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kb_builder.errors import LongbelError, check_choice
from kb_builder.semantics import resolve_group
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.corpora import Corpus, fail
from longbel_cli.corpora.resolve import TypeResolver, resolve_types
from longbel_cli.detecting.cache import name_index
from longbel_cli.detecting.detector import Detector
from longbel_cli.detecting.dictionary import DictionaryDetector
from longbel_cli.detecting.learning import learn
from longbel_cli.detecting.options import DICTIONARY, DictionaryOptions
from longbel_cli.progress import ignore
from longbel_cli.types import Document

Open = Callable[[KnowledgeBase, DictionaryOptions, Sequence[Document]], Detector]


@dataclass(frozen=True)
class DetectorRow:
    """A detector: what it finds, and the function that opens it."""

    help: str
    open: Open


def _open_dictionary(
    base: KnowledgeBase, options: DictionaryOptions, examples: Sequence[Document]
) -> Detector:
    index = name_index(base, options.names, options.rules)
    learned = learn(index, options, examples) if examples else None
    return DictionaryDetector(index, options, learned)


DETECTORS = {
    DICTIONARY: DetectorRow("names of the knowledge base; nothing is trained", _open_dictionary)
}


def open_detector(
    name: str,
    base: KnowledgeBase,
    options: DictionaryOptions = DictionaryOptions(),
    examples: Sequence[Document] = (),
) -> Detector:
    """The detector of that name. `examples` are annotated documents to learn names from, their
    groups spelled as in the knowledge base; groups may be asked for by name or code."""
    check_choice("--detector", name, DETECTORS)
    groups = tuple(_resolved(group, base) for group in options.semantic_groups)
    return DETECTORS[name].open(base, replace(options, semantic_groups=groups), examples)


def _resolved(group: str, base: KnowledgeBase) -> str:
    resolved = resolve_group(group, base.groups)
    if resolved is None:
        raise LongbelError(
            f"--semantic-groups {group}: no group of {base.path}",
            f"It has {', '.join(base.groups)}.",
            exit_code=2,
        )
    return resolved


def examples_of(
    paths: Sequence[Path], base: KnowledgeBase, type_map: dict[str, str] | None = None
) -> list[Document]:
    """The documents of annotated corpora; mentions of types without a group are left out.

    LongbelError where there is no mention of any group of the knowledge base.
    """
    documents: list[Document] = []
    resolver = TypeResolver(base.groups, type_map)
    for path in paths:
        documents += resolve_types(_read(path), resolver, "skip", ignore)
    if paths and not any(document.mentions for document in documents):
        raise LongbelError(
            f"{', '.join(map(str, paths))}: no mention of a semantic group of the knowledge base",
            "--names-from takes annotated corpora; --type-map says which types are which groups.",
        )
    return documents


def _read(path: Path) -> Iterator[Document]:
    yield from (document for _, document in Corpus([path]).read(fail))


def stop_texts(path: Path | None) -> tuple[str, ...]:
    """The lines of a file of texts that are no mentions; `#` starts a comment line."""
    if path is None:
        return ()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise LongbelError(f"--stop {path}: it cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise LongbelError(f"--stop {path}: it is not UTF-8 (byte {error.start})") from None
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
