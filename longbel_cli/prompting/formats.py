"""Prompts: which context is shown, which marks it carries, and how memory is written.

A prompt is a sequence of segments, plain text and the format's own marks, so that a tokenizer
never takes text for a mark. Knows nothing of models or tokenizers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from kb_builder.errors import LongbelError, check_choice, listed
from kb_builder.text import clean
from longbel_cli.prompting.segments import (
    CLOSE,
    GROUP_CLOSE,
    GROUP_OPEN,
    MEMORY_SECTIONS,
    OPEN,
    SEPARATOR,
    Mark,
    MemoryLine,
    Segment,
    merge,
    rstrip,
)
from longbel_cli.types import Document, Mention, Span

SentenceSplitter = Callable[[str], list[Span]]


@dataclass(frozen=True)
class PromptFormat:
    """A context (`document`, `sentence`, `marked_document`, `plain_document`) and a memory
    (`none`, `section`, `inline`). `end` is the mark that ends an answer; None means the
    tokenizer's EOS. `echo` is how many characters on both sides of a mention are repeated
    before it, the mention marked."""

    name: str
    context: str
    memory: str
    end: Mark | None = None
    echo: int = 0
    help: str = ""

    @property
    def is_by_sentence(self) -> bool:
        """Whether prompts of different sentences share nothing."""
        return self.context == "sentence" and self.memory == "none"


PROMPT_FORMATS = {
    row.name: row
    for row in (
        PromptFormat("short", "sentence", "none", help="the sentence"),
        PromptFormat("hybrid_medium", "document", "none", help="the document"),
        PromptFormat("hybrid_short", "sentence", "section", help="the sentence, memory"),
        PromptFormat("hybrid_long", "document", "section", help="the document, memory"),
        PromptFormat("long", "marked_document", "inline", SEPARATOR,
                     help="the document with all mentions marked, memory behind it"),
        # Not of the publication. Nothing in front of a mention changes with it, so that a
        # document's prompts share all but their last line; the echo says which mention is meant.
        PromptFormat("echoed", "plain_document", "inline", SEPARATOR, echo=60,
                     help="the document, memory behind it, words around the mention"),
    )
}  # fmt: skip


def prompt_format(name: str) -> PromptFormat:
    """The format of that name; LongbelError names the formats there are."""
    check_choice("context format", name, PROMPT_FORMATS)
    return PROMPT_FORMATS[name]


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt; answers start after its last segment, the group's closing brace.

    `context` is the number of segments that belong to the context section, and `memory` the
    number after those that belong to the memory section (headings included).
    """

    segments: tuple[Segment, ...]
    context: int = 0
    memory: int = 0

    @property
    def text(self) -> str:
        return "".join(self.segments)

    @property
    def pieces(self) -> list[Segment]:
        """Marks and the whole text between them, as a tokenizer sees it: sections run together."""
        return merge(self.segments)


def sentence_splitter(form: PromptFormat, language: str | None) -> SentenceSplitter:
    """The splitter of a language; LongbelError where `form` needs one and none is known."""
    from longbel_cli.prompting.sentences import splitter

    if language is None:
        raise _without_language(form)
    return splitter(language)


def _without_language(form: PromptFormat) -> LongbelError:
    from longbel_cli.prompting.sentences import PUNKT_MODELS

    return LongbelError(
        f"the context format {form.name!r} shows sentences and needs the language",
        f"Give --language {listed(PUNKT_MODELS)}.",
        exit_code=2,
    )


