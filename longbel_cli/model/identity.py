"""What a model is known by: fingerprints of what answers depend on, as it is loaded.

Weights and configuration are one fingerprint, the tokenizer another. File names that nothing reads
count for nothing, and settings that change what is loaded do, wherever they are written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kb_builder.files import new_sha256

_SAMPLE_BYTES = 1 << 20
_SAMPLES = 32
_SPECIAL_TOKENS = ("bos", "eos", "pad", "unk", "sep", "cls", "mask")


def model_fingerprint(configuration: Mapping[str, Any], files: Sequence[Path]) -> str:
    """A hash of a configuration and of the weight files that are read.

    Of each file it covers name, size and 32 evenly spread samples of 1 MiB, so that an 8B model is
    known in a second.
    """
    digest = new_sha256(json.dumps(configuration, sort_keys=True).encode())
    for file in files:
        digest.update(file.name.encode() + _sampled(file))
    return digest.hexdigest()[:16]


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """A hash of a tokenizer of transformers as it was loaded: how it cuts text, the ids of its
    special tokens, and what it puts around a text."""
    around = tokenizer("a", padding=False, truncation=False).input_ids
    special = {name: getattr(tokenizer, f"{name}_token_id", None) for name in _SPECIAL_TOKENS}
    digest = new_sha256(json.dumps([around, special], sort_keys=True).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def _sampled(file: Path) -> bytes:
    """Size and a hash of evenly spread samples of a file."""
    size = file.stat().st_size
    digest = new_sha256(str(size).encode())
    with file.open("rb") as stream:
        for sample in range(_SAMPLES):
            stream.seek(sample * max(size - _SAMPLE_BYTES, 0) // (_SAMPLES - 1))
            digest.update(stream.read(_SAMPLE_BYTES))
            if size <= _SAMPLE_BYTES:
                break
    return digest.digest()
