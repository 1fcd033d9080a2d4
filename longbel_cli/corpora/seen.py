"""Which document ids were seen, at eight bytes a document. Knows nothing of documents."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_BATCH = 1 << 15


class SeenIds:
    """A growing set of ids, kept as 64-bit hashes: new ones in a set, the rest in sorted arrays.

    Two ids share a hash with odds of one in 10^9 for a corpus of 200,000 documents.
    """

    def __init__(self, batch: int = _BATCH) -> None:
        self._batch = batch
        self._new: set[int] = set()
        self._sorted: list[np.ndarray] = []

    def add(self, document_id: str) -> bool:
        """Add an id; False if it was there."""
        digest = blake2b(document_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        value = int.from_bytes(digest, "little")
        if value in self._new or self._is_sorted_in(value):
            return False
        self._new.add(value)
        if len(self._new) >= self._batch:
            self._settle()
        return True

    def _is_sorted_in(self, value: int) -> bool:
        if not self._sorted:
            return False
        import numpy as np

        key = np.uint64(value)
        for values in self._sorted:
            index = int(np.searchsorted(values, key))
            if index < len(values) and values[index] == key:
                return True
        return False

    def _settle(self) -> None:
        """Move the new ones to an array; arrays of like size are merged, so there are few."""
        import numpy as np

        merged = np.fromiter(self._new, np.uint64, len(self._new))
        self._new.clear()
        while self._sorted and len(self._sorted[-1]) <= len(merged):
            merged = np.concatenate([self._sorted.pop(), merged])
        merged.sort()
        self._sorted.append(merged)
