"""How mentions are divided: by semantic group, by what recurs, by what training or the KB held.

A partition is a row of `PARTITIONS`: what it needs to know, and a function from the mentions to
the part that each is in (None: in no part). Reads no file; see `background.py` for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kb_builder.errors import LongbelError, check_choice
from kb_builder.text import clean
from longbel_cli.scoring.gold import ScoredMention
from longbel_cli.types import extent

Labels = list[str | None]
LENGTHS = ("1 word", "2 words", "3 words", "4 words or more")


@dataclass(frozen=True)
class TrainingFacts:
    """What a training corpus held: concept codes, and mention texts as `folded` writes them."""

    codes: frozenset[str]
    mentions: frozenset[str]


@dataclass(frozen=True)
class KbFacts:
    """What a knowledge base says of the gold codes and of the mentions' texts.

    `groups_of` has the groups of each gold or predicted code that it holds; `codes_of` the codes
    that a mention's text (`as_kb_name`) names, in each group; `names_of` those codes' names, the
    preferred ones first.
    """

    groups_of: Mapping[str, frozenset[str]]
    codes_of: Mapping[str, Mapping[str, frozenset[str]]]
    signature: str = ""
    names_of: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Background:
    """What is known beside predictions and gold; None where it was not given. `held` are the gold
    codes of the KB, also of the one that the run was given."""

    training: TrainingFacts | None = None
    kb: KbFacts | None = None
    held: frozenset[str] | None = None


def folded(text: str) -> str:
    """A mention or a name for comparing: letter case and runs of white space do not count."""
    return " ".join(text.split()).lower()


def as_kb_name(text: str) -> str:
    """A mention's text for comparing with names, which a knowledge base holds cleaned."""
    return folded(clean(text))


def repeated_concepts(mentions: Sequence[ScoredMention]) -> tuple[tuple[int, ...], ...]:
    """Positions of the mentions of each concept that recurs in a document, in document order."""
    groups = _concept_groups(mentions)
    return tuple(tuple(group) for group in groups if len(group) > 1)


