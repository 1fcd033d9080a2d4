"""Documents and their prompts, for the tests of prompting."""

from __future__ import annotations

from collections.abc import Sequence

from longbel_cli.prompting.formats import PROMPT_FORMATS, DocumentPrompts, Prompt, prompt_format
from longbel_cli.prompting.segments import MemoryLine
from longbel_cli.prompting.sentences import splitter
from longbel_cli.types import Document, Mention, Passage, Span, in_document_order

MARKS = {"[", "]", "{", "}", "<+>", "<SEP>"}


def document(
    passages: Sequence[str | tuple[str, int]], *mentions: tuple[str, str, Sequence[tuple[int, int]]]
) -> Document:
    """Passages one after the other with one offset between them (or where a pair says so), and
    mentions as (id, group, spans)."""
    placed: list[Passage] = []
    for passage in passages:
        if isinstance(passage, str):
            passage = (passage, placed[-1].end + 1 if placed else 0)
        placed.append(Passage(*passage))
    bare = Document("doc", tuple(placed), (), "corpus/doc.txt")
    made = []
    for name, group, pairs in mentions:
        spans = tuple(Span(*pair) for pair in pairs)
        text = " ".join(bare.text[start:end] for start, end in spans)
        made.append(Mention(name, spans, text, group, group))
    return Document("doc", bare.passages, in_document_order(made), bare.source)


def render(
    doc: Document,
    form: str,
    mention_id: str,
    memory: Sequence[MemoryLine] = (),
    window: Span | None = None,
    language: str = "en",
) -> str:
    return rendered(doc, form, mention_id, memory, window, language).text


def rendered(
    doc: Document,
    form: str,
    mention_id: str,
    memory: Sequence[MemoryLine] = (),
    window: Span | None = None,
    language: str = "en",
) -> Prompt:
    mention = next(mention for mention in doc.mentions if mention.id == mention_id)
    split = splitter(language) if PROMPT_FORMATS[form].context == "sentence" else None
    return DocumentPrompts(doc, prompt_format(form), split).render(mention, memory, window)


def context_of(prompt: str) -> str:
    """What stands between the first heading and the next."""
    assert prompt.startswith("### Context\n")
    return prompt.removeprefix("### Context\n").partition("\n\n### ")[0]


# One document for all five formats. Offsets:
#   title 0-15, abstract 16-63 with "fever" 24-29 and "kidney" 48-54
TITLE = "Lupus nephritis"
ABSTRACT = "She had fever. No other sign of kidney disease."
CASE = document(
    [TITLE, ABSTRACT],
    ("T1", "Disorders", [(0, 5)]),
    ("T2", "Disorders", [(0, 15)]),
    ("T3", "Disorders", [(24, 29)]),
    ("T4", "Anatomy", [(48, 54)]),
)
