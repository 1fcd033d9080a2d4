"""What a training is known by: its options, and the contents of what it reads.

A training resumes, or is already finished, where both are the same. Paths say nothing: a
knowledge base may be rebuilt, a corpus edited and a base model trained further where it lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from longbel_cli.training.options import DEFAULTS, TrainOptions, plain


@dataclass(frozen=True)
class Inputs:
    """Contents: a knowledge base's signature, the hash of each corpus's files in order, that of the
    predictions in memory, the base model's fingerprints, and the hash of retired codes."""

    kb: str
    corpora: tuple[str, ...]
    validate: tuple[str, ...]
    predictions: str | None = None
    base: str | None = None
    retired: str | None = None

    @classmethod
    def read(cls, options: TrainOptions) -> Inputs:
        """Read every file of the corpora; LongbelError where something is missing."""
        from kb_builder.store.knowledge_base import KnowledgeBase
        from longbel_cli.scoring.retired import read_retired

        return cls(
            KnowledgeBase.open(options.kb).signature,
            _hashes(options.corpora, options.corpus_format),
            _hashes(options.validate, options.corpus_format),
            _hash([Path(options.predictions)]) if options.predictions is not None else None,
            _fingerprints(options.base) if options.base is not None else None,
            read_retired(Path(options.retired)).sha256 if options.retired is not None else None,
        )


def _fingerprints(base: str) -> str:
    """Of a model's weights and configuration, and of its tokenizer."""
    from longbel_cli.linking.baselines.folder import PublishedModel

    model = PublishedModel.open(base)
    return f"{model.fingerprint}-{model.tokenizer_fingerprint}"


def _hashes(paths: Sequence[str], form: str) -> tuple[str, ...]:
    from longbel_cli.corpora import Corpus
    from longbel_cli.runs.corpus_source import input_files

    return tuple(_hash(input_files(Corpus([path], form))) for path in paths)


def _hash(files: Sequence[Path]) -> str:
    from longbel_cli.runs.inputs import Inputs as Contents

    digest: str = Contents.read(files).summary()["sha256"]
    return digest


@dataclass(frozen=True)
class Identity:
    """Whose a training is."""

    options: TrainOptions
    inputs: Inputs

    def record(self) -> dict[str, Any]:
        """As `options.json` keeps it."""
        return {**plain(self.options), "inputs": asdict(self.inputs)}

    def changed(self, kept: Mapping[str, Any]) -> list[str]:
        """What differs from a record; what an older version did not keep had its default.

        It kept no contents: then paths are compared.
        """
        known = {**DEFAULTS, **kept}
        mine = plain(self.options)
        contents = known.get("inputs") or {}
        differing = [
            field.name
            for field in fields(self.options)
            if field.name not in contents and mine[field.name] != known[field.name]
        ]
        return differing + [
            f"the content of {name}"
            for name, content in asdict(self.inputs).items()
            if name in contents and contents[name] != _as_json(content)
        ]


def _as_json(content: str | tuple[str, ...] | None) -> str | list[str] | None:
    return list(content) if isinstance(content, tuple) else content
