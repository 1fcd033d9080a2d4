"""Processor time that linking takes outside the model, a mention, with a stub in the model's place.

    python -m tests.benchmarks.host_time --work .bench/host --against ../longbel-0.1.0

The engine, the trie, the search and the packing are the real ones; the stub's logits depend on a
token and its position alone, so that two versions that decode alike link alike, which is checked.
Each repeat is a process of its own, one thread, the tree of --against and this one in turn; what is
measured is processor time less that of the stub and of the sums over its vocabulary, which are the
device's work too. Run small: `--atoms 20000 --documents 4`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]
VOCABULARY = 4096
SHAPE = {
    "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 2, "vocab_size": VOCABULARY,
    "max_position_embeddings": 16_384,
}  # fmt: skip
_SPREAD = 1.28  # standard deviation of the logits of an 8B Llama with random weights
# Documents (format, tokens) as the benchmark on a GPU has them.
TEXTS = (("hybrid_long", 400), ("long", 400), ("short", 400), ("hybrid_long", 2000))


class Sums:
    """Within, `seconds` counts the processor time of logsumexp."""

    def __init__(self) -> None:
        import torch

        self.seconds, self._torch, self._plain = 0.0, torch, torch.Tensor.logsumexp

    def __enter__(self) -> Sums:
        def counted(*given: Any, **options: Any) -> Any:
            started = time.process_time()
            result = self._plain(*given, **options)
            self.seconds += time.process_time() - started
            return result

        self._torch.Tensor.logsumexp = counted
        return self

    def __exit__(self, *_: object) -> None:
        self._torch.Tensor.logsumexp = self._plain


class Stub:
    """Stands where the decoder has its model. `seconds` is the processor time that it took."""

    def __init__(self, model: Any) -> None:
        import torch

        self.config, self.dtype, self.device = model.config, model.dtype, model.device
        generator = torch.Generator().manual_seed(1)
        drawn = torch.randn(1 << 22, generator=generator) * _SPREAD
        self._rows = drawn.unfold(0, VOCABULARY, 1)
        self.seconds = 0.0

    def __call__(
        self, input_ids: Any, position_ids: Any, logits_to_keep: Any, **_: Any
    ) -> SimpleNamespace:
        started = time.process_time()
        ids, positions = input_ids[0, logits_to_keep], position_ids[0, logits_to_keep]
        logits = self._rows[(ids * 7919 + positions * 104_729) % len(self._rows)]
        self.seconds += time.process_time() - started
        return SimpleNamespace(logits=logits[None])


def decoder_of(linker: Any, settings: str) -> Any:
    """The packed decoder with the settings of a CUDA device, or those of this machine."""
    decoder = linker.engine()._decoder
    if settings == "cpu":
        return decoder
    options = vars(decoder._options)
    try:
        import torch

        from longbel_cli.model.decoders.backends import cascade, passes_over
    except ImportError:  # 0.1.0
        options = {**options, "lookahead": 8, "lookahead_searches": 128}
        return type(decoder)(linker.model, linker.trie, type(decoder._options)(**options), 16_384)
    backend = cascade(linker.model)
    passes = passes_over(backend, torch.device("cuda"))
    options |= {"lookahead": passes.lookahead, "lookahead_searches": passes.lookahead_searches}
    search = type(decoder._options)(**options)
    return type(decoder)(
        linker.model, linker.trie, search, backend, passes.halves, passes.max_active
    )


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Of the tree on the path: milliseconds a mention, counts, and a digest of the predictions."""
    import torch

    from tests.benchmarks.decode_speed import documents
    from tests.benchmarks.gpu_speed import knowledge_base, random_linker

    torch.set_num_threads(1)
    kb, tokenizer = knowledge_base(args.work, args.atoms)
    linker = random_linker(kb, tokenizer, SHAPE, "cpu", beams=5)
    linker = linker.in_format(args.format)
    linker.options.__dict__["language"] = "en"  # frozen options: `short` wants a language
    corpus = documents(
        linker.knowledge_base, linker.checkpoint, args.documents, args.context, args.mentions
    )
    engine = linker.engine()
    engine._decoder = decoder_of(linker, args.settings)
    if hasattr(engine._options, "max_active"):  # not in 0.1.0
        engine._options = replace(engine._options, max_active=engine._decoder.max_active)
    stub = engine._decoder._model = Stub(linker.model)
    engine.link_window(corpus[:1])  # warms up
    stats = engine._decoder.stats
    for name in vars(stats):
        setattr(stats, name, 0)
    stub.seconds, started = 0.0, time.process_time()
    with Sums() as sums:
        predictions = engine.link_window(corpus)
    seconds = time.process_time() - started - stub.seconds - sums.seconds
    n = len(predictions)
    lines = [json.dumps(prediction.to_json()) for prediction in predictions]
    return {
        "mentions": n,
        "milliseconds": 1000 * seconds / n,
        "prefilled": stats.prefill_tokens / n,
        "tree_tokens": stats.tree_tokens / n,
        "passes": stats.decode_forwards / n,
        "forwards": stats.forwards,
        "digest": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12],
    }


