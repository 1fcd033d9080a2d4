"""Model folders: what loads, what is refused with which words, and how prompts become ids."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from kb_builder.text import clean
from kb_builder.trie.tokenization import AnswerTokenizer
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.model.devices import resolve_device, resolve_dtype
from longbel_cli.model.tokenizing import PromptTokenizer, _Remembered
from longbel_cli.prompting.formats import PROMPT_FORMATS, DocumentPrompts, Prompt, prompt_format
from longbel_cli.prompting.segments import Mark, MemoryLine
from longbel_cli.types import Document, Mention, Passage, Span
from tests.support.examples import some
from tests.support.tiny import EOS, LLAMA_3, MARKS, save_model_folder, tiny_tokenizer

TOKENIZERS: dict[str, Callable[[], Any]] = {
    "with BOS": lambda: tiny_tokenizer(bos=True),
    "without BOS": lambda: tiny_tokenizer(bos=False),
    "with a blank before each piece": lambda: tiny_tokenizer(prefix_space=True),
    "in the manner of Llama 3": lambda: tiny_tokenizer(pattern=LLAMA_3),
}


@cache
def checkpoint_of(kind: str) -> Checkpoint:
    """A checkpoint as far as its tokenizer goes."""
    return Checkpoint(Path("nowhere"), {}, TOKENIZERS[kind]())


def metaspace_tokenizer(scheme: str) -> Any:
    """A tokenizer in the manner of SentencePiece, as Llama 2's and Mistral's are."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from tests.support.tiny import TEXTS

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>", EOS], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 2, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, unk_token="<unk>")
    fast.add_special_tokens({"additional_special_tokens": list(MARKS)})
    return fast


def prompt_of(context: str, mention: str, names: list[str], form: str = "hybrid_long") -> Prompt:
    """A prompt over made-up text, the mention marked at the context's end."""
    start = len(context)
    passage = Passage(context + mention + ".")
    made = Mention("T1", (Span(start, start + len(mention)),), mention, "Disorders")
    memory = [MemoryLine(mention, "Disorders", (name,)) for name in names]
    document = Document("d", (passage,), (made,))
    return DocumentPrompts(document, prompt_format(form)).render(made, memory)


pieces = st.text(
    st.one_of(
        st.sampled_from(" \n\t\u00a0.,-'0123<>+|é"),
        st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs"]),
    ),
    max_size=30,
).filter(lambda text: not any(mark in text for mark in ("<+>", "<SEP>", "<|")))


@settings(max_examples=some(150), deadline=None)
@given(
    kind=st.sampled_from(sorted(TOKENIZERS)),
    context=pieces,
    mention=pieces.filter(str.strip),
    names=st.lists(pieces.filter(str.strip), max_size=3),
    form=st.sampled_from(["hybrid_long", "hybrid_medium", "long"]),
)
def test_encode_is_what_the_tokenizer_says(
    kind: str, context: str, mention: str, names: list[str], form: str
) -> None:
    """Where the text spells no special token."""
    checkpoint = checkpoint_of(kind)
    prompt = prompt_of(context, mention, [clean(name) for name in names], form)
    assert checkpoint.encode(prompt) == checkpoint.tokenizer(prompt.text).input_ids


def test_sections_run_together_as_the_tokenizer_sees_them() -> None:
    """Llama 3 makes one token of a full stop and the line breaks after it."""
    checkpoint = checkpoint_of("in the manner of Llama 3")
    prompt = prompt_of("The patient had ", "fever", ["Fever"])
    tokens = checkpoint.tokenizer.convert_ids_to_tokens(checkpoint.encode(prompt))
    assert ".\u010a\u010a" in tokens  # as byte-level BPE writes ".\n\n"


