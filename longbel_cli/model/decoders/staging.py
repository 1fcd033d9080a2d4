"""What travels between host and device in a pass: one buffer each way.

On a CPU nothing travels, and arrays and tensors share their memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_ALIGNED = 16  # bytes


def sent(arrays: Mapping[str, npt.NDArray[Any]], device: torch.device) -> dict[str, Tensor]:
    """The arrays on the device, which need not have them yet when this returns."""
    if device.type == "cpu":
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    starts = np.cumsum([0, *(-(-array.nbytes // _ALIGNED) for array in arrays.values())]) * _ALIGNED
    buffer = torch.empty(int(starts[-1]), dtype=torch.uint8, pin_memory=device.type == "cuda")
    staged = buffer.numpy()
    for start, array in zip(starts.tolist(), arrays.values(), strict=False):
        staged[start : start + array.nbytes] = (
            np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        )
    moved = buffer.to(device, non_blocking=True)
    return {
        name: _as(moved[start : start + array.nbytes], array)
        for start, (name, array) in zip(starts.tolist(), arrays.items(), strict=False)
    }


def _as(stored: Tensor, array: npt.NDArray[Any]) -> Tensor:
    """Bytes on the device as the array they are of."""
    kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
    return stored.view(kind).view(array.shape)


class Returning:
    """Tensors on their way to the host."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = [tensor.contiguous() for tensor in tensors]
        self._done: torch.cuda.Event | None = None
        if tensors and tensors[0].device.type == "cuda":
            joined = torch.cat([tensor.view(-1).view(torch.uint8) for tensor in self._tensors])
            self._host = torch.empty(joined.shape, dtype=torch.uint8, pin_memory=True)
            self._host.copy_(joined, non_blocking=True)
            self._done = torch.cuda.Event()
            self._done.record()

    def arrays(self) -> list[npt.NDArray[Any]]:
        """All of them, once they are there."""
        if self._done is None:
            return [tensor.cpu().numpy() for tensor in self._tensors]
        self._done.synchronize()
        sizes = [tensor.nbytes for tensor in self._tensors]
        pieces = self._host.split(sizes)
        return [
            piece.view(tensor.dtype).view(tensor.shape).numpy()
            for piece, tensor in zip(pieces, self._tensors, strict=True)
        ]
