"""What an explanation costs against one plain forward over the same prompt and answer.

    python -m tests.benchmarks.explain_cost [--model FOLDER] [--device cpu] [--tokens 500,2000]

Without --model: a random model of the shape that `longbel train --fresh small` gives. Prints a
Markdown table: medians, and the range of the ratios over repeats.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

FILLER = "The patient was seen on the ward and slept well. "
REPEATS = 7


def main() -> None:
    options = _options()
    checkpoint, model = _model(options.model, options.device, options.dtype)
    print(f"{model.num_parameters() / 1e6:.0f} M parameters, {model.device}, {model.dtype}\n")
    print("| prompt tokens | memory lines | sentences | method | seconds | plain forwards |")
    print("|---:|---:|---:|---|---:|---:|")
    for tokens in map(int, options.tokens.split(",")):
        for row in _rows(checkpoint, model, tokens):
            print("| " + " | ".join(row) + " |", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a model folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--tokens", default="500,2000", help="prompt lengths")
    return parser.parse_args()


def _model(folder: str | None, device: str, dtype: str) -> tuple[Any, Any]:
    from longbel_cli.model.checkpoint import Checkpoint
    from longbel_cli.model.devices import resolve_device

    if folder is not None:
        checkpoint = Checkpoint.open(folder)
        return checkpoint, checkpoint.load_model(device, dtype)
    from longbel_cli.training.base.fresh import FRESH_SIZES, fresh_model
    from tests.support.explain_cases import checkpoint as small

    model = fresh_model(FRESH_SIZES["small"], small().tokenizer, 1 << 14, seed=0)
    return small(), model.to(resolve_device(device)).eval()


def _case(checkpoint: Any, tokens: int) -> Any:
    """A case whose prompt has about `tokens` tokens, with ten memory lines."""
    from longbel_cli.prompting.segments import MemoryLine
    from tests.support.explain_cases import make_case, mention_of

    memory = tuple(
        MemoryLine(f"finding {index}", "DISO", ("Acute renal failure",)) for index in range(10)
    )

    def with_fillers(count: int) -> Any:
        text = FILLER * count + "AKI was found."
        return make_case(text=text, mention=mention_of(text, "AKI"), memory=memory)

    count = 1
    while len(checkpoint.encode(with_fillers(count).prompt)) < tokens:
        count += 1
    return with_fillers(count)


def _rows(checkpoint: Any, model: Any, tokens: int) -> list[list[str]]:
    from longbel_cli.explaining.attribution import Answer, objective_values
    from longbel_cli.explaining.explainer import Explainer, ExplainOptions

    case = _case(checkpoint, tokens)
    ids = checkpoint.encode(case.prompt)
    answer = Answer(
        (*checkpoint.encode_answer(case.names[0]), checkpoint.end_id(case.prompts.form))
    )
    works = {"plain forward": lambda: objective_values(model, [ids], [answer])}
    for method in ("gradient", "integrated", "ablation"):
        explainer = Explainer(checkpoint, model, ExplainOptions(methods=(method,)))
        name = method + (" (20 steps)" if method == "integrated" else "")
        works[name] = partial(explainer.explain, case)
    repeats = [{name: _seconds(work) for name, work in works.items()} for _ in range(1 + REPEATS)]
    shape = [str(len(ids)), str(len(case.lines)), str(len(case.shown_sentences))]
    return [[*shape, name, *_cost(name, repeats[1:])] for name in works]  # the first warms up


def _cost(name: str, repeats: list[dict[str, float]]) -> list[str]:
    """Median seconds, and median and range of the ratios to the plain forward just before."""
    seconds = statistics.median(repeat[name] for repeat in repeats)
    ratios = [repeat[name] / repeat["plain forward"] for repeat in repeats]
    spread = f" ({min(ratios):.1f}–{max(ratios):.1f})" if name != "plain forward" else ""
    return [f"{seconds:.3f}", f"{statistics.median(ratios):.1f}{spread}"]


def _seconds(work: Callable[[], Any]) -> float:
    import torch

    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
