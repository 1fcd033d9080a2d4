"""Robust memory: what a model predicts for documents that it was not trained on.

Documents are dealt into folds. For each fold a model is trained on the others and links the
fold's documents in an ordinary run, with its own predictions as memory. Everything resumes where
it was: a fold whose predictions are there is done.
"""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from kb_builder.errors import LongbelError
from longbel_cli.corpora.prediction_index import PredictionIndex
from longbel_cli.linking.job import LinkJob
from longbel_cli.linking.job_options import JobOptions
from longbel_cli.linking.linker import Linker
from longbel_cli.linking.options import LinkOptions
from longbel_cli.linking.reading import CorpusOptions, CorpusReader
from longbel_cli.model.checkpoint import Checkpoint
from longbel_cli.progress import ignore
from longbel_cli.runs.run import Shard, Stopped, StopSignals, merge_run
from longbel_cli.runs.signals import STOPPED
from longbel_cli.runs.windows import Position, Quarantine, Source
from longbel_cli.training.data.corpus import TrainingCorpus, TrainingDocument
from longbel_cli.training.data.examples import Names
from longbel_cli.training.data.predicted import names_of, predictions_for, recall_of
from longbel_cli.training.folder import RunFolder, TrainingFiles
from longbel_cli.training.optimise.fitting import Setting, fit
from longbel_cli.training.publish import publish
from longbel_cli.types import Document

log = logging.getLogger(__name__)

# A CPU's cap, so that the budget does not depend on how much memory is free at the moment.
_CPU_TOKENS_IN_FLIGHT = 8_192
# Documents committed together: small enough to be shared out to several processes.
_WINDOW = 16
_CHANGED = "The corpus has changed since. Put it back, or start anew with --restart."


def split_folds(
    documents: Sequence[TrainingDocument], k: int, seed: int
) -> list[list[TrainingDocument]]:
    """The documents, whose ids differ, in k folds of near equal numbers, drawn by the seed."""
    if len(documents) < k:
        raise LongbelError(
            f"--folds {k}: the corpus has only {len(documents)} documents to train on",
            "Give fewer folds.",
        )
    indices = list(range(len(documents)))
    random.Random(f"{seed}/folds").shuffle(indices)
    fold_of = {index: rank % k for rank, index in enumerate(indices)}
    folds: list[list[TrainingDocument]] = [[] for _ in range(k)]
    for index, training in enumerate(documents):
        folds[fold_of[index]].append(training)
    return folds


def predicted_names(
    setting: Setting, corpus: TrainingCorpus, folder: RunFolder
) -> dict[str, list[Names]] | None:
    """By document id, what a model that never saw the document names each of its mentions.

    None where the training was stopped on the way.
    """
    k = setting.options.folds
    assert k is not None
    folds = split_folds(corpus.documents, k, setting.options.seed)
    predicted: dict[str, list[Names]] = {}
    for index, held_out in enumerate(folds, start=1):
        files = folder.fold(index)
        others = [training for fold in folds if fold is not held_out for training in fold]
        label = f"fold {index} of {k}"
        if not files.predictions.exists():
            if not _train(setting, corpus.only(others), files, f"{label}: training"):
                return None
            if not _predict(setting, held_out, files, f"{label}: predicting"):
                return None
        setting.processes.wait()
        if setting.processes.first:
            _clear(files, setting.computing.keep_folds)
        predictions = predictions_for(files.predictions, held_out, _CHANGED)
        predicted |= names_of(predictions, setting.knowledge_base)
    _log_recall(setting, folder, k)
    return predicted


def _train(setting: Setting, corpus: TrainingCorpus, files: TrainingFiles, label: str) -> bool:
    """The fold's model, unless it is there; False where stopped."""
    if files.model.exists():
        return True
    setting.callbacks.on_stage(label)
    fitted = fit(setting, corpus, files)
    if fitted is None:
        return False
    if setting.processes.first:
        tokenizer = setting.start.checkpoint.tokenizer
        publish(fitted.trained.merged(), tokenizer, setting.options, files.model, {})
        files.state.unlink(missing_ok=True)
    setting.processes.wait()
    return True


def _predict(
    setting: Setting, held_out: Sequence[TrainingDocument], files: TrainingFiles, label: str
) -> bool:
    """Link the fold's documents in a run that resumes where it was; False where stopped."""
    setting.callbacks.on_stage(label)
    options, processes = setting.options, setting.processes
    device = setting.start.device
    linker = Linker(
        Checkpoint.open(files.model),
        setting.knowledge_base,
        LinkOptions(
            context_format=options.context_format,
            language=options.language,
            composite=options.composite,
            device=device,
            max_batch_tokens=_CPU_TOKENS_IN_FLIGHT if device == "cpu" else None,
        ),
    )
    shard = Shard(processes.rank + 1, processes.count)
    job = JobOptions(
        files.predictions,
        shard,
        _WINDOW,
        overwrite=True,  # what was begun on another kind of machine is begun anew
        threads=torch.get_num_threads(),  # as they are: training goes on with them
    )
    reader = FoldReader([training.document for training in held_out], setting)
    stopped = False
    try:
        LinkJob(linker, reader, job).run([label], _Asked(setting.callbacks.should_stop))
    except Stopped:
        stopped = True
    if processes.any(stopped, torch.device(device)):  # waits for all
        return False
    if processes.first and processes.count > 1:
        merge_run(files.predictions)
    processes.wait()
    return True


class FoldReader(CorpusReader):
    """Documents that are in memory already, with their groups resolved, as a run reads them."""

    def __init__(self, documents: Sequence[Document], setting: Setting) -> None:
        options = setting.options
        paths = tuple(Path(path) for path in options.corpora)
        super().__init__(
            CorpusOptions(paths, options.corpus_format, unknown_group=options.unknown_group),
            setting.knowledge_base.groups,
            ignore,  # the training has read the corpus, and said what is odd
        )
        self._held_out = documents

    def source(self) -> Source:
        """The documents; a position is the number of those read."""

        def read(start: Position, quarantine: Quarantine) -> Iterator[tuple[Position, Document]]:
            first = 0 if start is None else int(start)
            yield from enumerate(self._held_out[first:], start=first + 1)

        return read


class _Asked(StopSignals):
    """Stops a run when the training is asked to; catches no signal itself."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        super().__init__()
        self._should_stop = should_stop

    def check(self) -> None:
        if self._should_stop():
            raise Stopped("the training was asked to stop", STOPPED)


def _clear(files: TrainingFiles, keep_model: bool) -> None:
    """Drop what a fold needs no more once its predictions are there."""
    if not keep_model:
        shutil.rmtree(files.model, ignore_errors=True)
    files.state.unlink(missing_ok=True)


def out_of_fold_recall(folder: RunFolder, k: int) -> dict[str, Any]:
    """Recall@1 of the folds' models on what they did not see, over all folds."""
    files = [PredictionIndex(folder.fold(index).predictions) for index in range(1, k + 1)]
    return recall_of(
        [line for file in files for name in file.document_ids for line in file.of(name)]
    )


def _log_recall(setting: Setting, folder: RunFolder, k: int) -> None:
    recall = out_of_fold_recall(folder, k)
    log.info(
        "%d folds predicted: Recall@1 %.4f of %d mentions each by the model of the other folds",
        k,
        recall["recall@1"],
        recall["mentions"],
    )
