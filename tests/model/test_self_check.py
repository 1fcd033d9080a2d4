"""The check at load: what a decoder computes otherwise than its model is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kb_builder.errors import LongbelError
from longbel_cli.model import self_check
from longbel_cli.model.decoders import Request
from longbel_cli.model.decoders.backends import backend_for
from longbel_cli.model.decoders.packed import PackedDecoder
from longbel_cli.model.plain import in_float32, plain_attention, plain_logits
from longbel_cli.model.reference_mode import Mode, checked_reference, reference_mode
from longbel_cli.model.self_check import checked_packed
from longbel_cli.model.windows import windows_differ
from tests.support.architectures import OWN, VOCABULARY, tiny_causal_model
from tests.support.sweep import ALIKE, OPTIONS, PROMPTS, decoded, name_by_name, trie
from tests.support.tiny import tiny_model

IDS = PROMPTS[1]


def checked(model: Any, **options: Any) -> PackedDecoder:
    return checked_packed(model, trie(), OPTIONS, IDS, **options)


def refusal(model: Any, **options: Any) -> LongbelError:
    with pytest.raises(LongbelError) as raised:
        checked(model, **options)
    assert raised.value.exit_code == 3 and raised.value.hint == "Use --decoder reference."
    assert raised.value.message.startswith(f"{type(model).__name__}: ")
    return raised.value


def alike(decoder: Any, model: Any) -> bool:
    result = decoded(decoder)
    plain_attention(model)
    right = name_by_name(model)
    return all(
        abs(each[row] - other[row]) < ALIKE
        for each, other in zip(result, right, strict=True)
        for row in other
    )


@pytest.mark.parametrize("name", ["llama", "qwen2", "mistral", "mistral_sliding"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_computed_right_is_accepted(name: str, dtype: str) -> None:
    decoder = checked(tiny_model(name, VOCABULARY, dtype=dtype))
    check = decoder.stats.self_check
    assert check is not None and 0 <= check.difference <= check.allowed
    assert 48 <= check.tokens <= 64 and check.seconds > 0
    if dtype == "float32":
        assert check.allowed < 1e-3


def test_a_model_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = []
    difference = self_check._difference

    def counted(*arguments: Any) -> Any:
        checks.append(arguments)
        return difference(*arguments)

    monkeypatch.setattr(self_check, "_difference", counted)
    model = tiny_model("llama", VOCABULARY)
    first, second = checked(model), checked(model)
    assert len(checks) == 1
    assert first.stats.self_check is second.stats.self_check is not None
    checked(tiny_model("llama", VOCABULARY, seed=1))
    assert len(checks) == 2


def test_the_check_changes_nothing() -> None:
    """Neither answers, nor counts, nor what is drawn next."""
    with_check, without = tiny_model("llama", VOCABULARY), tiny_model("llama", VOCABULARY)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    decoder, plain = checked(with_check), PackedDecoder(without, trie(), OPTIONS)
    assert torch.equal(torch.get_rng_state(), state)
    assert decoder.stats.prefill_tokens == decoder.stats.forwards == 0
    for each in (decoder, plain):
        each.submit(Request(0, list(PROMPTS[0]), "g"))
    answers: list[Any] = [[], []]
    while not answers[0]:
        answers = [each.step() for each in (decoder, plain)]
        assert answers[0] == answers[1]
    assert decoder.stats.prefill_tokens == plain.stats.prefill_tokens


@pytest.mark.parametrize("kind", ["diffllama", "hrm_text"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_that_is_called_twice_a_layer(kind: str, dtype: torch.dtype) -> None:
    model: Any = tiny_causal_model(kind)
    assert "away from the model's own" in refusal(model.to(dtype)).message
    if dtype == torch.float32:
        assert alike(checked_reference(model, trie(), OPTIONS, IDS), model)


@pytest.mark.parametrize("window", [16, 100, 200])
def test_a_window_in_the_mask_alone(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is, by a prompt that is short."""
    monkeypatch.setitem(OWN, "phimoe", {"sliding_window": window})
    monkeypatch.setattr(self_check, "_LONGEST_WINDOW", 100)
    model = tiny_causal_model("phimoe")
    assert "window" in refusal(model).message
    assert alike(checked_reference(model, trie(), OPTIONS, IDS), model)


