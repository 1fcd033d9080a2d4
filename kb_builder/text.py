"""The length-preserving cleaner that documents, mentions and names share.

Square and curly brackets are the prompt's own marks, so text never contains them.
"""

from __future__ import annotations

_CLEANED = str.maketrans({"\u00a0": " ", "{": "(", "[": "(", "}": ")", "]": ")", "\n": " "})


def clean(text: str) -> str:
    """`text` with no-break spaces, brackets and newlines replaced one for one."""
    return text.translate(_CLEANED)
