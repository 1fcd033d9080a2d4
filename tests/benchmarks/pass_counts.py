"""What a pass consists of, and how full a window keeps the device, counted without a card.

    python -m tests.benchmarks.pass_counts --data ../shared/data

First table: kernels and views that a layer dispatches in a pass in which half of the documents are
at their prompts and half at their search trees: the difference between a model of two layers and
one of one. Second table: the mention counts of real corpora, cut into windows; the mean share of
the places (64, or the window's documents where it has fewer) that are in flight, were all mentions
to take one pass.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kb_builder.trie.trie import TokenRuns, build_trie
from longbel_cli.corpora import read_corpus
from longbel_cli.linking.engine import EngineOptions, LinkingEngine
from longbel_cli.model.decoders import Beam, DecodeStats, Request
from longbel_cli.model.decoders.attention import AttentionBackend
from longbel_cli.model.decoders.backends import cascade, masked
from longbel_cli.model.decoders.packed import PackedDecoder
from longbel_cli.model.decoders.search import SearchOptions
from longbel_cli.prompting.formats import PROMPT_FORMATS, Prompt
from longbel_cli.types import Document
from tests.support.tiny import tiny_model

PLACES = 64
CORPORA = ("bc5cdr", "ncbi_disease", "gsc_hpo", "craft", "quaero_emea", "quaero_medline", "spaccc")
Attention = Callable[[Any], AttentionBackend]
WINDOWS = {
    "64 documents": (64, 10**9),
    "64 or 1,000 mentions": (64, 1000),
    "512 or 8,000": (512, 8000),
}


class Dispatched(TorchDispatchMode):
    """Counts what is dispatched within: kernels, and views, which launch none."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.views: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        returns = function._schema.returns
        is_view = any(each.alias_info and not each.alias_info.is_write for each in returns)
        counts = self.views if is_view and "reshape" not in str(function) else self.kernels
        counts[str(function)] += 1
        return function(*args, **(kwargs or {}))


def mixed_pass(
    layers: int, documents: int, attention: Attention, dtype: str = "bfloat16"
) -> Dispatched:
    """Counts of a pass with as many prompts as trees, prompts of uneven lengths."""
    model = tiny_model("llama", dtype=dtype, num_hidden_layers=layers, head_dim=16, hidden_size=64)
    names = [(first, second, 7, 8) for first in range(8) for second in range(4)]
    flat = np.array([token for name in names for token in name], dtype=np.int32)
    trie = build_trie(["A"], [0, len(names)], TokenRuns(flat, np.arange(0, len(flat) + 1, 4)))
    decoder = PackedDecoder(model, trie, SearchOptions(end_id=90, lookahead=0), attention(model))
    random = np.random.default_rng(0)
    prompts = [random.integers(0, 90, 40 + 37 * n % 300).tolist() for n in range(documents)]
    for index, prompt in enumerate(prompts[::2]):
        decoder.submit(Request(("tree", index), prompt, "A"))
    decoder.step()
    for index, prompt in enumerate(prompts[1::2]):
        decoder.submit(Request(("prompt", index), prompt, "A"))
    with Dispatched() as counted:
        decoder.step()
    return counted


def layer_counts(documents: int, attention: Attention) -> dict[str, Any]:
    """What one layer adds to a mixed pass."""
    each, two = (mixed_pass(layers, documents, attention) for layers in (1, 2))
    kernels = two.kernels - each.kernels
    return {
        "documents": documents,
        "kernels": sum(kernels.values()),
        "views": sum((two.views - each.views).values()),
        "by_kernel": dict(kernels.most_common()),
    }


class OnePassDecoder:
    """Answers every request in the pass after; notes how many documents are in flight."""

    bytes_per_token = 1

    def __init__(self) -> None:
        self.stats = DecodeStats()
        self.in_flight: list[int] = []
        self._queue: list[Request] = []

    def submit(self, request: Request) -> None:
        self._queue.append(request)

    def step(self) -> list[tuple[Hashable, list[Beam]]]:
        self.in_flight.append(len(self._queue))
        done, self._queue = self._queue, []
        return [(request.key, []) for request in done]

    def release(self, key: Hashable) -> None:
        pass

    def reset(self) -> None:
        self._queue.clear()


def shares(documents: Sequence[Document], window: tuple[int, int]) -> dict[str, float]:
    """Share of the places in flight, of 64 and of as many as the windows have documents."""
    taken, of_all, of_window = 0, 0, 0
    for part in cut(documents, *window):
        decoder = OnePassDecoder()
        options = EngineOptions(
            form=PROMPT_FORMATS["hybrid_long"],
            max_prompt_tokens=8192,
            token_budget=1 << 30,
            max_active=PLACES,
        )
        engine = LinkingEngine(cast(Any, None), cast(Any, decoder), token_count, options)
        engine.link_window(part)
        taken += sum(min(PLACES, n) for n in decoder.in_flight)
        of_all += PLACES * len(decoder.in_flight)
        of_window += min(PLACES, len(part)) * len(decoder.in_flight)
    return {"of_64": taken / of_all, "of_the_window": taken / of_window}


def token_count(prompt: Prompt) -> list[int]:
    """As many ids as the prompt has tokens, about."""
    return [0] * (len(prompt.text) // 4)


def cut(documents: Sequence[Document], most: int, mentions: int) -> Iterator[list[Document]]:
    """Windows, as a run cuts them."""
    part: list[Document] = []
    for document in documents:
        part.append(document)
        if len(part) >= most or sum(len(each.mentions) for each in part) >= mentions:
            yield part
            part = []
    if part:
        yield part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="Real corpora; without them, no second table.")
    parser.add_argument("--documents", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"layers": {}, "windows": {}}
    print("| attention | documents | kernels a layer | views a layer |\n|---|---:|---:|---:|")
    for name, attention in BACKENDS.items():
        for documents in args.documents:
            actual = layer_counts(documents, attention)
            result["layers"][f"{name}, {documents}"] = actual
            print(f"| {name} | {documents} | {actual['kernels']} | {actual['views']} |", flush=True)
    if args.data:
        print("\n| corpus | documents | mentions | most of a document | " + " | ".join(WINDOWS))
        print("|---|---:|---:|---:|" + len(WINDOWS) * "---:|")
        for name in CORPORA:
            folder = args.data / "corpora" / name
            corpus = [each for each in read_corpus([folder / "train.jsonl.gz"]) if each.mentions]
            counts = [len(each.mentions) for each in corpus]
            actual = {label: shares(corpus, window) for label, window in WINDOWS.items()}
            result["windows"][name] = actual
            cells = " | ".join(
                f"{each['of_64']:.2f}, {each['of_the_window']:.2f}" for each in actual.values()
            )
            print(f"| {name} | {len(corpus)} | {sum(counts):,} | {max(counts)} | {cells} |")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


class OneKernel:
    """Stands for FlashAttention, which is a kernel a call; computes nothing of use."""

    def causal(self, query: Tensor, *_: Any) -> Tensor:
        return query * 1

    def full(self, query: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        return query * 1, _ZEROS[: query.shape[0] * query.shape[1]].view(query.shape[1], -1)


_ZEROS = torch.zeros(1 << 20)

BACKENDS: dict[str, Attention] = {
    "masks, each document alone": lambda model: masked(model, 0),
    "masks, pools": lambda model: masked(model, 16_384),
    "cascade": lambda model: cascade(model, OneKernel()),
}

if __name__ == "__main__":
    main()
