"""The folder `OUT.run`: where a training keeps what it goes on from, and whose it is.

options.json         the options, to know the training by
start/               tokenizer and weights before the first step
state.safetensors    the state of the unfinished training
best.safetensors     the weights that validated best so far
last/                the model after the last step, where OUT holds the best
log.jsonl            a line for each step and each validation
fold-N/              the same of a fold's training; model/, preds.jsonl
finished.json        OUT was written
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from longbel_cli.training.options import TrainOptions, changed, plain

CARD_FILE = "longbel_training.json"


@dataclass(frozen=True)
class TrainingFiles:
    """Where one training, the final one or a fold's, keeps its files."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state.safetensors"

    @property
    def best(self) -> Path:
        return self.folder / "best.safetensors"

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def predictions(self) -> Path:
        return self.folder / "preds.jsonl"


@dataclass(frozen=True)
class RunFolder:
    """The folder of the training whose model will be `out`."""

    out: Path

    @property
    def path(self) -> Path:
        return self.out.with_name(self.out.name + ".run")

    @property
    def start(self) -> Path:
        return self.path / "start"

    @property
    def last(self) -> Path:
        return self.path / "last"

    @property
    def final(self) -> TrainingFiles:
        return TrainingFiles(self.path)

    def fold(self, number: int) -> TrainingFiles:
        """Where fold `number` (from 1) keeps its files."""
        return TrainingFiles(self.path / f"fold-{number}")

    @property
    def _options(self) -> Path:
        return self.path / "options.json"

    @property
    def _finished(self) -> Path:
        return self.path / "finished.json"

    def holds_result_of(self, options: TrainOptions) -> bool:
        """Whether `out` is the finished model of a training with these options."""
        card = self.out / CARD_FILE
        return card.is_file() and not changed(options, _json(card)["options"])

    def refuse_foreign(self, options: TrainOptions, restart: bool, overwrite: bool) -> None:
        """LongbelError (exit code 4) where something is there that is not this training's."""
        if self.out.exists() and not overwrite:
            raise LongbelError(
                f"{self.out} is there already", "Give another --out, or --overwrite.", exit_code=4
            )
        if self._options.exists():
            differing = [] if restart else changed(options, _json(self._options))
            if differing:
                raise LongbelError(
                    f"{self.path} holds a training with other options ({', '.join(differing)})",
                    "Repeat its command to go on, or start anew with --restart.",
                    exit_code=4,
                )
        elif self.path.exists() and any(self.path.iterdir()):
            raise LongbelError(
                f"{self.path} is there and is no training", "Give another --out.", exit_code=4
            )

    def claim(self, options: TrainOptions, restart: bool) -> None:
        """Make the folder, with the options in it. What a finished training left there goes."""
        if self.path.exists() and (restart or self._finished.exists()):
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps(plain(options), indent=2, sort_keys=True)
        self._options.write_text(text, encoding="utf-8")

    def finish(self) -> None:
        """Drop what nobody needs once the model is out."""
        self._finished.write_text("{}\n", encoding="utf-8")
        shutil.rmtree(self.start, ignore_errors=True)
        self.final.state.unlink(missing_ok=True)
        self.final.best.unlink(missing_ok=True)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
