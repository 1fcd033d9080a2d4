"""Making token ids of names word by word against whole names, for several kinds of tokenizers.

    python -m tests.benchmarks.kb_words --names 1000000

The names are those of a generated release (seeded, kept under --work), distinct within a group and
in the order of a knowledge base. Both ways run in turn in one process, twice; ids are compared.
Processor time; the tokenizers are the sample's and others trained on the names.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from kb_builder.build import BuildOptions, build_kb
from kb_builder.trie.tokenization import AnswerTokenizer, load_tokenizer
from kb_builder.trie.trie import TokenRuns
from tests.benchmarks.kb_generate import generate
from tests.benchmarks.kb_tokenizers import MARKS, from_tiktoken, llama3_model_file, trained
from tests.support.paths import SAMPLE


def tokenizers_of(texts: list[str]) -> dict[str, Callable[[], Tokenizer]]:
    """Each kind's name, and what makes one."""
    file = llama3_model_file()
    byte_level = lambda: from_tiktoken(file) if file else trained(texts, 32_000)  # noqa: E731
    return {
        "the sample's (`train --fresh`)": lambda: load_tokenizer(SAMPLE / "model"),
        "byte-level BPE": byte_level,
        "Metaspace, Unigram": lambda: _unigram(texts),
        "BERT, WordPiece": lambda: _word_piece(texts),
    }


def _marked(tokenizer: Tokenizer, texts: list[str], trainer: object) -> Tokenizer:
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(MARKS))
    return tokenizer


def _unigram(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=8_000, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    return _marked(tokenizer, texts, trainer)


def _word_piece(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=16_000, special_tokens=["[UNK]"], show_progress=False
    )
    return _marked(tokenizer, texts, trainer)


def names_of(work: Path, n_names: int) -> pa.ChunkedArray:
    """The first `n_names` of a knowledge base made from a generated release."""
    atoms = n_names * 2
    release, folder = work / f"release-{atoms}", work / f"kb-{atoms}-names"
    if not (release / "MRSTY.RRF").exists():
        generate(release, atoms)
    if not folder.exists():
        build_kb(BuildOptions(release, folder))
    column = pq.read_table(folder / "names.parquet", columns=["name"])["name"]
    return column.slice(0, n_names).cast(pa.large_string())


def _timed(encode: Callable[[pa.ChunkedArray], TokenRuns], names: pa.ChunkedArray) -> tuple:
    before = sum(os.times()[:2])
    runs = encode(names)
    return sum(os.times()[:2]) - before, runs


def measure(tokenizer: Tokenizer, names: pa.ChunkedArray, repeats: int) -> list[tuple]:
    """Processor seconds of whole names and of words, in turn."""
    results = []
    for _ in range(repeats):
        whole = AnswerTokenizer(tokenizer)
        whole._inner = None
        whole_seconds, expected = _timed(whole.encode_column, names)
        words_seconds, runs = _timed(AnswerTokenizer(tokenizer).encode_column, names)
        assert np.array_equal(runs.tokens, expected.tokens)
        assert np.array_equal(runs.offsets, expected.offsets)
        results.append((whole_seconds, words_seconds))
        print(results[-1], file=sys.stderr)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    names = names_of(options.work, options.names)
    texts = names.take(np.linspace(0, len(names) - 1, 50_000).astype(np.int64)).to_pylist()
    print(f"{len(names):,} names; load {os.getloadavg()[0]:.1f} before.\n")
    print("| tokenizer | whole names, CPU s | by word, CPU s | ratio |")
    print("|---|---:|---:|---:|")
    for kind, make in tokenizers_of(texts).items():
        rows = measure(make(), names, options.repeats)
        whole, words = (", ".join(f"{row[k]:.1f}" for row in rows) for k in (0, 1))
        ratios = ", ".join(f"{row[0] / row[1]:.1f}" for row in rows)
        print(f"| {kind} | {whole} | {words} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
