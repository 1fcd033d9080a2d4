"""The options of a training: what decides the weights, and what only decides how they are computed.

Loads nothing heavy: the command line checks options before anything else happens.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from kb_builder.errors import LongbelError, check_choice
from longbel_cli.corpora.formats import AUTO, CORPUS_FORMATS
from longbel_cli.corpora.resolve import UNKNOWN
from longbel_cli.model.devices import DTYPES, SAVED_DTYPES
from longbel_cli.progress import ignore
from longbel_cli.prompting.formats import PROMPT_FORMATS, PromptFormat, prompt_format
from longbel_cli.training.base.fresh import FRESH_SIZES
from longbel_cli.training.data.target_rules import TARGET_RULES

if TYPE_CHECKING:
    from longbel_cli.training.optimise.loop import Step

# Where the names in memory come from: the gold concepts, predictions (the model's own out of
# fold, or those of a file), or the gold with lines left out at random.
MEMORIES = {
    "gold": "names of the gold concepts",
    "predicted": "names that a model predicted",
    "dropout": "gold with lines left out at random",
}


@dataclass(frozen=True)
class TrainOptions:
    """What decides the trained weights. A training resumes only with the options it began with.

    One of `base` (a model folder or hub id) and `fresh` (a size) is given. `synthetic` counts
    documents an epoch, and `synonyms` is the share of their mentions that are answered with
    another name than the nearest; `mentions_per_document` limits the mentions of a document
    that an epoch trains on, drawn anew each time. `crop` is in characters, see `Cropping`;
    `max_length` in tokens, longer examples are shortened. `memory_weight` puts a loss on the
    names in memory, 0 trains on completions alone.
    Without `composite` a mention with several gold concepts is context only.
    One of `folds` and `predictions`, a file of `link`, goes with the memory `predicted`;
    `memory_dropout` is the share of lines that the memory `dropout` leaves out. `validate` names
    corpora, of which whole documents with `validate_mentions` mentions are linked every
    `validate_every` steps. With `also_formats` each example is in one of these or in
    `context_format`, drawn evenly.
    """

    kb: str
    corpora: tuple[str, ...] = ()
    base: str | None = None
    fresh: str | None = None
    context_format: str = "hybrid_long"
    language: str | None = None
    corpus_format: str = "auto"
    unknown_group: str = "error"
    retired: str | None = None
    target: str = "document"
    epochs: int = 50
    steps: int | None = None
    learning_rate: float = 3e-5
    warmup: float = 0.03
    tokens_per_batch: int = 16_384
    max_length: int = 4096
    synthetic: int = 0
    synonyms: float = 0.0
    mentions_per_document: int | None = None
    memory_weight: float = 0.0
    crop: int = 0
    crop_share: float = 1.0
    composite: bool = False
    dtype: str = "auto"
    save_dtype: str = "auto"
    seed: int = 0
    memory: str = "gold"
    memory_dropout: float = 0.2
    folds: int | None = None
    validate: tuple[str, ...] = ()
    validate_every: int = 500
    validate_mentions: int = 200
    lora: bool = False
    lora_rank: int = 16
    lora_alpha: int = 32
    also_formats: tuple[str, ...] = ()
    predictions: str | None = None

    @property
    def formats(self) -> tuple[PromptFormat, ...]:
        """The prompt formats that examples are made in; the model is saved for the first."""
        return tuple(prompt_format(name) for name in (self.context_format, *self.also_formats))

    def __post_init__(self) -> None:
        self._check_choices()
        _refuse(*self._about_data(), *self._about_steps(), *self._about_memory())

    def _check_choices(self) -> None:
        check_choice("--format", self.corpus_format, (AUTO, *CORPUS_FORMATS))
        check_choice("--unknown-group", self.unknown_group, UNKNOWN)
        check_choice("--context-format", self.context_format, PROMPT_FORMATS)
        for name in self.also_formats:
            check_choice("--also-formats", name, PROMPT_FORMATS)
        check_choice("--target", self.target, TARGET_RULES)
        if self.fresh is not None:
            check_choice("--fresh", self.fresh, FRESH_SIZES)
        check_choice("--dtype", self.dtype, DTYPES)
        check_choice("--save-dtype", self.save_dtype, SAVED_DTYPES)
        check_choice("--memory", self.memory, MEMORIES)

    def _about_data(self) -> tuple[tuple[bool, str], ...]:
        return (
            ((self.base is None) == (self.fresh is None), "give --base MODEL or --fresh SIZE"),
            (not self.corpora and not self.synthetic, "give a CORPUS, --synthetic N, or both"),
            ("-" in (*self.corpora, *self.validate),
             "a training reads its corpora again and again: give files or folders in place of -"),
            (self.synthetic < 0, "--synthetic must not be negative"),
            (not 0 <= self.synonyms <= 1, "--synonyms is a share, from 0 to 1"),
            (self.mentions_per_document is not None and self.mentions_per_document < 1,
             "--mentions-per-document must be at least 1"),
            (self.crop < 0, "--crop must not be negative"),
            (not 0 <= self.crop_share <= 1, "--crop-share lies between 0 and 1"),
        )  # fmt: skip

    def _about_steps(self) -> tuple[tuple[bool, str], ...]:
        return (
            (self.epochs < 1, "--epochs must be at least 1"),
            (self.steps is not None and self.steps < 1, "--steps must be at least 1"),
            (not 0 < self.learning_rate < 1, "--learning-rate must lie between 0 and 1"),
            (not 0 <= self.warmup < 1, "--warmup is a share, from 0 to below 1"),
            (self.tokens_per_batch < 1, "--tokens-per-batch must be at least 1"),
            (self.max_length < 16, "--max-length must be at least 16"),
            (self.lora and self.base is None, "--lora fine-tunes a --base MODEL"),
            (self.lora_rank < 1, "--lora-rank must be at least 1"),
            (self.lora_alpha < 1, "--lora-alpha must be at least 1"),
            (self.validate_every < 1, "--validate-every must be at least 1"),
            (self.validate_mentions < 1, "--validate-mentions must be at least 1"),
            (not 0 <= self.seed < 1 << 32, "--seed must be at least 0 and below 2^32"),
        )

    def _about_memory(self) -> tuple[tuple[bool, str], ...]:
        form = PROMPT_FORMATS.get(self.context_format)
        no_memory = form is not None and form.memory == "none"
        sources = {"--folds": self.folds, "--predictions": self.predictions}
        given = next((flag for flag, value in sources.items() if value is not None), None)
        return (
            (not 0 <= self.memory_weight <= 1, "--memory-weight lies between 0 and 1"),
            (not 0 <= self.memory_dropout < 1, "--memory-dropout is a share, from 0 to below 1"),
            (self.folds is not None and self.folds < 2, "--folds must be at least 2"),
            (self.folds is not None and self.predictions is not None,
             "give --folds K or --predictions FILE, not both"),
            (given is not None and not self.corpora, f"{given} needs a CORPUS"),
            (given is not None and self.memory != "predicted",
             f"{given} puts predicted names in memory: it does not go with --memory {self.memory}"),
            (given is None and self.memory == "predicted",
             "--memory predicted needs --folds K or --predictions FILE"),
            (self.memory != "gold" and no_memory,
             f"--context-format {self.context_format} shows no memory, so there is only "
             "--memory gold"),
        )  # fmt: skip


@dataclass(frozen=True)
class Computing:
    """How a training is computed: nothing here changes what is learnt, but for rounding.

    `accumulate` splits each batch into so many passes, `checkpointing` computes activations
    twice to keep fewer, and the state is saved every `save_every` steps. `threads` None: all cores.
    """

    device: str = "auto"
    save_every: int = 200
    accumulate: int = 1
    checkpointing: bool = False
    keep_folds: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        _refuse(
            (self.threads is not None and self.threads < 1, "--threads must be at least 1"),
            (self.accumulate < 1, "--accumulate must be at least 1"),
            (self.save_every < 1, "--save-every must be at least 1"),
        )


@dataclass(frozen=True)
class Callbacks:
    """What a training calls on its way.

    `on_step` is called after each step, `on_stage` with the name of each of several trainings.
    `should_stop` is asked at each step, and `check` raises LongbelError where the training may
    not go on.
    """

    on_step: Callable[[Step], None] = ignore
    on_stage: Callable[[str], None] = ignore
    should_stop: Callable[[], bool] = lambda: False
    check: Callable[[], None] = ignore

    def checking(self, check: Callable[[], None]) -> Callbacks:
        """The same, with `check` made whenever the training asks whether to stop."""

        def should_stop() -> bool:
            check()
            return self.should_stop()

        return replace(self, should_stop=should_stop, check=check)


DEFAULTS: dict[str, Any] = {
    field.name: list(field.default) if isinstance(field.default, tuple) else field.default
    for field in fields(TrainOptions)
    if field.default is not MISSING
}
"""The options that have a default, as `plain` gives them."""


def plain(options: TrainOptions) -> dict[str, Any]:
    """The options as JSON gives them back."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(options)))
    return values


def default_learning_rate(from_scratch: bool, lora: bool) -> float:
    """The peak learning rate where none is given."""
    return 1e-3 if from_scratch else 2e-4 if lora else 3e-5


def default_memory(has_predictions: bool) -> str:
    """The memory where none is named: predicted, where there is something to predict it."""
    return "predicted" if has_predictions else "gold"


def _refuse(*rules: tuple[bool, str]) -> None:
    for broken, sentence in rules:
        if broken:
            raise LongbelError(sentence, "See `longbel train --help`.", exit_code=2)