@pytest.mark.parametrize("kind", ["mistral", "gemma3_text", "qwen2_moe", "olmo3"])
@pytest.mark.parametrize("window", [16, 100, 1000])
def test_a_window_that_attention_is_told(
    kind: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some ask for masks that no layer uses."""
    monkeypatch.setitem(OWN, kind, {"sliding_window": window})
    model = tiny_causal_model(kind)
    assert alike(checked(model), model)


def full(batch: Any, head: Any, query: Any, key: Any) -> Any:
    return key <= query


def windowed(size: int) -> Any:
    return lambda batch, head, query, key: (key <= query) & (key > query - size)


def chunked(batch: Any, head: Any, query: Any, key: Any) -> Any:
    return (key <= query) & (key // 8 == query // 8)


@pytest.mark.parametrize(
    ("masks", "told", "differ"),
    [
        ([], {None}, False),
        ([full], {None}, False),
        ([windowed(5)], {None}, True),
        ([windowed(5)], {5}, False),
        ([windowed(5)], {6}, True),
        ([windowed(5)], {4}, True),
        ([full], {5}, True),
        ([full, windowed(5)], {None, 5}, False),
        ([full, windowed(5)], {5}, False),
        ([full, windowed(5)], {None}, True),
        ([windowed(100)], {None}, False),  # longer than the context
        ([chunked], {None}, True),
        ([chunked], {8}, True),
    ],
)
def test_masks_against_windows(masks: list[Any], told: set[int | None], differ: bool) -> None:
    assert windows_differ(masks, told, 64, in_vain=False) is differ


def test_a_mask_may_be_asked_for_in_vain() -> None:
    assert not windows_differ([full, windowed(5)], {None}, 64, in_vain=True)
    assert windows_differ([windowed(5)], {None}, 64, in_vain=True)


class Off:
    """A backend whose attention is off by so much, in prompts or in search trees."""

    def __init__(self, backend: Any, by: float, in_trees: bool) -> None:
        self._backend, self._by, self._in_trees = backend, by, in_trees

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def plan(self, segments: Any) -> Any:
        plan = self._backend.plan(segments)
        if any((segment.tree is not None) == self._in_trees for segment in segments):
            attend = plan.attend
            plan.attend = lambda *arguments: attend(*arguments) + self._by
        return plan


@pytest.mark.parametrize("in_trees", [False, True])
def test_a_backend_that_is_off(in_trees: bool) -> None:
    model = tiny_model("llama", VOCABULARY)
    off = Off(backend_for(model), 0.01, in_trees)
    assert "away from" in refusal(model, backend=off).message  # type: ignore[arg-type]
    checked(model, backend=Off(backend_for(model), 1e-7, in_trees))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["gemma4_text", "deepseek_v2", "minicpm3"])
def test_what_ended_in_an_internal_error(kind: str) -> None:
    model = tiny_causal_model(kind)
    assert "cannot compute its attention" in refusal(model).message
    assert alike(checked_reference(model, trie(), OPTIONS, IDS), model)


@pytest.mark.parametrize("kind", ["gemma2", "bloom", "mpt", "gpt_oss"])
def test_models_without_sdpa(kind: str) -> None:
    model = tiny_causal_model(kind)
    refusal(model)
    decoder = checked_reference(model, trie(), OPTIONS, IDS)
    assert model.config._attn_implementation == "eager"
    assert alike(decoder, model)


def test_no_memory_is_no_fault_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def logits(self: PackedDecoder, *arguments: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(PackedDecoder, "logits", logits)
    with pytest.raises(LongbelError, match="no memory") as raised:
        checked(tiny_model("llama", VOCABULARY))
    assert raised.value.exit_code == 1


def test_nan_is_left_to_linking() -> None:
    """It ends there, with the document's name."""
    model: Any = tiny_model("llama", VOCABULARY)
    with torch.no_grad():
        model.lm_head.weight[3] = torch.nan
    checked(model)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral", "gpt_oss", "gemma3_text"])
def test_float32_without_a_copy_of_the_weights(kind: str) -> None:
    model: Any = tiny_causal_model(kind).to(torch.bfloat16)
    result = in_float32(model, IDS)
    assert result is not None and result.dtype == torch.float32
    rounded = plain_logits(model, IDS)
    assert torch.equal(result, plain_logits(model.float(), IDS))
    assert (result - rounded).abs().max() > 1e-3


# The reference decoder


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("llama", Mode(padded=True, cached=True)),
        ("bart", Mode(padded=False, cached=True)),  # counts positions from the padding on
        ("minimax", Mode(padded=True, cached=False)),  # its cache is not that of its forward
        ("rwkv", Mode(padded=False, cached=False)),
    ],
)
def test_the_fastest_way_that_is_right(kind: str, mode: Mode) -> None:
    model = tiny_causal_model(kind)
    decoder = checked_reference(model, trie(), OPTIONS, IDS)
    assert reference_mode(model, IDS) == mode
    assert alike(decoder, model)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("xlnet", "attends to later tokens"), ("roberta", "generate gives other scores")],
)
def test_what_no_decoder_can_do(kind: str, reason: str) -> None:
    model = tiny_causal_model(kind)
    with pytest.raises(LongbelError, match=f"{type(model).__name__}: .*{reason}") as raised:
        checked_reference(model, trie(), OPTIONS, IDS)
    assert raised.value.exit_code == 3 and "architectures.md" in raised.value.hint