@settings(max_examples=some(50), deadline=None)
@given(kind=st.sampled_from(sorted(TOKENIZERS)), context=pieces, mention=pieces.filter(str.strip))
def test_tokens_stand_where_their_text_is(kind: str, context: str, mention: str) -> None:
    checkpoint = checkpoint_of(kind)
    prompt = prompt_of(context, mention, ["Name"])
    ids, locations = checkpoint.encode(prompt), checkpoint.token_places(prompt)
    assert len(ids) == len(locations)
    leading = len(ids) - len(checkpoint.tokenizer(prompt.text, add_special_tokens=False).input_ids)
    assert locations[:leading] == [Span(0, 0)] * leading
    # Bytes of one character share its span, and blanks may belong to no token.
    position = 0
    for start, end in locations[leading:]:
        assert 0 <= start <= position or not prompt.text[position:start].strip()
        assert start <= end <= len(prompt.text)
        position = max(position, end)
    assert position == len(prompt.text)
    marks = [i for i, name in enumerate(checkpoint.tokenizer.convert_ids_to_tokens(ids))
             if name in MARKS]  # fmt: skip
    assert all(prompt.text[slice(*locations[i])] in MARKS for i in marks)


_PARTS = st.sampled_from(
    ["a", "fever", "5", "12.5", "(", ")", ".", ". ", ", ", "; ", " ", "  ", "\n", ".\n ", "? ", "é",
     "! é", ": (", ". \u3000", ".\u2009 x", "s' ", "'s", ") 5", "🧬. x", ". 中"]
)  # fmt: skip


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=some(60), deadline=None)
@given(parts=st.lists(_PARTS, max_size=30))
def test_long_texts_are_put_together_from_sentences(kind: str, parts: list[str]) -> None:
    """To the same ids, where the tokenizer begins anew at blanks; elsewhere they are not."""
    checkpoint = checkpoint_of(kind)
    prompt = prompt_of("x" + "".join(parts), "fever", ["".join(parts) + "x"])
    expected = checkpoint.tokenizer(prompt.text).input_ids
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("longbel_cli.model.tokenizing._LONG", 1)
        assert checkpoint_of(kind).encode(prompt) == expected
    assert checkpoint.encode(prompt) == expected


