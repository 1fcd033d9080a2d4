"""The fast decoder gives the beams of `transformers.generate`, and both give what they promise.

Models are tiny and random, in float32, over random tries of token ids; the scores of all beams are
recomputed by a plain forward pass over prompt and answer. On another device:

    LONGBEL_TEST_DEVICE=cuda python -m pytest tests/model/test_decoders.py tests/model/test_reuse.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from longbel_cli.model.decoders import Request
from longbel_cli.model.decoders.packed import PackedDecoder
from longbel_cli.model.decoders.pool import KeyValuePool
from longbel_cli.model.decoders.reference import ReferenceDecoder
from longbel_cli.model.decoders.row_pools import KeyValueCache
from longbel_cli.model.decoders.scoring import best_by_key, best_of
from longbel_cli.model.decoders.search import SearchOptions
from tests.support.decoder_cases import (
    BACKENDS,
    CLOSE,
    DEVICE,
    END,
    PLUS,
    SOME_NAMES,
    Differences,
    Names,
    Packed,
    check_beams,
    compare,
    copy_of,
    decoder_over,
    documents_of,
    finish,
    link_all,
    model_of,
    on_device,
    prompts_of,
    recomputed,
)
from tests.support.tiny import MODELS

pytestmark = pytest.mark.usefixtures("one_thread")


token = st.integers(0, 11)
names_of_a_group = st.lists(
    st.lists(token, min_size=1, max_size=5).map(tuple), min_size=1, max_size=14, unique=True
)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    composite = draw(st.booleans())
    return {
        "seed": draw(st.integers(0, 2)),
        "names": Names({group: draw(names_of_a_group) for group in ("A", "B")}),
        "n_beams": draw(st.sampled_from([1, 2, 3, 5, 5, 8, 20])),
        "max_new_tokens": draw(st.sampled_from([2, 4, 7] if composite else [1, 3, 128, 128])),
        "composite": composite,
        "lookahead": draw(st.sampled_from([0, 4, 16])),
        "searches": draw(st.sampled_from([None, 1, 4])),
        "backend": draw(st.sampled_from([*BACKENDS])),
        "halves": draw(st.sampled_from([1, 2])),
        "batch": draw(st.sampled_from([1, 1, 4, 4, 16])),
        "prompt_seed": draw(st.integers(0, 10**6)),
    }


def compare_on_random_cases(name: str, examples: int) -> Differences:
    counts = Differences()

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases())
    def check(case: dict[str, Any]) -> None:
        names, seed = case["names"], case["seed"]
        options = SearchOptions(
            END, case["n_beams"], case["max_new_tokens"], PLUS if case["composite"] else None,
            case["lookahead"], case["searches"],
        )  # fmt: skip
        model, trie = model_of(name, seed), names.trie
        requests = prompts_of(case["prompt_seed"], case["batch"])
        reference = ReferenceDecoder(copy_of(name, seed), trie, options, case["batch"])
        expected = reference.generate(requests)
        decoder = decoder_over(case["backend"], model, trie, options, case["halves"])
        result = finish(decoder, requests)
        compare(copy_of(name, seed), names, options, requests, expected, result, counts)
        request, beams = requests[-1], result[-1]
        check_beams(copy_of(name, seed), names, request, beams, options.n_beams)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("longbel_cli.model.decoders.packed._HALF", 1)
        check()
    assert counts.prompts >= examples
    return counts


@pytest.mark.parametrize("name", MODELS)
def test_both_decoders_give_the_same_beams(name: str) -> None:
    compare_on_random_cases(name, examples=25)


@pytest.mark.slow
def test_both_decoders_give_the_same_beams_on_many_cases() -> None:
    """>= 300 random cases over the four architectures: near-ties are the exception, and composite
    answers are among the cases."""
    counts = [compare_on_random_cases(name, examples=80) for name in MODELS]
    prompts = sum(each.prompts for each in counts)
    print(f"{prompts} prompts, {sum(each.near_ties for each in counts)} near-ties")
    assert prompts >= 320
    assert sum(each.near_ties for each in counts) <= prompts // 100
    assert sum(each.composite for each in counts) >= 20


def test_two_rows_take_turns(packed: Packed) -> None:
    """Documents are shared out evenly once there are enough; each row is decided while the other
    is begun, and answers do not depend on it."""
    options, documents = SearchOptions(END, 5), documents_of(11, 20, 3)
    plain = packed(model_of("llama"), SOME_NAMES.trie, options)
    expected = link_all(plain, documents, 20)
    decoder = packed(model_of("llama"), SOME_NAMES.trie, options, halves=2)
    for index, document in enumerate(documents, start=1):
        decoder.submit(document[0])
        halves = [*decoder._half_of.values()]
        assert sum(halves) == (0 if index <= 8 else min(index - 8, index // 2))
    assert decoder.step() == [] and decoder._flight is not None
    decoder.reset()
    answers = link_all(decoder, documents, 20)
    assert not decoder._half_of
    counts = Differences()
    for index, requests in enumerate(documents):
        compare(
            copy_of("llama"), SOME_NAMES, options, requests, expected[index], answers[index],
            counts,
        )  # fmt: skip
    assert counts.prompts == 60 and counts.near_ties == 0
    decoder.reset()
    before = decoder.stats.forwards
    assert link_all(decoder, documents, 20) == answers
    assert decoder.stats.forwards == 2 * before - 1  # the first was for nothing


@pytest.mark.parametrize("name", ["llama", "mistral_sliding"])
def test_long_names(name: str, packed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Search trees deeper than a sliding window, which outgrow their slots as they are fed."""
    monkeypatch.setattr("longbel_cli.model.decoders.packed._SPARE_PER_BEAM", 0)
    moved: list[int] = []
    for slots in (KeyValueCache, KeyValuePool):

        def noting(self: Any, slot: Any, locations: int, reserve: Any = slots.reserve) -> None:
            moved.extend([locations] * (locations > slot.capacity))
            reserve(self, slot, locations)

        monkeypatch.setattr(slots, "reserve", noting)
    random = np.random.default_rng(0)
    names = Names(
        {
            group: sorted(
                {tuple(random.integers(0, 60, random.integers(9, 20)).tolist()) for _ in range(30)}
            )
            for group in "AB"
        }
    )
    requests = [
        Request(index, [*random.integers(0, 90, size).tolist(), CLOSE], "AB"[index % 2])
        for index, size in enumerate((110, 120, 125, 7, 126, 200, 127, 250))
    ]
    options = SearchOptions(END, 5, lookahead=4)
    expected = ReferenceDecoder(copy_of(name), names.trie, options).generate(requests)
    decoder = packed(model_of(name), names.trie, options)
    counts = Differences()
    compare(
        copy_of(name), names, options, requests, expected, finish(decoder, requests), counts
    )  # fmt: skip
    assert counts.near_ties == 0 and len(moved) >= 4


