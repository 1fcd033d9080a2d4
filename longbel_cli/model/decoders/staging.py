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
    return unpacked(packed(arrays, device.type == "cuda").to(device, non_blocking=True), arrays)


def packed(arrays: Mapping[str, npt.NDArray[Any]], pinned: bool = False) -> Tensor:
    """All of them in one buffer of bytes."""
    starts = _starts(arrays)
    buffer = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=pinned)
    staged = buffer.numpy()
    for start, array in zip(starts, arrays.values(), strict=False):
        flat = np.ascontiguousarray(array).reshape(-1)
        staged[start : start + array.nbytes] = flat.view(np.uint8)
    return buffer


def unpacked(buffer: Tensor, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """What `packed` has put into a buffer, where that is now."""
    return {
        name: _as(buffer[start : start + array.nbytes], array)
        for start, (name, array) in zip(_starts(arrays), arrays.items(), strict=False)
    }


def _starts(arrays: Mapping[str, npt.NDArray[Any]]) -> list[int]:
    """Where each begins in the buffer, and the buffer's size."""
    sizes = [-(-array.nbytes // _ALIGNED) * _ALIGNED for array in arrays.values()]
    starts: list[int] = np.cumsum([0, *sizes]).tolist()
    return starts


def _as(stored: Tensor, array: npt.NDArray[Any]) -> Tensor:
    kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
    return stored.view(kind).view(array.shape)


class Returning:
    """Tensors on their way to the host."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._done: torch.cuda.Event | None = None
        if tensors and tensors[0].device.type == "cuda":
            buffer = joined(tensors)
            self._host = torch.empty(buffer.shape, dtype=torch.uint8, pin_memory=True)
            self._host.copy_(buffer, non_blocking=True)
            self._done = torch.cuda.Event()
            self._done.record()

    def arrays(self) -> list[npt.NDArray[Any]]:
        """All of them, once they are there."""
        if self._done is None:
            return [tensor.cpu().numpy() for tensor in self._tensors]
        self._done.synchronize()
        return [tensor.numpy() for tensor in split(self._host, self._tensors)]


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """All of them as the bytes of one tensor, those of the largest numbers first."""
    return torch.cat([tensor.reshape(-1).view(torch.uint8) for tensor in _widest_first(tensors)])


def split(buffer: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """What `joined` has put into a buffer, in the order that they were given."""
    ordered = _widest_first(tensors)
    pieces = buffer.split([tensor.nbytes for tensor in ordered])
    by_tensor = {
        id(tensor): piece.view(tensor.dtype).view(tensor.shape)
        for tensor, piece in zip(ordered, pieces, strict=True)
    }
    return [by_tensor[id(tensor)] for tensor in tensors]


def _widest_first(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Bytes can be read as numbers of a size at multiples of it alone."""
    return sorted(tensors, key=lambda tensor: -tensor.dtype.itemsize)
