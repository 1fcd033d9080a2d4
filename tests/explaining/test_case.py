"""Prompts mapped back to their document, cut, shortened and rebuilt; token scores added up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.text import clean
from longbel_cli.explaining.aggregation import (
    attribute,
    attribute_ablation,
    document_sentences,
    plain_sentences,
    spread,
    words,
)
from longbel_cli.explaining.case import (
    CONTEXT,
    FRAME,
    MEMORY,
    MENTION,
    Case,
    candidate_names,
    fitting,
    linked_document,
    memories,
)
from longbel_cli.explaining.explainer import TokenCharacters
from longbel_cli.explaining.explanation import MemoryEntry
from longbel_cli.prompting.formats import PROMPT_FORMATS, DocumentPrompts
from longbel_cli.prompting.segments import MemoryLine
from longbel_cli.types import Candidate, Concept, Document, Mention, Passage, Prediction, Span
from tests.support.examples import some
from tests.support.explain_cases import TEXT, checkpoint, make_case, mention_of, prediction_of


def parts_of(case: Case) -> dict[int, str]:
    """The prompt's characters of each part, joined."""
    result: dict[int, str] = {}
    for char, part in zip(case.prompt.text, case.map.parts.tolist(), strict=True):
        result[part] = result.get(part, "") + char
    return result


def test_parts_and_memory_lines_of_a_prompt():
    case = make_case(
        text="Fever. High AKI risk.", mention=mention_of("Fever. High AKI risk.", "AKI")
    )
    assert case.prompt.text == (
        "### Context\nFever. High [AKI] risk.\n\n### Previous Normalizations\n"
        "[Acute kidney injury]{DISO} Acute renal failure\n[gentamicin]{CHEM} Gentamicin\n\n"
        "### Prediction\n[AKI]{DISO}"
    )
    parts = parts_of(case)
    assert parts[CONTEXT] == "Fever. High  risk."
    assert parts[MENTION] == "AKI" + "AKIDISO"
    assert parts[MEMORY] == "Acute kidney injuryDISO Acute renal failuregentamicinCHEM Gentamicin"
    assert parts[FRAME].startswith("### Context\n[]\n\n### Previous Normalizations\n[]{}")
    lines = case.map.lines.tolist()
    first = "".join(c for c, line in zip(case.prompt.text, lines, strict=True) if line == 0)
    second = "".join(c for c, line in zip(case.prompt.text, lines, strict=True) if line == 1)
    assert first == "[Acute kidney injury]{DISO} Acute renal failure"
    assert second == "[gentamicin]{CHEM} Gentamicin"


def test_memory_lines_of_composite_and_inline_memory():
    memory = (MemoryLine("a", "X", ("One", "Two")), MemoryLine("b", "Y", ("Three",)))
    case = make_case("long", memory=memory)
    lines = case.map.lines.tolist()
    texts = [
        "".join(c for c, line in zip(case.prompt.text, lines, strict=True) if line == ordinal)
        for ordinal in (0, 1)
    ]
    assert texts == ["[a]{X} One<+> Two", "[b]{Y} Three"]
    assert make_case("hybrid_medium").lines == ()


texts = st.text(st.sampled_from("abc []{}\n.\u00a0é𝒳\u202e"), min_size=1, max_size=40).filter(
    lambda text: text.strip()
)


