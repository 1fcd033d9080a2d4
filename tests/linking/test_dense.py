"""The dense baseline with a tiny random BERT, against its vectors taken one by one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.baselines import open_baseline
from longbel_cli.linking.baselines.dense import DenseRanker
from longbel_cli.linking.baselines.folder import PublishedModel
from longbel_cli.linking.options import BaselineOptions
from tests.support.baseline_cases import document, small_kb
from tests.support.command_line import Longbel, write_json_lines

MENTIONS = ["cold", "common cold", "a chronic disease of the lungs", "[MASK]", "x"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    return small_kb(tmp_path_factory.mktemp("kb"))


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of 16 positions that reads letters."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyzé0123456789-(),[]ß"
    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", *letters, *("##" + c for c in letters)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        unk_token="[UNK]", mask_token="[MASK]", model_max_length=16,
    )  # fmt: skip
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=16, initializer_range=0.5,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("encoder")
    # As most are published: without the layer above the first token.
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def vectors_one_by_one(folder: Path, texts: list[str], pooling: str) -> np.ndarray:
    """Unit vectors, each text alone in its pass, read by transformers' own tokenizer."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    rows = []
    for text in texts:
        inputs = tokenizer(
            text, return_tensors="pt", truncation=True, max_length=16, split_special_tokens=True
        )
        with torch.inference_mode():
            hidden = model(**inputs).last_hidden_state[0].double().numpy()
        row = hidden[0] if pooling == "cls" else hidden.mean(axis=0)
        rows.append(row / np.linalg.norm(row))
    return np.array(rows)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("rows_per_product", [2, 1 << 14])
def test_against_a_loop(
    base: KnowledgeBase,
    encoder_folder: Path,
    pooling: str,
    rows_per_product: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("longbel_cli.linking.baselines.dense._ROWS_PER_PRODUCT", rows_per_product)
    monkeypatch.setattr("longbel_cli.linking.baselines.dense._TEXTS_PER_PASS", 3)
    ranker = DenseRanker(base, PublishedModel.open(encoder_folder), pooling, "cpu")
    names = base.names_of(np.arange(base.n_names))
    codes = base.codes_of(np.arange(base.n_names))
    queries = vectors_one_by_one(encoder_folder, MENTIONS, pooling)
    cosines = queries @ vectors_one_by_one(encoder_folder, names, pooling).T
    for rows in (base.rows_of_group("Disorders"), range(base.n_names)):
        result = ranker.rank(MENTIONS, rows, 2)
        for index, hits in enumerate(result):
            best: dict[str, tuple[float, int]] = {}
            for row in rows:
                score = float(cosines[index, row])
                if codes[row] not in best or score > best[codes[row]][0]:
                    best[codes[row]] = (score, row)
            expected = sorted(best.values(), key=lambda pair: (-pair[0], pair[1]))[:2]
            assert [hit.row for hit in hits] == [row for _, row in expected]
            scores = [score for score, _ in expected]
            assert [hit.score for hit in hits] == pytest.approx(scores, abs=2e-5)


@pytest.mark.parametrize(
    ("torn", "again"),
    [
        (0, [2, 2]),  # two chunks are there, the second one is not trusted
        (1, [2, 2, 2]),  # the second one is torn
        (10_000, [2, 2, 2]),  # so is the header
    ],
)
def test_the_index_is_made_once_and_goes_on(
    base: KnowledgeBase,
    encoder_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    torn: int,
    again: list[int],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = base.rows_of_group("Disorders")
    encode, encoded = DenseRanker.encode, []

    def counted(self: DenseRanker, texts: Any) -> np.ndarray:
        encoded.append(len(texts))
        if len(encoded) == 3:
            raise RuntimeError("a test")
        return encode(self, texts)

    monkeypatch.setattr(DenseRanker, "encode", counted)
    monkeypatch.setattr("longbel_cli.linking.baselines.dense._ROWS_PER_CHUNK", 2)

    def ranker(pooling: str = "cls") -> DenseRanker:
        return DenseRanker(base, PublishedModel.open(encoder_folder), pooling, "cpu")

    with pytest.raises(RuntimeError, match="a test"):
        ranker().prepare(rows)
    assert not list(tmp_path.rglob("*.npy"))
    (part,) = tmp_path.rglob("*.part")
    part.write_bytes(part.read_bytes()[: max(part.stat().st_size - torn, 0)])
    size = ranker().prepare(rows)
    assert size == 6 * 16 * 4 and encoded[3:] == again
    assert not list(tmp_path.rglob("*.part"))
    assert ranker().prepare(rows) == size and encoded[3:] == again
    (made,) = tmp_path.rglob("*.npy")
    names = base.names_of(np.arange(rows.start, rows.stop))
    chunks = [encode(ranker(), names[start : start + 2]) for start in (0, 2, 4)]
    assert np.array_equal(np.load(made), np.concatenate(chunks))


def test_an_index_is_of_one_pooling_and_kind_of_device(
    base: KnowledgeBase, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ranker(pooling: str = "cls") -> DenseRanker:
        return DenseRanker(base, PublishedModel.open(encoder_folder), pooling, "cpu")

    assert ranker("mean").index_folder != ranker().index_folder
    on_cpu = ranker().index_folder
    with monkeypatch.context() as patched:
        patched.setattr(DenseRanker, "as_loaded", lambda self: {"device_type": "cuda"})
        assert ranker().index_folder != on_cpu


def test_the_command(
    longbel: Longbel,
    base: KnowledgeBase,
    encoder_folder: Path,
    tmp_path: Path,
) -> None:
    corpus = write_json_lines(
        tmp_path / "c.jsonl",
        document("d", "A cold; chronic lungs.", ("cold", "Disorders"), ("lungs", "Anatomy")),
    )
    flags = ("link", corpus, "--kb", base.path, "--linker", "dense", "--model", encoder_folder)
    out = tmp_path / "p.jsonl"
    done = longbel(*flags, "--out", out)
    assert done.code == 0, done.err
    streamed = longbel(*flags, "--out", "-")
    assert streamed.out == out.read_text(encoding="utf-8")
    assert [len(line["beams"]) for line in streamed.lines] == [3, 1]
    done = longbel(*flags, "--pooling", "mean", "--out", out)
    assert done.code == 4 and 'pooling: "cls" in the run, "mean" now' in done.err
    assert longbel(*flags, "--pooling", "max", "--out", "-").code == 2
    plan = longbel(*flags, "--out", tmp_path / "q.jsonl", "--dry-run")
    assert plan.code == 0 and "mentions           2" in plan.out


def test_vectors_that_are_not_finite(
    base: KnowledgeBase, encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = shutil.copytree(encoder_folder, tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][1] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    ranker = DenseRanker(base, PublishedModel.open(folder), "cls", "cpu")
    with pytest.raises(LongbelError, match="not finite") as raised:
        ranker.rank(["cold"], base.rows_of_group("Disorders"), 2)
    assert raised.value.exit_code == 3 and not list(tmp_path.rglob("*.npy"))


def test_what_is_no_encoder(base: KnowledgeBase, model_folder: Path, tmp_path: Path) -> None:
    options = BaselineOptions(model=str(model_folder))
    with pytest.raises(LongbelError, match=r"no encoder, its config\.json says LlamaForCausalLM"):
        open_baseline("dense", base, options)
    with pytest.raises(LongbelError, match=r"config\.json is missing"):
        open_baseline("dense", base, BaselineOptions(model=str(tmp_path)))
