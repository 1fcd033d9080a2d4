"""The prompts of all formats, worked by hand; every expected string is written out here."""

from __future__ import annotations

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.prompting.formats import PROMPT_FORMATS, DocumentPrompts, prompt_format
from longbel_cli.prompting.segments import Mark, MemoryLine
from longbel_cli.types import Mention
from tests.support.prompt_cases import CASE, document, render, rendered

MEMORY = (
    MemoryLine("Lupus", "Disorders", ("Systemic lupus erythematosus",)),
    MemoryLine("Lupus nephritis", "Disorders", ("Lupus Nephritis",)),
    MemoryLine("fever", "Disorders", ("Fever",)),
)


def test_the_offsets_of_the_case() -> None:
    texts = {mention.id: mention.text for mention in CASE.mentions}
    assert texts == {"T1": "Lupus", "T2": "Lupus nephritis", "T3": "fever", "T4": "kidney"}


GOLDEN = {
    "short": """### Context
No other sign of [kidney] disease.

### Prediction
[kidney]{Anatomy}""",
    "hybrid_medium": """### Context
Lupus nephritis
She had fever. No other sign of [kidney] disease.

### Prediction
[kidney]{Anatomy}""",
    "hybrid_short": """### Context
No other sign of [kidney] disease.

### Previous Normalizations
[Lupus]{Disorders} Systemic lupus erythematosus
[Lupus nephritis]{Disorders} Lupus Nephritis
[fever]{Disorders} Fever

### Prediction
[kidney]{Anatomy}""",
    "hybrid_long": """### Context
Lupus nephritis
She had fever. No other sign of [kidney] disease.

### Previous Normalizations
[Lupus]{Disorders} Systemic lupus erythematosus
[Lupus nephritis]{Disorders} Lupus Nephritis
[fever]{Disorders} Fever

### Prediction
[kidney]{Anatomy}""",
    "long": """### Context
[[Lupus] nephritis]
She had [fever]. No other sign of [kidney] disease.

### Predictions
[Lupus]{Disorders} Systemic lupus erythematosus<SEP>[Lupus nephritis]{Disorders} Lupus Nephritis<SEP>[fever]{Disorders} Fever<SEP>[kidney]{Anatomy}""",  # noqa: E501
}
GOLDEN_FIRST = {
    "short": "### Context\n[Lupus] nephritis\n\n### Prediction\n[Lupus]{Disorders}",
    "hybrid_medium": "### Context\n[Lupus] nephritis\nShe had fever. No other sign of kidney "
    "disease.\n\n### Prediction\n[Lupus]{Disorders}",
    "hybrid_short": "### Context\n[Lupus] nephritis\n\n### Previous Normalizations\nNone\n\n"
    "### Prediction\n[Lupus]{Disorders}",
    "hybrid_long": "### Context\n[Lupus] nephritis\nShe had fever. No other sign of kidney "
    "disease.\n\n### Previous Normalizations\nNone\n\n### Prediction\n[Lupus]{Disorders}",
    "long": "### Context\n[[Lupus] nephritis]\nShe had [fever]. No other sign of [kidney] "
    "disease.\n\n### Predictions\n[Lupus]{Disorders}",
}


def test_there_are_five_formats() -> None:
    assert set(GOLDEN) == set(GOLDEN_FIRST) == set(PROMPT_FORMATS) - {"echoed"}


def test_echoed_repeats_the_words_around_each_mention() -> None:
    prompts = DocumentPrompts(CASE, prompt_format("echoed"))
    named = zip(CASE.mentions, MEMORY, strict=False)
    memory = [prompts.line(mention, line.names) for mention, line in named]
    assert prompts.render(CASE.mentions[3], memory).text == (
        "### Context\nLupus nephritis\nShe had fever. No other sign of kidney disease.\n\n"
        "### Predictions\n"
        "[Lupus] nephritis\n[Lupus]{Disorders} Systemic lupus erythematosus<SEP>"
        "[Lupus nephritis]\n[Lupus nephritis]{Disorders} Lupus Nephritis<SEP>"
        "She had [fever]. No other sign of kidney disease.\n[fever]{Disorders} Fever<SEP>"
        "She had fever. No other sign of [kidney] disease.\n[kidney]{Anatomy}"
    )


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        # 60 characters on both sides, and the rest of a word that would be cut.
        ([(1000, 1005)], "[fever]"),
        # Fragments far apart: around the first alone.
        ([(1000, 1005), (1806, 1811)], "[fever]"),
        # Fragments near to each other: both.
        ([(1000, 1005), (1011, 1015)], "[fever] word [word]"),
    ],
)
def test_the_length_of_an_echo(spans: list[tuple[int, int]], expected: str) -> None:
    text = "word " * 200 + "fever " + "word " * 160 + "again " + "word " * 20
    doc = document([text], ("T1", "Disorders", spans))
    prompt = render(doc, "echoed", "T1")
    echo = prompt.partition("### Predictions\n")[2].partition("\n")[0]
    assert echo == "word " * 12 + expected + " word" * 12


