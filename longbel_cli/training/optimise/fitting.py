"""One training from the start's weights to its end: of a fold, or the final one.

Puts plan, loop, state, journal and validation together; knows nothing of what becomes of the
model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.training import journal as journals
from longbel_cli.training.base.start import Start, Trained
from longbel_cli.training.data.corpus import TrainingCorpus, epoch_plan
from longbel_cli.training.folder import TrainingFiles
from longbel_cli.training.journal import Journal
from longbel_cli.training.optimise.loop import Schedule, Step, Trainer
from longbel_cli.training.optimise.processes import Processes
from longbel_cli.training.optimise.state import BestWeights, StateFile
from longbel_cli.training.optimise.validation import Sample, Validator
from longbel_cli.training.options import Callbacks, Computing, TrainOptions


@dataclass(frozen=True)
class Setting:
    """What the trainings of one command have in common."""

    options: TrainOptions
    computing: Computing
    processes: Processes
    callbacks: Callbacks
    knowledge_base: KnowledgeBase
    start: Start


@dataclass(frozen=True)
class Fitted:
    """The model after its last step, and what its validations found, if there were any."""

    trained: Trained
    validation: dict[str, Any] | None = None


def fit(
    setting: Setting, corpus: TrainingCorpus, files: TrainingFiles, sample: Sample | None = None
) -> Fitted | None:
    """Train on the corpus, from the state in `files` if there is one; None where stopped."""
    options, processes = setting.options, setting.processes
    trained = setting.start.load(setting.computing.checkpointing)
    checkpoint = setting.start.checkpoint
    plan = epoch_plan(options, corpus, checkpoint)
    device = trained.model.device.type
    trainer = Trainer(
        trained.model,
        Schedule(options.epochs, options.steps, options.learning_rate, options.warmup),
        torch.bfloat16 if _in_bfloat16(options.dtype, device) else None,
        options.seed,
        setting.computing.accumulate,
        processes,
    )
    state = StateFile(files.state)
    if processes.first:
        journals.cut(files.log, state.steps_done())
    processes.wait()
    with journals.opened(files.log, processes.first) as journal:
        processes.wait()  # all have read the journal
        validator = None
        if sample is not None:
            validator = Validator(
                sample, options, setting.knowledge_base, checkpoint, BestWeights(files.best),
                journal, processes, setting.callbacks,
            )  # fmt: skip
        finished = trainer.train(
            plan,
            state,
            setting.computing.save_every,
            _noting(journal, setting.callbacks.on_step),
            setting.callbacks.should_stop,
            validator,
        )
        if not finished:
            return None
        return Fitted(trained, None if validator is None else validator.facts())


def _noting(journal: Journal, on_step: Callable[[Step], None]) -> Callable[[Step], None]:
    def note(step: Step) -> None:
        journal.step(step)
        on_step(step)

    return note


def _in_bfloat16(dtype: str, device: str) -> bool:
    """`auto`: bfloat16 arithmetic on CUDA that supports it, float32 elsewhere."""
    if dtype == "auto":
        return device == "cuda" and torch.cuda.is_bf16_supported()
    return dtype == "bfloat16"
