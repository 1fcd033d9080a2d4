"""Attribution over token ids: against captum, against finite differences, and against itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from kb_builder.errors import LongbelError  # noqa: E402
from longbel_cli.explaining.attribution import (  # noqa: E402
    Answer,
    baseline_embedding,
    gradient,
    integrated,
    objective_values,
)
from longbel_cli.explaining.batches import in_batches  # noqa: E402
from longbel_cli.explaining.methods import PATHS  # noqa: E402
from longbel_cli.explaining.quadrature import pieces, quadrature  # noqa: E402
from tests.support.explain_cases import model  # noqa: E402

PROMPT = [9, 40, 41, 42, 43, 60, 61, 12, 30, 31]
ANSWER = (70, 71, 1)
OTHER = (80, 1)

pytestmark = pytest.mark.usefixtures("one_thread")


def plain_logprob(network, prompt, answer):
    """The summed log-probability by one plain forward over all ids."""
    with torch.no_grad():
        logits = network(torch.tensor([[*prompt, *answer]])).logits[0].float().log_softmax(-1)
    first = len(prompt) - 1
    return sum(float(logits[first + location, token]) for location, token in enumerate(answer))


def logprobs_at(network, points, answer):
    """The summed log-probability [B] of an answer after embedded prompts [B, T, H]."""
    embedded = network.get_input_embeddings()(torch.tensor(answer)).expand(len(points), -1, -1)
    logits = network(inputs_embeds=torch.cat([points, embedded], dim=1)).logits
    logprobs = logits[:, -len(answer) - 1 : -1].log_softmax(-1)
    return sum(logprobs[:, location, token] for location, token in enumerate(answer))


def test_values_are_those_of_a_plain_forward():
    network = model()
    expected = plain_logprob(network, PROMPT, ANSWER)
    assert gradient(network, PROMPT, [Answer(ANSWER)]).value == pytest.approx(expected, abs=1e-4)
    pad = baseline_embedding(network, "pad", 2)
    assert integrated(network, PROMPT, [Answer(ANSWER)], pad).value == pytest.approx(
        expected, abs=1e-4
    )
    prompts = [PROMPT, PROMPT[:4], PROMPT[2:], PROMPT[:7]]
    values = objective_values(network, prompts, [Answer(ANSWER)], max_batch_tokens=24)
    assert values == pytest.approx([plain_logprob(network, p, ANSWER) for p in prompts], abs=1e-4)


def test_positions_count_from_the_prompts_own_beginning():
    """Rotary positions do not tell how a shorter prompt is padded; learnt ones do."""
    sizes = {"num_attention_heads": 4, "hidden_size": 32, "num_hidden_layers": 2}
    config = AutoConfig.for_model("gpt2", vocab_size=96, initializer_range=0.35, **sizes)
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    prompts = [PROMPT, PROMPT[:4]]
    values = objective_values(network, prompts, [Answer(ANSWER)], max_batch_tokens=100)
    assert values == pytest.approx([plain_logprob(network, p, ANSWER) for p in prompts], abs=1e-4)


def test_gradient_is_the_slope_along_its_own_direction():
    network = model()
    embed = network.get_input_embeddings()
    result = gradient(network, PROMPT, [Answer(ANSWER)])
    location = embed(torch.tensor(PROMPT)).detach().double()

    double = model().double()
    try:
        point = location.clone().requires_grad_(True)
        value = logprobs_at(double, point[None], ANSWER)
        (slope,) = torch.autograd.grad(value.sum(), point)
        assert result.scores == pytest.approx(slope.norm(dim=-1).numpy(), rel=1e-3)
        # A small step along one token's slope raises the value by step times the norm.
        step, token = 2e-3, 5
        moved = location.clone()
        moved[token] += step * slope[token] / slope[token].norm()
        with torch.no_grad():
            rise = logprobs_at(double, moved[None], ANSWER) - value
        assert float(rise) / step == pytest.approx(result.scores[token], rel=0.02)
    finally:
        double.float()


@pytest.mark.parametrize("steps", [5, 20])
def test_integrated_agrees_with_captum(steps):
    from captum.attr import IntegratedGradients

    network = model()
    pad = baseline_embedding(network, "pad", 2)
    result = integrated(network, PROMPT, [Answer(ANSWER)], pad, steps)
    location = network.get_input_embeddings()(torch.tensor([PROMPT])).detach()

    def value(points):
        return logprobs_at(network, points, ANSWER)

    theirs, delta = IntegratedGradients(value).attribute(
        location,
        baselines=pad.expand_as(location),
        n_steps=steps,
        method="gausslegendre",
        return_convergence_delta=True,
    )
    assert result.signed == pytest.approx(theirs[0].sum(-1).numpy(), rel=1e-3, abs=1e-4)
    assert result.scores == pytest.approx(theirs[0].norm(dim=-1).numpy(), rel=1e-3, abs=1e-4)
    assert result.delta == pytest.approx(float(delta), abs=2e-3)


# From zero a layer norm jumps at the first step of the way: there the delta is what warns.
@pytest.mark.parametrize("baseline", ["pad", "mean"])
def test_integrated_sums_to_the_difference_of_the_objective(baseline):
    network = model()
    start = baseline_embedding(network, baseline, 2)
    result = integrated(network, PROMPT, [Answer(ANSWER)], start, steps=64)
    change = result.value - result.baseline_value
    assert abs(result.delta) <= 0.05 * abs(change)
    assert result.signed.sum() == pytest.approx(change, rel=0.05)
    # The baseline's value is that of a prompt of nothing but the baseline.
    if baseline == "pad":
        empty = plain_logprob(network, [2] * len(PROMPT), ANSWER)
        assert result.baseline_value == pytest.approx(empty, abs=1e-4)


@pytest.mark.parametrize("baseline", ["pad", "mean"])
def test_an_adaptive_path_is_complete_too(baseline):
    network = model()
    start = baseline_embedding(network, baseline, 2)
    result = integrated(network, PROMPT, [Answer(ANSWER)], start, steps=64, path="adaptive")
    assert abs(result.delta) <= 0.05 * abs(result.value - result.baseline_value)


def test_an_adaptive_path_is_nearer_to_complete_across_a_jump():
    network = model()
    zero = baseline_embedding(network, "zero", 2)
    even, adaptive = (
        integrated(network, PROMPT, [Answer(ANSWER)], zero, steps=64, path=path) for path in PATHS
    )
    assert abs(adaptive.delta) < abs(even.delta) / 3


def test_pieces_are_short_where_the_objective_changes():
    edges = pieces(lambda alpha: float(alpha > 0.3), 64)
    assert len(edges) == 17 and (edges[0], edges[-1]) == (0.0, 1.0)
    at = next(index for index, edge in enumerate(edges) if edge > 0.3)
    assert edges[at] - edges[at - 1] == 2.0**-14
    nodes, weights = quadrature([0.0, 0.25, 1.0], 7)
    assert len(nodes) == 7 and (nodes < 0.25).sum() == 4
    assert (weights * nodes**5).sum() == pytest.approx(1 / 6)


def test_more_steps_are_nearer_to_complete():
    network = model()
    pad = baseline_embedding(network, "pad", 2)
    deltas = [abs(integrated(network, PROMPT, [Answer(ANSWER)], pad, n).delta) for n in (4, 8, 48)]
    assert deltas[2] < deltas[1] < deltas[0]


@pytest.mark.parametrize("max_batch_tokens", [1, 25, 10_000])
def test_batches_do_not_change_the_result(max_batch_tokens):
    network = model()
    pad = baseline_embedding(network, "pad", 2)
    reference = integrated(network, PROMPT, [Answer(ANSWER)], pad, 7)
    result = integrated(network, PROMPT, [Answer(ANSWER)], pad, 7, max_batch_tokens)
    assert result.signed == pytest.approx(reference.signed, rel=1e-4, abs=1e-5)


def test_a_contrast_is_the_weighted_difference():
    network = model()
    pad = baseline_embedding(network, "pad", 2)
    single = integrated(network, PROMPT, [Answer(ANSWER)], pad, 12)
    other = integrated(network, PROMPT, [Answer(OTHER)], pad, 12)
    both = integrated(network, PROMPT, [Answer(ANSWER, 1 / 3), Answer(OTHER, -1 / 2)], pad, 12)
    assert both.value == pytest.approx(single.value / 3 - other.value / 2, abs=1e-4)
    assert both.signed == pytest.approx(single.signed / 3 - other.signed / 2, rel=1e-3, abs=1e-4)


def test_bfloat16_stays_near_float32():
    network = model()
    pad = baseline_embedding(network, "pad", 2)
    exact = integrated(network, PROMPT, [Answer(ANSWER)], pad, 20)
    slopes = gradient(network, PROMPT, [Answer(ANSWER)])
    network.bfloat16()
    try:
        rough = integrated(
            network, PROMPT, [Answer(ANSWER)], baseline_embedding(network, "pad", 2), 20
        )
        rough_slopes = gradient(network, PROMPT, [Answer(ANSWER)])
    finally:
        network.float()
        model.cache_clear()
    assert np.corrcoef(exact.scores, rough.scores)[0, 1] > 0.97
    assert np.corrcoef(slopes.scores, rough_slopes.scores)[0, 1] > 0.97
    assert all(math.isfinite(value) for value in (*rough.signed, rough.delta))


def test_the_model_is_left_as_it_was():
    network = model()
    network.train()
    weight = next(network.parameters())
    weight.requires_grad_(False)
    try:
        gradient(network, PROMPT, [Answer(ANSWER)])
        assert network.training and not weight.requires_grad
        assert all(p.requires_grad for p in list(network.parameters())[1:])
        assert all(p.grad is None for p in network.parameters())
    finally:
        network.eval()
        weight.requires_grad_(True)


@pytest.mark.parametrize("fitting", [1, 2])
def test_running_out_of_memory_halves_the_batch_and_then_says_so(fitting):
    device = torch.device("cpu")
    calls: list[tuple[int, int]] = []

    def work(first: int, last: int) -> None:
        if last - first > fitting:
            raise torch.OutOfMemoryError
        calls.append((first, last))

    in_batches(work, 7, 1, 4, device)
    assert [location for first, last in calls for location in range(first, last)] == list(range(7))

    def never(first: int, last: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(LongbelError, match="a prompt of 5 tokens does not fit"):
        in_batches(never, 3, 5, 5, device)


def test_an_unknown_baseline_is_a_usage_error():
    with pytest.raises(LongbelError) as caught:
        baseline_embedding(model(), "noise", 2)
    assert caught.value.exit_code == 2