@pytest.mark.parametrize("form", GOLDEN)
def test_with_memory(form: str) -> None:
    assert render(CASE, form, "T4", MEMORY) == GOLDEN[form]


@pytest.mark.parametrize("form", GOLDEN_FIRST)
def test_without_memory(form: str) -> None:
    assert render(CASE, form, "T1") == GOLDEN_FIRST[form]


def test_the_mention_is_written_cleaned_with_one_blank_between_fragments() -> None:
    doc = document(["{pain}\nin the\u00a0arm or leg"], ("A", "D", [(0, 13), (21, 24)]))
    assert render(doc, "short", "A").endswith("\n\n### Prediction\n[(pain) in the leg]{D}")


def test_the_group_is_written_as_the_knowledge_base_spells_it() -> None:
    doc = document(["fiebre"], ("A", "ENFERMEDAD", [(0, 6)]))
    mention = Mention("A", doc.mentions[0].spans, "fiebre", "ENFERMEDAD", entity_type="Enfermedad")
    prompts = DocumentPrompts(doc, prompt_format("hybrid_medium"))
    assert prompts.render(mention, []).text.endswith("[fiebre]{ENFERMEDAD}")


def test_memory_lines_are_cleaned_mentions_and_names_as_they_are() -> None:
    memory = [MemoryLine("a\n[b]", "Disorders", ("5-(x)  Y\u00e9",))]
    assert render(CASE, "hybrid_long", "T4", memory).endswith(
        "### Previous Normalizations\n[a (b)]{Disorders} 5-(x)  Y\u00e9\n\n"
        "### Prediction\n[kidney]{Anatomy}"
    )


def test_composite_memory() -> None:
    memory = [MemoryLine("cough and fever", "Disorders", ("Cough", "Fever"))]
    assert "\n[cough and fever]{Disorders} Cough<+> Fever\n\n" in render(
        CASE, "hybrid_long", "T4", memory
    )
    assert render(CASE, "long", "T4", memory).endswith(
        "### Predictions\n[cough and fever]{Disorders} Cough<+> Fever<SEP>[kidney]{Anatomy}"
    )
    marks = [
        segment
        for segment in rendered(CASE, "long", "T4", memory).segments
        if isinstance(segment, Mark)
    ]
    assert marks.count("<+>") == 1 and marks.count("<SEP>") == 1


def test_the_same_memory_line_twice_is_there_twice() -> None:
    line = MemoryLine("cold", "Disorders", ("Common Cold",))
    text = render(CASE, "hybrid_short", "T4", [line, line])
    assert text.count("[cold]{Disorders} Common Cold\n") == 2


@pytest.mark.parametrize("form", ["short", "hybrid_medium"])
def test_formats_without_memory_ignore_it(form: str) -> None:
    assert render(CASE, form, "T4", MEMORY) == render(CASE, form, "T4")


def test_text_is_never_a_mark() -> None:
    """What text spells stays text, and what the format writes is marks."""
    doc = document(["a <+> [b] <SEP> fever"], ("A", "D", [(16, 21)]))
    memory = [MemoryLine("<SEP> {x}", "D", ("<+>",))]
    segments = rendered(doc, "long", "A", memory).segments
    assert [str(segment) for segment in segments if isinstance(segment, Mark)] == [
        *"[]", *"[]{}", "<SEP>", *"[]{}",
    ]  # fmt: skip
    assert segments[1] == "a <+> (b) <SEP> "


def test_parts_of_a_prompt_are_counted() -> None:
    """`context` and `memory` count the segments of their sections, headings included."""
    prompt = rendered(CASE, "hybrid_long", "T4", MEMORY[:1])
    context = prompt.segments[: prompt.context]
    memory = prompt.segments[prompt.context : prompt.context + prompt.memory]
    query = prompt.segments[prompt.context + prompt.memory :]
    assert "".join(context) == (
        "### Context\nLupus nephritis\nShe had fever. No other sign of [kidney] disease."
    )
    assert "".join(memory) == (
        "\n\n### Previous Normalizations\n[Lupus]{Disorders} Systemic lupus erythematosus"
        "\n\n### Prediction\n"
    )
    assert query == ("[", "kidney", "]", "{", "Anatomy", "}")


def test_an_unknown_format_is_a_usage_error() -> None:
    with pytest.raises(LongbelError, match="hybrid_longer") as raised:
        prompt_format("hybrid_longer")
    assert raised.value.exit_code == 2 and "hybrid_medium" in raised.value.message
