"""What a link job would do, found without doing it: counts, prompt sizes, memory, time.

Reads the whole corpus, measures prompts on its first documents, and times one small window.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heapreplace
from itertools import islice
from typing import NamedTuple

from longbel_cli.linking.job import default_threads
from longbel_cli.linking.job_options import JobOptions
from longbel_cli.linking.protocols import EntityLinker, Needs
from longbel_cli.linking.reading import CorpusReader
from longbel_cli.progress import duration_text
from longbel_cli.runs.windows import Bounds, Start, windows
from longbel_cli.types import Document

_MEASURED_DOCUMENTS = 200
_TIMED_MENTIONS = 16  # in all
_MENTIONS_EACH = 2  # at least, of a document where many are active


@dataclass(frozen=True)
class Plan:
    """Tokens are of prompts, None for a linker without prompts; `over_context` counts measured
    documents with a longer prompt than the model takes. `active` is how many documents are active
    together on average, by the mention counts of the corpus. `seconds` is the whole job's in one
    process on this machine, were all of it like the small window of so many documents that was
    timed; the loading of models and indexes left out."""

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
    active: float
    mentions_per_second: float
    seconds: float
    windows: int


def plan(linker: EntityLinker, reader: CorpusReader, options: JobOptions) -> Plan:
    """Measure. Everything that the job needs is opened, so that a plan proves it is there."""
    survey = reader.survey()
    documents = list(islice(reader.documents(), _MEASURED_DOCUMENTS))
    linker.pin_threads(options.threads or default_threads())
    needs = linker.needs(documents)
    shape = _shape(reader, options.bounds(linker, reader.options.limit), needs.max_active)
    median, p95, longest, over = _sizes(needs)
    engine = linker.engine()
    window = _small_window(documents, round(shape.active))
    started = time.perf_counter()
    engine.link_window(window)
    seconds = time.perf_counter() - started
    timed = sum(len(document.mentions) for document in window)
    rate = timed / seconds if timed else 0.0
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
        active=shape.active,
        mentions_per_second=rate,
        seconds=survey.mentions / rate if rate else 0.0,
        windows=shape.windows,
    )


class Shape(NamedTuple):
    """The windows of a corpus: their number, and how many documents are active on average."""

    windows: int
    active: float


def _shape(reader: CorpusReader, bounds: Bounds, max_active: int | None) -> Shape:
    count, mentions, passes = 0, 0, 0
    for window in windows(reader.source(), bounds, Start()):
        count += 1
        mentions += window.mentions
        sizes = [len(document.mentions) for document in window.documents]
        passes += passes_of(sizes, max_active or len(sizes))
    return Shape(count, mentions / passes if passes else 0.0)


def passes_of(sizes: Sequence[int], active: int) -> int:
    """Passes over documents of so many mentions, the longest first, `active` at once and a mention
    of each in every pass."""
    ends = [0] * min(active, len(sizes))  # a heap: when each comes free
    for size in sorted(sizes, reverse=True):
        heapreplace(ends, ends[0] + size)
    return max(ends, default=0)


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


def _small_window(documents: Sequence[Document], active: int) -> list[Document]:
    """The first `active` documents that have mentions, cut to a few mentions each."""
    some = [document for document in documents if document.mentions][: max(active, 1)]
    each = max(_TIMED_MENTIONS // max(len(some), 1), _MENTIONS_EACH)
    return [replace(document, mentions=document.mentions[:each]) for document in some]


def plan_lines(plan: Plan) -> list[str]:
    """The plan as people read it."""
    groups = ", ".join(f"{group} {count}" for group, count in plan.by_group.items())
    return [
        f"documents          {plan.documents}",
        f"mentions           {plan.mentions} ({groups})",
        f"quarantined        {plan.quarantined}",
        *([] if plan.tokens_median is None else _prompt_lines(plan)),
        f"memory             about {plan.memory_bytes / 1e9:.1f} GB for {_held(plan)}",
        f"windows            {plan.windows}, {plan.active:.1f} documents active on average",
        f"speed              {plan.mentions_per_second:.2f} mentions/s (one small window)",
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
