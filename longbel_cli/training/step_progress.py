"""The steps of a training as progress: how much is done, the loss, the speed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from longbel_cli.progress import Progress

if TYPE_CHECKING:
    from longbel_cli.training.optimise.loop import Step

_PER_MILLE = 1000
_RECENT_STEPS = 50  # loss and speed are means over so many


class StepProgress(Progress):
    """Takes the steps and stages of a training, as `Callbacks` pass them on."""

    def __init__(self) -> None:
        super().__init__("train", "‰", _PER_MILLE)
        self._steps: deque[Step] = deque(maxlen=_RECENT_STEPS)

    def on_stage(self, name: str) -> None:
        """Begin to count the steps of another training."""
        self._steps.clear()
        self.begin(name, _PER_MILLE)

    def on_step(self, step: Step) -> None:
        """Show where the training is after this step."""
        self._steps.append(step)
        loss = sum(done.loss for done in self._steps) / len(self._steps)
        speed = sum(done.tokens for done in self._steps) / sum(done.seconds for done in self._steps)
        self.reach(
            round(_PER_MILLE * step.progress),
            f"step {step.step}, {step.progress:.1%}, loss {loss:.3f}, {speed:.0f} tokens/s",
        )