@settings(max_examples=some(150), deadline=None)
@given(
    pieces=st.lists(texts, min_size=1, max_size=3),
    gaps=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    form=st.sampled_from(sorted(PROMPT_FORMATS)),
    data=st.data(),
)
def test_every_document_character_of_a_prompt_is_found_where_it_stands(pieces, gaps, form, data):
    passages, start = [], 0
    for piece, gap in zip(pieces, gaps, strict=False):
        passages.append(Passage(piece, start + gap))
        start = passages[-1].end
    mentions = []
    for ordinal in range(data.draw(st.integers(1, 4))):
        passage = data.draw(st.sampled_from(passages))
        first = data.draw(st.integers(passage.start, passage.end - 1))
        last = data.draw(st.integers(first + 1, passage.end))
        text = passage.text[first - passage.start : last - passage.start]
        mentions.append(Mention(f"T{ordinal}", (Span(first, last),), text, "G"))
    document = Document("d", tuple(passages), tuple(mentions))
    mention = data.draw(st.sampled_from(mentions))
    memory = (MemoryEntry("T9", MemoryLine("m[", "G", ("N }", "O"))),)
    around = data.draw(st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)))
    window = None  # or the stretch that a document longer than the model's context is cut to
    if around is not None:
        window = Span(max(mention.start - around[0], 0), min(mention.end + around[1], start))
    case = Case(
        DocumentPrompts(document, PROMPT_FORMATS[form], plain_sentences), mention, memory,
        prediction_of("d", mention, "N"), (("N",),), window,
        document_sentences(document, plain_sentences),
    )  # fmt: skip
    prompt = case.prompt.text
    offsets = case.map.offsets
    assert len(prompt) == len(offsets)
    shown = offsets[offsets >= 0]
    assert len(set(shown.tolist())) == len(shown)
    for char, offset in zip(prompt, offsets.tolist(), strict=True):
        if offset >= 0:
            assert char == clean(document.text[offset])
    if form not in ("short", "hybrid_short") and window is None:
        # All but trailing blanks is shown.
        solid = [
            i for p in passages for i in range(p.start, p.end) if not document.text[i].isspace()
        ]
        assert set(solid) <= set(shown.tolist())
    # Leaving a sentence out leaves every other character and the mention in place.
    for sentence in case.shown_sentences:
        left = case.without_sentence(sentence)
        gone = sum(
            sentence.start <= offset < sentence.end and not mention.start <= offset < mention.end
            for offset in shown.tolist()
        )
        plain = "".join(s for s in case.prompt.segments if s not in ("[", "]"))
        plain_left = "".join(s for s in left.segments if s not in ("[", "]"))
        assert len(plain) - len(plain_left) == gone
        assert left.segments[left.context :] == case.prompt.segments[case.prompt.context :]


def test_leaving_out_a_line_or_a_sentence():
    case = make_case()
    assert case.without_line(0).text == case.prompt.text.replace(
        "[Acute kidney injury]{DISO} Acute renal failure\n", ""
    )
    first, _, third, last = case.shown_sentences
    assert case.without_sentence(first).text == case.prompt.text.replace(
        "Acute kidney injury (AKI) was found on admission. ", ""
    )
    # The mention's own sentence leaves the mention and its marks.
    assert "gentamicin for seven days. [AKI]Renal function is" in case.without_sentence(third).text
    assert case.without_sentence(last).text.startswith(
        "### Context\nAcute kidney injury (AKI) was found on admission. The patient had been given "
        "gentamicin for seven days. Her [AKI] improved once the drug was stopped. \n\n### Prev"
    )
    alone = make_case(memory=case.lines[:1])
    assert "### Previous Normalizations\nNone\n\n" in alone.without_line(0).text


def test_marks_of_other_mentions_go_with_their_sentence():
    text = "One AKI here. Two COPD there."
    single, two = mention_of(text, "AKI", id="T1"), mention_of(text, "COPD", id="T2")
    document = Document("d", (Passage(text),), (single, two))
    case = Case(
        DocumentPrompts(document, PROMPT_FORMATS["long"]), two, (), prediction_of("d", two, "N"),
        (("N",),), None, document_sentences(document, plain_sentences),
    )  # fmt: skip
    assert case.prompt.text.startswith("### Context\nOne [AKI] here. Two [COPD] there.\n\n")
    left = case.without_sentence(case.shown_sentences[0])
    assert left.text.startswith("### Context\nTwo [COPD] there.\n\n")


def test_sentences_cover_passages_without_a_gap():
    document = Document("d", (Passage("A b. C d.\nE", 0), Passage(" F g! H", 20)), ())
    assert document_sentences(document, plain_sentences) == (
        Span(0, 5), Span(5, 10), Span(10, 11), Span(21, 26), Span(26, 27),
    )  # fmt: skip


def test_words_are_words_and_single_marks():
    document = Document("d", (Passage("L'eau (H2O), 5-FU!", 3),), ())
    result = [document.text[start:end] for start, end in words(document)]
    assert result == ["L'eau", "(", "H2O", ")", ",", "5", "-", "FU", "!"]


