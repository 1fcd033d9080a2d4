"""Whether a document is what it says: offsets, texts, passages, ids. Knows no format.

A fault of a mention leaves out that mention alone; a fault of the passages the whole document.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace

from kb_builder.codes import database_of, is_damaged, plain
from longbel_cli.corpora.doubts import doubts, gathered
from longbel_cli.corpora.records import (
    CorpusFile,
    Draft,
    Item,
    OnProblem,
    Problem,
    Remark,
    UnreadableError,
)
from longbel_cli.corpora.stated_text import Mismatches, fitting
from longbel_cli.types import Document, Mention, Passage, in_document_order

# Passages may lie apart; a stray offset must not ask for gigabytes of blanks.
WIDEST_GAP = 1_000_000
# Nor must many gaps. No format has longer texts but by gaps.
MOST_CHARACTERS = 256 * 1024 * 1024


def settle(
    file: CorpusFile,
    item: Item,
    repeated: bool,
    on_problem: OnProblem,
    on_remark: OnProblem,
    databases_stay: bool = False,
) -> Document | None:
    """The checked document of an item, None where it is left out whole, which is told.

    `repeated`: its id was seen before. `databases_stay`: see `corpora.databases`.
    """

    def problem(remark: Remark, whole_document: bool = False) -> Problem:
        line = item.line if remark.line is None else remark.line
        return Problem(
            file.path, line, item.document_id, remark.mention_id, remark.reason, whole_document
        )

    if repeated:
        on_problem(problem(Remark("a document with this id was read before"), True))
        return None
    source = file.path if item.line is None else f"{file.path}:{item.line}"
    try:
        draft = item.build()
        if not databases_stay:
            draft.mentions = [_with_plain_gold(mention) for mention in draft.mentions]
        assert item.document_id is not None
        document = checked(
            item.document_id, source, draft, lambda remark: on_problem(problem(remark))
        )
    except UnreadableError as error:
        on_problem(problem(Remark(error.reason, None, error.line), True))
        return None
    for remark, _ in gathered(draft.warnings):
        on_remark(problem(remark))
    for remark in doubts(document):
        on_remark(problem(remark))
    for remark, count in gathered(draft.unread):
        told = problem(remark._replace(reason=f"not read as gold: {remark.reason}"))
        on_remark(replace(told, gold_not_read=count))
    return document


def _with_plain_gold(mention: Mention) -> Mention:
    if mention.gold is None or not any(map(database_of, mention.gold)):
        return mention
    return replace(mention, gold=tuple(sorted({plain(code) for code in mention.gold})))


def checked(
    document_id: str, source: str, draft: Draft, fault: Callable[[Remark], None]
) -> Document:
    """The document with the mentions that stand the checks; each other one goes to `fault`.

    Raises UnreadableError where the passages themselves are wrong.
    """
    document = Document(document_id, _in_order(draft), (), source)
    _encodable(document_id, "its id")
    _encodable(document.text, "its text")
    for remark in draft.faults:
        fault(remark)
    kept: list[Mention] = []
    ids: set[str] = set()
    starts = [passage.start for passage in document.passages]
    mismatches = Mismatches(document.text)
    for mention in draft.mentions:
        there = fitting(mention, document.text)
        reason = _fault(mention, document, starts, there, mismatches)
        if reason is None and mention.id in ids:
            reason = "another mention of this document has the same id"
        if reason is not None:
            fault(Remark(reason, mention.id, mention.line))
            continue
        ids.add(mention.id)
        if there is not None and there != mention.text:
            mention = replace(mention, text=there)  # as the document stores it
        kept.append(mention)
    return _with_mentions(document, kept)


def _with_mentions(document: Document, mentions: list[Mention]) -> Document:
    made = Document(document.id, document.passages, in_document_order(mentions), document.source)
    made.__dict__["text"] = document.text  # already joined: not a second time
    return made


def _in_order(draft: Draft) -> tuple[Passage, ...]:
    passages = sorted(draft.passages, key=lambda passage: (passage.start, passage.end))
    if passages != draft.passages:
        draft.warnings.append(Remark("its passages are not in the order of their offsets"))
    end = 0
    for ordinal, passage in enumerate(passages, start=1):
        if passage.start < end:
            raise UnreadableError(
                f"passage {ordinal} starts at {passage.start}, before {end}, "
                + ("where the passage before it ends" if ordinal > 1 else "where texts begin")
            )
        if passage.start - end > WIDEST_GAP:
            raise UnreadableError(
                f"passage {ordinal} starts at {passage.start}, more than {WIDEST_GAP} characters "
                f"after {end}"
            )
        end = passage.end
        if end > MOST_CHARACTERS:
            raise UnreadableError(f"its text has more than {MOST_CHARACTERS} characters; divide it")
    return tuple(passages)


def _encodable(text: str, what: str) -> None:
    """Lone surrogates are no text: they could not be written to any file."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnreadableError(
            f"{what} holds a lone surrogate (half a character) at offset {error.start}"
        ) from None


def _fault(
    mention: Mention,
    document: Document,
    starts: Sequence[int],
    there: str | None,
    mismatches: Mismatches,
) -> str | None:
    """Why a mention cannot be linked, None if it can. `there` is the text that fits it."""
    text = document.text
    for span in mention.spans:
        if not 0 <= span.start < span.end:
            return f"its offsets {span.start}-{span.end} are empty, reversed or negative"
        if span.end > len(text):
            return (
                f"its offset {span.end} lies past the end of the document ({len(text)} characters)"
                + mismatches.hint(mention)
            )
    for span in mention.spans:
        for offset in (span.start, span.end - 1):
            passage = document.passages[bisect_right(starts, offset) - 1]
            if not passage.start <= offset < passage.end:
                return f"its offset {offset} lies in no passage"
    if not mention.text.strip():
        return "it states no text, so its offsets cannot be verified"
    if there is None:
        offsets = ";".join(f"{span.start}-{span.end}" for span in mention.spans)
        return f"its text is not the document's at {offsets}" + mismatches.hint(mention)
    damaged = next(filter(is_damaged, mention.gold or ()), None)
    if damaged is not None:
        return f"its code was changed by a spreadsheet ({damaged})"
    for value in (mention.id, mention.entity_type, *(mention.gold or ())):
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                return "its id, type or code holds a lone surrogate (half a character)"
    return None
