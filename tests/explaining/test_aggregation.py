"""Does ablation find what an answer rests on? Documents with one planted clue each.

First with a model that is transparent by construction, then with the bundled sample model.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from longbel_cli.corpora import read_corpus  # noqa: E402
from longbel_cli.explaining.explainer import Explainer, ExplainOptions  # noqa: E402
from longbel_cli.explaining.replay import saliency_maps  # noqa: E402
from longbel_cli.prompting.segments import MemoryLine  # noqa: E402
from longbel_cli.sample_paths import sample  # noqa: E402
from longbel_cli.types import Document, Passage  # noqa: E402
from tests.support.explain_cases import checkpoint, make_case, mention_of  # noqa: E402

FILLERS = (
    "She was seen in the clinic on Monday.",
    "Her mother came along and gave the history.",
    "No change was made to the diet.",
    "The next visit is planned for spring.",
    "All questions were answered at length.",
    "He walked without help and slept well.",
    "The letter was sent to the practice.",
    "Nothing else was found that day.",
)
CONDITIONS = (
    "juvenile dermatomyositis", "aortic stenosis", "hepatic encephalopathy", "cystic fibrosis",
    "diabetic retinopathy", "pulmonary embolism", "ulcerative colitis", "septic arthritis",
    "bacterial meningitis", "polycystic kidney disease",
)  # fmt: skip
OTHERS = ("Fracture of wrist", "Common cold", "Migraine")
ENOUGH = 9  # of ten


class Echo(torch.nn.Module):
    """A model that repeats: a token is the likelier, the more often it followed the last two."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(vocabulary, vocabulary)
        self.embedding.weight.data = torch.eye(vocabulary)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.embedding

    def forward(self, input_ids=None, inputs_embeds=None, attention_mask=None, **_: Any) -> Any:
        read = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds  # [B, T, V]
        if attention_mask is not None:
            read = read * attention_mask[..., None]
        same = (read @ read.transpose(1, 2)).tril(-1)  # [B, T, T]: is the token here that there?
        same_two = same.clone()
        same_two[:, 1:, 1:] = same[:, 1:, 1:] * same[:, :-1, :-1]
        following = torch.nn.functional.pad(read[:, 1:], (0, 0, 0, 1))
        return type("Output", (), {"logits": 3 * same_two @ following})


def defined_once(seed: int, name: str, short: str) -> tuple[str, int]:
    """A document that says once what an abbreviation means, and that sentence's number."""
    chance = random.Random(seed)
    sentences = chance.sample(FILLERS, 6)
    location = chance.randrange(5)
    sentences.insert(location, f"She has {name} ({short}).")
    return " ".join([*sentences, f"Treatment of {short} was begun."]), location


def strongest(weights: Any) -> int:
    values = [weight.signed for weight in weights]
    return values.index(max(values))


def found_definitions(explainer: Explainer, names: tuple[str, ...], group: str) -> int:
    """In how many documents the sentence with the definition is the strongest support."""
    hits = 0
    for seed, name in enumerate(names):
        text, location = defined_once(seed, name.lower(), "QZX")
        mention = mention_of(text, "QZX", 2, group=group)
        case = make_case(text=text, mention=mention, memory=(), names=(name,))
        (attribution,) = explainer.explain(case).attributions
        assert len(attribution.sentences) == 8
        hits += strongest(attribution.sentences) == location
    return hits


def found_memories(explainer: Explainer, names: tuple[str, ...], group: str) -> int:
    """In how many documents the memory line that alone knows the concept is the strongest."""
    hits = 0
    for seed, name in enumerate(names):
        chance = random.Random(seed)
        lines = [MemoryLine(other.lower(), group, (other,)) for other in OTHERS]
        location = chance.randrange(4)
        lines.insert(location, MemoryLine("QZX", group, (name,)))
        text = " ".join([*chance.sample(FILLERS, 5), "Treatment of QZX was begun."])
        mention = mention_of(text, "QZX", group=group)
        case = make_case(text=text, mention=mention, memory=tuple(lines), names=(name,))
        (attribution,) = explainer.explain(case).attributions
        hits += strongest(attribution.memory) == location
    return hits