@given(
    text=st.text(st.sampled_from("ab \n𝒳"), min_size=1, max_size=30),
    scores=st.lists(st.floats(0, 10), min_size=1, max_size=12),
    data=st.data(),
)
def test_spreading_keeps_the_sum(text, scores, data):
    locations = []
    for _ in scores:
        start = data.draw(st.integers(0, len(text) - 1))
        locations.append(Span(start, data.draw(st.integers(start + 1, len(text)))))
    assert spread(locations, scores, text).sum() == pytest.approx(sum(scores))


def test_a_token_gives_its_score_to_its_solid_characters():
    assert spread([Span(0, 3), Span(3, 4), Span(0, 0)], [4.0, 1.0, 9.0], " ab ").tolist() == [
        0.0, 2.0, 2.0, 1.0,
    ]  # fmt: skip


def test_sums_by_word_sentence_line_and_part():
    text = "Flu. AKI now."
    case = make_case(
        text=text, mention=mention_of(text, "AKI"), memory=(MemoryLine("Flu", "X", ("Influenza",)),)
    )
    prompt = case.prompt.text
    # One token a character, each scored 1, so that sums are numbers of solid characters.
    locations = [Span(ordinal, ordinal + 1) for ordinal in range(len(prompt))]
    scores = [1.0] * len(prompt)
    signed = [-1.0] * len(prompt)
    result = attribute(
        case, locations, scores, signed, method="integrated", rank=1, versus=None, objective=-1.0
    )
    assert [(text[slice(*word.span)], word.score, word.signed) for word in result.words] == [
        ("Flu", 3.0, -3.0), (".", 1.0, -1.0), ("AKI", 3.0, -3.0), ("now", 3.0, -3.0),
        (".", 1.0, -1.0),
    ]  # fmt: skip
    assert [sentence.score for sentence in result.sentences] == [5.0, 8.0]
    assert [line.score for line in result.memory] == [len("[Flu]{X} Influenza")]
    assert sum(result.shares.values()) == pytest.approx(1)
    assert result.shares["mention"] == pytest.approx(len("AKIAKIDISO") / len(prompt))
    token = result.tokens[prompt.index("now")]
    assert (token.document, token.part, token.line) == (Span(9, 10), "context", None)


def test_special_tokens_belong_to_the_frame():
    case = make_case()
    result = attribute(
        case, [Span(0, 0), Span(12, 17)], [3.0, 1.0], method="gradient", rank=1, versus=None,
        objective=0.0,
    )  # fmt: skip
    assert result.shares == pytest.approx(
        {"context": 0.25, "memory": 0, "mention": 0, "frame": 0.75}
    )


def test_ablation_shades_the_words_of_a_sentence():
    case = make_case()
    changes = [0.5, -0.25, 2.0, 0.0]
    result = attribute_ablation(case, [1.0, -0.25], changes, rank=1, versus=None, objective=-3.0)
    by_word = {TEXT[slice(*word.span)]: word.signed for word in result.words}
    assert (by_word["admission"], by_word["gentamicin"], by_word["improved"]) == (0.5, -0.25, 2.0)
    mention_word = next(word for word in result.words if word.span == case.mention.spans[0])
    assert mention_word.score == 0.0
    assert [line.signed for line in result.memory] == [1.0, -0.25]
    assert result.shares["memory"] == pytest.approx(1.25 / 4.0)


@pytest.mark.parametrize("form", sorted(PROMPT_FORMATS))
def test_token_places_are_the_tokens_texts(form):
    case = make_case(form, text=TEXT + " Text <+> <SEP> </s> [x] 𝒳 é 👩‍⚕️ end.")
    ids = checkpoint().encode(case.prompt)
    locations = TokenCharacters(checkpoint()).of(case.prompt, ids)
    assert len(locations) == len(ids) and locations[0] == Span(0, 0)
    text = case.prompt.text
    covered = np.zeros(len(text), dtype=bool)
    for start, end in locations:
        covered[start:end] = True
    assert all(covered[ordinal] for ordinal, char in enumerate(text) if not char.isspace())
    mark = next(
        n
        for n, location in enumerate(locations)
        if text[slice(*location)] == "}" and n == len(ids) - 1
    )
    assert ids[mark] == checkpoint().mark_id("}")


NAMES = {"Fever", "High fever", "A<+>B", "A", "B<+>C", "C"}


