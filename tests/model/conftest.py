"""Packed decoders over each way to attend."""

from __future__ import annotations

from functools import partial

import pytest

from tests.support.decoder_cases import Packed, decoder_over


@pytest.fixture(params=["masks", "pools", "cascade"])
def packed(request: pytest.FixtureRequest) -> Packed:
    """Makes decoders over one of the backends; the random cases are over all of them."""
    return partial(decoder_over, request.param)
