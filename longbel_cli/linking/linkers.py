"""What `--linker` names: the causal model and the baselines, what each takes, and how it is opened.

What is not given comes from the bundled sample, which a note in the log says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kb_builder.errors import LongbelError, check_choice
from longbel_cli.linking.baselines import BASELINES, Baseline, open_baseline
from longbel_cli.linking.options import MODEL_LINKER, BaselineOptions, LinkOptions
from longbel_cli.sample_paths import SAMPLE, kb_or_sample, model_path, sample

if TYPE_CHECKING:
    from longbel_cli.linking.linker import Linker
    from longbel_cli.linking.protocols import EntityLinker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelLinker:
    """The row of the causal model: the flags of `longbel link` that it takes, of those that not
    every linker does."""

    help: str
    flags: frozenset[str]


_MODEL = ModelLinker(
    "a causal model",
    frozenset({
        "model", "context_format", "language", "device", "dtype", "max_batch_tokens",
        "context_tokens", "ensemble", "composite", "decoder", "prompts", "saliency",
    }),
)  # fmt: skip


# What a linker offers in place of a flag that it does not take.
_INSTEAD = {
    (MODEL_LINKER, "names_from"): "Build the knowledge base with `build-kb --names-from`: the trie "
    "then holds the names.",
}


def linkers() -> dict[str, ModelLinker | Baseline]:
    """All that `--linker` names."""
    return {MODEL_LINKER: _MODEL, **BASELINES}


def uses_gpu(linker: str) -> bool:
    """Whether a linker can compute on a GPU; LongbelError (usage) where there is no such linker."""
    check_choice("--linker", linker, linkers())
    return "device" in linkers()[linker].flags


def check_flags(linker: str, given: Iterable[str]) -> None:
    """Raise LongbelError (usage) where a flag was given that means nothing to this linker; flags
    by the names of their parameters."""
    rows = linkers()
    special = frozenset[str]().union(*(row.flags for row in rows.values()))
    for name in given:
        if name in special - rows[linker].flags:
            flag = "--" + name.replace("_", "-")
            hint = _INSTEAD.get((linker, name), "Leave one of them out.")
            raise LongbelError(f"{flag} does not go with --linker {linker}", hint, exit_code=2)


def open_model(
    model: str | None, kb: Path | None, options: LinkOptions, ensemble: Sequence[str] = ()
) -> Sequence[Linker]:
    """A linker of a causal model, or one for each prompt format of an ensemble, sharing the model.

    A format that needs a language that nobody states is refused before anything is read.
    """
    from longbel_cli.linking.ensemble import linkers_in_formats
    from longbel_cli.linking.linker import Linker

    if ensemble and options.context_format is not None:
        raise LongbelError("--ensemble does not go with --context-format", exit_code=2)
    opened = Linker.open(*_model_and_kb(model, kb), options)
    opened_linkers = linkers_in_formats(opened, ensemble) if ensemble else [opened]
    for linker in opened_linkers:
        _ = linker.split
    return opened_linkers


def open_other(name: str, kb: Path | None, options: BaselineOptions) -> EntityLinker:
    """A baseline with the knowledge base in a directory and the names of corpora beside its own."""
    from kb_builder.store.knowledge_base import KnowledgeBase

    base = KnowledgeBase.open(kb_or_sample(kb))
    if options.names_from:
        from kb_builder.store.annotated import with_names
        from longbel_cli.corpora.gold_names import gold_names

        base = with_names(base, gold_names(options.names_from))
    return open_baseline(name, base, options)


def _model_and_kb(model: str | None, kb: Path | None) -> tuple[str, Path | None]:
    """The model and KB to use; a checkpoint that brings its own names needs no KB."""
    if model is None:
        _refuse_foreign(kb)
        what = "no --model" if kb is not None else "no --model and no --kb"
        both = "model" if kb is not None else "model and knowledge base"
        log.info("%s: using the bundled sample %s", what, both)
        return str(sample("model")), kb or sample("kb")
    model = model_path(model)
    if kb is None:
        from longbel_cli.model.folder import model_folder

        folder = model_folder(model)  # of a hub id: its files say whether they bring names
        if not (folder / "text_to_code.json").exists():
            return model, kb_or_sample(None)
    return model, kb


def _refuse_foreign(kb: Path | None) -> None:
    """The sample's model knows the sample's names alone: elsewhere it is used where it is named."""
    from kb_builder.store.knowledge_base import KnowledgeBase

    if kb is None:
        return
    own = KnowledgeBase.open(sample("kb"))
    if KnowledgeBase.open(kb).signature != own.signature:
        raise LongbelError(
            f"no --model: the bundled sample model was trained for the sample's knowledge base, "
            f"and {kb} is another",
            f"Give --model, or --linker tfidf, which needs none; --model {SAMPLE} asks for the "
            "bundled one all the same.",
            exit_code=2,
        )
