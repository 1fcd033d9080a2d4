"""The context of a prompt in each format: marks, sentences, windows, and what lies outside them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.text import clean
from longbel_cli.prompting.formats import PROMPT_FORMATS, DocumentPrompts, prompt_format
from longbel_cli.prompting.segments import Mark, MemoryLine
from longbel_cli.types import Document, Mention, Passage, Span, in_document_order
from tests.support.prompt_cases import CASE, MARKS, context_of, document, render, rendered

CONTEXTS = {
    # name: (passages, mentions, mention, context of hybrid_medium, context of long)
    "nested, same end": (
        ["left kidney failure"],
        [("A", "D", [(5, 19)]), ("B", "D", [(12, 19)])],
        "B",
        "left kidney [failure]",
        "left [kidney [failure]]",
    ),
    "nested, same start": (
        ["left kidney failure"],
        [("A", "D", [(5, 19)]), ("B", "D", [(5, 11)])],
        "A",
        "left [kidney failure]",
        "left [[kidney] failure]",
    ),
    "touching": (
        ["feverchills"],
        [("A", "D", [(0, 5)]), ("B", "D", [(5, 11)])],
        "B",
        "fever[chills]",
        "[fever][chills]",
    ),
    "same span twice": (
        ["a cold day"],
        [("A", "D", [(2, 6)]), ("B", "P", [(2, 6)])],
        "A",
        "a [cold] day",
        "a [[cold]] day",
    ),
    "overlapping, not nested": (
        ["acute renal failure"],
        [("A", "D", [(0, 11)]), ("B", "D", [(6, 19)])],
        "B",
        "acute [renal failure]",
        "[acute [renal] failure]",
    ),
    "discontinuous": (
        ["pain in the arm and leg"],
        [("A", "D", [(0, 4), (20, 23)])],
        "A",
        "[pain] in the arm and [leg]",
        "[pain in the arm and leg]",
    ),
    "discontinuous, fragments in reverse": (
        ["pain in the arm and leg"],
        [("A", "D", [(20, 23), (0, 4)])],
        "A",
        "[pain] in the arm and [leg]",
        "[pain in the arm and leg]",
    ),
    "touching fragments of one mention": (
        ["hyper tension"],
        [("A", "D", [(0, 5), (5, 13)])],
        "A",
        "[hyper][ tension]",
        "[hyper tension]",
    ),
    "one mention inside the gap of another": (
        ["pain in the arm and leg"],
        [("A", "D", [(0, 4), (20, 23)]), ("B", "N", [(12, 15)])],
        "B",
        "pain in the [arm] and leg",
        "[pain in the [arm] and leg]",
    ),
    "a fragment in another passage": (
        ["left and right", "kidney stones"],
        [("A", "D", [(0, 4), (15, 28)])],
        "A",
        "[left] and right\n[kidney stones]",
        "[left and right\nkidney stones]",
    ),
    # 0-8, 9-19, 20-32
    "three passages in order": (
        ["one cold", "two fevers", "three coughs"],
        [("A", "D", [(4, 8)]), ("B", "D", [(26, 32)])],
        "B",
        "one cold\ntwo fevers\nthree [coughs]",
        "one [cold]\ntwo fevers\nthree [coughs]",
    ),
    "ends of a document": (
        ["fever"],
        [("A", "D", [(0, 5)])],
        "A",
        "[fever]",
        "[fever]",
    ),
    "no-break space, brackets, line breaks": (
        ["a\u00a0[b] {fe\nver} c"],
        [("A", "D", [(7, 13)])],
        "A",
        "a (b) ([fe ver]) c",
        "a (b) ([fe ver]) c",
    ),
    "trailing white space": (
        ["fever and chills \n\t\u00a0 "],
        [("A", "D", [(0, 5)])],
        "A",
        "[fever] and chills",
        "[fever] and chills",
    ),
    "a last passage of white space": (
        ["fever and chills", "  \n "],
        [("A", "D", [(0, 5)])],
        "A",
        "[fever] and chills",
        "[fever] and chills",
    ),
    "white space before the text stays": (
        ["  fever", " chills"],
        [("A", "D", [(2, 7)])],
        "A",
        "  [fever]\n chills",
        "  [fever]\n chills",
    ),
    "white space at a passage's end within stays": (
        ["fever  ", "chills"],
        [("A", "D", [(0, 5)])],
        "A",
        "[fever]  \nchills",
        "[fever]  \nchills",
    ),
    "passages that touch": (
        ["fever", ("chills", 5)],
        [("A", "D", [(0, 5)]), ("B", "D", [(5, 11)])],
        "B",
        "fever\n[chills]",
        "[fever]\n[chills]",
    ),
    "passages far apart": (
        ["fever", ("chills", 40)],
        [("A", "D", [(40, 46)])],
        "A",
        "fever\n[chills]",
        "fever\n[chills]",
    ),
    "an empty passage between": (
        ["fever", ("", 5), ("chills", 5)],
        [("A", "D", [(5, 11)])],
        "A",
        "fever\n\n[chills]",
        "fever\n\n[chills]",
    ),
    "text that spells special tokens": (
        ["a <+> b <SEP> c <|eot_id|> fever"],
        [("A", "D", [(27, 32)])],
        "A",
        "a <+> b <SEP> c <|eot_id|> [fever]",
        "a <+> b <SEP> c <|eot_id|> [fever]",
    ),
    "offsets are code points": (
        ["🩺 né fever"],
        [("A", "D", [(5, 10)])],
        "A",
        "🩺 né [fever]",
        "🩺 né [fever]",
    ),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_context(name: str) -> None:
    passages, mentions, mention, whole, inline = CONTEXTS[name]
    doc = document(passages, *mentions)
    assert context_of(render(doc, "hybrid_medium", mention)) == whole
    assert context_of(render(doc, "hybrid_long", mention)) == whole
    assert context_of(render(doc, "long", mention)) == inline


SENTENCES = {
    # name: (language, passages, mentions, mention, context of `short`)
    "the second sentence": (
        "en", ["It rained. She had fever. He left."],
        [("A", "D", [(19, 24)])], "A", "She had [fever].",
    ),
    "the end of the text without a full stop": (
        "en", ["It rained. She had fever"],
        [("A", "D", [(19, 24)])], "A", "She had [fever]",
    ),
    "white space around the sentence is no part of it": (
        "en", ["  It rained.   She had fever.  \n "],
        [("A", "D", [(23, 28)])], "A", "She had [fever].",
    ),
    "an abbreviation ends no sentence": (
        "en", ["Seen by Dr. Jones for fever. He left."],
        [("A", "D", [(22, 27)])], "A", "Seen by Dr. Jones for [fever].",
    ),
    "French abbreviation": (
        "fr", ["Vue par M. Durand pour fièvre. Elle est sortie."],
        [("A", "D", [(23, 29)])], "A", "Vue par M. Durand pour [fièvre].",
    ),
    "Spanish abbreviation": (
        "es", ["Vista por el Dr. García por fiebre. Fue dada de alta."],
        [("A", "D", [(28, 34)])], "A", "Vista por el Dr. García por [fiebre].",
    ),
    "a boundary inside the mention is none": (
        "en", ["It rained. Infection by E. Coli. Strain K was found. He left."],
        [("A", "D", [(24, 39)])], "A",
        "Infection by [E. Coli. Strain] K was found.",
    ),
    "a boundary inside a fragment of another mention is none": (
        "en", ["It rained. She had fever. No cough. He left."],
        [("A", "D", [(19, 24)]), ("B", "D", [(21, 28)])], "A",
        "She had [fever]. No cough.",
    ),
    "a boundary between two fragments is one": (
        "en", ["She had pain. It was in her leg. He left."],
        [("A", "D", [(8, 12), (28, 31)])], "A", "She had [pain].",
    ),
    "the first fragment decides, whatever their order": (
        "en", ["She had pain. It was in her leg. He left."],
        [("A", "D", [(28, 31), (8, 12)])], "A", "She had [pain].",
    ),
    "a mention that ends with its sentence is no cut": (
        "en", ["She had fever. He left."],
        [("A", "D", [(8, 14)])], "A", "She had [fever.]",
    ),
    "a mention that begins its sentence is no cut": (
        "en", ["She had pain. Fever came. He left."],
        [("A", "D", [(14, 19)])], "A", "[Fever] came.",
    ),
    "a line break is an ordinary blank": (
        "en", ["It rained.\nShe had\nfever. He left."],
        [("A", "D", [(19, 24)])], "A", "She had [fever].",
    ),
    "a line break alone is no boundary": (
        "en", ["FINDINGS\nfever and\n\nchills. He left."],
        [("A", "D", [(9, 14)])], "A", "FINDINGS [fever] and  chills.",
    ),
    "only the mention's passage": (
        "en", ["A title without a stop", "She had fever. He left."],
        [("A", "D", [(31, 36)])], "A", "She had [fever].",
    ),
    "the passage is cleaned first": (
        "en", ["{It}\u00a0rained. She\u00a0had [mild] fever. He left."],
        [("A", "D", [(28, 33)])], "A", "She had (mild) [fever].",
    ),
    "other mentions are not marked": (
        "en", ["She had fever and cough. He left."],
        [("A", "D", [(8, 13)]), ("B", "D", [(18, 23)])], "B", "She had fever and [cough].",
    ),
    "a mention with a blank at the sentence's end keeps its marks": (
        "en", ["She had fever \n"],
        [("A", "D", [(8, 14)])], "A", "She had [fever ]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SENTENCES)
@pytest.mark.parametrize("form", ["short", "hybrid_short"])
def test_sentence(name: str, form: str) -> None:
    language, passages, mentions, mention, expected = SENTENCES[name]
    doc = document(passages, *mentions)
    assert context_of(render(doc, form, mention, language=language)) == expected


@pytest.mark.parametrize("form", ["short", "hybrid_short"])
def test_a_sentence_format_asks_for_the_language(form: str) -> None:
    with pytest.raises(LongbelError, match="needs the language") as raised:
        DocumentPrompts(CASE, prompt_format(form))
    assert "--language" in raised.value.hint


WINDOWS = {
    # name: (format, window, context); T3 "fever" 24-29 of CASE
    "around the mention": ("hybrid_medium", (20, 33), "had [fever]. No"),
    "the mention alone": ("hybrid_medium", (24, 29), "[fever]"),
    "across passages": ("hybrid_medium", (6, 30), "nephritis\nShe had [fever]."),
    "wider than the text": (
        "hybrid_medium",
        (0, 1000),
        "Lupus nephritis\nShe had [fever]. No other sign of kidney disease.",
    ),
    "inline marks inside": ("long", (20, 33), "had [fever]. No"),
    "sentence formats are cut too": ("short", (20, 29), "had [fever]"),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_window(name: str) -> None:
    form, window, expected = WINDOWS[name]
    assert context_of(render(CASE, form, "T3", window=Span(*window))) == expected


@pytest.mark.parametrize("window", [(2, 8), (6, 14), (0, 15), (3, 5), (5, 15), (24, 27)])
def test_a_window_leaves_no_half_of_a_pair_of_marks(window: tuple[int, int]) -> None:
    """Inline marks of a mention that the window cuts are left out, or closed: always balanced."""
    text = context_of(render(CASE, "long", "T2", window=Span(*window)))
    depth = 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        assert depth >= 0, text
    assert depth == 0, text


OUTSIDE = {
    "before every passage": ([("fever", 3)], [(0, 2)]),
    "in a gap": (["fever", ("chills", 20)], [(8, 12)]),
    "past the end": (["fever"], [(5, 9)]),
    "a later fragment in a gap": (["fever", ("chills", 20)], [(0, 5), (8, 12)]),
}


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("form", PROMPT_FORMATS)
def test_a_mention_in_no_passage_is_an_error(name: str, form: str) -> None:
    passages, spans = OUTSIDE[name]
    if form in ("short", "hybrid_short", "long") and name == "a later fragment in a gap":
        spans = [(8, 12), *spans[1:]] if form != "long" else [(0, 5), (21, 40)]
    doc = document(passages, ("A", "D", spans))
    with pytest.raises(LongbelError, match=r"corpus/doc\.txt: document doc: .*no passage"):
        render(doc, form, "A")


def test_such_an_error_names_the_mention() -> None:
    doc = document(["fever"], ("T7", "D", [(5, 9)]))
    with pytest.raises(LongbelError, match="T7"):
        render(doc, "hybrid_long", "T7")


words = st.text(st.sampled_from("abc [](){}\n\u00a0.é<+>SEP"), max_size=25)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Up to four passages, some apart, and up to five mentions of one to three fragments."""
    passages: list[Passage] = []
    for text in draw(st.lists(words.filter(len), min_size=1, max_size=4)):
        start = (passages[-1].end if passages else 0) + draw(st.integers(0, 3))
        passages.append(Passage(text, start))
    mentions = []
    for index in range(draw(st.integers(1, 5))):
        spans = []
        for _ in range(draw(st.integers(1, 3))):
            passage = draw(st.sampled_from(passages))
            start = draw(st.integers(passage.start, passage.end - 1))
            spans.append(Span(start, draw(st.integers(start + 1, passage.end))))
        mentions.append(Mention(f"T{index}", tuple(spans), "x", "Disorders"))
    return Document("doc", tuple(passages), in_document_order(mentions), "doc.txt")


