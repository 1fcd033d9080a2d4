"""A decoding step's work with the trie in the packed decoder, against nested dicts in Python.

    python -m tests.benchmarks.kb_step [--device cuda]

64 documents x 5 beams stand at a node with many children; from the same logits, both ways find each
beam's best 2 x 5 moves under the trie, and must choose the same. The walk is what
`prefix_allowed_tokens_fn` does: the list of children for each beam, a mask as wide as the
vocabulary. A second table has the same node in tries of more and more names.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from kb_builder.trie.trie import TokenRuns, Trie, build_trie
from longbel_cli.model.decoders.scoring import Scoring, WideMoves
from longbel_cli.model.decoders.search import BeamSearch, Chain, MoveTable, SearchOptions, Stretch
from longbel_cli.model.decoders.staging import Returning, sent

DOCUMENTS, BEAMS, VOCABULARY = 64, 5, 128_256


class Step:
    """What the packed decoder does with a pass's logits: the moves from every beam's node, their
    log-probabilities, and the best of them, as the search takes them up."""

    def __init__(self, trie: Trie, device: str, rows: int) -> None:
        options = SearchOptions(end_id=VOCABULARY, n_beams=BEAMS)
        self._table, self._rows = MoveTable(trie, trie.roots["A"], options), rows
        self._device = torch.device(device)
        self._wide = WideMoves(self._device)
        children = trie.children(trie.roots["A"])
        self._node = int(children.nodes[children.tokens == 7][0])

    def best(self, logits: torch.Tensor, k: int) -> torch.Tensor:
        """Tokens (rows, k) of the best moves of `rows` beams by `logits` (rows, vocabulary)."""
        search, scoring = BeamSearch(self._table), Scoring(BEAMS, self._wide)
        chains = [Chain([7], 1, self._node, -1, False) for _ in range(self._rows)]
        for row, chain in enumerate(chains):
            scoring.add(search, Stretch(chain, 0, 1), row)
        arrays = sent(scoring.arrays(), self._device)
        scoring.deliver(Returning(scoring.computed(logits, arrays)).arrays())
        return torch.tensor(
            [
                [token for _, token, _ in sorted(chain.children or [], reverse=True)][:k]
                for chain in chains
            ]
        )


def walk(tries: dict, prefixes: list[list[int]], logits: torch.Tensor, k: int) -> torch.Tensor:
    """The published way: children of every beam as a list, a mask over the vocabulary."""
    logprobs = logits.log_softmax(-1)
    mask = torch.full_like(logprobs, float("-inf"))
    for row, prefix in enumerate(prefixes):
        node = tries
        for token in prefix:
            node = node[token]
        mask[row, list(node)] = 0
    return (logprobs + mask).topk(k, dim=1).indices


def names_with_wide_node(fan_out: int, others: int, seed: int = 0) -> TokenRuns:
    """Sequences 7, c, … for `fan_out` children c, and `others` more names under 9."""
    rng = np.random.default_rng(seed)
    children = rng.permutation(VOCABULARY - 1)[:fan_out] + 1
    wide = np.stack(
        [
            np.full(2 * fan_out, 7),
            np.repeat(children, 2),
            np.tile([3, 4], fan_out),
            rng.integers(1, VOCABULARY, 2 * fan_out),
        ],
        axis=1,
    )
    more = np.stack([np.full(others, 9), *(rng.integers(1, 2_000, others) for _ in range(3))], 1)
    rows = np.concatenate([wide, more]).astype(np.int32)
    return TokenRuns(rows.ravel(), np.arange(0, rows.size + 1, 4))  # fmt: skip


def nested(runs: TokenRuns) -> dict:
    """The same names as nested dicts."""
    root: dict = {}
    for sequence in runs.tokens.reshape(-1, 4).tolist():
        node = root
        for token in sequence:
            node = node.setdefault(token, {})
    return root


def seconds(step: Callable[[], torch.Tensor], device: str, times: int = 1) -> float:
    """One step's time, the mean of so many. On a CPU, processor time of this one-threaded process,
    which other work on the machine hardly changes; on CUDA, the clock."""
    on_gpu = device.startswith("cuda")
    clock = time.perf_counter if on_gpu else time.process_time
    started = clock()
    for _ in range(times):
        step()
    if on_gpu:
        torch.cuda.synchronize()
    return (clock() - started) / times


def spread(values: Sequence[float], form: str = "{:.1f}") -> str:
    """`12.3 (11.9–14.0)`: the median and the range."""
    median, low, high = (
        form.format(value) for value in (statistics.median(values), min(values), max(values))
    )
    return f"{median} ({low}–{high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fan-outs", type=int, nargs="+", default=[10, 1_000, 30_000])
    parser.add_argument("--names", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000])
    parser.add_argument("--repeats", type=int, default=7)
    device = (arguments := parser.parse_args()).device
    torch.set_num_threads(1)
    rows, k = DOCUMENTS * BEAMS, 2 * BEAMS
    logits = torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(0)).to(device)
    beams = f"{DOCUMENTS} documents x {BEAMS} beams, vocabulary {VOCABULARY:,}"
    print(f"{beams}, on {device}, one thread; medians and range of {arguments.repeats} repeats\n")
    print("| children | Python walk, ms | packed decoder, ms | of both: logsumexp, ms | ratio |")
    print("|---:|---:|---:|---:|---:|")
    for fan_out in arguments.fan_outs:
        runs = names_with_wide_node(fan_out, 100_000)
        step = Step(build_trie(["A"], [0, len(runs.offsets) - 1], runs), device, rows)
        dicts, prefixes = nested(runs), [[7]] * rows
        if not torch.equal(step.best(logits, k), walk(dicts, prefixes, logits, k).cpu()):
            raise SystemExit("the two ways choose different moves")
        ways: tuple[Callable[[], torch.Tensor], ...] = (
            partial(walk, dicts, prefixes, logits, k),
            partial(step.best, logits, k),
            partial(logits.logsumexp, -1),
        )
        # All three in turn: what slows the machine for a while slows each of them.
        taken = [[1e3 * seconds(way, device, 3) for way in ways] for _ in range(arguments.repeats)]
        theirs, ours, shared = (list(column) for column in zip(*taken, strict=True))
        ratios = [first / other for first, other in zip(theirs, ours, strict=True)]
        cells = map(spread, (theirs, ours, shared, ratios))
        print(f"| {fan_out:,} | {' | '.join(cells)} |")
    print("\n| names | packed decoder, 30,000 children, ms |\n|---:|---:|")
    for names in arguments.names:
        runs = names_with_wide_node(30_000, names)
        trie = build_trie(["A"], [0, len(runs.offsets) - 1], runs)
        step = Step(trie, device, rows)
        step.best(logits, k)
        way = partial(step.best, logits, k)
        taken_by_step = [1e3 * seconds(way, device, 3) for _ in range(arguments.repeats)]
        print(f"| {trie.n_leaves:,} | {spread(taken_by_step)} |")


if __name__ == "__main__":
    main()
