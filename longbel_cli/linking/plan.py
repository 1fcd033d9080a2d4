"""What a link job would do, found without doing it: counts, prompt sizes, memory, time.

Reads the whole corpus, measures prompts on its first documents, and times one small window.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice

from longbel_cli.linking.job import JobOptions, default_threads
from longbel_cli.linking.protocols import EntityLinker, Needs
from longbel_cli.linking.reading import CorpusReader
from longbel_cli.progress import duration_text
from longbel_cli.runs.windows import Start, windows
from longbel_cli.types import Document

_MEASURED_DOCUMENTS = 200
_TIMED_MENTIONS = 16


@dataclass(frozen=True)
class Plan:
    """Tokens are of prompts, None for a linker without prompts; `over_context` counts measured
    documents with a longer prompt than the model takes. `seconds` is the whole job's in one process
    on this machine, were all of it like the small window that was timed; the loading of models and
    indexes left out."""

    documents: int
    mentions: int
    quarantined: int
    by_group: dict[str, int]
    measured_documents: int
    tokens_median: int | None
    tokens_p95: int | None
    tokens_longest: int | None
    over_context: int | None
    batch_tokens: int | None
    memory_bytes: int
    mentions_per_second: float
    seconds: float
    windows: int


def plan(linker: EntityLinker, reader: CorpusReader, options: JobOptions) -> Plan:
    """Measure. Everything that the job needs is opened, so that a plan proves it is there."""
    survey = reader.survey()
    documents = list(islice(reader.documents(), _MEASURED_DOCUMENTS))
    linker.pin_threads(options.threads or default_threads())
    needs = linker.needs(documents)
    median, p95, longest, over = _sizes(needs)
    engine = linker.engine()
    window = _small_window(documents)
    started = time.perf_counter()
    engine.link_window(window)
    seconds = time.perf_counter() - started
    timed = sum(len(document.mentions) for document in window)
    rate = timed / seconds if timed else 0.0
    cut = windows(reader.source(), options.bounds(reader.options.limit), Start())
    return Plan(
        documents=survey.documents,
        mentions=survey.mentions,
        quarantined=len(survey.problems),
        by_group=dict(sorted(survey.by_group.items())),
        measured_documents=len(documents),
        tokens_median=median,
        tokens_p95=p95,
        tokens_longest=longest,
        over_context=over,
        batch_tokens=needs.batch_tokens,
        memory_bytes=needs.memory_bytes,
        mentions_per_second=rate,
        seconds=survey.mentions / rate if rate else 0.0,
        windows=sum(1 for _ in cut),
    )


def _sizes(needs: Needs) -> tuple[int, int, int, int] | tuple[None, None, None, None]:
    """Median, 95th percentile and largest of the prompts, and documents over the context."""
    if needs.prompt_tokens is None:
        return None, None, None, None
    flat = sorted(size for document in needs.prompt_tokens for size in document) or [0]
    over = sum(
        needs.max_tokens is not None and max(document, default=0) > needs.max_tokens
        for document in needs.prompt_tokens
    )
    return flat[len(flat) // 2], flat[int(len(flat) * 0.95)], flat[-1], over


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
    return [
        f"documents          {plan.documents}",
        f"mentions           {plan.mentions} ({groups})",
        f"quarantined        {plan.quarantined}",
        *([] if plan.tokens_median is None else _prompt_lines(plan)),
        f"memory             about {plan.memory_bytes / 1e9:.1f} GB for {_held(plan)}",
        f"speed              {plan.mentions_per_second:.2f} mentions/s (one small window)",
        f"windows            {plan.windows}",
        f"expected time      {duration_text(plan.seconds)} in one process, if all is as fast",
    ]


def _held(plan: Plan) -> str:
    return "weights and index" if plan.tokens_median is None else "weights and cache"


def _prompt_lines(plan: Plan) -> list[str]:
    return [
        f"prompt tokens      median {plan.tokens_median}, 95 % {plan.tokens_p95}, longest "
        f"{plan.tokens_longest} (first {plan.measured_documents} documents)",
        f"over the context   {plan.over_context} of {plan.measured_documents} documents",
        f"tokens in flight   {plan.batch_tokens}",
    ]
