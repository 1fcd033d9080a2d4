"""Reads what partitions need beside predictions: a training corpus, and a knowledge base.

Of a KB only the names and codes that the scored mentions touch are kept, read batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kb_builder.codes import joined_code, parts_of
from kb_builder.errors import LongbelError
from longbel_cli.runs.facts import run_kb
from longbel_cli.scoring.gold import ScoredMention
from longbel_cli.scoring.partitions import KbFacts, TrainingFacts, as_kb_name, folded
from longbel_cli.types import Document

if TYPE_CHECKING:
    from kb_builder.store.knowledge_base import KnowledgeBase

COLUMNS = ["name", "code", "group", "preferred"]


def training_facts(documents: Iterable[Document]) -> TrainingFacts:
    """The concepts and the mention texts of a training corpus.

    A composite gold is one concept, as in scoring. Mentions without gold count as seen texts.
    """
    codes: set[str] = set()
    mentions: set[str] = set()
    for document in documents:
        for mention in document.mentions:
            mentions.add(folded(mention.text))
            if mention.gold_code and (code := joined_code(mention.gold_code)):
                codes.add(code)
    if not codes:
        raise LongbelError(
            "the training corpus has no mention with a concept code",
            "Give the annotated corpus that the model was trained on.",
        )
    return TrainingFacts(frozenset(codes), frozenset(mentions))


def kb_facts(path: Path, mentions: Sequence[ScoredMention]) -> KbFacts:
    """What the KB says of these mentions' texts and of their gold and predicted codes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from kb_builder.store.knowledge_base import KnowledgeBase

    signature = KnowledgeBase.open(path).signature
    texts = sorted({as_kb_name(mention.mention) for mention in mentions if mention.mention})
    codes = sorted({code for mention in mentions for code in _codes(mention)})
    # Names and texts are lowered by one and the same function, Arrow's.
    wanted_texts = pc.utf8_lower(pa.array(texts, pa.string()))
    wanted_codes = pa.array(codes, pa.string())
    codes_of: dict[str, dict[str, set[str]]] = {}
    groups_of: dict[str, set[str]] = {}
    names_of: dict[str, list[str]] = {}
    for batch in _batches(path):
        name, code, group = (batch.column(column).cast(pa.string()) for column in COLUMNS[:3])
        matches = pc.index_in(pc.utf8_lower(name), value_set=wanted_texts)
        hits = pc.is_valid(matches)
        for index, its_code, its_group in _rows(hits, matches, code, group):
            groups = codes_of.setdefault(texts[index], {})
            groups.setdefault(its_group, set()).add(its_code)
        known = pc.is_in(code, value_set=wanted_codes)
        preferred = batch.column("preferred")
        for its_name, its_code, its_group, first in _rows(known, name, code, group, preferred):
            groups_of.setdefault(its_code, set()).add(its_group)
            names = names_of.setdefault(its_code, [])
            names.insert(0 if first else len(names), its_name)
    return KbFacts(
        groups_of={code: frozenset(groups) for code, groups in groups_of.items()},
        codes_of={
            text: {group: frozenset(matches) for group, matches in groups.items()}
            for text, groups in codes_of.items()
        },
        signature=signature,
        names_of={code: tuple(names) for code, names in names_of.items()},
    )


def gold_in_kb(base: KnowledgeBase, mentions: Iterable[ScoredMention]) -> frozenset[str]:
    """The gold codes, composite ones as a whole, that the KB holds."""
    codes = {mention.gold for mention in mentions}
    held = {part: base.has_code(part) for code in codes for part in parts_of(code)}
    return frozenset(code for code in codes if all(held[part] for part in parts_of(code)))


def base_for(kb: Path | None, predictions: Path) -> KnowledgeBase | None:
    """The KB that was given, else the one that the predictions' run was given, if it is still there
    and the same."""
    from kb_builder.store.knowledge_base import KnowledgeBase

    if kb is not None:
        return KnowledgeBase.open(kb)
    of_run = run_kb(predictions)
    if of_run is None:
        return None
    path, signature = of_run
    try:
        base = KnowledgeBase.open(path)
    except LongbelError:
        return None
    return base if base.signature == signature else None


def _codes(mention: ScoredMention) -> Iterator[str]:
    yield from parts_of(mention.gold)
    if mention.top is not None:
        yield from parts_of(mention.top.concept_code)


def _batches(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    names = path / "names.parquet"
    try:
        with pq.ParquetFile(names) as file:
            yield from file.iter_batches(columns=COLUMNS)
    except (OSError, ValueError, KeyError) as error:
        raise LongbelError(
            f"{names}: cannot be read ({type(error).__name__})",
            "Build the knowledge base again with `longbel build-kb`.",
        ) from error


def _rows(mask: Any, *columns: Any) -> Iterator[tuple[Any, ...]]:
    picked = [column.filter(mask).to_pylist() for column in columns]
    return zip(*picked, strict=True)
