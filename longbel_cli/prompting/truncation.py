"""What is left out of a prompt that is longer than the model's context.

First the oldest memory lines, then context far from the mention; far from its first fragment,
where its fragments lie too far apart. Linking and explaining share this rule.

Formats that write memory inline lose lines in groups: until the next group goes, a document's
prompts go on sharing their beginning, which is then not computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from longbel_cli.prompting.formats import DocumentPrompts, Prompt
from longbel_cli.prompting.segments import MemoryLine
from longbel_cli.types import Mention, Span

_GROUP = 8
_LONG = 8  # characters a token: of natural text a token has fewer


class Shortened(NamedTuple):
    """How many of the latest memory lines are kept, and the stretch of the document that is
    shown (None: all of the format's context)."""

    lines: int
    window: Span | None


def truncated(
    prompts: DocumentPrompts,
    mention: Mention,
    memory: Sequence[MemoryLine],
    encode: Callable[[Prompt], list[int]],
    limit: int,
) -> Shortened:
    """The most that fits into `limit` tokens (inline memory: by whole groups of lines); without
    memory and context where nothing does."""

    end = prompts.document.passages[-1].end
    core = Span(mention.start, mention.end)

    def fits(lines: int, window: Span | None = None) -> bool:
        prompt = prompts.render(mention, memory[len(memory) - lines :], window)
        return len(encode(prompt)) <= limit

    def fits_around(margin: int) -> bool:
        return fits(0, around(margin))

    def around(margin: int) -> Span:
        return Span(max(core.start - margin, 0), min(core.end + margin, end))

    # All of a long document is not encoded where a part of it is too long already.
    if not is_long(prompts, limit) or fits_around(max(_LONG * limit, 0)):
        if fits(len(memory)):
            return Shortened(len(memory), None)
        if fits(0):
            dropped = len(memory) - _largest(len(memory), fits, len(memory) // 2)
            if prompts.form.memory == "inline":
                dropped = -(-dropped // _GROUP) * _GROUP
            return Shortened(max(len(memory) - dropped, 0), None)
    if not fits(0, core):
        core = min(mention.spans)
    return Shortened(0, around(_largest(end, fits_around, limit)))


def is_long(prompts: DocumentPrompts, limit: int) -> bool:
    """Whether a document is so long that its prompts hardly fit into `limit` tokens: then
    `shortened` alone is cheaper than to encode the whole prompt first."""
    return prompts.document.passages[-1].end > _LONG * limit


def _largest(limit: int, holds: Callable[[int], bool], first: int) -> int:
    """The largest number up to `limit` that holds, by steps that double from `first` on and then
    by bisection; 0 is taken to."""
    low, high, step = 0, limit, max(first, 1)
    while step < high:
        if not holds(step):
            high = step - 1
            break
        low, step = step, 2 * step
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
