"""The packed decoder on a GPU: an 8B Llama of random weights in bf16 over a million names.

    python -m tests.benchmarks.gpu_speed --work .bench/gpu --json gpu.json

For prompts of about 1,000 and 5,300 tokens: mentions per second, the same of
`transformers.generate` in the same run, the fraction of bound (c) (every token that the previous
prompt does not share prefilled once at the card's peak rate), and peak memory. Speed does not
depend on what weights say; agreement does, so that is measured with the bundled sample model:
agreement with the reference decoder in bf16 and in float32.
Prints a Markdown table.
`--tiny` runs all of it with small sizes on a CPU, to keep the script working where no GPU is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longbel_cli.model.decoders.attention import ATTENTION
from longbel_cli.model.decoders.backends import POOL_TOKENS, masked
from longbel_cli.model.decoders.packed import PackedDecoder
from longbel_cli.types import Document
from tests.benchmarks.decode_speed import Recorder, baseline, documents, nested_tries

H100_BF16_FLOPS = 800e12
LLAMA_8B = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_264,
    "max_position_embeddings": 16_384, "rope_theta": 500_000.0,
}  # fmt: skip
TINY = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 4096,
    "max_position_embeddings": 8192,
}  # fmt: skip


def knowledge_base(work: Path, atoms: int) -> tuple[Path, Path]:
    """A generated KB, and a folder with a tokenizer trained on its names."""
    from kb_builder.build import BuildOptions, build_kb
    from kb_builder.store.knowledge_base import KnowledgeBase
    from tests.benchmarks.kb_generate import generate
    from tests.benchmarks.kb_tokenizers import save_model_folder, trained

    kb, tokenizer = work / f"kb-{atoms}", work / f"tokenizer-{atoms}"
    if not kb.exists():
        generate(work / f"release-{atoms}", atoms)
        build_kb(BuildOptions(work / f"release-{atoms}", kb))
    if not tokenizer.exists():
        opened = KnowledgeBase.open(kb)
        step = max(opened.n_names // 50_000, 1)
        names = opened.names_of(list(range(0, opened.n_names, step)))
        save_model_folder(trained(names, 4000), tokenizer)
    return kb, tokenizer


def random_linker(kb: Path, tokenizer: Path, shape: dict[str, Any], device: str, beams: int) -> Any:
    """A Linker whose weights are made in place instead of read from a file."""
    import torch
    from transformers import (
        GenerationConfig,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    from kb_builder.store.knowledge_base import KnowledgeBase
    from longbel_cli.linking.linker import Linker
    from longbel_cli.linking.options import LinkOptions
    from longbel_cli.model.checkpoint import Checkpoint
    from tests.benchmarks.models import add_marks

    fast = PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer / "tokenizer.json"), eos_token="</s>"
    )
    add_marks(fast)
    config = LlamaConfig(**shape, initializer_range=0.02)
    torch.manual_seed(0)
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16 if device != "cpu" else torch.float32)
        model = LlamaForCausalLM(config).eval()
        torch.set_default_dtype(torch.float32)
    model.generation_config = GenerationConfig(do_sample=False)
    checkpoint = Checkpoint(tokenizer, config.to_dict(), fast)
    options = LinkOptions(beams=beams, device=device, max_batch_tokens=1 << 20)
    linker = Linker(checkpoint, KnowledgeBase.open(kb), options)
    linker._weights.append(model)
    return linker


@dataclass(frozen=True)
class Row:
    """`batch` documents of so many context tokens in flight, against `generate` with
    `generate_batch` prompts; `one_by_one`: also without pools, each document attended to alone."""

    context_format: str
    context: int
    batch: int
    mentions: int
    generate_batch: int
    one_by_one: bool = False


ROWS = (
    Row("hybrid_long", 400, 16, 8, 16),
    Row("hybrid_long", 400, 64, 8, 16, one_by_one=True),
    Row("hybrid_long", 2000, 16, 8, 2),  # eight such prompts do not fit 80 GB with `generate`
    Row("long", 400, 64, 8, 16, one_by_one=True),
)
TINY_ROWS = (Row("hybrid_long", 60, 2, 4, 2, one_by_one=True),)


def linked(linker: Any, corpus: Sequence[Document], pool_tokens: int) -> tuple[float, Recorder]:
    """Seconds that the corpus takes the second time, and what was decoded then."""
    engine = linker.engine()
    options = engine._decoder._options
    attention = masked(linker.model, pool_tokens)
    decoder = PackedDecoder(linker.model, linker.trie, options, attention)
    linker.model.set_attn_implementation(ATTENTION)  # `generate` had its own
    recorder = engine._decoder = Recorder(decoder)
    for _ in range(2):  # the first warms up
        recorder.recorded.clear()
        for name in vars(recorder.stats):
            setattr(recorder.stats, name, 0)
        wait(linker)
        started = time.perf_counter()
        engine.link_window(corpus)
        wait(linker)
    return time.perf_counter() - started, recorder


def wait(linker: Any) -> None:
    """Until the device has done all that it was given."""
    import torch

    if linker.model.device.type == "cuda":
        torch.cuda.synchronize()


def speed(linker: Any, tries: dict[str, Any], row: Row) -> dict[str, Any]:
    """One row of the table."""
    import torch

    corpus = documents(
        linker.knowledge_base, linker.checkpoint, row.batch, row.context, row.mentions
    )
    cuda = linker.model.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds, recorder = linked(linker, corpus, POOL_TOKENS)
    peak = torch.cuda.max_memory_allocated() if cuda else 0
    alone = linked(linker, corpus, 0)[0] if row.one_by_one else None
    n, stats = len(recorder.recorded), recorder.stats
    step = max(n // row.generate_batch, 1)
    requests = [each.request for each in recorder.recorded[::step]][: row.generate_batch]
    baseline(linker, requests[:1], tries, 1)  # warm up
    generate_seconds, _ = baseline(linker, requests, tries, row.generate_batch)
    parameters = sum(parameter.numel() for parameter in linker.model.parameters())
    bound = H100_BF16_FLOPS / (2 * parameters) / (stats.prefill_tokens / n)
    prompt = sum(len(each.request.prompt_ids) for each in recorder.recorded) / n
    return {
        "format": row.context_format,
        "prompt_tokens": round(prompt),
        "prefilled_tokens_per_mention": round(stats.prefill_tokens / n, 1),
        "batch": row.batch,
        "mentions": n,
        "mentions_per_second": round(n / seconds, 2),
        "one_by_one_per_second": round(n / alone, 2) if alone else None,
        "generate_batch": row.generate_batch,
        "generate_per_second": round(len(requests) / generate_seconds, 2),
        "ratio": round(n / seconds * generate_seconds / len(requests), 2),
        "bound_c_per_second": round(bound, 1),
        "fraction_of_bound": round(n / seconds / bound, 3),
        "decode_forwards_per_mention": round(stats.decode_forwards / n, 2),
        "forwards": stats.forwards,
        "outside_model_share": round(1 - stats.seconds_model / seconds, 3),
        "peak_memory_gb": round(peak / 1e9, 1),
    }


def agreement(device: str, limit: int) -> dict[str, Any]:
    """The sample model on the sample corpus: packed against reference, in float32 and bf16."""
    from longbel_cli.corpora import read_corpus
    from longbel_cli.linking.linker import Linker
    from longbel_cli.sample_paths import sample

    actual: dict[str, Any] = {}
    corpus = list(read_corpus([sample("corpus")]))[:limit]
    for dtype in ("float32", "bfloat16"):
        answers = {}
        for decoder in ("packed", "reference"):
            linker = Linker.load(
                sample("model"), sample("kb"), decoder=decoder, device=device, dtype=dtype
            )
            answers[decoder] = list(linker.link(corpus))
        pairs = list(zip(answers["packed"], answers["reference"], strict=True))
        codes = [
            [[candidate.concept_code for candidate in each.candidates] for each in pair]
            for pair in pairs
        ]
        actual[dtype] = {
            "mentions": len(pairs),
            "same_top_1": round(sum(a[:1] == b[:1] for a, b in codes) / len(codes), 4),
            "same_beams": round(sum(a == b for a, b in codes) / len(codes), 4),
        }
    return actual


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The Markdown table."""
    lines = [
        "| format | tokens a prompt | documents at once | mentions/s | each attended to alone | "
        "`generate`, prompts at once | `generate`, mentions/s | ratio | of bound (c) | prefilled "
        "tokens a mention | passes a mention | outside the model | peak, GB |",
        "|---|" + 12 * "---:|",
    ]
    for row in rows:
        alone = row["one_by_one_per_second"]
        cells = (
            f"`{row['format']}`",
            f"{row['prompt_tokens']:,}",
            f"{row['batch']}",
            f"{row['mentions_per_second']:.1f}",
            f"{alone:.1f}" if alone else "–",
            f"{row['generate_batch']}",
            f"{row['generate_per_second']:.2f}",
            f"{row['ratio']:.1f}",
            f"{100 * row['fraction_of_bound']:.0f} %",
            f"{row['prefilled_tokens_per_mention']:,.0f}",
            f"{row['decode_forwards_per_mention']:.1f}",
            f"{100 * row['outside_model_share']:.0f} %",
            f"{row['peak_memory_gb']:.0f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="Folder for what is generated.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    import torch

    args.work.mkdir(parents=True, exist_ok=True)
    device = "cpu" if args.tiny or not torch.cuda.is_available() else "cuda"
    tiny = device == "cpu"
    started = time.perf_counter()
    kb, tokenizer = knowledge_base(args.work, 20_000 if tiny else 1_700_000)
    name = "cpu (tiny sizes)" if tiny else torch.cuda.get_device_name()
    result: dict[str, Any] = {"device": name, "torch": torch.__version__, "rows": []}
    linker = random_linker(kb, tokenizer, TINY if tiny else LLAMA_8B, device, beams=5)
    result["names"] = linker.knowledge_base.n_names
    tries = nested_tries(linker.trie, linker.end_id)
    by_format = {"hybrid_long": linker, "long": linker.in_format("long")}
    for row in TINY_ROWS if tiny else ROWS:
        actual = speed(by_format[row.context_format], tries, row)
        result["rows"].append(actual)
        print(json.dumps(actual), file=sys.stderr, flush=True)
    del linker, by_format
    from longbel_cli.sample_paths import sample

    if (sample("model") / "config.json").exists():
        result["agreement"] = agreement(device, 1 if tiny else 4)
        print(json.dumps(result["agreement"]), file=sys.stderr, flush=True)
    result["seconds"] = round(time.perf_counter() - started, 1)
    print(table(result["rows"]))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
