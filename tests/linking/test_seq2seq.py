"""The encoder-decoder baseline with tiny random models, against `generate` and against scores
of every name taken one by one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.corpora import read_corpus
from longbel_cli.linking.baselines import open_baseline
from longbel_cli.linking.baselines.folder import PublishedModel
from longbel_cli.linking.baselines.seq2seq import PromptEncoder, Seq2SeqLinker
from longbel_cli.linking.options import BaselineOptions
from longbel_cli.prompting.formats import Prompt
from longbel_cli.prompting.segments import CLOSE, GROUP_CLOSE, GROUP_OPEN, OPEN
from tests.support.baseline_cases import document
from tests.support.command_line import Longbel, write_json_lines
from tests.support.tiny import tiny_tokenizer

# kind of model, marks its tokenizer has as tokens, what it is forced to begin with
MODELS: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "bart": ("bart", (), True),
    "mbart": ("mbart", (), True),
    "bart with marks": ("bart", ("[", "]", "{", "}"), False),
}
PROMPT = "### Context\nShe had [fever].\n\n### Prediction\n[fever]{Disorders}"


def options(beams: int) -> BaselineOptions:
    return BaselineOptions(beams, language="en", device="cpu", max_batch_tokens=512)


def save_folder(folder: Path, kind: str, marks: tuple[str, ...], forced: bool) -> Path:
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    tokenizer = tiny_tokenizer(marks=marks)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=24,
        decoder_ffn_dim=24, max_position_embeddings=160, init_std=0.5, pad_token_id=eos,
        bos_token_id=bos, eos_token_id=eos, decoder_start_token_id=eos, forced_eos_token_id=eos,
        forced_bos_token_id=bos if forced else None,
    )  # fmt: skip
    torch.manual_seed(3)
    model = AutoModelForSeq2SeqLM.from_config(config)
    model.generation_config.forced_bos_token_id = bos if forced else None
    # What a checkpoint says of searching is not what is asked for here.
    model.generation_config.num_beams, model.generation_config.length_penalty = 2, 3.0
    model.generation_config.early_stopping = True
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(tmp_path_factory.mktemp("seq2seq"), *MODELS[request.param])


def linked(folder: Path, kb: Path, tmp_path: Path, beams: int) -> tuple[Seq2SeqLinker, list[Any]]:
    base = KnowledgeBase.open(kb)
    linker = Seq2SeqLinker(PublishedModel.open(folder), base, options(beams))
    corpus = write_json_lines(
        tmp_path / "c.jsonl",
        document("d", "It began. She had fever. A kidney was cut.", ("fever", "Disorders"),
                 ("kidney", "Anatomy")),
    )  # fmt: skip
    return linker, linker.engine().link_window(list(read_corpus([corpus])))


def answers(linker: Seq2SeqLinker, group: str) -> dict[tuple[int, ...], str]:
    """The token ids of every name of a group, by the tokenizer that transformers loads."""
    base = linker.knowledge_base
    names = [base.name(row) for row in base.rows_of_group(group)]
    tokenizer, end = linker.checkpoint.tokenizer, linker.checkpoint.tokenizer.eos_token_id
    return {
        (*tokenizer(f" {name}", add_special_tokens=False).input_ids, end): name for name in names
    }


def start_of(linker: Seq2SeqLinker, folder: Path) -> list[int]:
    from transformers import GenerationConfig

    own: Any = GenerationConfig.from_pretrained(folder)
    forced = own.forced_bos_token_id
    return [linker.checkpoint.tokenizer.eos_token_id, *([] if forced is None else [forced])]


def encoder_ids(linker: Seq2SeqLinker) -> list[int]:
    """The prompt as transformers' own tokenizer reads it."""
    return list(linker.checkpoint.tokenizer(PROMPT).input_ids)