def in_tree(tree: Path, args: argparse.Namespace, context_format: str, tokens: int) -> Any:
    """`measured` in a process whose packages are those of a tree."""
    command = [
        sys.executable, __file__, "--measure", "--work", str(args.work),
        "--atoms", str(args.atoms), "--documents", str(args.documents),
        "--mentions", str(args.mentions), "--format", context_format, "--context", str(tokens),
        "--settings", args.settings,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tree)
    if done.returncode:
        raise SystemExit(f"{tree}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def row(args: argparse.Namespace, context_format: str, tokens: int) -> dict[str, Any]:
    """One row: this tree, and where one is given the other in turn."""
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    for _ in range(args.repeats):
        if args.against:
            runs["theirs"].append(in_tree(args.against, args, context_format, tokens))
        runs["ours"].append(in_tree(ROOT, args, context_format, tokens))
    actual: dict[str, Any] = {"format": context_format, "tokens": tokens, **runs}
    if args.against:
        pairs = list(zip(runs["ours"], runs["theirs"], strict=True))
        ratios = [first["milliseconds"] / other["milliseconds"] for first, other in pairs]
        actual["ratio"] = statistics.median(ratios)
        actual["ratios"] = sorted(ratios)
        actual["same"] = len({first["digest"] for pair in pairs for first in pair}) == 1
    return actual


def table(rows: list[dict[str, Any]], settings: str) -> str:
    """Markdown."""
    lines = [
        f"| format, settings of a {settings.upper()} | tokens of a document | ms a mention "
        "| before | ratio | tree tokens | before | passes | before | same answers |",
        "|---|" + 9 * "---:|",
    ]
    for first in rows:
        ours, theirs = first["ours"], first["theirs"]

        def middle(runs: list[dict[str, Any]], key: str, form: str = ".1f") -> str:
            if not runs:
                return "–"
            return format(statistics.median(run[key] for run in runs), form)

        ratio, same = "–", "–"
        if "ratio" in first:
            low, high = first["ratios"][0], first["ratios"][-1]
            ratio = f"**{first['ratio']:.2f}** ({low:.2f}–{high:.2f})"
            same = "yes" if first["same"] else "no"
        cells = (
            f"`{first['format']}`", f"{first['tokens']:,}",
            middle(ours, "milliseconds", ".2f"), middle(theirs, "milliseconds", ".2f"), ratio,
            middle(ours, "tree_tokens"), middle(theirs, "tree_tokens"),
            middle(ours, "passes", ".2f"), middle(theirs, "passes", ".2f"), same,
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="Folder for what is generated.")
    parser.add_argument("--against", type=Path, help="The tree of another version.")
    parser.add_argument("--settings", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--atoms", type=int, default=1_700_000)
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--mentions", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=range(len(TEXTS)))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--format", help=argparse.SUPPRESS)
    parser.add_argument("--context", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    args.work = args.work.resolve()
    if args.measure:
        print(json.dumps(measured(args)))
        return
    rows = []
    for index in args.rows:
        rows.append(row(args, *TEXTS[index]))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(table(rows, args.settings))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
