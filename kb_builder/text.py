"""Text as prompts hold it, and as messages may print it.

The cleaner that documents, mentions and names share preserves length; square and curly brackets
are the prompt's own marks, so text never contains them.
"""

from __future__ import annotations

import unicodedata

_CLEANED = str.maketrans({"\u00a0": " ", "{": "(", "[": "(", "}": ")", "]": ")", "\n": " "})


def clean(text: str) -> str:
    """`text` with no-break spaces, brackets and newlines replaced one for one."""
    return text.translate(_CLEANED)


# Embeddings, overrides and isolates; the marks that Arabic and Hebrew texts hold order only
# what stands beside them.
_BIDI_CONTROLS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
_CONTROLS = ("Cc", "Zl", "Zp", "Cs")  # controls, line and paragraph ends, halves of characters


def visible(text: str) -> str:
    """`text` in which line ends and tabs alone take effect: all other controls, bidirectional
    ones too, are spelled out as `<U+001B>`."""
    return _spelled_out(text, kept="\n\t")


def visible_line(text: str) -> str:
    """`text` as one line of a message, a table or a log: no control takes effect, so that what
    comes from a file can neither command a terminal nor forge a line."""
    return _spelled_out(text, kept="")


def visible_json(text: str) -> str:
    """JSON text with controls inside its strings as `\\u` escapes: it reads as the same value."""
    return "".join(
        f"\\u{ord(char):04x}" if _is_control(char) and char != "\n" else char for char in text
    )


def no_formula(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: with an apostrophe where it could be one."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) and not _is_number(cell) else cell


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _spelled_out(text: str, kept: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        f"<U+{ord(char):04X}>" if _is_control(char) and char not in kept else char for char in text
    )


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in _CONTROLS or char in _BIDI_CONTROLS


def writable(text: str) -> str:
    """The text with what UTF-8 cannot hold as escapes.

    Of a file name these are its bytes (`\\xff`), of an id in JSON halves of surrogate pairs
    (`\\ud800`).
    """
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")
