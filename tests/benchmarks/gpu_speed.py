"""The packed decoder on a GPU: an 8B Llama of random weights in bf16 over a KB of a million names.

    python -m tests.benchmarks.gpu_speed --work .bench/gpu --json gpu.json

For prompts of about 750 and 2,500 tokens: mentions per second, the same of
`transformers.generate` at equal batch in the same run, the fraction of bound (c) (every token that
the previous prompt does not share prefilled once at the card's peak rate), and peak memory. Speed
does not depend on what weights say; agreement does, so that is measured with the bundled sample
model: top-1 agreement with the reference decoder in bf16, and full agreement in float32.
`--tiny` runs all of it with small sizes on a CPU, to keep the script working where no GPU is.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

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
    from kb_builder.store import KnowledgeBase
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

    from kb_builder.store import KnowledgeBase
    from longbel_cli.checkpoint import Checkpoint
    from longbel_cli.linker import Linker, LinkOptions
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


def speed(
    linker: Any,
    tries: dict[str, Any],
    context: int,
    batch: int,
    mentions: int,
    baseline_mentions: int,
) -> dict[str, Any]:
    """One row: `batch` documents in flight, against `generate` with `batch` prompts."""
    import torch

    cuda = linker.model.device.type == "cuda"
    corpus = documents(linker.knowledge_base, linker.checkpoint, batch, context, mentions)
    engine = linker.engine()
    recorder = engine._decoder = Recorder(engine._decoder)
    engine.link_window(corpus[:1])  # warm up
    recorder.recorded.clear()
    before = vars(recorder.stats).copy()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    started = time.perf_counter()
    engine.link_window(corpus)
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() if cuda else 0
    spent = {key: value - before[key] for key, value in vars(recorder.stats).items()}
    n = len(recorder.recorded)
    step = max(n // baseline_mentions, 1)
    requests = [one.request for one in recorder.recorded[::step]][:baseline_mentions]
    baseline_seconds, _ = baseline(linker, requests, tries, batch)
    parameters = sum(parameter.numel() for parameter in linker.model.parameters())
    bound = H100_BF16_FLOPS / (2 * parameters) / (spent["prefill_tokens"] / n)
    prompt = sum(len(one.request.prompt_ids) for one in recorder.recorded) / n
    return {
        "prompt_tokens": round(prompt),
        "batch": batch,
        "mentions": n,
        "mentions_per_second": round(n / seconds, 2),
        "generate_per_second": round(len(requests) / baseline_seconds, 2),
        "ratio": round(n / seconds * baseline_seconds / len(requests), 2),
        "bound_c_per_second": round(bound, 1),
        "fraction_of_bound": round(n / seconds / bound, 3),
        "decode_forwards_per_mention": round(spent["decode_forwards"] / n, 2),
        "outside_model_share": round(1 - spent["seconds_model"] / seconds, 3),
        "peak_memory_gb": round(peak / 1e9, 1),
    }


def agreement(device: str, limit: int | None) -> dict[str, Any]:
    """The sample model on the sample corpus: packed against reference, in float32 and bf16."""
    from longbel_cli.corpora import read_corpus
    from longbel_cli.linker import Linker
    from longbel_cli.sample_paths import sample

    found: dict[str, Any] = {}
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
            [[candidate.concept_code for candidate in one.candidates] for one in pair]
            for pair in pairs
        ]
        found[dtype] = {
            "mentions": len(pairs),
            "same_top_1": round(sum(a[:1] == b[:1] for a, b in codes) / len(codes), 4),
            "same_beams": round(sum(a == b for a, b in codes) / len(codes), 4),
        }
    return found


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
    for context, batch in ((400, 16), (2000, 8)) if not tiny else ((60, 2),):
        row = speed(linker, tries, context, batch, 4 if tiny else 16, 2 if tiny else 2 * batch)
        result["rows"].append(row)
        print(json.dumps(row), flush=True)
    del linker
    from longbel_cli.sample_paths import sample

    if (sample("model") / "config.json").exists():
        result["agreement"] = agreement(device, 1 if tiny else None)
        print(json.dumps(result["agreement"]), flush=True)
    result["seconds"] = round(time.perf_counter() - started, 1)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