def test_every_name_has_the_score_it_has_alone(
    folder: Path, kb_folder: Path, tmp_path: Path
) -> None:
    """With more beams than names: all of them, by the mean log-probability of name and end."""
    import torch

    linker, (fever, kidney) = linked(folder, kb_folder, tmp_path, 20)
    start, ids = start_of(linker, folder), torch.tensor([encoder_ids(linker)])
    scores = {}
    for tokens, name in answers(linker, "Disorders").items():
        given = torch.tensor([[*start, *tokens[:-1]]])
        with torch.inference_mode():
            logits = linker.model(input_ids=ids, decoder_input_ids=given).logits[0]
        logprobs = logits[len(start) - 1 :].float().log_softmax(-1)
        total = sum(float(logprobs[location, token]) for location, token in enumerate(tokens))
        scores[name] = math.exp(total / len(tokens))
    expected = sorted(scores, key=lambda name: -scores[name])
    assert [each.concept_name for each in fever.candidates] == expected
    assert [each.score for each in fever.candidates] == pytest.approx(
        [scores[name] for name in expected], rel=1e-4
    )
    assert {each.concept_name for each in kidney.candidates} == {"Kidney", "Kidneys", "Heart"}


@pytest.mark.parametrize("beams", [1, 3])
def test_against_generate(folder: Path, kb_folder: Path, tmp_path: Path, beams: int) -> None:
    """The same search by `prefix_allowed_tokens_fn` over a plain set of names."""
    import torch
    from transformers import GenerationConfig

    linker, (fever, _) = linked(folder, kb_folder, tmp_path, beams)
    names = answers(linker, "Disorders")
    start, end = start_of(linker, folder), linker.checkpoint.tokenizer.eos_token_id

    def allowed(_: int, given: Any) -> list[int]:
        answer = tuple(given.tolist()[len(start) :])
        result = {each[len(answer)] for each in names
                 if each[: len(answer)] == answer and len(each) > len(answer)}  # fmt: skip
        return sorted(result) or [end]

    model: Any = linker.model
    output = model.generate(
        input_ids=torch.tensor([encoder_ids(linker)]),
        decoder_input_ids=torch.tensor([start]),
        prefix_allowed_tokens_fn=allowed,
        generation_config=GenerationConfig(
            num_beams=beams, num_return_sequences=beams, do_sample=False, max_new_tokens=128,
            length_penalty=1.0, early_stopping=False, eos_token_id=end, pad_token_id=end,
            decoder_start_token_id=start[0], return_dict_in_generate=True, output_scores=True,
        ),
    )  # fmt: skip
    result = []
    for sequence in output.sequences.tolist():
        answer = sequence[len(start) :]
        result.append(names[tuple(answer[: answer.index(end) + 1])])
    assert [each.concept_name for each in fever.candidates] == result
    if beams > 1:
        scores = [math.exp(score) for score in output.sequences_scores.tolist()]
        assert [each.score for each in fever.candidates] == pytest.approx(scores, rel=1e-4)


def test_an_older_model_tells_its_start_in_its_configuration(
    kb_folder: Path, tmp_path: Path
) -> None:
    folder = save_folder(tmp_path / "model", *MODELS["bart"])
    base = KnowledgeBase.open(kb_folder)
    told = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").unlink()
    keys = ("decoder_start_token_id", "forced_bos_token_id")
    config = json.loads((folder / "config.json").read_text()) | {key: told[key] for key in keys}
    (folder / "config.json").write_text(json.dumps(config))
    linker = Seq2SeqLinker(PublishedModel.open(folder), base, options(2))
    assert linker.start == tuple(told[key] for key in keys)
    (folder / "config.json").write_text(json.dumps({**config, keys[0]: None}))
    with pytest.raises(LongbelError, match="does not say what its answers start with"):
        Seq2SeqLinker(PublishedModel.open(folder), base, options(2))


@pytest.mark.parametrize("key", ["decoder_start_token_id", "forced_bos_token_id"])
@pytest.mark.parametrize("value", [[2], "2", -1, True, 2.5])
def test_a_start_that_is_no_token_is_refused(
    kb_folder: Path, tmp_path: Path, key: str, value: Any
) -> None:
    folder = save_folder(tmp_path / "model", *MODELS["bart"])
    told = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**told, key: value}))
    with pytest.raises(LongbelError, match=f"{key} is no token id"):
        Seq2SeqLinker(PublishedModel.open(folder), KnowledgeBase.open(kb_folder), options(2))