def test_sentences_of_a_long_text_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks move from one prompt to the next, and most of the text comes back."""
    monkeypatch.setattr("longbel_cli.model.tokenizing._LONG", 20)
    tokenizer = PromptTokenizer(tiny_tokenizer(pattern=LLAMA_3), Path("nowhere"))
    counted: list[str] = []
    encoding = tokenizer._encoding
    text = "She had a fever. " * 40

    def counting(text: str, first: bool) -> Any:
        counted.append(text)
        return encoding(text, first)

    tokenizer._encoding = counting  # type: ignore[method-assign]  # to count
    for at in (17, 34 * 5, 34 * 12):
        tokenizer.encode(Prompt((text[:at], Mark("["), "fever", Mark("]"), text[at:])))
    assert max(map(len, counted)) < 40 and len(counted) < 12


def test_pieces_are_remembered_within_a_number_of_tokens() -> None:
    """The latest used, so that long documents do not pile up."""
    made = []

    def tokenize(text: str, first: bool) -> list[int]:
        made.append(text)
        return [0] * len(text)

    ids_of = _Remembered(tokenize, most=6)
    for text in ("aaa", "bb", "aaa", "cc", "aaa", "bb", "too long", "aaa"):
        assert len(ids_of(text, False)) == len(text)
    assert made == ["aaa", "bb", "cc", "bb", "too long", "aaa"]


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
def test_encode_with_a_sentencepiece_like_tokenizer(scheme: str) -> None:
    checkpoint = Checkpoint(Path("nowhere"), {}, metaspace_tokenizer(scheme))
    prompt = prompt_of("The patient had ", "fever", ["Fever", "Kidney failure"])
    assert checkpoint.encode(prompt) == checkpoint.tokenizer(prompt.text).input_ids


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("text", ["<+>", "<SEP>", EOS, "a <+> b", f"x{EOS}", "<|begin|>"])
def test_text_that_spells_a_special_token_is_text(kind: str, text: str) -> None:
    checkpoint = checkpoint_of(kind)
    special = set(checkpoint.tokenizer.all_special_ids)
    plain = checkpoint.encode(prompt_of("a ", "fever", ["Name"]))
    for prompt in (
        prompt_of(f"a {text} ", "fever", ["Name"]),
        prompt_of("a ", text, ["Name"]),
        prompt_of("a ", "fever", [f"Name {text}"]),
    ):
        ids = checkpoint.encode(prompt)
        # The same marks (and BOS) as without it, and its own characters as text between them.
        assert [i for i in ids if i in special] == [i for i in plain if i in special]
        decoded = checkpoint.tokenizer.decode(ids, skip_special_tokens=True)
        assert text in decoded


def test_marks_are_their_own_ids() -> None:
    checkpoint = checkpoint_of("with BOS")
    ids = checkpoint.encode(prompt_of("a ", "fever", ["Name"], "long"))
    names = checkpoint.tokenizer.convert_ids_to_tokens(ids)
    assert [name for name in names if name in MARKS] == [
        *"[]", *"[]{}", "<SEP>", *"[]{}",
    ]  # fmt: skip
    assert names[0] == "<|begin|>" and names[-1] == "}" and names.count("<|begin|>") == 1


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize(
    "name", ["Fever", "5-fluorouracil", "Épilepsie", "a <+> b", f"x {EOS}", "  two  blanks "]
)
def test_an_answer_is_encoded_as_the_trie_holds_it(kind: str, name: str) -> None:
    checkpoint = checkpoint_of(kind)
    answers = AnswerTokenizer(checkpoint.tokenizer.backend_tokenizer)
    assert checkpoint.encode_answer((name,)) == answers.encode([name])[0]
    plus = checkpoint.mark_id(Mark("<+>"))
    assert checkpoint.encode_answer((name, "Cough")) == [
        *answers.encode([name])[0], plus, *answers.encode(["Cough"])[0],
    ]  # fmt: skip


def test_the_end_of_an_answer() -> None:
    checkpoint = checkpoint_of("with BOS")
    vocabulary = checkpoint.tokenizer.get_vocab()
    for name, form in PROMPT_FORMATS.items():
        end = "<SEP>" if name in ("long", "echoed") else EOS
        assert checkpoint.end_id(form) == vocabulary[end]


def test_the_marks_of_a_format_must_be_there() -> None:
    checkpoint = Checkpoint(Path("m"), {}, tiny_tokenizer(marks=("[", "]", "{", "}")))
    with pytest.raises(LongbelError, match="<SEP>"):
        checkpoint.end_id(PROMPT_FORMATS["long"])


# Folders


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model's folder, to be spoilt."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_opens_and_loads(model_folder: Path) -> None:
    checkpoint = Checkpoint.open(model_folder)
    model = checkpoint.load_model("cpu", "float32")
    assert not model.training and model.generation_config.do_sample is False
    assert str(model.dtype) == "torch.float32"
    assert checkpoint.max_tokens == 4096
    assert checkpoint.text_to_code is None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "llama", "max_position_embeddings": 512}, 512),
        ({"model_type": "llama"}, 2048),  # what the kind of model has where nothing is said
        ({"model_type": "gpt2", "n_positions": 256}, 256),
        ({"model_type": "gpt2", "n_positions": 256, "max_position_embeddings": 128}, 128),
        ({"model_type": "gptj", "n_positions": 64}, 64),
        ({"model_type": "gemma3", "text_config": {"max_position_embeddings": 32}}, 32),
        ({"model_type": "bloom"}, 1 << 20),  # no positions at all
        # Relative positions: its n_positions is no limit.
        ({"model_type": "t5", "n_positions": 512}, 1 << 20),
    ],
)
def test_positions_by_whatever_word_the_model_has(config: dict[str, Any], expected: int) -> None:
    assert Checkpoint(Path("m"), config, None).max_tokens == expected


def test_dtypes() -> None:
    assert resolve_dtype("auto", "cpu") == "float32"
    assert resolve_dtype("bfloat16", "cpu") == "bfloat16"


def _spoil(name: str) -> Callable[[Path], None]:
    """Ways to spoil a model folder, by the words of the message that must follow."""

    def no_config(folder: Path) -> None:
        (folder / "config.json").unlink()

    def broken_config(folder: Path) -> None:
        (folder / "config.json").write_text('{"model_type": "lla')

    def config_is_a_list(folder: Path) -> None:
        (folder / "config.json").write_text("[1, 2]")

    def no_weights(folder: Path) -> None:
        (folder / "model.safetensors").unlink()

    def bin_only(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    def missing_shard(folder: Path) -> None:
        names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
        (folder / "model.safetensors").rename(folder / names["a"])
        index = {"metadata": {}, "weight_map": names}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    def no_tokenizer(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()

    def broken_index(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
        (folder / "model.safetensors.index.json").write_text("{")

    return locals()[name]


SPOILT = {
    "no_config": r"config\.json is missing",
    "broken_config": r"config\.json: cannot be read",
    "config_is_a_list": r"config\.json: not a JSON object",
    "no_weights": r"no weights",
    "bin_only": r"pickled",
    "missing_shard": r"model-00002-of-00002\.safetensors",
    "no_tokenizer": r"tokenizer",
    "broken_index": r"model\.safetensors\.index\.json",
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_folders_are_refused(folder: Path, name: str) -> None:
    _spoil(name)(folder)
    with pytest.raises(LongbelError, match=SPOILT[name]) as raised:
        Checkpoint.open(folder)
    assert raised.value.exit_code == 3
    assert str(folder) in raised.value.message and raised.value.hint


def test_pickled_weights_come_with_the_command_that_converts_them(folder: Path) -> None:
    """The program in the message, run as it stands, makes the folder loadable."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(LongbelError) as raised:
        Checkpoint.open(folder)
    program = raised.value.hint.partition("python -c ")[2].strip('"')
    assert "safe" in program and str(folder) in program
    exec(program, {})
    converted = load_file(folder / "model.safetensors")
    assert set(converted) == set(weights)
    Checkpoint.open(folder).load_model("cpu")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LongbelError, match="no such model folder"):
        Checkpoint.open(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(LongbelError, match="no such model folder"):
        Checkpoint.open(tmp_path / "file")


def test_a_hub_id_without_network_is_one_message() -> None:
    with pytest.raises(LongbelError, match="no-such-owner/no-such-model"):
        Checkpoint.open("no-such-owner/no-such-model")


@pytest.mark.parametrize("missing", ["[", "]", "{", "}"])
def test_a_tokenizer_without_a_mark_of_its_own(tmp_path: Path, missing: str) -> None:
    """A vocabulary holds `}` as a character anyway: it must be an added token."""
    marks = tuple(mark for mark in MARKS if mark != missing)
    folder = save_model_folder(tmp_path / "m", tokenizer=tiny_tokenizer(marks=marks))
    with pytest.raises(LongbelError, match="no token") as raised:
        Checkpoint.open(folder)
    assert f"no token {missing}" in raised.value.message


def test_weights_of_another_size_than_the_tokenizer(tmp_path: Path) -> None:
    folder = save_model_folder(tmp_path / "m")
    edit_config(folder, vocab_size=300)
    with pytest.raises(LongbelError) as raised:
        Checkpoint.open(folder).load_model("cpu")
    assert str(folder) in raised.value.message


def test_truncated_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(LongbelError, match="cannot be loaded"):
        Checkpoint.open(folder).load_model("cpu")


def test_weights_that_lack_a_layer(folder: Path) -> None:
    """Missing weights would be filled with random numbers, and the answers be nonsense."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if ".layers.1." not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LongbelError) as raised:
        Checkpoint.open(folder).load_model("cpu")
    assert str(folder) in raised.value.message


def test_an_unknown_architecture(folder: Path) -> None:
    edit_config(folder, model_type="no_such_model", architectures=["NoSuchModel"])
    with pytest.raises(LongbelError, match="model_type no_such_model") as raised:
        Checkpoint.open(folder)
    assert raised.value.exit_code == 3


def test_tied_weights_are_not_missing(tmp_path: Path) -> None:
    folder = save_model_folder(tmp_path / "m", tie_word_embeddings=True)
    assert Checkpoint.open(folder).load_model("cpu").config.tie_word_embeddings


def test_sharded_weights_load(model_folder: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "sharded"
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    model.save_pretrained(folder, max_shard_size="20KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_folder / name, folder / name)
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    loaded = Checkpoint.open(folder).load_model("cpu")
    ids = torch.arange(9)[None]
    assert torch.equal(loaded(ids).logits, model.eval()(ids).logits)


def test_a_device_is_found_without_the_other_processes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a resume under torchrun the others may be done and never load a model."""
    import torch

    def group(*arguments: Any, **options: Any) -> None:
        raise AssertionError("waits for all processes")

    monkeypatch.setattr(torch.distributed, "init_process_group", group)
    launched = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
                "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}  # fmt: skip
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    assert Checkpoint.open(folder).load_model("auto").device.type in resolve_device("auto")


@pytest.mark.parametrize(
    ("environment", "device"),
    [
        ({}, "cuda:0"),
        ({"LOCAL_RANK": "1"}, "cuda:1"),
        ({"LOCAL_RANK": "6", "SLURM_LOCALID": "1"}, "cuda:2"),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "3"}, "cuda:3"),
        ({"SLURM_LOCALID": "2"}, "cuda:2"),
        ({"LOCAL_RANK": "1", "ACCELERATE_USE_CPU": "true"}, "cpu"),
    ],
)
def test_each_process_has_a_device_of_its_own(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], device: str
) -> None:
    """On a machine of four GPUs."""
    import torch

    result = {"is_available": True, "current_accelerator": torch.device("cuda"), "device_count": 4}
    for name, value in result.items():
        monkeypatch.setattr(torch.accelerator, name, lambda value=value: value)
    chosen: list[int] = []
    monkeypatch.setattr(torch.accelerator, "set_device_index", chosen.append)
    monkeypatch.setattr(torch, "empty", lambda size, device: None)
    for name in ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert resolve_device("auto") == device
    assert chosen == ([] if device == "cpu" else [int(device[-1])])


