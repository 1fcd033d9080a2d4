"""`--linker dense`: the nearest names by the cosine of an encoder's vectors.

As SapBERT, CODER and BERGAMOT are used: the mention alone, its vector that of the first token or
the mean of all. The names' vectors are computed once and kept in the user's cache; the search is
exact, by matrix products over blocks of names.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kb_builder.errors import LongbelError, check_choice
from kb_builder.files import flush, put_in_place, sha256_of
from kb_builder.files.locks import locked
from kb_builder.store.knowledge_base import KnowledgeBase, cache_folder
from longbel_cli.linking.baselines.folder import PublishedModel
from longbel_cli.linking.baselines.ranking import Hit, Ranker, best_names, merged
from longbel_cli.linking.options import POOLINGS, BaselineOptions
from longbel_cli.model.devices import device_type, pin_threads, weight_bytes
from longbel_cli.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

_TEXTS_PER_PASS = 128
_ROWS_PER_CHUNK = 1 << 13
_ROWS_PER_PRODUCT = 1 << 14
_VERSION = b"1"  # of how vectors are computed: another one is another index


class DenseRanker(Ranker):
    """Concepts by their name nearest to the mention."""

    name = "dense"

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        encoder: PublishedModel,
        pooling: str = "cls",
        device: str = "auto",
        beams: int = 5,
        abbreviations: bool = True,
    ) -> None:
        super().__init__(knowledge_base, beams, abbreviations)
        check_choice("--pooling", pooling, POOLINGS)
        if encoder.is_causal or encoder.is_encoder_decoder:
            raise LongbelError(
                f"{encoder.path}: no encoder, its config.json says {encoder.kind}",
                "Give the folder of a BERT-like model with --model.",
            )
        self._encoder, self._pooling, self._device = encoder, pooling, device
        self._vectors: dict[range, np.ndarray] = {}

    @property
    def model_path(self) -> Path:
        return self._encoder.path

    def settings(self) -> dict[str, Any]:
        return super().settings() | {
            "model": self._encoder.fingerprint,
            "tokenizer": self._encoder.tokenizer_fingerprint,
            "input_tokens": self._encoder.input_tokens,
            "pooling": self._pooling,
            "dtype": "float32",
            "device_type": device_type(self._device, self.as_loaded),
        }

    def as_loaded(self) -> dict[str, Any]:
        return {"device_type": self._model.device.type}

    def pin_threads(self, threads: int) -> None:
        pin_threads(threads)

    def weight_bytes(self) -> int:
        return weight_bytes(self._model)

    def prepare(self, rows: range) -> int:
        """Bytes of vectors, which are mapped: as much of them as there is memory for."""
        return sum(self._vectors_of(of_group).nbytes for of_group in self._groups(rows))

    @cached_property
    def _model(self) -> PreTrainedModel:
        return self._encoder.load("AutoModel", self._device, ignore_missing="pooler")

    @cached_property
    def _tokenizer(self) -> Any:
        """Reads every text as text, cut to what the encoder takes."""
        from kb_builder.trie.tokenization import plain_text_tokenizer

        outer = self._encoder.tokenizer
        plain = plain_text_tokenizer(outer.backend_tokenizer)
        plain.enable_truncation(self._encoder.input_tokens)
        plain.enable_padding(pad_id=outer.pad_token_id or 0, pad_token=outer.pad_token or "[PAD]")
        return plain

    def rank(self, mentions: Sequence[str], rows: range, limit: int) -> list[list[Hit]]:
        vectors = self.encode(mentions)
        concepts, annotated = self.knowledge_base.row_concepts, self.knowledge_base.annotated
        blocks: list[list[list[Hit]]] = [[] for _ in mentions]
        for first, names in self._blocks(rows):
            for index, cosines in enumerate(self._cosines(vectors, names)):
                own = slice(first, first + len(names))
                of_corpora = None if annotated is None else annotated[own]
                best = best_names(cosines, concepts[own], limit, annotated=of_corpora)
                hits = [Hit(round(float(cosines[row]), 6), first + row) for row in best]
                blocks[index].append(hits)
        return [merged(of_mention, concepts, limit, annotated) for of_mention in blocks]

    def _cosines(self, mentions: np.ndarray, names: np.ndarray) -> np.ndarray:
        """float64[mentions, names] of products in float32 on the encoder's device."""
        import torch

        left, right = (
            torch.from_numpy(vectors).to(self._model.device) for vectors in (mentions, names)
        )
        return (left @ right.T).cpu().double().numpy()

    def _groups(self, rows: range) -> Iterator[range]:
        """The rows of each group within `rows`, a group's or all."""
        for group in self.knowledge_base.groups:
            of_group = self.knowledge_base.rows_of_group(group)
            if of_group and rows.start <= of_group.start and of_group.stop <= rows.stop:
                yield of_group

    def _blocks(self, rows: range) -> Iterator[tuple[int, np.ndarray]]:
        """The vectors of the names, in blocks with their first row."""
        for of_group in self._groups(rows):
            vectors = self._vectors_of(of_group)
            for start in range(0, len(of_group), _ROWS_PER_PRODUCT):
                yield of_group.start + start, np.array(vectors[start : start + _ROWS_PER_PRODUCT])

    def _vectors_of(self, rows: range) -> np.ndarray:
        """float32[rows, dimensions], mapped from the user's cache; made where they are not."""
        if rows not in self._vectors:
            path = self.index_folder / f"{rows.start}-{rows.stop}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.with_suffix(".lock")):
                if not path.exists():
                    self._write_vectors(path, rows)
            self._vectors[rows] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._vectors[rows]

    @cached_property
    def index_folder(self) -> Path:
        """Where the vectors of this model, tokenizer, pooling and knowledge base are kept, as this
        kind of device computes them."""
        parts = (
            self._encoder.fingerprint, self._encoder.tokenizer_fingerprint,
            str(self._encoder.input_tokens), self._pooling, self.knowledge_base.signature,
            self.as_loaded()["device_type"],
        )  # fmt: skip
        digest = sha256_of(b"\0".join([_VERSION, *(part.encode() for part in parts)]))
        return cache_folder() / "dense" / digest[:16]

    def _write_vectors(self, path: Path, rows: range) -> None:
        """Chunk by chunk beside the place, so that a stop costs two chunks at most; then there
        as a whole."""
        log.info("computing the vectors of %d names, once, to %s", len(rows), path)
        growing = path.with_suffix(".part")  # no draft: whoever holds the lock next goes on with it
        dimensions = int(self._model.config.hidden_size)
        header, chunk_bytes = _npy_header(len(rows), dimensions), _ROWS_PER_CHUNK * dimensions * 4
        with growing.open("ab") as file:
            # Of what a crash left, the last chunk may not have reached the disk.
            chunks = max((file.tell() - len(header)) // chunk_bytes - 1, 0)
            file.truncate(len(header) + chunks * chunk_bytes if chunks else 0)
            if not chunks:
                file.write(header)
            done = chunks * _ROWS_PER_CHUNK
            with Progress("vectors", "name", len(rows) - done) as progress:
                for start in range(done, len(rows), _ROWS_PER_CHUNK):
                    chunk = np.arange(start, min(start + _ROWS_PER_CHUNK, len(rows))) + rows.start
                    file.write(self.encode(self.knowledge_base.names_of(chunk)).tobytes())
                    file.flush()
                    flush(growing)
                    progress.advance(len(chunk))
        put_in_place(growing, path)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32[texts, dimensions]: unit vectors. Texts of like length share a pass."""
        vectors = np.empty((len(texts), int(self._model.config.hidden_size)), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), index))
        for start in range(0, len(order), _TEXTS_PER_PASS):
            indices = order[start : start + _TEXTS_PER_PASS]
            vectors[indices] = self._pass([texts[index] for index in indices])
        if not np.isfinite(vectors).all():
            raise LongbelError(
                f"{self._encoder.path}: the vectors of this encoder are not finite",
                "Its weights hold NaN: copy the model anew.",
            )
        return vectors

    def _pass(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        encodings = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([encoding.ids for encoding in encodings])
        mask = torch.tensor([encoding.attention_mask for encoding in encodings])
        ids, mask = ids.to(self._model.device), mask.to(self._model.device)
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            if self._pooling == "cls":
                pooled = hidden[:, 0]
            else:
                weight = mask[..., None].to(hidden.dtype)
                pooled = (hidden * weight).sum(1) / weight.sum(1)
            return torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()


def _npy_header(rows: int, dimensions: int) -> bytes:
    """What a .npy file of float32[rows, dimensions] begins with."""
    buffer = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimensions)}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def open_linker(knowledge_base: KnowledgeBase, options: BaselineOptions) -> DenseRanker:
    """As the table of baselines opens it."""
    encoder = PublishedModel.given(options.model, "--linker dense", "an encoder")
    return DenseRanker(
        knowledge_base,
        encoder,
        options.pooling,
        options.device,
        options.beams,
        options.abbreviations == "on",
    )
