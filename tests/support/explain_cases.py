"""A small random model, documents and cases that the tests of explanations share."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from longbel_cli.explaining.aggregation import document_sentences, plain_sentences
from longbel_cli.explaining.case import Case
from longbel_cli.explaining.explanation import MemoryEntry
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.prompting.formats import PROMPT_FORMATS, DocumentPrompts
from longbel_cli.prompting.segments import MemoryLine
from longbel_cli.types import Candidate, Document, Mention, Passage, Prediction, Span

TEXT = (
    "Acute kidney injury (AKI) was found on admission. The patient had been given gentamicin "
    "for seven days.\nHer AKI improved once the drug was stopped. Renal function is normal now."
)


@cache
def checkpoint() -> Checkpoint:
    """A byte-level tokenizer of this project's own kind, with no model folder behind it."""
    from longbel_cli.training.base.fresh import as_pretrained, train_tokenizer

    tokenizer = as_pretrained(train_tokenizer([TEXT] * 4, 400), 2048)
    return Checkpoint(Path("nowhere"), {"max_position_embeddings": 2048}, tokenizer)


@cache
def model(seed: int = 0) -> Any:
    """A two-layer Llama in float32 with weights large enough to make its answers depend on
    the prompt."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(checkpoint().tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.15,
    )
    return LlamaForCausalLM(config).float().eval()


def mention_of(
    text: str, phrase: str, ordinal: int = 1, id: str = "T1", group: str = "DISO"
) -> Mention:
    """The mention that is the `number`-th occurrence of a phrase."""
    start = -1
    for _ in range(ordinal):
        start = text.index(phrase, start + 1)
    return Mention(id, (Span(start, start + len(phrase)),), phrase, group, group)


def prediction_of(document_id: str, mention: Mention, *names: str) -> Prediction:
    """Candidates of those names with codes C1, C2, … and falling scores."""
    candidates = tuple(
        Candidate(rank, f"C{rank}", name, 0.9 / rank) for rank, name in enumerate(names, start=1)
    )
    return Prediction(
        document_id, mention.id, mention.text, mention.semantic_group, mention.spans, candidates
    )


def make_case(
    form: str = "hybrid_long",
    text: str = TEXT,
    mention: Mention | None = None,
    memory: tuple[MemoryLine, ...] = (
        MemoryLine("Acute kidney injury", "DISO", ("Acute renal failure",)),
        MemoryLine("gentamicin", "CHEM", ("Gentamicin",)),
    ),
    names: tuple[str, ...] = ("Acute renal failure", "Kidney disease"),
    window: Span | None = None,
) -> Case:
    """A case over one document of one passage."""
    mention = mention or mention_of(text, "AKI", 2, id="T3")
    document = Document("doc", (Passage(text),), (mention,), "doc.txt")
    prompts = DocumentPrompts(document, PROMPT_FORMATS[form], plain_sentences)
    return Case(
        prompts,
        mention,
        tuple(MemoryEntry(f"T{ordinal}", line) for ordinal, line in enumerate(memory, start=1)),
        prediction_of("doc", mention, *names),
        tuple((name,) for name in names),
        window,
        document_sentences(document, plain_sentences),
    )


__all__ = ["TEXT", "checkpoint", "make_case", "mention_of", "model", "prediction_of"]
