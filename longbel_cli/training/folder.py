"""The folder `OUT.run`: where a training keeps what it resumes from, and whose it is.

claims/              which process trains here, see runs/lease.py
options.json         options and contents of the inputs, to know the training by
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.files import DISK, drafted, is_draft, sweep, write_whole
from longbel_cli.runs.files import Files
from longbel_cli.runs.lease import acquire
from longbel_cli.training.identity import Identity

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

    @classmethod
    def of(cls, out: Path) -> RunFolder:
        """The folder of the training whose model will be `out`, which may be `.` or `..`."""
        return cls(out.resolve() if out.name in ("", "..") else out)

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

    def fold(self, index: int) -> TrainingFiles:
        """Where fold `number` (from 1) keeps its files."""
        return TrainingFiles(self.path / f"fold-{index}")

    @property
    def _options(self) -> Path:
        return self.path / "options.json"

    @property
    def _finished(self) -> Path:
        return self.path / "finished.json"

    @property
    def _leases(self) -> Path:
        return self.path / "claims"

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """While the block runs, no other process trains here; LongbelError (exit code 4) where one
        does. What it left there may be another training's by now.

        Yields a check that raises LongbelError once another process has taken this one for dead.
        """
        lease = acquire(self._leases, "training", Files())
        try:
            yield lease.check
        finally:
            lease.release()

    def holds_result_of(self, identity: Identity) -> bool:
        """Whether `out` is the finished model of this training."""
        return self._result_differs(identity) == []

    def _result_differs(self, identity: Identity) -> list[str] | None:
        """In what the training that made `out` was another one; None where `out` is no model of
        a training."""
        file = self.out / CARD_FILE
        if not file.is_file():
            return None
        card = _json(file, "Replace the model with --overwrite.")
        if "options" not in card:
            return None
        return identity.changed({**card["options"], "inputs": card.get("inputs")})

    def refuse_foreign(self, identity: Identity, restart: bool, overwrite: bool) -> None:
        """LongbelError (exit code 4) where something is there that is not this training's."""
        self._refuse_out(identity, overwrite)
        if self._finished.exists():
            return  # `lease` drops what it left
        if self._options.exists():
            differing = [] if restart else identity.changed(self._kept())
            if differing:
                raise LongbelError(
                    f"{self.path} holds a training with other options ({', '.join(differing)})",
                    "Repeat its command to resume it, or start over with --restart.",
                    exit_code=4,
                )
        elif self.path.exists() and any(map(self._is_foreign, self.path.iterdir())):
            raise LongbelError(
                f"{self.path} exists and is not a training", "Give another --out.", exit_code=4
            )

    def _refuse_out(self, identity: Identity, overwrite: bool) -> None:
        """Nothing is deleted that is not a model, however long ago it was asked for."""
        if not self.out.exists():
            return
        held = {path.name for path in self.out.iterdir()} if self.out.is_dir() else {""}
        if not held:
            return
        if not overwrite:
            differing = self._result_differs(identity)
            made = f", made with other options ({', '.join(differing)})" if differing else ""
            raise LongbelError(
                f"{self.out} exists already{made}",
                "Give another --out, or --overwrite.",
                exit_code=4,
            )
        if held != {"README.md"} and not held & {"config.json", CARD_FILE}:
            raise LongbelError(
                f"{self.out} exists and is not a model", "Give another --out.", exit_code=4
            )

    def _is_foreign(self, path: Path) -> bool:
        """What a training did not begin with."""
        return path != self._leases and not is_draft(path)

    def lease(self, identity: Identity, restart: bool) -> None:
        """Put the identity into the folder, which is held. What a finished training left goes."""
        sweep(self.path.parent)  # of a training that was killed while it dropped another
        if restart or self._finished.exists():
            self._clear()
        text = json.dumps(identity.record(), indent=2, sort_keys=True, allow_nan=False)
        write_whole(self._options, text.encode("utf-8"))

    def _clear(self) -> None:
        """Drop a training: first what it made, then what it is known by, so that a kill on the way
        leaves one that can be resumed, or none."""
        last = (self._options, self._finished)
        with drafted(self.path) as aside:
            aside.mkdir()
            for path in sorted(
                self.path.iterdir(), key=lambda entry: (entry in last, entry == last[1])
            ):
                if path != self._leases:
                    DISK.replace(path, aside / path.name)

    def settle(self, identity: Identity) -> None:
        """Finish what a kill between the model and the end of its training left."""
        unfinished = self._options.exists() and not self._finished.exists()
        if unfinished and not identity.changed(self._kept()):
            self.finish()

    def _kept(self) -> dict[str, Any]:
        return _json(self._options, "Start anew with --restart.")

    def finish(self) -> None:
        """Drop what nobody needs once the model is out."""
        write_whole(self._finished, b"{}\n")
        shutil.rmtree(self.start, ignore_errors=True)
        self.final.state.unlink(missing_ok=True)
        self.final.best.unlink(missing_ok=True)


def _json(path: Path, hint: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LongbelError(f"{path}: damaged: not JSON", hint) from error
    if not isinstance(content, dict):
        raise LongbelError(f"{path}: damaged: not a JSON object", hint)
    return content