class DocumentPrompts:
    """The prompts of one document in one format.

    `split` gives the sentence spans of a cleaned passage text; needed by sentence formats only.
    """

    def __init__(
        self, document: Document, form: PromptFormat, split: SentenceSplitter | None = None
    ) -> None:
        if form.context == "sentence" and split is None:
            raise _without_language(form)
        self.document = document
        self.form = form
        self._split = split
        self._starts = [passage.start for passage in document.passages]

    def render(
        self,
        mention: Mention,
        memory: Sequence[MemoryLine],
        window: Span | None = None,
    ) -> Prompt:
        """The prompt of `mention` after the normalizations in `memory`, oldest first.

        `window` limits the context to a stretch of the document (in document offsets), for
        documents longer than the model's context.
        """
        context = self._shown_context(mention, window)
        query: list[Segment] = [
            *self._echo(mention),
            OPEN, clean(mention.text), CLOSE, GROUP_OPEN, mention.semantic_group, GROUP_CLOSE,
        ]  # fmt: skip
        head: list[Segment] = ["### Context\n", *context]
        section = MEMORY_SECTIONS[self.form.memory](memory)
        segments = (*head, *section, *query)
        return Prompt(segments, context=len(head), memory=len(section))

    def line(self, mention: Mention, names: tuple[str, ...]) -> MemoryLine:
        """How the prompts after `mention` remember it, once it was predicted as `names`."""
        return MemoryLine(mention.text, mention.semantic_group, names, self._echo(mention))

    def _echo(self, mention: Mention) -> tuple[Segment, ...]:
        """Some words around the mention, which is marked, and a line break."""
        reach = self.form.echo
        if not reach:
            return ()
        passage = self.document.passages[min(self._passage_at(s.start) for s in mention.spans)]
        first = min(mention.spans)
        end = mention.end if mention.end - mention.start <= 3 * reach else first.end
        start = max(mention.start - reach, passage.start)
        end = min(end + reach, passage.end)
        text = passage.text
        while start > passage.start and not text[start - 1 - passage.start].isspace():
            start -= 1
        while end < passage.end and not text[end - passage.start].isspace():
            end += 1
        window = Span(start, end)
        words = merge(self._marked(self._edges(mention.spans, window), window))
        if words and not isinstance(words[0], Mark):
            words[0] = words[0].lstrip()
        return (*merge(rstrip(words)), "\n")

    def _shown_context(self, mention: Mention, window: Span | None) -> Sequence[Segment]:
        if window is None and self.form.context in ("plain_document", "marked_document"):
            return self._common_context
        return merge(self._context(mention, window))

    @cached_property
    def _common_context(self) -> Sequence[Segment]:
        """The context of formats that show every mention the same one."""
        return merge(self._context(self.document.mentions[0], None))

    def _context(self, mention: Mention, window: Span | None) -> list[Segment]:
        window = self.shown(mention, window)
        if self.form.context == "plain_document":
            edges = self._edges((), window)
        elif self.form.context != "marked_document":
            edges = self._edges(mention.spans, window)
        elif window is None:
            edges = self._whole_edges
        else:
            edges = self._edges(self._whole_spans, window)
        return rstrip(self._marked(edges, window))

    def shown(self, mention: Mention, window: Span | None) -> Span | None:
        """The stretch of the document that the format shows of `window`; None: all of it."""
        if self.form.context == "sentence":
            return _overlap(self.sentence(mention), window)
        return window

    def _marked(self, edges: Edges, window: Span | None) -> list[Segment]:
        """The passages, joined by newlines, with marks at `edges`, cut to `window`."""
        segments: list[Segment] = []
        shown = 0
        for index, passage in enumerate(self.document.passages):
            span = Span(passage.start, passage.end)
            if window is not None:
                span = Span(max(span.start, window.start), min(span.end, window.end))
                if span.start >= span.end:
                    continue
            if shown:
                segments.append("\n")
            shown += 1
            text = self._cleaned[index]
            position = span.start
            for offset in edges.offsets(index):
                segments.append(text[position - passage.start : offset - passage.start])
                segments.extend([CLOSE] * edges.closing[index, offset])
                segments.extend([OPEN] * edges.opening[index, offset])
                position = offset
            segments.append(text[position - passage.start : span.end - passage.start])
        return segments

    @cached_property
    def _cleaned(self) -> list[str]:
        """The passages' texts, once for all prompts of the document."""
        return [clean(passage.text) for passage in self.document.passages]

    @cached_property
    def _whole_spans(self) -> list[Span]:
        return [Span(mention.start, mention.end) for mention in self.document.mentions]

    @cached_property
    def _whole_edges(self) -> Edges:
        return self._edges(self._whole_spans, None)

    def _edges(self, spans: Sequence[Span], window: Span | None) -> Edges:
        """The marks of `spans`; none of a span that the window cuts."""
        opening: Counter[tuple[int, int]] = Counter()
        closing: Counter[tuple[int, int]] = Counter()
        for span in spans:
            if window is None or (window.start <= span.start and span.end <= window.end):
                opening[self._passage_at(span.start), span.start] += 1
                closing[self._passage_at(span.end - 1), span.end] += 1
        return Edges(opening, closing)

    def _passage_at(self, offset: int) -> int:
        """The index of the passage that holds `offset`; raises LongbelError if none does."""
        index = bisect_right(self._starts, offset) - 1
        if index < 0 or offset >= self.document.passages[index].end:
            named = "".join(
                f"mention {mention.id}: "
                for mention in self.document.mentions
                if any(span.start <= offset < span.end for span in mention.spans)
            )
            raise LongbelError(
                f"{self.document.source}: document {self.document.id}: {named}"
                f"offset {offset} lies in no passage",
                "Run `longbel check` on the corpus to list such mentions.",
            )
        return index

    def sentence(self, mention: Mention) -> Span:
        """The sentence that holds the mention's smallest start, in document offsets."""
        first = mention.start
        index = self._passage_at(first)
        passage = self.document.passages[index]
        whole = Span(passage.start, passage.end)
        sentences = self._sentences(index)
        at = bisect_right(sentences, first, key=lambda span: span.end)
        sentence = sentences[at] if at < len(sentences) else whole
        start, end = min(sentence.start, first), sentence.end
        # A fragment may hold white space that its sentence was trimmed of.
        for span in sorted(mention.spans):
            if start <= span.start <= end and self._passage_at(span.start) == index:
                end = max(end, span.end)
        return Span(start, end)

    def _sentences(self, passage: int) -> list[Span]:
        if passage not in self._sentence_spans:
            self._sentence_spans[passage] = self._split_passage(passage)
        return self._sentence_spans[passage]

    @cached_property
    def _sentence_spans(self) -> dict[int, list[Span]]:
        return {}

    def _split_passage(self, index: int) -> list[Span]:
        """Sentences of a passage, joined wherever a fragment of any mention would be cut."""
        assert self._split is not None
        passage = self.document.passages[index]
        fragments = [span for mention in self.document.mentions for span in mention.spans]
        sentences: list[Span] = []
        for start, end in self._split(clean(passage.text)):
            start, end = start + passage.start, end + passage.start
            if sentences and any(span.start < start < span.end for span in fragments):
                sentences[-1] = Span(sentences[-1].start, end)
            else:
                sentences.append(Span(start, end))
        return sentences


@dataclass(frozen=True)
class Edges:
    """How many marks open and close at each (passage index, document offset)."""

    opening: Counter[tuple[int, int]]
    closing: Counter[tuple[int, int]]

    def offsets(self, passage: int) -> list[int]:
        """The offsets within a passage that carry marks, ascending."""
        both = self.opening.keys() | self.closing.keys()
        return sorted(offset for index, offset in both if index == passage)


def _overlap(span: Span, window: Span | None) -> Span:
    """The part of `span` inside `window`."""
    if window is None:
        return span
    return Span(max(span.start, window.start), min(span.end, window.end))