def _concept_groups(mentions: Sequence[ScoredMention]) -> list[list[int]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for position, mention in enumerate(mentions):
        groups.setdefault((mention.document_id, mention.gold), []).append(position)
    for group in groups.values():
        if len(group) > 1 and all(mentions[position].spans for position in group):
            group.sort(key=lambda position: extent(mentions[position].spans))
    return list(groups.values())


# The partitions -------------------------------------------------------------------------------


def _group(mentions: Sequence[ScoredMention], background: Background) -> Labels:
    return [mention.semantic_group for mention in mentions]


def _recurring(mentions: Sequence[ScoredMention], background: Background) -> Labels:
    labels: Labels = ["single"] * len(mentions)
    for group in repeated_concepts(mentions):
        for position in group:
            labels[position] = "recurring"
    return labels


def _occurrence(mentions: Sequence[ScoredMention], background: Background) -> Labels:
    labels: Labels = ["first"] * len(mentions)
    for group in repeated_concepts(mentions):
        for position in group[1:]:
            labels[position] = "later"
    return labels


def _composite(mentions: Sequence[ScoredMention], background: Background) -> Labels:
    return ["composite" if mention.composite else "simple" for mention in mentions]


def _seen(mentions: Sequence[ScoredMention], background: Background) -> Labels:
    assert background.training is not None
    codes = background.training.codes
    return ["seen" if mention.gold in codes else "unseen" for mention in mentions]


def _mention_seen(mentions: Sequence[ScoredMention], background: Background) -> Labels:
    assert background.training is not None
    texts = background.training.mentions
    return [
        None if not mention.mention else "seen" if folded(mention.mention) in texts else "unseen"
        for mention in mentions
    ]


def _length(mentions: Sequence[ScoredMention], background: Background) -> Labels:
    counts = (len(mention.mention.split()) for mention in mentions)
    return [LENGTHS[min(count, len(LENGTHS)) - 1] if count else None for count in counts]


def _abbreviation(mentions: Sequence[ScoredMention], background: Background) -> Labels:
    """Where a look-up alone says what it expanded, what it does not expand is no abbreviation."""
    said = any(mention.abbreviation for mention in mentions)
    return [
        None
        if mention.abbreviation is None and not said
        else "abbreviation"
        if mention.abbreviation
        else "other"
        for mention in mentions
    ]


def _in_kb(mentions: Sequence[ScoredMention], background: Background) -> Labels:
    assert background.held is not None
    return ["in" if mention.gold in background.held else "absent" for mention in mentions]


def _kb_name(mentions: Sequence[ScoredMention], background: Background) -> Labels:
    assert background.kb is not None
    codes_of = background.kb.codes_of
    return [
        None
        if not mention.mention
        else "name"
        if mention.semantic_group in codes_of.get(as_kb_name(mention.mention), ())
        else "other"
        for mention in mentions
    ]


def _ambiguous(mentions: Sequence[ScoredMention], background: Background) -> Labels:
    assert background.kb is not None
    codes_of = background.kb.codes_of
    labels: Labels = []
    for mention in mentions:
        groups = codes_of.get(as_kb_name(mention.mention), {}).values()
        codes = frozenset[str]().union(*groups)
        labels.append(None if not codes else "ambiguous" if len(codes) > 1 else "unambiguous")
    return labels


@dataclass(frozen=True)
class Partition:
    """A way to divide mentions; `order` is that of its parts, where it is not alphabetical."""

    title: str
    labels: Callable[[Sequence[ScoredMention], Background], Labels]
    order: tuple[str, ...] = ()
    needs: str | None = None

    @property
    def help(self) -> str:
        option = {
            None: "",
            "training": "; needs --train",
            "kb": "; needs --kb",
            "held": "; needs --kb, or the run's own KB",
        }[self.needs]
        return f"{self.title}{option}"

    def known(self, background: Background) -> bool:
        return self.needs is None or getattr(background, self.needs) is not None


PARTITIONS = {
    "group": Partition("semantic group", _group),
    "recurring": Partition(
        "gold concept recurs in its document", _recurring, ("recurring", "single")
    ),
    "occurrence": Partition(
        "occurrence of the gold concept in its document", _occurrence, ("first", "later")
    ),
    "composite": Partition("gold of several codes", _composite, ("simple", "composite")),
    "length": Partition("words of the mention", _length, LENGTHS),
    "abbreviation": Partition(
        "mention is an abbreviation that its document defines",
        _abbreviation,
        ("abbreviation", "other"),
    ),
    "seen": Partition("gold concept in training", _seen, ("seen", "unseen"), "training"),
    "mention_seen": Partition(
        "mention's text in training", _mention_seen, ("seen", "unseen"), "training"
    ),
    "in_kb": Partition("gold concept in the KB", _in_kb, ("in", "absent"), "held"),
    "kb_name": Partition("mention is a KB name of its group", _kb_name, ("name", "other"), "kb"),
    "ambiguous": Partition(
        "mention is a KB name of several concepts",
        _ambiguous,
        ("ambiguous", "unambiguous"),
        "kb",
    ),
}


def chosen_partitions(names: Sequence[str] | None, needs: Mapping[str, bool]) -> list[str]:
    """The partitions to show: those that are named, else `group` and those that the training corpus
    and the knowledge base allow; `needs` says which of `training`, `kb` and `held`
    (a KB that can be opened, the run's own too) are given.

    LongbelError (usage) where a partition is unknown or lacks what it needs.
    """
    if names is None:
        allowed = [name for name, row in PARTITIONS.items() if row.needs and needs.get(row.needs)]
        return ["group", *allowed]
    for name in names:
        check_choice("--by", name, PARTITIONS)
        need = PARTITIONS[name].needs
        if need is not None and not needs.get(need):
            option = "--train CORPUS" if need == "training" else "--kb KB"
            raise LongbelError(f"--by {name} needs {option}", exit_code=2)
    return list(dict.fromkeys(names))
