"""Arrays and tensors come out of one buffer as they went in."""

from __future__ import annotations

import numpy as np
import torch

from longbel_cli.model.decoders.staging import Returning, joined, packed, sent, split, unpacked

ARRAYS = {
    "numbers": np.arange(5),
    "nothing": np.empty(0, np.int64),
    "bits": np.array([[True, False, True], [False, False, True]]),
    "columns": np.arange(12, dtype=np.int32).reshape(3, 4).T,
    "last": np.array([7], np.int32),
}


def test_arrays_travel_in_one_buffer() -> None:
    for result in (unpacked(packed(ARRAYS), ARRAYS), sent(ARRAYS, torch.device("cpu"))):
        assert result.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert result[name].numpy().dtype == array.dtype
            assert np.array_equal(result[name].numpy(), array)


def test_tensors_come_back_in_one_buffer() -> None:
    tensors = [torch.randn(3), torch.arange(6).view(2, 3), torch.randn(4, 2).T, torch.empty(0)]
    for result in (
        split(joined(tensors), tensors),
        map(torch.from_numpy, Returning(tensors).arrays()),
    ):
        for given, back in zip(tensors, result, strict=True):
            assert back.dtype == given.dtype and torch.equal(back, given)
