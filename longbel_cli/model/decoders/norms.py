"""Root-mean-square norms of a model as one kernel, where that gives the same numbers.

A model's own norm is six kernels or more, each of which reads and writes the whole row. Which
fused form equals it depends on where it rounds, so each kind of norm is tried on random numbers
and weights, and one that no form equals stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

Norm = Callable[[Tensor, Tensor, float], Tensor]

_ROWS = 256
_UNEQUAL = 1e-3  # of half-precision numbers, which may differ in their last bit


def _at_once(hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    return nn.functional.rms_norm(hidden, weight.shape, weight, epsilon)


def _weighted_after(hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Llama's rounds before it multiplies."""
    return weight * nn.functional.rms_norm(hidden, weight.shape, None, epsilon)


FORMS: tuple[Norm, ...] = (_at_once, _weighted_after)


@torch.inference_mode()
def fuse_norms(model: nn.Module) -> int:
    """Replace the norms of a model that a fused form equals; how many."""
    chosen: dict[tuple[object, ...], Norm | None] = {}
    fused = 0
    for module in model.modules():
        epsilon = _epsilon(module)
        if epsilon is None or not isinstance(weight := getattr(module, "weight", None), Tensor):
            continue
        kind = type(module), weight.shape, weight.dtype, weight.device, epsilon
        if kind not in chosen:
            chosen[kind] = _equal_form(module, weight, epsilon)
        if (form := chosen[kind]) is not None:
            module.forward = partial(_forward, module, form, epsilon)
            fused += 1
    return fused


def _epsilon(module: nn.Module) -> float | None:
    """Of a norm by root mean squares; None of any other module."""
    if not type(module).__name__.endswith("RMSNorm") or "forward" in vars(module):
        return None
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    return epsilon if isinstance(epsilon, float) else None


def _forward(module: nn.Module, form: Norm, epsilon: float, hidden: Tensor) -> Tensor:
    weight: Tensor = module.weight  # type: ignore[assignment]  # looked at when it was replaced
    return form(hidden, weight, epsilon)


def _equal_form(module: nn.Module, weight: Tensor, epsilon: float) -> Norm | None:
    """The first form that gives the module's numbers; None where a form fails or all differ."""
    generator = torch.Generator().manual_seed(0)
    probe = copy.deepcopy(module)
    probe.weight = nn.Parameter(torch.randn(weight.shape, generator=generator).to(weight))
    scales = torch.logspace(-3, 3, _ROWS)[:, None]
    hidden = (torch.randn(_ROWS, *weight.shape, generator=generator) * scales).to(weight)
    expected = probe(hidden)
    for form in FORMS:
        try:
            if are_equal(form(hidden, probe.weight, epsilon), expected):
                return form
        except (RuntimeError, TypeError):  # a device or type that torch has no such kernel for
            continue
    return None


def are_equal(actual: Tensor, expected: Tensor) -> bool:
    """Whether two results are the same, up to float32's rounding of a sum: in half precision the
    last bit of few numbers."""
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return False
    if actual.dtype == torch.float32:
        return torch.allclose(actual, expected, rtol=1e-6, atol=0.0)
    bits, other = (tensor.view(torch.int16).int() for tensor in (actual, expected))
    apart = (bits - other).abs() * (actual != expected)  # zeros of both signs are equal
    return int(apart.max()) <= 1 and int(apart.sum()) <= _UNEQUAL * apart.numel()
