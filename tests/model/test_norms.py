"""Norms are fused where that gives the same numbers, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from longbel_cli.model.decoders import norms
from longbel_cli.model.decoders.norms import are_equal, fuse_norms
from tests.support.tiny import MODELS, tiny_model

KINDS = [(name, dtype) for name in MODELS for dtype in ("float32", "bfloat16", "float16")]


@pytest.mark.parametrize(("name", "dtype"), KINDS)
def test_a_model_with_fused_norms_gives_the_same_logits(name: str, dtype: str) -> None:
    plain, fused = tiny_model(name, dtype=dtype), tiny_model(name, dtype=dtype)
    for model in (plain, fused):
        generator = torch.Generator().manual_seed(5)
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.data = torch.randn(weight.shape, generator=generator).to(weight)
    assert fuse_norms(fused) == 5  # two a layer, and the last
    assert fuse_norms(fused) == 0  # once is enough
    ids = torch.arange(90)[None]
    with torch.inference_mode():
        assert torch.equal(plain(ids).logits, fused(ids).logits)


class OneMoreRMSNorm(nn.Module):
    """As Gemma has it: weights count from one."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(weight), 1e-6

    def forward(self, hidden: Tensor) -> Tensor:
        return nn.functional.rms_norm(hidden, self.weight.shape, 1 + self.weight, self.eps)


def test_a_norm_that_means_something_else_stays() -> None:
    norm = OneMoreRMSNorm(torch.zeros(8))
    assert fuse_norms(nn.Sequential(norm, nn.LayerNorm(8))) == 0
    assert "forward" not in vars(norm)


def test_a_form_that_the_device_has_not_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> Tensor:
        raise RuntimeError("no kernel")

    model = tiny_model("llama")
    monkeypatch.setattr(norms, "FORMS", (missing,))
    assert fuse_norms(model) == 0


@pytest.mark.parametrize(
    ("dtype", "change", "equal"),
    [
        (torch.float32, 1 + 5e-7, True),
        (torch.float32, 1 + 1e-4, False),
        (torch.bfloat16, 1.0, True),
        (torch.bfloat16, 1 + 2**-7, False),
    ],
)
def test_what_counts_as_equal(dtype: torch.dtype, change: float, equal: bool) -> None:
    indices = torch.linspace(1, 1.9, 5000, dtype=torch.float64)
    assert are_equal((indices * change).to(dtype), indices.to(dtype)) is equal


def test_the_last_bit_of_few_numbers_may_differ() -> None:
    indices = torch.ones(5000, dtype=torch.bfloat16)
    other = indices.clone()
    other[:5] += 2**-7
    assert are_equal(indices, other)
    other[:6] = 1 + 2**-7
    assert not are_equal(indices, other)
    other = indices.clone()
    other[0] += 2**-6
    assert not are_equal(indices, other)