ABLATION = ExplainOptions(methods=("ablation",))


@cache
def echo() -> Explainer:
    return Explainer(checkpoint(), Echo(len(checkpoint().tokenizer)), ABLATION)


def test_a_definition_is_found_where_the_model_repeats_what_it_read():
    assert found_definitions(echo(), CONDITIONS, "DISO") >= ENOUGH


def test_a_memory_line_is_found_where_the_model_repeats_what_it_read():
    assert found_memories(echo(), CONDITIONS, "DISO") >= ENOUGH


def test_a_model_that_reads_nothing_has_no_clue():
    """The same documents under a model that ignores its prompt: no sentence matters."""

    class Deaf(Echo):
        def forward(self, **inputs: Any) -> Any:
            output = super().forward(**inputs)
            output.logits = torch.zeros_like(output.logits)
            return output

    deaf = Explainer(checkpoint(), Deaf(len(checkpoint().tokenizer)), ABLATION)
    text, _ = defined_once(0, CONDITIONS[0], "QZX")
    case = make_case(text=text, mention=mention_of(text, "QZX", 2), names=(CONDITIONS[0],))
    (attribution,) = deaf.explain(case).attributions
    assert {weight.signed for weight in (*attribution.sentences, *attribution.memory)} == {0.0}


# The bundled sample model ---------------------------------------------------------------------

with_sample = pytest.mark.skipif(
    not (sample("model") / "config.json").exists() or not (sample("kb") / "kb.json").exists(),
    reason="the bundled sample model is not here",
)


@cache
def sample_linker() -> Any:
    from longbel_cli.linking.linker import Linker
    from longbel_cli.linking.options import LinkOptions

    options = LinkOptions(context_format="hybrid_long", language="en", device="cpu")
    return Linker.open(sample("model"), sample("kb"), options)


def sample_explainer(options: ExplainOptions = ABLATION) -> Explainer:
    return Explainer(sample_linker().checkpoint, sample_linker().model, options)


@cache
def sample_names() -> tuple[str, tuple[str, ...]]:
    """A group of the sample knowledge base and ten names of it, two or three words each."""
    base = sample_linker().knowledge_base
    group = max(base.groups, key=lambda group: len(base.rows_of_group(group)))
    rows = list(base.rows_of_group(group))
    random.Random(0).shuffle(rows)
    fitting = (
        name
        for name in map(base.name, rows)
        if name.replace(" ", "").isalpha() and name.isascii() and 2 <= len(name.split()) <= 3
    )
    return group, tuple(name for name, _ in zip(fitting, range(10), strict=False))


@pytest.mark.slow
@with_sample
def test_the_sample_model_rests_on_a_definition():
    group, names = sample_names()
    assert found_definitions(sample_explainer(), names, group) >= ENOUGH


@pytest.mark.slow
@with_sample
def test_the_sample_model_rests_on_its_memory():
    group, names = sample_names()
    assert found_memories(sample_explainer(), names, group) >= ENOUGH


def completeness_errors(document: Document, steps: int) -> list[float]:
    """By what part of the log-probability's change the signed scores of a mention miss it."""
    options = ExplainOptions(methods=("integrated",), steps=steps)
    predictions = list(sample_linker().link([document]))
    errors = []
    for explanation in islice(saliency_maps(sample_linker(), options)([document], predictions), 3):
        (result,) = explanation.attributions
        errors.append(abs(result.delta / (result.objective - result.baseline_objective)))
    return errors


def sample_document() -> Document:
    return next(iter(read_corpus([sample("corpus") / "brat" / "en"])))


@pytest.mark.slow
@with_sample
def test_integrated_gradients_of_the_sample_model_are_complete():
    """On what was linked: the signed scores add up to the change of the log-probability."""
    document = sample_document()
    passage = Passage(document.text[: document.mentions[3].start])
    begun = replace(document, passages=(passage,), mentions=document.mentions[:2])
    assert max(completeness_errors(begun, steps=64)) <= 0.02


@pytest.mark.slow
@with_sample
def test_integrated_gradients_of_a_whole_document_are_complete():
    assert max(completeness_errors(sample_document(), steps=128)) <= 0.02
