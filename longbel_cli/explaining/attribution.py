"""Attribution: how much each prompt token moves the log-probability of an answer.

Works on token ids and a causal language model of `transformers`; knows nothing of prompts.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kb_builder.errors import check_choice
from longbel_cli.explaining.batches import in_batches
from longbel_cli.explaining.methods import BASELINES
from longbel_cli.explaining.quadrature import pieces, quadrature


@dataclass(frozen=True)
class Answer:
    """Token ids of an answer with its end, and its weight in the objective."""

    ids: tuple[int, ...]
    weight: float = 1.0


Objective = Sequence[Answer]  # sum of weight * log-probability(answer | prompt)


@dataclass(frozen=True)
class TokenScores:
    """One score a prompt token: the L2 norm over the embedding, and the sum where it has a sense.

    `value` is the objective of the prompt, `baseline_value` that of the baseline.
    """

    scores: np.ndarray
    value: float
    signed: np.ndarray | None = None
    baseline_value: float | None = None

    @property
    def delta(self) -> float | None:
        """The completeness error: 0 if the signed scores add up to what the prompt changed."""
        if self.signed is None or self.baseline_value is None:
            return None
        return float(self.signed.sum()) - (self.value - self.baseline_value)


def gradient(model: Any, prompt_ids: Sequence[int], objective: Objective) -> TokenScores:
    """L2 norm of the objective's gradient at each prompt token's embedding."""
    with _frozen(model):
        embedded = _embed(model, prompt_ids)
        values, slopes = _slopes(model, embedded[None], objective)
    return TokenScores(_norms(slopes[0]), float(values[0]))


def integrated(
    model: Any,
    prompt_ids: Sequence[int],
    objective: Objective,
    baseline: torch.Tensor,
    steps: int = 20,
    max_batch_tokens: int | None = None,
    path: str = "even",
) -> TokenScores:
    """Integrated gradients (arXiv 1703.01365) from `baseline` [H] at every prompt token.

    The straight way is integrated by Gauss-Legendre quadrature of `steps` points, over all of it
    (`even`) or piece by piece, in short pieces where the objective changes most (`adaptive`).
    Points are run in batches of `max_batch_tokens` tokens (None: what the device's memory holds).
    """
    with _frozen(model):
        embedded = _embed(model, prompt_ids)
        way = embedded.float() - baseline.float()  # [T, H]

        def value_at(alpha: float) -> float:
            point = (baseline.float() + alpha * way).to(embedded.dtype)
            with torch.no_grad():
                return float(_value(model, point[None], objective))

        edges = [0.0, 1.0] if path == "even" else pieces(value_at, steps)
        nodes, weights = quadrature(edges, steps)
        total = torch.zeros_like(way)

        def add(first: int, last: int) -> None:
            nonlocal total
            alphas = torch.tensor(nodes[first:last], dtype=torch.float32, device=way.device)
            points = baseline.float() + alphas[:, None, None] * way  # [B, T, H]
            _, slopes = _slopes(model, points.to(embedded.dtype), objective)
            share = torch.tensor(weights[first:last], dtype=torch.float32, device=way.device)
            total = total + torch.einsum("b,bth->th", share, slopes)

        in_batches(add, steps, len(prompt_ids), max_batch_tokens, way.device)
        value, baseline_value = value_at(1.0), value_at(0.0)
    effect = total * way
    return TokenScores(
        _norms(effect),
        value,
        signed=effect.sum(-1).double().cpu().numpy(),
        baseline_value=baseline_value,
    )


def objective_values(
    model: Any,
    prompts: Sequence[Sequence[int]],
    objective: Objective,
    max_batch_tokens: int | None = None,
) -> list[float]:
    """The objective of each prompt, without gradients; prompts of like length run together."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    values = [0.0] * len(prompts)

    def fill(first: int, last: int) -> None:
        chosen = order[first:last]
        batch = _padded_values(model, [prompts[index] for index in chosen], objective)
        for index, value in zip(chosen, batch, strict=True):
            values[index] = value

    with _frozen(model), torch.no_grad():
        longest = max(map(len, prompts), default=0)
        in_batches(fill, len(prompts), longest, max_batch_tokens, _device(model))
    return values


def baseline_embedding(model: Any, name: str, pad_id: int) -> torch.Tensor:
    """The embedding [H] that stands for "nothing": of the pad token, zeros, or the mean."""
    table = model.get_input_embeddings()
    device = _device(model)
    check_choice("--baseline", name, BASELINES)
    with torch.no_grad():
        if name == "pad":
            embedding = table(torch.tensor([pad_id], device=device))[0]
        elif name == "zero":
            embedding = torch.zeros_like(table(torch.tensor([pad_id], device=device))[0])
        else:
            embedding = table.weight.float().mean(0)
    return embedding.float()


def _norms(vectors: torch.Tensor) -> np.ndarray:
    return vectors.float().norm(dim=-1).double().cpu().numpy()


def _device(model: Any) -> torch.device:
    return model.get_input_embeddings().weight.device


def _embed(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """Input embeddings [T, H] of token ids, without a graph."""
    with torch.no_grad():
        return model.get_input_embeddings()(torch.tensor(list(ids), device=_device(model)))


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """No gradients for the weights (they would fill the memory), evaluation mode, and an attention
    that knows gradients, whatever a decoder has put in its place. All of it is undone."""
    training = model.training
    attention = getattr(getattr(model, "config", None), "_attn_implementation", None)
    foreign = attention not in (None, "sdpa", "eager")
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    model.eval()
    if foreign:
        model.set_attn_implementation("sdpa")
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        if foreign:
            model.set_attn_implementation(attention)
        model.train(training)
        for parameter in trainable:
            parameter.requires_grad_(True)


def _slopes(
    model: Any, points: torch.Tensor, objective: Objective
) -> tuple[torch.Tensor, torch.Tensor]:
    """The objective [B] at embedded prompts [B, T, H], and its gradient there in float32."""
    values = torch.zeros(len(points), dtype=torch.float32, device=points.device)
    slopes = torch.zeros(points.shape, dtype=torch.float32, device=points.device)
    for answer in objective:
        inputs = points.detach().requires_grad_(True)
        value = _logprob(model, inputs, answer.ids)
        (slope,) = torch.autograd.grad(value.sum(), inputs)
        values = values + answer.weight * value.detach()
        slopes = slopes + answer.weight * slope.float()
    return values, slopes


def _value(model: Any, points: torch.Tensor, objective: Objective) -> torch.Tensor:
    return sum(
        (answer.weight * _logprob(model, points, answer.ids) for answer in objective),
        start=torch.zeros(len(points), device=points.device),
    )[0]


def _logprob(model: Any, points: torch.Tensor, answer_ids: Sequence[int]) -> torch.Tensor:
    """Summed log-probability [B] of an answer after embedded prompts [B, T, H]."""
    answer = torch.tensor(answer_ids, device=points.device)
    spoken = _embed(model, answer_ids[:-1]).to(points.dtype).expand(len(points), -1, -1)
    inputs = torch.cat([points, spoken], dim=1)
    logits = _last_logits(model, {"inputs_embeds": inputs}, len(answer_ids))
    chosen = answer.expand(len(points), -1)[..., None]
    return logits.float().log_softmax(-1).gather(-1, chosen).squeeze(-1).sum(-1)


def _last_logits(model: Any, inputs: dict[str, torch.Tensor], count: int) -> torch.Tensor:
    """Logits [B, count, V] at the last positions; others are not computed where the model can."""
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        return model(**inputs, use_cache=False, logits_to_keep=count).logits
    return model(**inputs, use_cache=False).logits[:, -count:]


def _padded_values(
    model: Any, prompts: Sequence[Sequence[int]], objective: Objective
) -> list[float]:
    """The objective of prompts run together, padded at the left so that answers line up."""
    device = _device(model)
    longest = max(map(len, prompts))
    values = torch.zeros(len(prompts), device=device)
    for answer in objective:
        spoken = list(answer.ids[:-1])
        rows = [[0] * (longest - len(ids)) + list(ids) + spoken for ids in prompts]
        inputs = {"input_ids": torch.tensor(rows, device=device)}
        if any(len(ids) < longest for ids in prompts):
            real = [[0] * (longest - len(ids)) + [1] * (len(ids) + len(spoken)) for ids in prompts]
            mask = torch.tensor(real, device=device)
            inputs["attention_mask"] = mask
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = _last_logits(model, inputs, len(answer.ids))
        chosen = torch.tensor(answer.ids, device=device).expand(len(prompts), -1)[..., None]
        logprobs = logits.float().log_softmax(-1).gather(-1, chosen).squeeze(-1).sum(-1)
        values = values + answer.weight * logprobs
    return [float(value) for value in values]
