"""Once for each loaded model: does a decoder compute what the model's own forward computes?

The packed decoder rests on what architectures of transformers have in common. One that departs
from it (attention called twice a layer, a window that only its mask knows) would give other answers
without an error. Here the end of one short prompt goes through decoder and model, and what differs
beyond rounding is refused. Draws nothing and leaves nothing behind, so no answer changes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kb_builder.errors import LongbelError
from kb_builder.trie.trie import Trie
from longbel_cli.model.configuration import max_positions
from longbel_cli.model.decoders import OutOfMemoryError, SelfCheck
from longbel_cli.model.decoders.attention import ATTENTION, AttentionBackend, windows_passed
from longbel_cli.model.decoders.packed import PackedDecoder, packed_decoder
from longbel_cli.model.decoders.search import SearchOptions
from longbel_cli.model.plain import in_float32, plain_attention, plain_logits
from longbel_cli.model.windows import masks_asked_for, windows_differ

HINT = "Use --decoder reference."
_BRANCH = 7  # tokens at the end of the prompt that are fed as a branch of a search tree
_LENGTH = 48
_LONGEST_WINDOW = 512  # of windows that a prompt is made longer than
# Of the spread of logits, at least 1: rounding of float32 over dozens of layers stays below.
_FLOAT32 = 1e-4
_MARGIN = 4.0  # times the rounding of the model's own forward in a number type of 16 bits
_COARSE = 2**-6  # of the spread, where that cannot be measured: four units of bfloat16's rounding

_checked: WeakKeyDictionary[nn.Module, SelfCheck] = WeakKeyDictionary()


def checked_packed(
    model: PreTrainedModel,
    trie: Trie,
    options: SearchOptions,
    prompt: Sequence[int],
    backend: AttentionBackend | None = None,
) -> PackedDecoder:
    """The packed decoder, its check in its statistics; LongbelError where it computes something
    else than the model. `prompt` are ids of a prompt and an answer; `backend` as of the decoder."""
    with _refusals(model):
        if model in _checked:
            decoder = _made(model, trie, options, backend)
        else:
            started = time.perf_counter()
            ids = of_length(prompt, _length(model))
            right = _right(model, ids)  # before a decoder touches the model
            decoder = _made(model, trie, options, backend)
            difference = _difference(decoder, model, ids, right)
            seconds = time.perf_counter() - started
            _checked[model] = SelfCheck(len(ids), seconds, difference, right.allowed)
    decoder.stats.self_check = _checked[model]
    return decoder


@contextmanager
def _refusals(model: PreTrainedModel) -> Iterator[None]:
    """Says of what fails within which model it is, and leaves the model its own attention."""
    name = type(model).__name__
    try:
        yield
    except (OutOfMemoryError, torch.OutOfMemoryError) as error:
        raise LongbelError(
            "the device has no memory beside the model", "Use a larger device.", exit_code=1
        ) from error
    except LongbelError as error:
        plain_attention(model)
        raise LongbelError(f"{name}: {error.message}", error.hint) from error
    except Exception as error:  # whatever the code of an architecture makes of the packed row
        plain_attention(model)
        reason = " ".join(str(error).split())[:80]
        raise LongbelError(
            f"{name}: the packed decoder cannot compute its attention "
            f"({type(error).__name__}: {reason})",
            HINT,
        ) from error


def _made(
    model: PreTrainedModel, trie: Trie, options: SearchOptions, backend: AttentionBackend | None
) -> PackedDecoder:
    if backend is None:
        return packed_decoder(model, trie, options)
    return PackedDecoder(model, trie, options, backend)


class _Right(NamedTuple):
    """Logits (n, vocabulary) as exact as can be had, and how far others may be from them."""

    logits: Tensor
    allowed: float


def _right(model: PreTrainedModel, ids: Sequence[int]) -> _Right:
    plain_attention(model)
    plain = plain_logits(model, ids)[-_BRANCH - 1 :].float()
    exact = None if model.dtype == torch.float32 else in_float32(model, ids)
    if exact is not None:
        exact = exact[-len(plain) :]
    return _Right(plain if exact is None else exact, rounding(model, plain, exact))


def _difference(
    decoder: PackedDecoder, model: PreTrainedModel, ids: Sequence[int], right: _Right
) -> float:
    """How far the decoder's logits are from what is right; LongbelError where it is too far."""
    with windows_passed() as windows, masks_asked_for(ATTENTION, len(ids) - _BRANCH) as masks:
        packed = decoder.logits(ids, _BRANCH).float()
    typed = getattr(model.config.get_text_config(), "layer_types", None) is not None
    if windows_differ(masks, windows, max_positions(model.config), in_vain=typed):
        raise LongbelError("a sliding window is in its mask alone", HINT)
    distances = _distances(packed, right.logits)
    # Medians: where experts are chosen by a hair, rounding alone moves a token far.
    difference = float(distances.max() if model.dtype == torch.float32 else distances.median())
    if not difference <= right.allowed:
        raise LongbelError(
            f"the packed decoder's logits are {difference:.2g} away from the model's own, where "
            f"{right.allowed:.2g} would be rounding",
            HINT,
        )
    if model.device.type == "cuda":  # memory is measured as if the check had not been
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(model.device)
    return difference


def _length(model: PreTrainedModel) -> int:
    """Tokens of the prompt: beyond a window that is not too long, within the model's context."""
    config: Any = model.config.get_text_config()
    windows = [
        value
        for name, value in vars(config).items()
        if ("window" in name or "chunk" in name) and type(value) is int
    ]
    beyond = [window + _LENGTH // 2 for window in windows if window <= _LONGEST_WINDOW]
    return min(max([_LENGTH, *beyond]), max_positions(model.config))


def of_length(prompt: Sequence[int], length: int) -> list[int]:
    """The end of a prompt that is repeated until it has so many tokens."""
    return (list(prompt) * (length // len(prompt) + 1))[-length:]


def rounding(model: PreTrainedModel, plain: Tensor, exact: Tensor | None) -> float:
    """How far logits may be from those of the model's own forward, `plain`, or from `exact`, those
    of float32 where the model computes in 16 bits; None where they are not known."""
    if model.dtype == torch.float32:
        return _FLOAT32 * _spread(plain)
    if exact is None:
        return _MARGIN * _COARSE * _spread(plain)
    return _MARGIN * float(_distances(plain, exact).median()) + _FLOAT32 * _spread(plain)


def _spread(logits: Tensor) -> float:
    """The standard deviation of logits, at least 1."""
    return max(float(torch.nan_to_num(logits, posinf=0, neginf=0).std()), 1.0)


def _distances(left: Tensor, right: Tensor) -> Tensor:
    """(n): the largest difference at each token; infinity where one side alone is not finite.
    What neither can tell is no difference: linking ends there."""
    distances = torch.where(left.isfinite() | right.isfinite(), (left - right).abs(), 0.0)
    return torch.where(distances.isnan(), torch.inf, distances).amax(-1)
