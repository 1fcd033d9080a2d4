"""A model of linking on a GPU: what each part of a mention costs, and which is next in the way.

    python -m tests.benchmarks.roofline                     # constants assumed for an H100
    python -m tests.benchmarks.roofline --card card.json    # constants that `card` measured

Tokens and passes a mention and the time of the host are counted on a CPU (`host_time`); kernels a
layer by `pass_counts`. What the card measured stands beside the model. A figure printed here under
"model" is a model, not a measurement.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Llama-3.1-8B.
LAYERS, HIDDEN, INNER, HEADS, KV_HEADS, SIZE, VOCABULARY = 32, 4096, 14336, 32, 8, 128, 128_256
LAYER_WEIGHTS = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * KV_HEADS * SIZE + 3 * HIDDEN * INNER
# Bytes that what is no matrix product reads and writes, a token and layer: norms fused, rotary
# positions, the gate and the residual sums not.
ELEMENTWISE = 328e3
KERNELS = 44  # a layer, counted by `pass_counts`
DOCUMENTS = 64


@dataclass(frozen=True)
class Card:
    """Rates a second: of matrix products (FLOP) by rows of a pass, of attention (FLOP) over prompts
    and trees, of memory (bytes); `launch` is the seconds that the CPU takes for a kernel."""

    name: str
    matmul: Mapping[int, float]
    prompts: float
    trees: float
    memory: float
    launch: float

    def matmul_at(self, rows: float) -> float:
        """The rate at the largest measured number of rows that is no larger."""
        return self.matmul[
            max((size for size in self.matmul if size <= rows), default=min(self.matmul))
        ]


# Assumed: sustained rates of an H100 by its data sheet and what is commonly reached.
H100 = Card("H100 (assumed)", {64: 300e12, 1024: 590e12}, 350e12, 250e12, 2.6e12, 5e-6)


def measured_card(result: Mapping[str, Any]) -> Card:
    """The constants of a file of `card`; what is missing there stays assumed."""
    rows = [row for row in result.get("constants", ()) if "constant" in row]
    rates = {row["constant"]: row.get("per_second", row.get("seconds")) for row in rows}
    matmul = {row["rows"]: row["per_second"] for row in rows if row["constant"] == "matmul"}
    return replace(
        H100,
        name=result["device"],
        matmul=matmul or H100.matmul,
        prompts=rates.get("attention, prompts", H100.prompts),
        trees=rates.get("attention, trees", H100.trees),
        memory=rates.get("copy", H100.memory),
        launch=rates.get("launch", H100.launch),
    )


@dataclass(frozen=True)
class Work:
    """Of a mention: tokens of its prompt, those prefilled, those of its search tree, passes, and
    milliseconds that the host takes."""

    label: str
    prompt: float
    prefilled: float
    tree: float
    passes: float
    host: float


# Counted by `host_time` with the settings of a CUDA device (64 documents of 8 mentions).
WORK = (
    Work("hybrid_long", 1070, 660, 53.0, 4.08, 1.83),
    Work("long", 1080, 145, 50.9, 4.11, 1.56),
    Work("short", 110, 100, 49.5, 3.91, 1.47),
    Work("hybrid_long", 5300, 3042, 54.9, 4.28, 3.46),
)


def milliseconds(work: Work, card: Card) -> dict[str, float]:
    """What the device does for a mention, by part, and what it waits for."""
    tokens = work.prefilled + work.tree
    rows = tokens * DOCUMENTS / work.passes / 2  # two halves take turns
    rate = card.matmul_at(rows)
    seen = work.prompt - work.prefilled / 2
    flops = 4 * SIZE * HEADS * LAYERS
    parts = {
        "matrix products": 2 * LAYERS * LAYER_WEIGHTS * tokens / rate,
        "head and its sums": work.tree * VOCABULARY * (2 * HIDDEN / rate + 10 / card.memory),
        "attention of prompts": flops * work.prefilled * seen / card.prompts,
        "attention of trees": flops * work.tree * work.prompt / card.trees,
        "elementwise": LAYERS * tokens * ELEMENTWISE / card.memory,
    }
    device = sum(parts.values())
    launches = 2 * work.passes / DOCUMENTS * LAYERS * KERNELS * card.launch
    host = launches + work.host / 1000
    parts["waiting for the host"] = max(host - device, 0.0)
    return {name: 1000 * seconds for name, seconds in parts.items()}


def bound(work: Work, card: Card) -> float:
    """Mentions a second, were nothing done but the matrix products of all tokens at the card's
    best rate."""
    tokens = work.prefilled + work.tree
    return max(card.matmul.values()) / (2 * LAYERS * LAYER_WEIGHTS * tokens)


def next_in_the_way(parts: Mapping[str, float]) -> str:
    """The largest part that is no matrix product."""
    return max((name for name in parts if name != "matrix products"), key=lambda name: parts[name])


def table(card: Card, measured: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    names = list(milliseconds(WORK[0], card))
    lines = [
        f"Constants: {card.name}. Milliseconds a mention (model), {DOCUMENTS} documents:",
        "",
        "| format | prompt | " + " | ".join(names) + " | model, mentions/s | bound | measured "
        "| next in the way |",
        "|---|---:|" + (len(names) + 3) * "---:|" + "---|",
    ]
    for work in WORK:
        parts = milliseconds(work, card)
        cells = [f"{parts[name]:.2f}" for name in names]
        rate = 1000 / sum(parts.values())
        cells += [f"{rate:.0f}", f"{bound(work, card):.0f}", _measured(work, measured)]
        lines.append(
            f"| `{work.label}` | {work.prompt:,.0f} | " + " | ".join(cells)
            + f" | {next_in_the_way(parts)} |"
        )  # fmt: skip
    return "\n".join(lines)


def _measured(work: Work, rows: Sequence[Mapping[str, Any]]) -> str:
    for row in rows:
        near = abs(row.get("prefilled", 0) - work.prefilled) < 0.3 * work.prefilled
        if row.get("attention") == "flash" and row.get("format") == work.label and near:
            return f"{row['mentions_per_second']:.1f}"
    return "–"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--card", type=Path, help="What `card` has written.")
    args = parser.parse_args(arguments)
    if args.card is None:
        print(table(H100, ()))
        return
    result = json.loads(args.card.read_text(encoding="utf-8"))
    rows = [*result.get("equal", ()), *result.get("long", ())]
    print(table(measured_card(result), [] if result.get("tiny") else rows))


if __name__ == "__main__":
    main()