@given(documents())
def test_without_its_marks_the_context_is_the_cleaned_document(doc: Document) -> None:
    cleaned = "\n".join(clean(passage.text) for passage in doc.passages).rstrip()
    for form in ("hybrid_medium", "hybrid_long", "long"):
        for mention in doc.mentions:
            segments = rendered(doc, form, mention.id).segments
            count = rendered(doc, form, mention.id).context
            text = "".join(s for s in segments[:count] if not isinstance(s, Mark))
            # A mark keeps the white space before it, so only what follows the last is stripped.
            assert text.removeprefix("### Context\n").rstrip() == cleaned
            marks = [s for s in segments[:count] if isinstance(s, Mark)]
            pairs = len(mention.spans) if form != "long" else len(doc.mentions)
            assert marks.count("[") == marks.count("]") == pairs


@given(documents())
def test_text_segments_hold_no_brackets_and_are_joined(doc: Document) -> None:
    """So a prompt's brackets are marks, wherever its text comes from."""
    memory = [MemoryLine("[x]\n{y}", "Disorders", ("Name",))]
    for form in ("hybrid_long", "long", "short"):
        segments = rendered(doc, form, doc.mentions[0].id, memory).segments
        assert all(segments)
        for segment in segments:
            if not isinstance(segment, Mark):
                assert not set(segment) & set("[]{}")
        assert set(map(str, filter(lambda s: isinstance(s, Mark), segments))) <= MARKS


@given(documents())
def test_sentence_contexts_hold_their_mention_whole(doc: Document) -> None:
    """The first fragment stands marked in the sentence, and every mark has its other half."""
    for mention in doc.mentions:
        context = context_of(render(doc, "short", mention.id))
        first = min(mention.spans)
        passage = next(p for p in doc.passages if p.start <= first.start < p.end)
        inside = clean(passage.text[first.start - passage.start : first.end - passage.start])
        assert context.replace("[", "").replace("]", "").find(inside) >= 0
        assert context.count("[") == context.count("]") >= 1
