"""Links with every causal architecture that can be tiny, and writes the page of what came of it.

`python -m tests.support.sweep` renews `longbel_cli/model/architectures.md` (some minutes).
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kb_builder.errors import LongbelError
from kb_builder.trie.trie import TokenRuns, Trie, build_trie
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.decoders import Request
from longbel_cli.model.decoders.search import SearchOptions
from tests.support.architectures import tiny_causal_model
from tests.support.paths import ROOT
from tests.support.tiny import tiny_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PAGE = ROOT / "longbel_cli" / "model" / "architectures.md"
END = 5
NAMES = ((11, 12), (11, 13, 14), (11, 13, 15, 16), (20,), (21, 22), (30, 31, 32, 33))
# Longer than a window of 16, and of two lengths.
PROMPTS = tuple(
    np.random.default_rng(length).integers(40, 400, length).tolist() for length in (40, 23)
)
Scores = list[dict[int, float]]
"""For each prompt the log-probability of each name, by its row."""
ALIKE = 3e-4  # of summed log-probabilities


class Row(NamedTuple):
    """What came of an architecture: `equal`, or words; `built` says why it could not be tiny."""

    kind: str
    name: str = ""
    packed: str = ""
    reference: str = ""
    built: str = ""


def swept(kind: str) -> Row:
    """One architecture: saved, loaded as a checkpoint, and linked with by both decoders."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = tiny_causal_model(kind)
            expected = name_by_name(made)
            made.save_pretrained(folder)
        except Exception as error:  # whatever an architecture makes of small sizes
            return Row(kind, built=f"{type(error).__name__}: {' '.join(str(error).split())[:90]}")
        tiny_tokenizer().save_pretrained(folder)
        name = type(made).__name__
        try:
            model = Checkpoint.open(folder).load_model("cpu", "float32")
        except LongbelError as error:
            reason = f"not loaded: {error.message.removeprefix(f'{folder}: ')}"
            return Row(kind, name, reason, reason)
    return Row(kind, name, _packed(model, expected), _reference(model, expected))


def _packed(model: PreTrainedModel, expected: Scores) -> str:
    from longbel_cli.model.self_check import checked_packed

    try:
        decoder = checked_packed(model, trie(), OPTIONS, PROMPTS[1])
    except LongbelError as error:
        assert error.exit_code == 3 and "--decoder reference" in error.hint, error
        return f"refused: {error.message.removeprefix(type(model).__name__ + ': ')}"
    return _compared(decoder, expected)


def _reference(model: PreTrainedModel, expected: Scores) -> str:
    from longbel_cli.model.reference_mode import checked_reference, reference_mode

    try:
        decoder = checked_reference(model, trie(), OPTIONS, PROMPTS[1])
    except LongbelError as error:
        assert error.exit_code == 3 and "another architecture" in error.hint, error
        return f"refused: {error.message.removeprefix(type(model).__name__ + ': ')}"
    mode = reference_mode(model, PROMPTS[1])
    result = _compared(decoder, expected)
    without = [
        words for words, given in (("padding", mode.padded), ("a cache", mode.cached)) if not given
    ]
    return f"{result}, without {' and '.join(without)}" if without else result


def _compared(decoder: Any, expected: Scores) -> str:
    distance = max(
        abs(result.get(row, np.inf) - score)
        for result, right in zip(decoded(decoder), expected, strict=True)
        for row, score in right.items()
    )
    return "equal" if distance <= ALIKE else f"differs by {distance:.1g}"


OPTIONS = SearchOptions(end_id=END, n_beams=len(NAMES), max_new_tokens=8)


def trie() -> Trie:
    """The trie of NAMES, a row each."""
    lengths = [len(name) for name in NAMES]
    runs = TokenRuns(
        np.array([token for name in NAMES for token in name], np.int32),
        np.cumsum([0, *lengths]).astype(np.int64),
    )
    return build_trie(["g"], [0, len(NAMES)], runs)


def decoded(decoder: Any) -> Scores:
    """All names for each prompt, as there are as many beams as names."""
    for key, prompt in enumerate(PROMPTS):
        decoder.submit(Request(key, list(prompt), "g"))
    result: dict[Any, dict[int, float]] = {}
    while len(result) < len(PROMPTS):
        for key, beams in decoder.step():
            result[key] = {beam.rows[0]: beam.logprob for beam in beams}
    return [result[key] for key in range(len(PROMPTS))]


def name_by_name(model: PreTrainedModel) -> Scores:
    """Each name alone behind each prompt, through the model's own forward."""
    return [
        {row: _logprob(model, prompt, (*name, END)) for row, name in enumerate(NAMES)}
        for prompt in PROMPTS
    ]


def _logprob(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> float:
    import torch

    with torch.no_grad():
        ids = torch.tensor([[*prompt, *answer[:-1]]])
        logits = model(input_ids=ids, use_cache=False).logits[0]
    logprobs = logits[len(prompt) - 1 :].float().log_softmax(-1)
    return sum(float(logprobs[location, token]) for location, token in enumerate(answer))


def all_rows() -> Iterator[Row]:
    """Every causal architecture that the installed transformers maps."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    transformers.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
            yield swept(kind)


def page(rows: Sequence[Row]) -> str:
    """The page of the table."""
    import transformers

    built = [row for row in rows if not row.built]
    packed = Counter(row.packed.partition(":")[0].partition(" by")[0] for row in built)
    reference = Counter(row.reference.split(",")[0].partition(":")[0] for row in built)
    lines = [
        "# Architectures",
        "",
        "Every causal architecture of transformers, as a tiny random model (float32, on a CPU):"
        " saved, loaded, and asked for",
        "all names of a small trie behind prompts of two lengths, longer than a sliding window of"
        " 16. `equal`: the",
        "log-probabilities are those of the model's own forward, name by name. `refused`: the check"
        " at load says so, and",
        "names the decoder to use. Made by `python -m tests.support.sweep` with transformers "
        f"{transformers.__version__}; a slow test repeats it.",
        "",
        f"Of {len(rows)} architectures {len(built)} were built. Packed: {packed['equal']} equal, "
        f"{packed['refused']} refused. Reference: {reference['equal']} equal, "
        f"{reference['refused']} refused. {packed['not loaded']} are not loaded.",
        "",
        "| model_type | class | `--decoder packed` | `--decoder reference` |",
        "|---|---|---|---|",
        *(f"| {row.kind} | {row.name} | {row.packed} | {row.reference} |" for row in built),
        "",
        "Not built, as the kind of model allows no tiny sizes or needs another package:",
        "",
        *(f"- {row.kind}: {row.built}" for row in rows if row.built),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    Path(PAGE).write_text(page(list(all_rows())), encoding="utf-8")


if __name__ == "__main__":
    main()
