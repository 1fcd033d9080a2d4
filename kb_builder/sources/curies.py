"""IRIs of terms as CURIEs: `HP:0001250` for `http://purl.obolibrary.org/obo/HP_0001250`."""

from __future__ import annotations

import re

_LAST = re.compile(r".*[/#]([A-Za-z][A-Za-z0-9.-]*)_([A-Za-z0-9.-]+)\Z")


def curie_of(identifier: str) -> str:
    """The identifier itself where it is no IRI that ends in a prefix and a local part."""
    if not identifier.startswith(("http://", "https://", "urn:")):
        return identifier
    match = _LAST.match(identifier)
    return identifier if match is None else f"{match[1]}:{match[2]}"
