"""What a link job would do, found without doing it: counts, prompt sizes, memory, time.

Reads the whole corpus, measures prompts on its first documents, and times one small window.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice

from longbel_cli.job import CorpusReader, JobOptions, default_threads, pin_threads
from longbel_cli.linker import Linker
from longbel_cli.prompts import DocumentPrompts, MemoryLine
from longbel_cli.types import Document

_MEASURED_DOCUMENTS = 200
_TIMED_MENTIONS = 16


@dataclass(frozen=True)
class Plan:
    """Tokens are of prompts; `over_context` counts measured documents with a longer prompt than
    the model takes. `seconds` is the whole job's on this machine, model loading left out."""

    documents: int
    mentions: int
    quarantined: int
    by_group: dict[str, int]
    measured_documents: int
    tokens_median: int
    tokens_p95: int
    tokens_longest: int
    over_context: int
    batch_tokens: int
    memory_bytes: int
    mentions_per_second: float
    seconds: float
    windows: int


def plan(linker: Linker, reader: CorpusReader, options: JobOptions) -> Plan:
    """Measure. Everything that the job needs is opened, so that a plan proves it is there."""
    survey = reader.survey()
    documents = list(islice(reader.documents(), _MEASURED_DOCUMENTS))
    limit = linker.checkpoint.max_tokens
    lengths = [_prompt_lengths(linker, document) for document in documents]
    flat = sorted(length for document in lengths for length in document) or [0]
    pin_threads(options.threads or default_threads())
    engine = linker.engine()
    weights = sum(
        parameter.numel() * parameter.element_size() for parameter in linker.model.parameters()
    )
    window = _small_window(documents)
    started = time.perf_counter()
    engine.link_window(window)
    seconds = time.perf_counter() - started
    timed = sum(len(document.mentions) for document in window)
    rate = timed / seconds if timed else 0.0
    batch = linker.batch_tokens()
    cache = batch * engine.decoder_bytes_per_token
    return Plan(
        documents=survey.documents,
        mentions=survey.mentions,
        quarantined=len(survey.problems),
        by_group=dict(sorted(survey.by_group.items())),
        measured_documents=len(documents),
        tokens_median=flat[len(flat) // 2],
        tokens_p95=flat[int(len(flat) * 0.95)],
        tokens_longest=flat[-1],
        over_context=sum(max(document, default=0) > limit for document in lengths),
        batch_tokens=batch,
        memory_bytes=weights + cache,
        mentions_per_second=rate,
        seconds=survey.mentions / rate if rate else 0.0,
        windows=-(-survey.documents // options.window_documents),
    )


def _prompt_lengths(linker: Linker, document: Document) -> list[int]:
    """Tokens of a document's prompts, were each mention predicted as its own text."""
    prompts = DocumentPrompts(document, linker.form, linker.split)
    memory: list[MemoryLine] = []
    lengths = []
    for mention in document.mentions:
        lengths.append(len(linker.checkpoint.encode(prompts.render(mention, memory))))
        memory.append(MemoryLine(mention.text, mention.semantic_group, (mention.text,)))
    return lengths


def _small_window(documents: list[Document]) -> list[Document]:
    """The first documents, up to a few mentions."""
    window: list[Document] = []
    mentions = 0
    for document in documents:
        if window and mentions >= _TIMED_MENTIONS:
            break
        window.append(document)
        mentions += len(document.mentions)
    return window


def plan_lines(plan: Plan) -> list[str]:
    """The plan as people read it."""
    groups = ", ".join(f"{group} {count}" for group, count in plan.by_group.items())
    hours, minutes = divmod(round(plan.seconds / 60), 60)
    return [
        f"documents          {plan.documents}",
        f"mentions           {plan.mentions} ({groups})",
        f"quarantined        {plan.quarantined}",
        f"prompt tokens      median {plan.tokens_median}, 95 % {plan.tokens_p95}, longest "
        f"{plan.tokens_longest} (first {plan.measured_documents} documents)",
        f"over the context   {plan.over_context} of {plan.measured_documents} documents",
        f"tokens in flight   {plan.batch_tokens}",
        f"memory             about {plan.memory_bytes / 1e9:.1f} GB for weights and cache",
        f"speed              {plan.mentions_per_second:.2f} mentions/s (one small window)",
        f"expected time      {hours} h {minutes:02d} min in {plan.windows} windows, one process",
    ]
