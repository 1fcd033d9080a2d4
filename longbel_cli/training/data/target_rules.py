"""Rules for the name of a gold concept that is learnt: `--target`. Loads nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

# Below this cosine a mention and a name share little more than an ending: an abbreviation, say.
FAR = 0.3


class Choice(NamedTuple):
    """What a rule chooses from: the name that the concept has had in the document (None at
    first), its preferred title (None where the group lacks it), the nearest name, its cosine."""

    earlier: str | None
    preferred: str | None
    nearest: str
    cosine: float


class TargetRule(NamedTuple):
    """A way to choose the name that is learnt."""

    help: str
    name: Callable[[Choice], str]


TARGET_RULES = {
    "document": TargetRule(
        "the name nearest to the concept's first mention in the document",
        lambda choice: choice.earlier or choice.nearest,
    ),
    # What is near to no name keeps the document's.
    "nearest": TargetRule(
        "the name nearest to the mention",
        lambda choice: (
            choice.nearest if choice.earlier is None or choice.cosine >= FAR else choice.earlier
        ),
    ),
    "preferred": TargetRule(
        "the concept's preferred title",
        lambda choice: choice.preferred or choice.earlier or choice.nearest,
    ),
}