class _Trap:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def test_code_and_pickles_beside_the_weights_are_never_run(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder as LongBEL's are published: `auto_map`, a module, a pickled trie."""
    sprung = tmp_path / "sprung"
    (folder / "candidate_trie.pkl").write_bytes(pickle.dumps(_Trap(sprung)))
    (folder / "text_to_code.json").write_text('{"Disorders": {"Fever": "C1"}}')
    module = f"import os\nos.mkdir({str(sprung)!r})\nclass LongBEL: pass\n"
    (folder / "modeling_longbel.py").write_text(module)
    edit_config(folder, auto_map={"AutoModelForCausalLM": "modeling_longbel.LongBEL"}, lang="fr")
    with caplog.at_level("INFO", logger="longbel_cli"):
        checkpoint = Checkpoint.open(folder)
    model = checkpoint.load_model("cpu")
    assert type(model).__name__ == "LlamaForCausalLM"
    assert not sprung.exists()
    assert "candidate_trie.pkl is not read" in caplog.text
    assert checkpoint.text_to_code == folder / "text_to_code.json"
    assert checkpoint.language == "fr"
    with pytest.raises(FileExistsError):  # the trap works: it would have been sprung
        sprung.mkdir()
        pickle.loads((folder / "candidate_trie.pkl").read_bytes())


@pytest.mark.parametrize(
    ("lang", "language"), [("fr", "fr"), ("FR", "fr"), ("es-ES", "es"), (None, None), ("", None)]
)
def test_the_language_of_a_checkpoint(folder: Path, lang: str | None, language: str | None) -> None:
    if lang is not None:
        edit_config(folder, lang=lang)
    assert Checkpoint.open(folder).language == language


def test_the_format_of_a_checkpoint(folder: Path) -> None:
    assert Checkpoint.open(folder).context_format is None
    edit_config(folder, longbel_context_format="long")
    assert Checkpoint.open(folder).context_format == "long"


TEXT_TO_CODE = {
    "Disorders": {"Fever": "C0000001", "Cough": "C0000002", "Renal failure": "C0000005"},
    "Anatomy": {"Kidney": "C0000006"},
}


def test_a_published_checkpoint_brings_its_names(folder: Path) -> None:
    """Without a KB, `text_to_code.json` is the candidate set, built once."""
    from longbel_cli.linking.linker import open_knowledge_base

    (folder / "text_to_code.json").write_text(json.dumps(TEXT_TO_CODE))
    base = open_knowledge_base(None, Checkpoint.open(folder))
    assert sorted(base.groups) == ["Anatomy", "Disorders"]
    result = {
        group: {base.name(row): base.code(row) for row in base.rows_of_group(group)}
        for group in base.groups
    }
    assert result == TEXT_TO_CODE
    assert open_knowledge_base(None, Checkpoint.open(folder)).path == base.path


def test_without_names_a_knowledge_base_is_asked_for(model_folder: Path) -> None:
    from longbel_cli.linking.linker import open_knowledge_base

    with pytest.raises(LongbelError, match=r"text_to_code\.json") as raised:
        open_knowledge_base(None, Checkpoint.open(model_folder))
    assert raised.value.exit_code == 2 and "--kb" in raised.value.hint
