"""What a GPU does with the packed decoder, step by step; each step is saved as soon as it is done.

    python -m tests.benchmarks.card --work .bench/card --json card.json
    python -m tests.benchmarks.card --work .bench/card --json card.json --tiny --device cpu

An 8B Llama of random weights in bf16 (speed does not depend on what weights say) over 200,000
generated names. The steps, some seven minutes on an H100: FlashAttention against plain attention;
the card's constants, which `roofline` reads; attention through masks and through FlashAttention in
turn, at documents of equal length and at BC5CDR's mention counts; prompts of 5,300 tokens; a
profile; agreement of the bundled model with `generate`; what look-ahead and more documents gain.
A step that fails is saved with its error, and the next goes on. `--steps` chooses some.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from kb_builder.files import write_whole
from longbel_cli.model.decoders.backends import POOL_TOKENS, cascade, masked, passes_over
from longbel_cli.model.decoders.packed import PackedDecoder
from longbel_cli.types import Document
from tests.benchmarks.card_constants import constants, flash_errors
from tests.benchmarks.decode_speed import documents
from tests.benchmarks.gpu_speed import (
    LLAMA_8B,
    TINY,
    agreement,
    knowledge_base,
    random_linker,
    wait,
)

FORMATS = ("hybrid_long", "long", "short")
# Documents of BC5CDR's training set by their number of mentions (500 documents, 9,385 mentions).
BC5CDR_COUNTS = {
    4: 1, 5: 10, 6: 10, 7: 8, 8: 20, 9: 22, 10: 18, 11: 26, 12: 21, 13: 13, 14: 29, 15: 30, 16: 18,
    17: 22, 18: 23, 19: 21, 20: 32, 21: 17, 22: 10, 23: 20, 24: 11, 25: 15, 26: 18, 27: 13, 28: 8,
    29: 13, 30: 4, 31: 8, 32: 4, 33: 6, 34: 3, 35: 1, 36: 1, 37: 3, 38: 2, 39: 1, 40: 4, 41: 3,
    42: 2, 45: 1, 46: 2, 47: 1, 48: 3, 55: 1, 60: 1,
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """Tokens of a document (and of a long one), documents active, mentions of each, and documents
    with BC5CDR's counts."""

    tokens: int
    long_tokens: int
    active: int
    mentions: int
    uneven: int
    atoms: int
    repeats: int


FULL = Sizes(400, 2000, 64, 8, 96, 340_000, 2)
SMALL = Sizes(60, 120, 3, 2, 4, 20_000, 1)