@pytest.mark.parametrize(("children", "n_beams"), [(600, 5), (600, 1), (511, 20), (30_000, 5)])
def test_wide_roots(children: int, n_beams: int, packed: Packed) -> None:
    random = np.random.default_rng(children)
    first = random.permutation(np.arange(100, 100 + children)).tolist()
    names = Names({"A": [(token, int(token) % 50) for token in first], "B": [(3,), (4, 5)]})
    model = on_device("llama", vocab_size=100 + children, seed=1)
    options = SearchOptions(END, n_beams)
    requests = [
        Request(index, [*random.integers(0, 90, 12).tolist(), CLOSE], group)
        for index, group in enumerate("ABA")
    ]
    trie = names.trie
    expected = ReferenceDecoder(model, trie, options).generate(requests)
    result = finish(packed(model, trie, options), requests)
    compare(model, names, options, requests, expected, result, Differences())
    tables = names.all
    for request, beams in zip(requests, result, strict=True):
        for beam in beams[:2]:
            answer = (*tables[beam.rows[0]], END)
            value = recomputed(model, request.prompt_ids, answer)
            assert beam.logprob == pytest.approx(value, abs=2e-4)


def test_a_wide_node_at_which_a_name_ends(packed: Packed) -> None:
    """The end is among its best moves, so one more than K of the others is needed to go on."""
    names = Names({"A": [(5,), *((5, token) for token in range(100, 700))], "B": [(3,)]})
    model = on_device("llama", vocab_size=700, seed=4)
    prompt = [5, 6, 7, CLOSE]
    with torch.inference_mode():
        hidden = model.model(torch.tensor([[*prompt, 5]], device=DEVICE)).last_hidden_state[0, -1]
        model.lm_head.weight[END] = hidden / hidden.norm() ** 2 * 12  # a logit of 12
    options = SearchOptions(END, 3)
    expected = ReferenceDecoder(model, names.trie, options).generate([Request(0, prompt, "A")])
    result = finish(
        packed(model, names.trie, options), [Request(0, prompt, "A")]
    )  # fmt: skip
    assert result[0][0].rows == (0,) and len(result[0]) == 3
    compare(model, names, options, [Request(0, prompt, "A")], expected, result, Differences())


def test_wide_nodes_of_equal_moves(packed: Packed) -> None:
    """Where the cut falls between equals, the smaller tokens stay, as on the host."""
    names = Names({"A": [(token,) for token in range(100, 700)], "B": [(3,)]})
    model = on_device("llama", vocab_size=700, seed=4)
    with torch.inference_mode():
        model.lm_head.weight[103:690] = model.lm_head.weight[102]
        model.lm_head.weight[102] *= 0.5
    requests = [Request(0, [5, 6, 7, CLOSE], "A")]
    (beams,) = finish(packed(model, names.trie, SearchOptions(END, 20)), requests)
    rows = [beam.rows[0] for beam in beams]
    equal = [row for row in rows if 3 <= row < 590]
    assert len(equal) >= 10 and sorted(equal) == [*range(3, 3 + len(equal))]


