"""Training a linking model: from gold documents and names of a KB to a model folder.

Puts the parts of `longbel_cli.training` together. A training keeps its state in `OUT.run`, and
the same command resumes after a stop; the finished model appears under OUT as a whole.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kb_builder.files import refuse_inputs
from longbel_cli.training.folder import RunFolder
from longbel_cli.training.identity import Identity, Inputs
from longbel_cli.training.options import Callbacks, Computing, TrainOptions

if TYPE_CHECKING:
    from kb_builder.store.knowledge_base import KnowledgeBase
    from longbel_cli.training.data.corpus import TrainingCorpus
    from longbel_cli.training.optimise.fitting import Fitted, Setting
    from longbel_cli.training.optimise.processes import Processes
    from longbel_cli.training.optimise.validation import Sample

__all__ = ["Callbacks", "Computing", "Outcome", "TrainOptions", "train"]

log = logging.getLogger(__name__)


class Outcome(Enum):
    """How a call of `train` ended; FINISHED_IN_PART where something of a corpus was left out."""

    FINISHED = "finished"
    FINISHED_IN_PART = "finished in part"
    STOPPED = "stopped"
    ALREADY_FINISHED = "already finished"


def train(
    options: TrainOptions,
    out: Path,
    computing: Computing = Computing(),
    callbacks: Callbacks = Callbacks(),
    restart: bool = False,
    overwrite: bool = False,
) -> Outcome:
    """Train to the end and write the model to `out`.

    The state is kept in `OUT.run` on the way: the same call resumes from there. Started by
    torchrun or `accelerate launch`, every process makes this call, and the first one writes.
    """
    others = (options.kb, options.base, options.predictions, options.retired)
    folder = RunFolder.of(out)
    written = [("--out", out), ("--out", folder.path)]
    refuse_inputs(written, (*options.corpora, *options.validate, *others))
    identity = Identity(options, Inputs.read(options))
    if not restart and not overwrite and folder.holds_result_of(identity):
        folder.settle(identity)
        return Outcome.ALREADY_FINISHED
    folder.refuse_foreign(identity, restart, overwrite)
    if options.lora:
        from longbel_cli.training.base.lora import require_peft

        require_peft()
    from longbel_cli.model.devices import pin_threads, resolve_device
    from longbel_cli.training.optimise.processes import joined

    if computing.threads is not None:
        pin_threads(computing.threads)
    with joined(computing.device) as processes:
        if not processes.first:
            callbacks = Callbacks(should_stop=callbacks.should_stop)
        material = _material(identity.options)
        device = resolve_device(computing.device)
        processes.wait()  # all have looked at what is there, and found all that they need
        if not processes.first:
            return _train(material, device, identity, folder, computing, processes, callbacks)
        with folder.held() as check:
            callbacks = callbacks.checking(check)
            folder.refuse_foreign(identity, restart, overwrite)  # another may have been here
            folder.lease(identity, restart)
            return _train(material, device, identity, folder, computing, processes, callbacks)


@dataclass(frozen=True)
class _Material:
    """What a training needs before anything is written; `left_out` of the corpora."""

    knowledge_base: KnowledgeBase
    corpus: TrainingCorpus
    sample: Sample | None
    left_out: int


def _material(options: TrainOptions) -> _Material:
    """LongbelError where something is missing, so that nothing is given up for a training that
    cannot begin."""
    from kb_builder.store.knowledge_base import KnowledgeBase
    from longbel_cli.training.base.start import base_model
    from longbel_cli.training.data.corpus import splitter_of
    from longbel_cli.training.optimise.folds import split_folds
    from longbel_cli.training.optimise.validation import draw_sample

    knowledge_base = KnowledgeBase.open(options.kb)
    corpus, left_out = _corpus(options, knowledge_base)
    sample = draw_sample(options, knowledge_base.groups)
    splitter_of(options)
    if options.base is not None:
        base_model(options)
    if options.folds is not None:
        split_folds(corpus.documents, options.folds, options.seed)
    if options.predictions is not None:
        corpus = _remembering(Path(options.predictions), corpus, knowledge_base)
    return _Material(knowledge_base, corpus, sample, left_out)


def _train(
    material: _Material,
    device: str,
    identity: Identity,
    folder: RunFolder,
    computing: Computing,
    processes: Processes,
    callbacks: Callbacks,
) -> Outcome:
    from longbel_cli.training.optimise.fitting import Setting, fit
    from longbel_cli.training.optimise.folds import predicted_names

    options, corpus, sample = identity.options, material.corpus, material.sample
    start = _start(options, device, folder, processes, corpus)
    setting = Setting(options, computing, processes, callbacks, material.knowledge_base, start)
    if options.folds is not None:
        predicted = predicted_names(setting, corpus, folder)
        if predicted is None:
            return Outcome.STOPPED
        corpus = corpus.remembering(predicted)
        callbacks.on_stage("the final model: training")
    fitted = fit(setting, corpus, folder.final, sample)
    if fitted is None:
        return Outcome.STOPPED
    if processes.first:
        callbacks.check()
        _publish(setting, fitted, folder, identity)
    processes.wait()
    if material.left_out or (sample is not None and sample.left_out):
        return Outcome.FINISHED_IN_PART
    return Outcome.FINISHED


def _corpus(options: TrainOptions, knowledge_base: KnowledgeBase) -> tuple[TrainingCorpus, int]:
    """What is trained on, and how much of the corpora was left out."""
    from longbel_cli.training.data.corpus import TrainingCorpus, gold_documents

    left_out: list[object] = []
    documents = gold_documents(options.corpora, options, knowledge_base.groups, left_out.append)
    corpus = TrainingCorpus(knowledge_base, documents, options)
    if left_out:
        log.warning(
            "%d documents or mentions quarantined; `longbel check` lists them", len(left_out)
        )
    if options.corpora:
        log.info(
            "%d documents, %d of %d mentions have a target in the knowledge base",
            len(corpus.documents),
            corpus.n_trainable,
            corpus.n_mentions,
        )
    return corpus, len(left_out)


def _remembering(
    path: Path,
    corpus: TrainingCorpus,
    knowledge_base: KnowledgeBase,
) -> TrainingCorpus:
    """The corpus with the predictions of a file as memory."""
    from longbel_cli.training.data.predicted import names_of, predictions_for, recall_of

    hint = (
        "It must hold what `longbel link` wrote for the same corpora, as they are now, with the "
        "same --format and --unknown-group."
    )
    predictions = predictions_for(path, corpus.documents, hint)
    recall = recall_of(
        [
            predictions[training.document.id][at]
            for training in corpus.documents
            for at in training.trainable
        ]
    )
    log.info(
        "%s in memory: Recall@1 %.4f of %d mentions", path, recall["recall@1"], recall["mentions"]
    )
    return corpus.remembering(names_of(predictions, knowledge_base))


def _start(
    options: TrainOptions,
    device: str,
    folder: RunFolder,
    processes: Processes,
    corpus: TrainingCorpus,
) -> Any:
    """Where every training of this command sets out from; made by the first process."""
    from transformers.utils import logging as transformers_logging

    from longbel_cli.training.base.start import Start

    transformers_logging.disable_progress_bar()
    start = Start(options, folder.start, device)
    if processes.first:
        start.make(lambda: corpus.texts(options.synthetic > 0))
    processes.wait()
    return start


def _publish(setting: Setting, fitted: Fitted, folder: RunFolder, identity: Identity) -> None:
    """OUT holds the best model where there was a validation, and `OUT.run/last` the last."""
    from longbel_cli.training.optimise.state import BestWeights
    from longbel_cli.training.publish import publish

    options, tokenizer = setting.options, setting.start.checkpoint.tokenizer
    facts = {"inputs": asdict(identity.inputs), **_facts(setting, fitted, folder)}
    model = fitted.trained.merged()
    validation = fitted.validation
    if validation is not None:
        publish(model, tokenizer, options, folder.last, facts)
        if validation["best"]["step"] != validation["last"]["step"]:
            best = setting.start.load()
            BestWeights(folder.final.best).put_into(best.model)
            model = best.merged()
    publish(model, tokenizer, options, folder.out, facts)
    folder.finish()


def _facts(setting: Setting, fitted: Fitted, folder: RunFolder) -> dict[str, Any]:
    """What the card says beside options and versions."""
    from longbel_cli.training.optimise.folds import out_of_fold_recall

    computing = replace(setting.computing, device=setting.start.device)
    facts: dict[str, Any] = {
        "computing": {**asdict(computing), "processes": setting.processes.count}
    }
    if setting.options.folds is not None:
        facts["out_of_fold"] = out_of_fold_recall(folder, setting.options.folds)
    if fitted.validation is not None:
        facts["validation"] = fitted.validation
    return facts