class Bench:
    """The model and its texts, made when first asked for."""

    def __init__(self, work: Path, device: str, tiny: bool) -> None:
        self.work, self.device, self.tiny = work, device, tiny
        self.sizes = SMALL if tiny else FULL

    @cached_property
    def linker(self) -> Any:
        kb, tokenizer = knowledge_base(self.work, self.sizes.atoms)
        shape = TINY if self.tiny else LLAMA_8B
        return random_linker(kb, tokenizer, shape, self.device, beams=5)

    def in_format(self, name: str) -> Any:
        linker = self.linker.in_format(name)
        linker.options.__dict__["language"] = "en"  # frozen options: `short` wants a language
        return linker

    def texts(self, n: int, tokens: int, mentions: int) -> list[Document]:
        linker = self.linker
        return documents(linker.knowledge_base, linker.checkpoint, n, tokens, mentions)

    def uneven(self, n: int) -> list[Document]:
        """Documents with BC5CDR's mention counts, thinned evenly to `n` and shuffled."""
        counts = [size for size, ordinal in BC5CDR_COUNTS.items() for _ in range(ordinal)]
        chosen = [counts[index * len(counts) // n] for index in range(n)]
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).tolist()
        made = (self.texts(1, self.sizes.tokens, chosen[index])[0] for index in order)
        return [replace(each, id=f"d{index}") for index, each in enumerate(made)]


def decoder_of(linker: Any, attention: str, lookahead: int | None = None) -> PackedDecoder:
    """With attention through `masks` or `flash`, and what suits it on CUDA."""
    model = linker.model
    backend = masked(model, POOL_TOKENS) if attention == "masks" else cascade(model)
    passes = passes_over(backend, torch.device("cuda"))
    steps = passes.lookahead if lookahead is None else lookahead
    options = replace(
        linker.engine()._decoder._options,
        lookahead=steps,
        lookahead_searches=passes.lookahead_searches,
    )
    return PackedDecoder(linker.model, linker.trie, options, backend, passes.halves)


def linked(
    linker: Any,
    decoder: PackedDecoder,
    windows: Sequence[Sequence[Document]],
    active: int,
    repeats: int = 1,
) -> dict[str, Any]:
    """Mentions a second over windows that are linked one after the other, a small one before."""
    engine = linker.engine()
    engine._decoder = decoder
    engine._options = replace(engine._options, max_active=active)
    engine.link_window([replace(each, mentions=each.mentions[:2]) for each in windows[0]])
    n = sum(len(each.mentions) for window in windows for each in window)
    if linker.model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    rates = []
    for _ in range(repeats):
        for name in vars(decoder.stats):
            setattr(decoder.stats, name, 0)
        wait(linker)
        started = time.perf_counter()
        for window in windows:
            engine.link_window(window)
        wait(linker)
        rates.append(n / (time.perf_counter() - started))
    stats, seconds = decoder.stats, n / rates[-1]
    return {
        "mentions": n,
        "mentions_per_second": round(statistics.median(rates), 2),
        "range": [round(min(rates), 2), round(max(rates), 2)],
        "prefilled": round(stats.prefill_tokens / n, 1),
        "tree_tokens": round(stats.tree_tokens / n, 1),
        "passes": round(stats.decode_forwards / n, 3),
        "outside_model_share": round(1 - stats.seconds_model / seconds, 3),
        "peak_memory_gb": round(peak_gb(linker), 1),
    }


def peak_gb(linker: Any) -> float:
    cuda = linker.model.device.type == "cuda"
    return torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0


def equal_documents(bench: Bench) -> Iterator[dict[str, Any]]:
    """Every format, attention through masks and through FlashAttention in turn."""
    sizes = bench.sizes
    corpus = bench.texts(sizes.active, sizes.tokens, sizes.mentions)
    for name in FORMATS:
        linker = bench.in_format(name)
        for attention in ("masks", "flash"):
            actual = linked(
                linker, decoder_of(linker, attention), [corpus], sizes.active, sizes.repeats
            )
            yield {"format": name, "attention": attention, "tokens": sizes.tokens, **actual}


def long_documents(bench: Bench) -> Iterator[dict[str, Any]]:
    """Prompts of about 5,300 tokens."""
    sizes = bench.sizes
    linker = bench.in_format("hybrid_long")
    corpus = bench.texts(max(sizes.active // 4, 1), sizes.long_tokens, sizes.mentions)
    for attention in ("masks", "flash"):
        actual = linked(linker, decoder_of(linker, attention), [corpus], sizes.active)
        yield {
            "format": "hybrid_long",
            "attention": attention,
            "tokens": sizes.long_tokens,
            **actual,
        }


def uneven_documents(bench: Bench) -> Iterator[dict[str, Any]]:
    """BC5CDR's counts: windows of as many documents as are active, against one window."""
    corpus, third = bench.uneven(bench.sizes.uneven), max(bench.sizes.uneven // 3, 1)
    linker = bench.in_format("long")
    parts = [corpus[first : first + third] for first in range(0, len(corpus), third)]
    for label, windows in (("drained", parts), ("refilled", [corpus])):
        actual = linked(linker, decoder_of(linker, "flash"), windows, third)
        yield {"format": "long", "windows": label, "active": third, **actual}


def sweeps(bench: Bench) -> Iterator[dict[str, Any]]:
    """Look-ahead at full batches, then the number of documents, with `long` prompts."""
    sizes = bench.sizes
    linker = bench.in_format("long")
    corpus = bench.texts(2 * sizes.active, sizes.tokens, sizes.mentions)
    for lookahead in (0, 2, 8):
        decoder = decoder_of(linker, "flash", lookahead)
        actual = linked(linker, decoder, [corpus[: sizes.active]], sizes.active)
        yield {"lookahead": lookahead, "active": sizes.active, **actual}
    for active in (max(sizes.active // 4, 1), 2 * sizes.active):
        actual = linked(linker, decoder_of(linker, "flash"), [corpus[:active]], active)
        yield {"lookahead": 0, "active": active, **actual}


def profile(bench: Bench) -> Iterator[dict[str, Any]]:
    """The kernels that a window spends its time in."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    linker = bench.in_format("hybrid_long")
    corpus = bench.texts(bench.sizes.active, bench.sizes.tokens, 1)
    engine = linker.engine()
    engine._decoder = decoder_of(linker, "flash")
    engine.link_window(corpus)
    kinds = [ProfilerActivity.CPU]
    if bench.device != "cpu":
        kinds.append(ProfilerActivity.CUDA)
    with profiled(activities=kinds) as seen:
        engine.link_window(corpus)
        wait(linker)
    key = "self_device_time_total" if bench.device != "cpu" else "self_cpu_time_total"
    rows = sorted(seen.key_averages(), key=lambda row: -getattr(row, key))[:25]
    for row in rows:
        yield {"kernel": row.key[:90], "ms": round(getattr(row, key) / 1e3, 2), "calls": row.count}


def agreements(bench: Bench) -> Iterator[dict[str, Any]]:
    """The bundled model: packed against `generate`, in float32 and bfloat16."""
    yield agreement(bench.device, 1 if bench.tiny else 6)


STEPS: dict[str, Callable[[Bench], Iterator[dict[str, Any]]]] = {
    "flash": lambda bench: flash_errors(bench.device),
    "constants": lambda bench: constants(bench.device, bench.tiny),
    "equal": equal_documents,
    "uneven": uneven_documents,
    "long": long_documents,
    "agreement": agreements,
    "sweeps": sweeps,
    "profile": profile,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="Folder for what is generated.")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="Small sizes, for a CPU.")
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS))
    args = parser.parse_args(arguments)
    args.work.mkdir(parents=True, exist_ok=True)
    cuda = args.device != "cpu"
    name = torch.cuda.get_device_name() if cuda else "CPU"
    result: dict[str, Any] = {"device": name, "torch": torch.__version__, "tiny": args.tiny}
    bench = Bench(args.work, args.device, args.tiny)
    for step in args.steps:
        started = time.perf_counter()
        rows = result[step] = []
        try:
            for row in STEPS[step](bench):
                rows.append(row)
                print(json.dumps({step: row}), file=sys.stderr, flush=True)
                save(args.json, result)
        except Exception as error:  # the steps behind it are worth their minutes
            rows.append({"error": f"{type(error).__name__}: {error}"[:500]})
            print(json.dumps({step: rows[-1]}), file=sys.stderr, flush=True)
        rows.append({"seconds": round(time.perf_counter() - started, 1)})
        save(args.json, result)


def save(path: Path, result: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
