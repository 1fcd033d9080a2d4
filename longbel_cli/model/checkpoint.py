"""A model folder (or hub id): its tokenizer, weights, language and format, and its fingerprint.

Weights are read from safetensors only, and no code that lies beside them is ever run. What comes
before the weights are needed (tokenizer, fingerprint, checks) reads none.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kb_builder.errors import LongbelError
from longbel_cli.model.devices import resolve_device, resolve_dtype
from longbel_cli.prompting.formats import (
    CLOSE,
    COMPOSITE,
    GROUP_CLOSE,
    GROUP_OPEN,
    OPEN,
    Mark,
    Prompt,
    PromptFormat,
    answer_segments,
)
from longbel_cli.types import Span

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

_REQUIRED_MARKS = (OPEN, CLOSE, GROUP_OPEN, GROUP_CLOSE)
# Brackets stand in no cleaned text, so this is in none.
_AFTER_A_MARK = "[{]}"
_SAMPLE_BYTES = 1 << 20
_SAMPLES = 32
# Of the pieces between marks that come back from one mention's prompt to the next; some 40 MB.
_REMEMBERED_TOKENS = 1_000_000


class _Remembered:
    """Token ids of pieces, of the latest used so many that they hold `most` ids together."""

    def __init__(self, tokenize: Callable[[str, bool], Sequence[int]], most: int) -> None:
        self._tokenize, self._most = tokenize, most
        self._pieces: dict[tuple[str, bool], Sequence[int]] = {}
        self._held = 0

    def __call__(self, text: str, first: bool) -> Sequence[int]:
        ids = self._pieces.pop((text, first), None)
        if ids is None:
            ids = self._tokenize(text, first)
            self._held += len(ids)
        self._pieces[text, first] = ids  # last: the latest used
        while self._held > self._most:
            self._held -= len(self._pieces.pop(next(iter(self._pieces))))
        return ids


@dataclass(frozen=True)
class Checkpoint:
    """A model folder and what is known of it without loading weights."""

    path: Path
    config: dict[str, Any]
    tokenizer: Any  # transformers' fast tokenizer

    @classmethod
    def open(cls, model: str | Path) -> Self:
        """Configuration and tokenizer of a model folder or hub id; raises LongbelError."""
        path = model_folder(model)
        config = _read_config(path)
        _weight_files(path)
        checkpoint = cls(path, config, _load_tokenizer(path))
        checkpoint._check_marks()
        if (path / "candidate_trie.pkl").exists():
            log.info("%s: candidate_trie.pkl is not read: pickles run code", path)
        return checkpoint

    @property
    def language(self) -> str | None:
        """The language that the checkpoint was trained for, None where it does not say."""
        language = self.config.get("lang")
        return str(language).lower()[:2] if language else None

    @property
    def context_format(self) -> str | None:
        """The prompt format it was trained with, where its configuration says so."""
        return self.config.get("longbel_context_format")

    @property
    def text_to_code(self) -> Path | None:
        """The candidate names that a published checkpoint brings along."""
        path = self.path / "text_to_code.json"
        return path if path.exists() else None

    @property
    def max_tokens(self) -> int:
        """Tokens of prompt and answer that the model has positions for."""
        config = self.config.get("text_config", self.config)
        known = config.get("max_position_embeddings")
        if known is None:
            known = config.get(_key_of_positions(config.get("model_type")))
        return (1 << 20) if known is None else int(known)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint_of(self.path)

    def end_id(self, form: PromptFormat) -> int:
        """The id that ends an answer: the tokenizer's EOS, or the format's own mark."""
        if form.end is not None:
            return self.mark_id(form.end)
        if self.tokenizer.eos_token_id is None:
            raise LongbelError(
                f"{self.path}: the tokenizer has no end-of-sequence token",
                "Set eos_token in its tokenizer_config.json.",
            )
        return int(self.tokenizer.eos_token_id)

    def mark_id(self, mark: Mark) -> int:
        """The id of one of the format's own tokens; LongbelError where the tokenizer lacks it."""
        added = self.tokenizer.get_added_vocab()
        if mark not in added:
            raise LongbelError(
                f"{self.path}: the tokenizer has no token {mark!s} of its own",
                "Use a checkpoint trained for this format (`longbel train` makes one).",
            )
        return int(added[mark])

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, with the tokenizer's own leading special tokens.

        Marks become their ids; text never becomes a special token, whatever it spells.
        """
        ids = list(self._leading_ids)
        for number, piece in enumerate(prompt.pieces):
            if isinstance(piece, Mark):
                ids.append(self._mark_ids[piece])
            else:
                ids.extend(self._ids_of(piece, number == 0))
        return ids

    def token_places(self, prompt: Prompt) -> list[Span]:
        """The characters of `prompt.text` that each id of `encode` stands for; an empty span for
        the tokenizer's own leading tokens."""
        places = [Span(0, 0)] * len(self._leading_ids)
        position = 0
        for number, piece in enumerate(prompt.pieces):
            if isinstance(piece, Mark):
                places.append(Span(position, position + len(piece)))
            else:
                spans = self._spans_of(piece, number == 0)
                places += [Span(position + start, position + end) for start, end in spans]
            position += len(piece)
        return places

    def encode_answer(self, names: tuple[str, ...]) -> list[int]:
        """Ids of an answer without its end, as the trie holds them."""
        ids: list[int] = []
        for segment in answer_segments(names):
            if isinstance(segment, Mark):
                ids.append(self.mark_id(segment))
            else:
                ids.extend(self._ids_of(segment, False))
        return ids

    def _weights(self, kind: str, ignore_missing: str = "", **options: Any) -> Any:
        """The weights as `transformers.{kind}`, from safetensors and without running foreign code.

        Parameters named with `ignore_missing` may lack; LongbelError for any other.
        """
        import transformers
        from safetensors import SafetensorError
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        load: Any = getattr(transformers, kind).from_pretrained
        try:
            model, found = load(
                self.path,
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            reason = next(iter(str(error).splitlines()), "")[:200]
            raise LongbelError(
                f"{self.path}: the model cannot be loaded ({type(error).__name__}: {reason})",
                "Check that config.json and the safetensors files belong together and are whole.",
            ) from error
        lacking = [
            name
            for name in found["missing_keys"]
            if not ignore_missing or ignore_missing not in name
        ]
        if lacking:
            raise LongbelError(
                f"{self.path}: the files hold no weights for {len(lacking)} parameters of the "
                f"model, {min(lacking)} among them",
                "Copy the whole model folder: what is missing would be random numbers.",
            )
        return model

    def load_model(self, device: str = "auto", dtype: str = "auto") -> PreTrainedModel:
        """The weights as a `transformers` causal language model, on `device`, ready to decode."""
        import torch
        from transformers import GenerationConfig

        place = resolve_device(device)
        model = self._weights(
            "AutoModelForCausalLM",
            dtype=getattr(torch, resolve_dtype(dtype, place)),
            device_map={"": place},
            attn_implementation="sdpa",
        )
        if model.get_input_embeddings().weight.shape[0] < len(self.tokenizer):
            raise LongbelError(
                f"{self.path}: the tokenizer has {len(self.tokenizer)} tokens, the model fewer",
                "Tokenizer and weights are not of the same checkpoint.",
            )
        # A model's own generation config (Llama 3.1 Instruct samples by default) is never used.
        model.generation_config = GenerationConfig(do_sample=False)
        loaded: PreTrainedModel = model.eval()
        return loaded

    @cached_property
    def _leading_ids(self) -> list[int]:
        """What the tokenizer puts before a text: BOS for Llama 3."""
        with_special = self.tokenizer("a").input_ids
        plain = self.tokenizer("a", add_special_tokens=False).input_ids
        for start in range(len(with_special)):
            if with_special[start : start + len(plain)] == plain:
                return list(with_special[:start])
        return []

    @cached_property
    def _mark_ids(self) -> dict[str, int]:
        added = self.tokenizer.get_added_vocab()
        return {
            mark: added[mark] for mark in (*_REQUIRED_MARKS, COMPOSITE, "<SEP>") if mark in added
        }

    @cached_property
    def _ids_of(self) -> Callable[[str, bool], Sequence[int]]:
        """The ids of a text that stands first in a prompt, or after a mark."""
        return _Remembered(
            lambda text, first: self._encoding(text, first).ids[not first :], _REMEMBERED_TOKENS
        )

    def _spans_of(self, text: str, first: bool) -> Iterator[tuple[int, int]]:
        """The characters of a text that each of its ids stands for."""
        front = 0 if first else len(_AFTER_A_MARK)
        for start, end in self._encoding(text, first).offsets[not first :]:
            yield max(start - front, 0), end - front

    def _encoding(self, text: str, first: bool) -> Any:
        """Some tokenizers (SentencePiece's) treat a text's beginning in a way of their own, so the
        place after a mark is shown to them as such: by one token in front."""
        front = "" if first else _AFTER_A_MARK
        return self._text_tokenizer.encode(front + text, add_special_tokens=False)

    @cached_property
    def _text_tokenizer(self) -> Any:
        """The tokenizer with `_AFTER_A_MARK` as its only token that is not of text."""
        from tokenizers import AddedToken

        from kb_builder.trie.tokenization import plain_text_tokenizer

        tokenizer = plain_text_tokenizer(self.tokenizer.backend_tokenizer)
        tokenizer.add_tokens([AddedToken(_AFTER_A_MARK, normalized=False, special=False)])
        return tokenizer

    def _check_marks(self) -> None:
        for mark in _REQUIRED_MARKS:
            self.mark_id(mark)


def _key_of_positions(model_type: str | None) -> str | None:
    """The own word of a kind of model for `max_position_embeddings`: `n_positions` for GPT-2.
    Only transformers knows whose word means that: T5 has an `n_positions` and no such limit."""
    from transformers import CONFIG_MAPPING

    if model_type is None or model_type not in CONFIG_MAPPING:
        return None
    key: str | None = CONFIG_MAPPING[model_type].attribute_map.get("max_position_embeddings")
    return key


def model_folder(model: str | Path) -> Path:
    """The folder of a model: a path, or a hub id that is downloaded or already in the cache."""
    path = Path(model)
    if path.is_dir():
        return path
    if path.exists() or str(model).count("/") != 1 or str(model).startswith((".", "/", "~")):
        raise LongbelError(f"{model}: no such model folder", "Give a folder or a hub id.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(model), ignore_patterns=["*.bin", "*.pkl", "*.pt"]))
    except Exception as error:
        raise LongbelError(
            f"{model}: no such folder, and the hub gave no model of that id"
            f" ({type(error).__name__})",
            "Give a folder on disk; on an offline machine download the model beforehand.",
        ) from error


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LongbelError(
            f"{path}: not a model folder, config.json is missing",
            "Give the folder that holds config.json, tokenizer.json and *.safetensors.",
        ) from error
    except (OSError, ValueError) as error:
        raise LongbelError(f"{file}: cannot be read as JSON", "Copy the file anew.") from error
    if not isinstance(config, dict):
        raise LongbelError(f"{file}: not a JSON object", "Copy the file anew.")
    return config


def _weight_files(path: Path) -> list[Path]:
    """The safetensors files of a model folder; LongbelError where there are none."""
    files = sorted(path.glob("*.safetensors"))
    index = path / "model.safetensors.index.json"
    if index.exists():
        try:
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            shards = sorted(set(weight_map.values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LongbelError(
                f"{index}: cannot be read as an index of weights", "Copy the file anew."
            ) from error
        missing = [name for name in shards if not (path / name).exists()]
        if missing:
            raise LongbelError(
                f"{path}: the index names weight files that are missing: {', '.join(missing)}",
                "Copy the whole model folder.",
            )
        return [path / name for name in shards]
    if files:
        return files
    if any(path.glob("*.bin")) or any(path.glob("*.pt")):
        raise LongbelError(
            f"{path}: weights are pickled (.bin), which can run code when read",
            'Convert them once, on a machine you trust: python -c "from transformers import '
            f"AutoModelForCausalLM as M; M.from_pretrained('{path}', use_safetensors=False)"
            f".save_pretrained('{path}')\"",
        )
    raise LongbelError(
        f"{path}: no weights, no *.safetensors file is there",
        "Give a folder that holds the model's safetensors files.",
    )


def _load_tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        raise LongbelError(
            f"{path}: the tokenizer cannot be loaded ({type(error).__name__})",
            "The folder must hold tokenizer.json and tokenizer_config.json.",
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise LongbelError(f"{path}: the tokenizer has no tokenizer.json", "Save a fast tokenizer.")
    return tokenizer


def fingerprint_of(folder: Path) -> str:
    """A hash of a model folder's configuration, tokenizer and weights.

    Of each weight file it covers the size and 32 evenly spread samples of 1 MiB, so that an 8B
    model is known in a second.
    """
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json"):
        file = folder / name
        digest.update(name.encode() + (file.read_bytes() if file.exists() else b""))
    for file in _weight_files(folder):
        digest.update(file.name.encode() + _sampled(file))
    return digest.hexdigest()[:16]


def _sampled(file: Path) -> bytes:
    """Size and a hash of evenly spread samples of a file."""
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as stream:
        for number in range(_SAMPLES):
            stream.seek(number * max(size - _SAMPLE_BYTES, 0) // (_SAMPLES - 1))
            digest.update(stream.read(_SAMPLE_BYTES))
            if size <= _SAMPLE_BYTES:
                break
    return digest.digest()