def test_names_of_a_candidate():
    """Taken from its concepts, whatever the joined name could be cut into."""
    single = Candidate(1, "C1", "A<+>B", 0.5)
    assert candidate_names(single, NAMES.__contains__) == ("A<+>B",)
    several = Candidate.of(1, [Concept("C4", "C"), Concept("C3", "A<+>B")], "<+>", 0.5)
    assert (several.concept_code, several.concept_name) == ("C3+C4", "C<+>A<+>B")
    assert candidate_names(several, NAMES.__contains__) == ("C", "A<+>B")


@pytest.mark.parametrize(
    "candidate",
    [
        Candidate(1, "C1", "Nothing", 0.5),
        Candidate.of(1, [Concept("C1", "Fever"), Concept("C2", "x")], "<+>", 0.5),
        Candidate(1, "C1+C3", "Fever<+>A", 0.5),  # a file that does not say which name is whose
    ],
)
def test_names_that_are_not_known(candidate):
    with pytest.raises(ValueError, match="C1"):
        candidate_names(candidate, NAMES.__contains__)


def test_rebuilding_a_document_and_its_memory():
    text = "Flu, AKI, COPD and DM."
    mentions = tuple(
        mention_of(text, phrase, id=f"T{ordinal}", group="raw")
        for ordinal, phrase in enumerate(("Flu", "AKI", "COPD", "DM"), start=1)
    )
    document = Document("d", (Passage(text),), mentions, "d.txt")
    predictions = {
        "T1": prediction_of("d", mentions[0], "Influenza"),
        "T2": prediction_of("d", mentions[1]),  # no candidates
        "T4": prediction_of("d", mentions[3], "Diabetes", "Other"),
    }
    linked = linked_document(document, predictions)
    assert [mention.id for mention in linked.mentions] == ["T1", "T2", "T4"]
    prompts = DocumentPrompts(linked, PROMPT_FORMATS["hybrid_long"])
    memory = memories(prompts, predictions, lambda candidate, _: (candidate.concept_name,))
    assert memory["T1"] == ()
    expected = (MemoryEntry("T1", MemoryLine("Flu", "raw", ("Influenza",))),)
    assert memory["T2"] == memory["T4"] == expected

    moved = predictions | {
        "T1": Prediction("d", "T1", "Flu", "raw", (Span(1, 4),), predictions["T1"].candidates)
    }
    with pytest.raises(LongbelError, match="mention T1 stands at another place"):
        linked_document(document, moved)


def test_shortening_is_that_of_the_linking_engine():
    """Prompts of a document longer than the context, as the engine renders them."""
    from longbel_cli.linking.engine import EngineOptions, LinkingEngine
    from longbel_cli.model.decoders import Beam

    text = "Fever and cough. " * 12 + "AKI came. " + "He slept well. " * 12
    mentions = tuple(mention_of(text, "Fever", n, f"T{n}", "G") for n in range(1, 13))
    mentions += (mention_of(text, "AKI", 1, "T13", "G"),)
    document = Document("d", (Passage(text),), mentions, "d.txt")
    form = PROMPT_FORMATS["hybrid_long"]

    class Names:
        def name(self, row):
            return "Fever of unknown origin"

        def code(self, row):
            return "C1"

    class Scripted:
        def submit(self, request):
            self.key = request.key

        def step(self):
            return [(self.key, [Beam((0,), -1.0, 2)])]

        def release(self, key):
            pass

        def reset(self):
            pass

    def encode(prompt):
        return list(prompt.text)  # a token a character

    truncated = set()
    for limit in (10_000, len(text) + 150, len(text) + 100, 200):
        rendered: dict[str, str] = {}

        def keep(_, mention, prompt, rendered=rendered):
            rendered[mention.id] = prompt.text

        engine = LinkingEngine(
            Names(), Scripted(), encode, EngineOptions(form, limit, 10_000), None, keep
        )
        predictions = {p.mention_id: p for p in engine.link_window([document])}
        linked = linked_document(document, predictions)
        prompts = DocumentPrompts(linked, form)
        memory_of = memories(prompts, predictions, lambda c, _: (c.concept_name,))
        for mention in linked.mentions:
            memory, window = fitting(prompts, mention, memory_of[mention.id], encode, limit)
            prompt = prompts.render(mention, [entry.line for entry in memory], window)
            assert prompt.text == rendered[mention.id]
            truncated.add((len(memory) < len(memory_of[mention.id]), window is not None))
    assert truncated == {(False, False), (True, False), (True, True), (False, True)}