@pytest.mark.parametrize("choose", [best_of, best_by_key])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_best_of_many_moves_are_those_of_the_host(dtype: torch.dtype, choose: Any) -> None:
    """In bfloat16 most numbers have equals; tokens decide, whatever their order."""
    random = np.random.default_rng(0)
    tokens = np.sort(random.permutation(100_000)[:900])
    logprobs = (torch.randn(40, 900, generator=torch.Generator().manual_seed(0)) * 3 - 4).to(dtype)
    logprobs[:5] = 0.0
    logprobs = logprobs.float()
    rows = torch.from_numpy(tokens).repeat(40, 1)
    rows[1, 600:] = rows[20, 20:] = -1  # fewer moves than the others
    for moves in (torch.from_numpy(tokens), rows):
        values, chosen = choose(logprobs.to(DEVICE), moves.to(DEVICE), 10)
        lines = zip(logprobs, moves.expand(40, 900), values, chosen, strict=True)
        for row, line, best, which in lines:
            n = int((line >= 0).sum())
            expected = np.lexsort((tokens[:n], -row.numpy()[:n]))[:10]
            # Equal ones within the ten may stand in any order: the search sorts them.
            assert sorted(which.tolist()) == sorted(expected.tolist())
            assert row[which.cpu()].tolist() == best.tolist()


def test_wide_nodes_inside_composite_answers(packed: Packed) -> None:
    """A wide root is met again after the composite mark."""
    names = Names({"A": [(token,) for token in range(100, 700)], "B": [(3,)]})
    model = on_device("llama", vocab_size=700, seed=4)
    options = SearchOptions(END, 5, 4, PLUS)
    requests = [Request(0, [5, 6, 7, CLOSE], "A"), Request(1, [8, CLOSE], "B")]
    expected = ReferenceDecoder(model, names.trie, options).generate(requests)
    result = finish(packed(model, names.trie, options), requests)
    compare(model, names, options, requests, expected, result, Differences())


def test_bfloat16_agrees_where_the_choice_is_clear(packed: Packed) -> None:
    """Top-1 of both decoders in bfloat16 is that of float32 wherever its margin is clear."""
    options = SearchOptions(END, 5)
    requests = prompts_of(5, 40)
    exact = finish(packed(model_of("llama"), SOME_NAMES.trie, options), requests)
    model = on_device("llama", dtype="bfloat16")
    packed = finish(packed(model, SOME_NAMES.trie, options), requests)
    reference = ReferenceDecoder(model, SOME_NAMES.trie, options).generate(requests)
    clear = 0
    for request, best, single, other in zip(requests, exact, packed, reference, strict=True):
        for beams in (single, other):
            assert {SOME_NAMES.group_of(beam.rows[0]) for beam in beams} == {request.semantic_group}
        if best[0].score > 2 * best[1].score:
            clear += 1
            assert single[0].rows == other[0].rows == best[0].rows
    assert clear >= 10


def test_bfloat16_on_other_architectures(packed: Packed) -> None:
    options = SearchOptions(END, 5)
    requests = prompts_of(6, 8)
    for name in MODELS:
        model = on_device(name, dtype="bfloat16")
        for request, beams in zip(
            requests,
            finish(packed(model, SOME_NAMES.trie, options), requests),
            strict=True,
        ):
            assert beams
            assert {SOME_NAMES.group_of(beam.rows[0]) for beam in beams} == {request.semantic_group}
            assert all(0 < beam.score <= 1 for beam in beams)


def test_the_reference_pins_the_generation_config() -> None:
    """What a checkpoint's generation_config.json says (Llama 3.1 samples) changes nothing."""
    options = SearchOptions(END, 3)
    requests = prompts_of(10, 2)
    expected = ReferenceDecoder(model_of("llama"), SOME_NAMES.trie, options).generate(requests)
    model = on_device("llama")
    config = model.generation_config
    config.do_sample, config.temperature, config.top_p = True, 5.0, 0.3
    config.eos_token_id, config.length_penalty, config.early_stopping = [1, 2, 3], 0.0, True
    config.max_new_tokens, config.repetition_penalty = 1, 3.0
    for _ in range(2):
        result = ReferenceDecoder(model, SOME_NAMES.trie, options).generate(requests)
        assert [[beam.rows for beam in beams] for beams in result] == [
            [beam.rows for beam in beams] for beams in expected
        ]


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "soft-capping": ("gemma2", {"head_dim": 8, "attn_logit_softcapping": 50.0}),
    "attention sinks": (
        "gpt_oss",
        {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 8},
    ),
    "ALiBi": ("bloom", {"n_layer": 2, "n_head": 4}),
    "recurrent layers": ("mamba", {"state_size": 4}),
    "short convolutions": (
        "lfm2",
        {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3, "block_ff_dim": 48},
    ),
    "rotary positions that depend on the longest prompt": (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_the_packed_decoder_cannot_run_are_refused(name: str) -> None:
    """Refused with a sentence, at once or at the first pass: never a wrong answer in silence."""
    kind, changes = REFUSED[name]
    model = on_device(kind, attention=None, **changes)
    with pytest.raises(LongbelError, match="decoder") as raised:
        decoder = PackedDecoder(model, SOME_NAMES.trie, SearchOptions(END, 5))
        finish(decoder, prompts_of(1, 3))
    assert "--decoder reference" in raised.value.hint
