"""How `generate` gives what a model's own forward gives: padded and cached, or with less.

Some models count positions from the padding on, some have a cache that beams cannot share. Once for
each loaded model the fastest way is found that is right; LongbelError where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel

from kb_builder.errors import LongbelError
from kb_builder.trie.trie import Trie
from longbel_cli.model.configuration import max_positions
from longbel_cli.model.decoders.reference import ReferenceDecoder
from longbel_cli.model.decoders.search import SearchOptions
from longbel_cli.model.plain import in_float32, plain_attention, plain_logits
from longbel_cli.model.self_check import of_length, rounding

HINT = "Use a model of another architecture: longbel_cli/model/architectures.md lists them."
_LENGTH, _SHORTER = 40, 9  # tokens of one prompt, and how many another has less
_NEW, _BEAMS = 6, 3
_BATCH = 8  # prompts that are padded to one length


class Mode(NamedTuple):
    """Whether prompts of different lengths share a batch, and whether keys and values are kept."""

    padded: bool
    cached: bool


MODES = (Mode(True, True), Mode(False, True), Mode(True, False), Mode(False, False))
_modes: WeakKeyDictionary[nn.Module, Mode] = WeakKeyDictionary()


def checked_reference(
    model: PreTrainedModel, trie: Trie, options: SearchOptions, prompt: Sequence[int]
) -> ReferenceDecoder:
    """The reference decoder in the fastest way that is right; `prompt` are ids of a prompt."""
    mode = reference_mode(model, prompt)
    return ReferenceDecoder(model, trie, options, _BATCH if mode.padded else 1, mode.cached)


def reference_mode(model: PreTrainedModel, prompt: Sequence[int]) -> Mode:
    """The fastest right way; `prompt` are ids of a prompt."""
    if model not in _modes:
        plain_attention(model)
        length = min(_LENGTH, max_positions(model.config) - _NEW)
        long = of_length(prompt, max(length, 2))
        prompts = [long, long[min(_SHORTER, len(long) // 2) :]]
        _refuse_reading_ahead(model, long)
        right = (mode for mode in MODES if _is_right(model, prompts, mode))
        mode = next(right, None)
        if mode is None:
            raise LongbelError(
                f"{type(model).__name__}: generate gives other scores than the model's own forward",
                HINT,
            )
        _modes[model] = mode
    return _modes[model]


def _refuse_reading_ahead(model: PreTrainedModel, ids: Sequence[int]) -> None:
    """LongbelError where a token's logits depend on those after it."""
    whole, allowed = _right(model, ids)
    begun, _ = _right(model, ids[: len(ids) // 2])
    difference = (whole[: len(begun)] - begun).abs().amax(-1).median()
    if float(difference) > allowed:
        raise LongbelError(
            f"{type(model).__name__}: attends to later tokens, as no causal language model does",
            HINT,
        )


def _right(model: PreTrainedModel, ids: Sequence[int]) -> tuple[Tensor, float]:
    """Logits (n, vocabulary) as exact as can be had, and how far others may be from them."""
    plain = plain_logits(model, ids).float()
    exact = None if model.dtype == torch.float32 else in_float32(model, ids)
    return (plain if exact is None else exact), rounding(model, plain, exact)


def _is_right(model: PreTrainedModel, prompts: Sequence[Sequence[int]], mode: Mode) -> bool:
    batches = [prompts] if mode.padded else [[prompt] for prompt in prompts]
    try:
        answers = [answer for batch in batches for answer in _generated(model, batch, mode.cached)]
    except (torch.OutOfMemoryError, KeyboardInterrupt):
        raise
    except Exception:  # whatever an architecture makes of padding, beams or its cache
        return False
    return all(_agrees(model, *answer) for answer in answers)


def _generated(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], cached: bool
) -> list[tuple[list[int], int, float]]:
    """The answers of a search of a few tokens: prompt with answer, the prompt's length, and the
    summed log-probability of the answer."""
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, longest - len(prompt) :] = 1
    generate: Any = model.generate
    output = generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=GenerationConfig(
            do_sample=False, num_beams=_BEAMS, num_return_sequences=_BEAMS, max_new_tokens=_NEW,
            use_cache=cached, return_dict_in_generate=True, output_scores=True, pad_token_id=0,
        ),
    )  # fmt: skip
    new = output.sequences[:, longest:].tolist()
    return [
        ([*prompts[row // _BEAMS], *answer], len(prompts[row // _BEAMS]), score * len(answer))
        for row, (answer, score) in enumerate(
            zip(new, output.sequences_scores.tolist(), strict=True)
        )
    ]


def _agrees(model: PreTrainedModel, ids: Sequence[int], n_prompt: int, score: float) -> bool:
    """Whether an answer has the score that the model's own forward gives it."""
    logits, allowed = _right(model, ids)
    expected = _summed(logits, ids, n_prompt)
    # In 16 bits each token has its own rounding; in float32 that of all is far below.
    tokens = 1 if model.dtype == torch.float32 else 2 * (len(ids) - n_prompt)
    return abs(expected - score) <= allowed * tokens


def _summed(logits: Tensor, ids: Sequence[int], n_prompt: int) -> float:
    logprobs = logits[n_prompt - 1 : -1].float().log_softmax(-1)
    answer = torch.tensor(list(ids[n_prompt:]), device=logits.device)
    return float(logprobs.gather(1, answer[:, None]).sum())
