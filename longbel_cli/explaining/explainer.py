"""Explains linked mentions: a checkpoint's model asked about its own prompts and answers.

Ties attribution to prompts and candidates; knows nothing of files or pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kb_builder.errors import LongbelError, check_choice
from longbel_cli.explaining.aggregation import attribute, attribute_ablation
from longbel_cli.explaining.attribution import (
    Answer,
    Objective,
    baseline_embedding,
    gradient,
    integrated,
    objective_values,
)
from longbel_cli.explaining.case import Case
from longbel_cli.explaining.explanation import Attribution, Explanation
from longbel_cli.explaining.methods import BASELINES, METHODS, PATHS
from longbel_cli.linking.checks import at_least_one
from longbel_cli.prompting.formats import Prompt
from longbel_cli.types import Span

if TYPE_CHECKING:
    from longbel_cli.model.checkpoint import Checkpoint


@dataclass(frozen=True)
class ExplainOptions:
    """Which candidates are explained, by which methods, and how finely.

    With `versus`, each of `ranks` is explained against that candidate.
    """

    methods: tuple[str, ...] = ("gradient",)
    ranks: tuple[int, ...] = (1,)
    versus: int | None = None
    steps: int = 20
    baseline: str = "pad"
    max_batch_tokens: int | None = None
    path: str = "even"

    def __post_init__(self) -> None:
        for method in self.methods:
            check_choice("--method", method, METHODS)
        check_choice("--baseline", self.baseline, BASELINES)
        check_choice("--path", self.path, PATHS)
        at_least_one("--max-batch-tokens", self.max_batch_tokens)
        if self.steps < 1:
            raise _usage(f"{self.steps} steps", "Integrated gradients need at least one.")
        if any(rank < 1 for rank in (*self.ranks, self.versus or 1)):
            raise _usage("ranks begin at 1", "Rank 1 is the best candidate.")
        if self.versus in self.ranks:
            raise _usage(
                f"candidate {self.versus} cannot be compared with itself",
                "Give --rank and --versus different ranks.",
            )


def _usage(message: str, hint: str) -> LongbelError:
    return LongbelError(message, hint, exit_code=2)


class Explainer:
    """Explains linked mentions with a checkpoint's model."""

    def __init__(
        self, checkpoint: Checkpoint, model: Any, options: ExplainOptions | None = None
    ) -> None:
        self._checkpoint, self._model = checkpoint, model
        self._options = options or ExplainOptions()
        self._characters = TokenCharacters(checkpoint)
        tokenizer = checkpoint.tokenizer
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
            pad = tokenizer.eos_token_id
        self._baseline = baseline_embedding(model, self._options.baseline, pad)

    def explain(self, case: Case) -> Explanation:
        """The attributions of a case by every method and for every candidate of the options.

        Candidates that a mention does not have are left out; it may end up with none.
        """
        available = {candidate.rank for candidate in case.prediction.candidates}
        wanted = [rank for rank in self._options.ranks if rank in available]
        if self._options.versus is not None and self._options.versus not in available:
            wanted = []
        return Explanation(
            case.document,
            case.mention,
            case.prediction,
            case.memory if case.lines else (),
            tuple(
                self._attribution(case, method, rank)
                for method in self._options.methods
                for rank in wanted
            ),
            case.gold_name,
        )

    def _attribution(self, case: Case, method: str, rank: int) -> Attribution:
        objective = self._objective(case, rank)
        about: dict[str, Any] = {"rank": rank, "versus": self._options.versus}
        if method == "ablation":
            return self._ablation(case, objective, about)
        ids = self._checkpoint.encode(case.prompt)
        characters_of = self._characters.of(case.prompt, ids)
        if method == "gradient":
            scores = gradient(self._model, ids, objective)
        else:
            options = self._options
            scores = integrated(
                self._model,
                ids,
                objective,
                self._baseline,
                options.steps,
                options.max_batch_tokens,
                options.path,
            )
            about |= {
                "steps": options.steps,
                "baseline": options.baseline,
                "baseline_objective": scores.baseline_value,
                "delta": scores.delta,
            }
        return attribute(
            case,
            characters_of,
            scores.scores.tolist(),
            None if scores.signed is None else scores.signed.tolist(),
            method=method,
            objective=scores.value,
            score=self._score(scores.value, objective),
            **about,
        )

    def _ablation(self, case: Case, objective: Objective, about: dict[str, Any]) -> Attribution:
        prompts = [
            case.prompt,
            *(case.without_line(index) for index in range(len(case.lines))),
            *(case.without_sentence(sentence) for sentence in case.shown_sentences),
        ]
        whole, *others = objective_values(
            self._model,
            [self._checkpoint.encode(prompt) for prompt in prompts],
            objective,
            self._options.max_batch_tokens,
        )
        changes = [whole - other for other in others]
        lines = len(case.lines)
        return attribute_ablation(
            case,
            changes[:lines],
            changes[lines:],
            objective=whole,
            score=self._score(whole, objective),
            **about,
        )

    def _score(self, value: float, objective: Objective) -> float | None:
        """The beam score of an objective that is one candidate's log-probability."""
        if self._options.versus is not None:
            return None
        return float(np.exp(value / len(objective[0].ids)))

    def _objective(self, case: Case, rank: int) -> list[Answer]:
        """A candidate's summed log-probability; against another, both per token, as beams rank."""
        answer = self._answer(case, rank)
        if self._options.versus is None:
            return [answer]
        other = self._answer(case, self._options.versus)
        return [Answer(answer.ids, 1 / len(answer.ids)), Answer(other.ids, -1 / len(other.ids))]

    def _answer(self, case: Case, rank: int) -> Answer:
        position = [candidate.rank for candidate in case.prediction.candidates].index(rank)
        ids = self._checkpoint.encode_answer(case.names[position])
        return Answer((*ids, self._checkpoint.end_id(case.prompts.form)))


class TokenCharacters:
    """Where a prompt's tokens stand among its characters."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def of(self, prompt: Prompt, ids: Sequence[int]) -> list[Span]:
        """The characters of each token; an empty span for tokens in front that are no text."""
        spans = self._checkpoint.token_places(prompt)
        if len(spans) != len(ids):
            raise AssertionError("the prompt's tokens are not those that the checkpoint gives")
        return spans
