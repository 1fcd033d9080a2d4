"""One decoding step over the trie's arrays on torch, against walking nested dicts in Python.

    python -m tests.benchmarks.kb_step [--device cuda]

64 documents x 5 beams stand at a node with many children; the step finds each beam's best 2 x 5
moves under the trie. The walk is what `prefix_allowed_tokens_fn` does: the list of children for
each beam, a mask as wide as the vocabulary. Both must choose the same moves. A second table has
the same node in tries of more and more names.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from kb_builder.trie import TokenRuns, Trie, build_trie

DOCUMENTS, BEAMS, VOCABULARY = 64, 5, 128_256
_BLOCK = 100  # moves whose maximum is looked at first


class ArrayStep:
    """The trie's arrays on a device, and the best moves from many inner nodes at once.

    Beams at one node share its children, and what is gathered goes to a buffer made once: on a
    CPU, fresh memory for every step costs more than the step.
    """

    def __init__(self, trie: Trie, device: str, rows: int, widest: int) -> None:
        def on_device(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.array(array)).to(device)

        self.inner_token, self.inner_first = on_device(trie.inner_token), trie.inner_first
        self.leaf_first, self.tail_start = trie.leaf_first, on_device(trie.tail_start)
        self.tail_token = on_device(trie.tail_token)
        width = -(-widest // _BLOCK) * _BLOCK
        self._buffer = torch.empty(rows * width, device=device)

    def best(self, nodes: np.ndarray, logprobs: torch.Tensor, k: int) -> torch.Tensor:
        """Tokens (rows, k) of the best moves from `nodes` (rows) by `logprobs` (rows, vocabulary);
        -1 where a node has fewer."""
        result = torch.full((len(nodes), k), -1, dtype=torch.int64, device=logprobs.device)
        for node in np.unique(nodes):
            rows = np.flatnonzero(nodes == node)
            tokens = self._children(int(node))
            best = self._top(logprobs, rows, tokens, min(k, len(tokens)))
            result[torch.from_numpy(rows), : best.shape[1]] = tokens[best]
        return result

    def _top(
        self, logprobs: torch.Tensor, rows: np.ndarray, tokens: torch.Tensor, k: int
    ) -> torch.Tensor:
        """Positions (rows, k) in `tokens` of the best: first the best blocks, then within them."""
        n, width = len(tokens), -(-len(tokens) // _BLOCK) * _BLOCK
        moves = self._buffer[: len(rows) * width].view(len(rows), width)
        moves[:, n:] = float("-inf")
        for number, row in enumerate(rows):
            torch.index_select(logprobs[row], 0, tokens, out=moves[number, :n])
        blocks = moves.view(len(rows), -1, _BLOCK)
        near = blocks.amax(2).topk(min(k, blocks.shape[1]), dim=1).indices
        within = blocks.gather(1, near[:, :, None].expand(-1, -1, _BLOCK)).flatten(1)
        top = within.topk(k, dim=1).indices
        return near.gather(1, top // _BLOCK) * _BLOCK + top % _BLOCK

    def _children(self, node: int) -> torch.Tensor:
        first, stop = self.inner_first[node : node + 2].tolist()
        leaf, leaf_stop = self.leaf_first[node : node + 2].tolist()
        starts = self.tail_start[leaf : leaf_stop + 1].long()
        filled = starts[1:] > starts[:-1]
        tails = self.tail_token[starts[:-1][filled]]
        return torch.cat([self.inner_token[first:stop], tails]).long()


def walk(tries: dict, prefixes: list[list[int]], logprobs: torch.Tensor, k: int) -> torch.Tensor:
    """The published way: children of every beam as a list, a mask over the vocabulary."""
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


def median_seconds(step: Callable[[], torch.Tensor], device: str, repeats: int) -> float:
    """On a CPU, processor time of this one-threaded process, which other work on the machine
    hardly changes; on CUDA, the clock."""
    on_gpu = device.startswith("cuda")
    clock = time.perf_counter if on_gpu else time.process_time
    step()
    times = []
    for _ in range(repeats):
        started = clock()
        step()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(clock() - started)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fan-outs", type=int, nargs="+", default=[10, 1_000, 30_000])
    parser.add_argument("--names", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000])
    device = (arguments := parser.parse_args()).device
    torch.set_num_threads(1)
    rows, k = DOCUMENTS * BEAMS, 2 * BEAMS
    logprobs = torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(0)).to(device)
    beams = f"{DOCUMENTS} documents x {BEAMS} beams, vocabulary {VOCABULARY:,}"
    print(f"{beams}, on {device}, one thread\n")
    print("| children | Python walk | arrays | ratio |\n|---:|---:|---:|---:|")
    for fan_out in arguments.fan_outs:
        runs = names_with_wide_node(fan_out, 100_000)
        trie = build_trie(["A"], [0, len(runs.offsets) - 1], runs)
        step, dicts = ArrayStep(trie, device, rows, fan_out), nested(runs)
        children = trie.children(0)
        node = int(children.nodes[children.tokens == 7][0])
        nodes = np.full(rows, node)
        prefixes = [[7]] * rows
        same = torch.equal(step.best(nodes, logprobs, k), walk(dicts, prefixes, logprobs, k))
        if not same:
            raise SystemExit("the two ways choose different moves")
        ours = median_seconds(lambda: step.best(nodes, logprobs, k), device, 20)  # noqa: B023
        theirs = median_seconds(lambda: walk(dicts, prefixes, logprobs, k), device, 3)  # noqa: B023
        print(
            f"| {fan_out:,} | {theirs * 1e3:.1f} ms | {ours * 1e3:.2f} ms | {theirs / ours:.0f} |"
        )
    print("\n| names | arrays, 30,000 children |\n|---:|---:|")
    for names in arguments.names:
        runs = names_with_wide_node(30_000, names)
        trie = build_trie(["A"], [0, len(runs.offsets) - 1], runs)
        children = trie.children(0)
        nodes = np.full(rows, children.nodes[children.tokens == 7][0])
        step = ArrayStep(trie, device, rows, 30_000)
        seconds = median_seconds(lambda: step.best(nodes, logprobs, k), device, 20)  # noqa: B023
        print(f"| {trie.n_leaves:,} | {seconds * 1e3:.2f} ms |")


if __name__ == "__main__":
    main()