def test_another_forced_token_is_another_run(kb_folder: Path, tmp_path: Path) -> None:
    """The language that a multilingual model answers in."""
    base = KnowledgeBase.open(kb_folder)
    folder = save_folder(tmp_path / "model", *MODELS["mbart"])
    before = Seq2SeqLinker(PublishedModel.open(folder), base, options(2)).settings()
    told = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**told, "forced_bos_token_id": 9}))
    after = Seq2SeqLinker(PublishedModel.open(folder), base, options(2)).settings()
    assert before["answer_start"][0] == after["answer_start"][0] and after["answer_start"][1] == 9
    assert {name for name in after if after[name] != before[name]} - {
        "device_type", "max_batch_tokens"
    } == {"answer_start"}  # fmt: skip


@pytest.mark.parametrize("beams", [1, 3])
def test_scores_that_are_not_finite(kb_folder: Path, tmp_path: Path, beams: int) -> None:
    import torch

    folder = save_folder(tmp_path / "model", *MODELS["bart"])
    linker = Seq2SeqLinker(
        PublishedModel.open(folder), KnowledgeBase.open(kb_folder), options(beams)
    )
    weights: Any = linker.model
    with torch.no_grad():
        weights.final_logits_bias[0, 7] = torch.nan
    corpus = write_json_lines(
        tmp_path / "c.jsonl", document("d", "She had fever.", ("fever", "Disorders"))
    )
    with pytest.raises(LongbelError, match=r"document d: mention T?1: .* not finite"):
        linker.engine().link_window(list(read_corpus([corpus])))


def test_text_is_text_and_marks_are_marks() -> None:
    prompt = Prompt(
        (
            "A <|end|> ",
            OPEN,
            "fever",
            CLOSE,
            "\n",
            OPEN,
            "fever",
            CLOSE,
            GROUP_OPEN,
            "G",
            GROUP_CLOSE,
        )
    )
    plain = tiny_tokenizer(marks=())
    ids = PromptEncoder(plain)(prompt)
    assert plain.eos_token_id not in ids and ids[0] == plain.bos_token_id
    assert plain.decode(ids[1:]) == prompt.text
    marked = tiny_tokenizer(marks=("[", "]", "{", "}"))
    ids = PromptEncoder(marked)(prompt)
    counts = [ids.count(marked.convert_tokens_to_ids(mark)) for mark in "[]{}"]
    assert counts == [2, 2, 1, 1]


def test_the_command(
    longbel: Longbel,
    kb_folder: Path,
    tmp_path: Path,
) -> None:
    folder = save_folder(tmp_path / "model", *MODELS["mbart"])
    corpus = write_json_lines(
        tmp_path / "c.jsonl", document("d", "Hm. She had fever.", ("fever", "Disorders"))
    )
    flags = ("link", corpus, "--kb", kb_folder, "--linker", "seq2seq", "--model", folder)
    done = longbel(*flags, "--out", "-")
    assert done.code == 2 and "needs the language" in done.err
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "p.jsonl"
    done = longbel(*flags, "--language", "en", "--out", out, "--prompts", prompts)
    assert done.code == 0, done.err
    assert "### Context\\nShe had [fever].\\n\\n### Prediction" in prompts.read_text()
    done = longbel(*flags, "--language", "fr", "--out", out)
    assert done.code == 4 and "language" in done.err
    assert "already" in longbel(*flags, "--language", "en", "--out", out).err
    plan = longbel(*flags, "--language", "en", "--out", tmp_path / "q.jsonl", "--dry-run")
    assert plan.code == 0 and "prompt tokens" in plan.out


def test_what_is_no_encoder_decoder(kb_folder: Path, model_folder: Path) -> None:
    options = BaselineOptions(model=str(model_folder), language="en")
    with pytest.raises(LongbelError, match="no encoder-decoder"):
        open_baseline("seq2seq", KnowledgeBase.open(kb_folder), options)
