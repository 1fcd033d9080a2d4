"""The processes that train together, as torchrun or `accelerate launch` started them.

Every process makes the same batches and takes its share of the rows; gradients are summed, so
that all keep the same weights. Knows nothing of models or documents.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from kb_builder.errors import LongbelError

# One process may link long after another is done with its share.
_PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class Processes:
    """This process's number among them (from 0), and how many there are."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum each parameter's gradient over all processes."""
        if self.count == 1:
            return
        for parameter in parameters:
            if parameter.requires_grad:
                if parameter.grad is None:  # this process had no rows of the batch
                    parameter.grad = torch.zeros_like(parameter)
                distributed.all_reduce(parameter.grad)

    def any(self, said: bool, device: torch.device) -> bool:
        """Whether any process says so."""
        if self.count == 1:
            return said
        return bool(self.sum(torch.tensor(float(said), device=device)).item())

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes of this training, while the block runs; one where nobody launched more.

    LongbelError where those that were launched cannot work together on `device`.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if not size.isdecimal():
        raise LongbelError(f"WORLD_SIZE={size}: not a number of processes", exit_code=2)
    launched = int(size)
    if launched < 2:
        yield Processes()
        return
    if ":" in device:
        raise LongbelError(
            f"--device {device}: {launched} processes cannot share one device",
            "Leave --device out: each process takes a device of its own.",
            exit_code=2,
        )
    from accelerate import PartialState

    # Without an accelerator accelerate joins processes only where it is told to use the CPU.
    on_cpu = device == "cpu" or not torch.accelerator.is_available()
    state = PartialState(cpu=on_cpu, timeout=_PATIENCE)
    if state.num_processes != launched:
        raise LongbelError(
            f"{launched} processes were launched, but they cannot train together on this device",
            "Start a single process, or give --device cpu.",
        )
    try:
        yield Processes(state.process_index, state.num_processes)
    finally:
        state.destroy_process_group()
