"""The simplest right decoder: `transformers.generate` with a trie mask. The oracle of the fast one.

Prompts are padded on the left and prefilled once a beam, all of it, at every mention.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
)

from kb_builder.trie.trie import Trie
from longbel_cli.model.decoders import (
    NOT_FINITE,
    Beam,
    DecodeStats,
    OutOfMemoryError,
    Request,
)
from longbel_cli.model.decoders.backends import key_value_shape
from longbel_cli.model.decoders.scopes import Names, Scopes
from longbel_cli.model.decoders.search import SearchOptions
from longbel_cli.model.plain import plain_attention

# transformers starts all beams but the first at -1e9; what descends from those is no result
_FILLER = -1e7


class _Answer:
    """Where a token sequence stands in the trie: names completed, and the current node."""

    __slots__ = ("ended", "node", "rows")

    def __init__(self, rows: tuple[int, ...], node: int, ended: bool = False) -> None:
        self.rows, self.node, self.ended = rows, node, ended


class TrieWalk:
    """The allowed tokens after any answer prefix of one semantic group."""

    def __init__(self, names: Names, root: int, options: SearchOptions) -> None:
        self._names, self._root, self._options = names, root, options
        self._seen: dict[tuple[int, ...], _Answer | None] = {(): _Answer((), root)}

    def allowed(self, tokens: tuple[int, ...]) -> np.ndarray:
        """Token ids that may follow; none after an end or off the trie."""
        answer = self.answer(tokens)
        if answer is None or answer.ended:
            return np.empty(0, dtype=np.int64)
        allowed, _ = self._names.children(answer.node)
        allowed = allowed.astype(np.int64)
        if self._names.leaf(answer.node) >= 0:
            allowed = np.where(allowed == -1, self._options.end_id, allowed)
            if self._options.composite_id is not None:
                allowed = np.append(allowed, self._options.composite_id)
        return allowed

    def answer(self, tokens: tuple[int, ...]) -> _Answer | None:
        if tokens not in self._seen:
            self._seen[tokens] = self._next(self.answer(tokens[:-1]), tokens[-1])
        return self._seen[tokens]

    def _next(self, answer: _Answer | None, token: int) -> _Answer | None:
        if answer is None or answer.ended:
            return None
        row = self._names.leaf(answer.node)
        if row >= 0 and token == self._options.end_id:
            return _Answer((*answer.rows, row), answer.node, ended=True)
        if row >= 0 and token == self._options.composite_id:
            return _Answer((*answer.rows, row), self._root)
        tokens, nodes = self._names.children(answer.node)
        following = nodes[tokens == token]
        return _Answer(answer.rows, int(following[0])) if len(following) else None


class TrieMask(LogitsProcessor):
    """Masks scores (rows, vocabulary) to the moves that the trie allows each row."""

    def __init__(self, walks: Sequence[TrieWalk], prompt_length: int, n_beams: int) -> None:
        self._walks, self._prompt_length, self._n_beams = walks, prompt_length, n_beams
        self.broken: set[int] = set()  # prompts whose scores were NaN

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        answers = input_ids[:, self._prompt_length :].tolist()
        allowed = [
            self._walks[row // self._n_beams].allowed(tuple(answer))
            for row, answer in enumerate(answers)
        ]
        nan_rows = scores.isnan().any(-1).nonzero().flatten().tolist()
        self.broken.update(row // self._n_beams for row in nan_rows)
        counts = [len(tokens) for tokens in allowed]
        rows = torch.from_numpy(np.repeat(np.arange(len(allowed)), counts)).to(scores.device)
        columns = torch.from_numpy(np.concatenate(allowed)).to(scores.device)
        masked = torch.full_like(scores, -torch.inf)
        masked[rows, columns] = scores[rows, columns]
        return masked


class ReferenceDecoder:
    """Decodes what was submitted by `generate`, `batch_size` prompts at a time."""

    def __init__(
        self,
        model: PreTrainedModel,
        trie: Trie,
        options: SearchOptions,
        batch_size: int = 8,
        use_cache: bool = True,
    ) -> None:
        self._model, self._scopes, self._options = model, Scopes(trie), options
        self._batch_size, self._use_cache = batch_size, use_cache
        self._queue: list[Request] = []
        self._walks: dict[str, TrieWalk] = {}
        self.stats = DecodeStats()
        self.max_active, self.attention = None, "transformers"
        plain_attention(model)
        model.eval()

    @property
    def bytes_per_token(self) -> int:
        """Cache memory of one prompt token, all beams together."""
        config = self._model.config.get_text_config()
        try:
            layers, heads, size = key_value_shape(self._model)
        except AttributeError:  # a kind without attention, or with another one in each layer
            layers, heads, size = config.num_hidden_layers, 1, config.hidden_size
        return self._options.n_beams * 2 * layers * heads * size * self._model.dtype.itemsize

    def submit(self, request: Request) -> None:
        self._queue.append(request)

    def release(self, key: Hashable) -> None:
        pass

    def reset(self) -> None:
        self._queue.clear()

    def step(self) -> list[tuple[Hashable, list[Beam]]]:
        batch, self._queue = self._queue[: self._batch_size], self._queue[self._batch_size :]
        started = time.perf_counter()
        try:
            beams = self.generate(batch)
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError from error
        self.stats.seconds_model += time.perf_counter() - started
        self.stats.mentions += len(batch)
        return [(request.key, of_request) for request, of_request in zip(batch, beams, strict=True)]

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request]) -> list[list[Beam]]:
        """The beams of each request, best first."""
        n_beams, end_id = self._options.n_beams, self._options.end_id
        longest = max(len(request.prompt_ids) for request in requests)
        ids = torch.full((len(requests), longest), end_id)
        mask = torch.zeros_like(ids)
        for index, request in enumerate(requests):
            ids[index, longest - len(request.prompt_ids) :] = torch.tensor(request.prompt_ids)
            mask[index, longest - len(request.prompt_ids) :] = 1
        walks = [self._walk(request.semantic_group) for request in requests]
        masked = TrieMask(walks, longest, n_beams)
        generate: Any = self._model.generate
        output = generate(
            input_ids=ids.to(self._model.device),
            attention_mask=mask.to(self._model.device),
            generation_config=pinned_generation(self._options, self._use_cache),
            logits_processor=LogitsProcessorList([masked]),
        )
        self.stats.prefill_tokens += n_beams * ids.numel()
        self.stats.padding_tokens += n_beams * int((mask == 0).sum())
        answers = output.sequences[:, longest:].tolist()
        scores = (
            output.sequences_scores.tolist()
            if n_beams > 1
            else greedy_scores(output, longest, end_id)
        )
        self.stats.decode_forwards += len(requests) * (len(answers[0]) - 1)
        return [
            list(NOT_FINITE)
            if index in masked.broken
            else [
                beam
                for row in range(index * n_beams, (index + 1) * n_beams)
                if (beam := self._beam(walks[index], answers[row], scores[row])) is not None
            ]
            for index in range(len(requests))
        ]

    def _beam(self, walk: TrieWalk, answer: list[int], score: float) -> Beam | None:
        """A finished answer as a beam; None for fillers and unfinished ones."""
        if self._options.end_id not in answer:
            return None
        length = answer.index(self._options.end_id) + 1
        reached = walk.answer(tuple(answer[:length]))
        if reached is None or not reached.ended or score * length < _FILLER:
            return None
        return Beam(reached.rows, score * length, length)

    def _walk(self, semantic_group: str) -> TrieWalk:
        if semantic_group not in self._walks:
            self._walks[semantic_group] = TrieWalk(*self._scopes.of(semantic_group), self._options)
        return self._walks[semantic_group]


def pinned_generation(options: SearchOptions, use_cache: bool = True) -> GenerationConfig:
    """Every field that matters, so that nothing of a model's own generation config is used."""
    return GenerationConfig(
        do_sample=False,
        num_beams=options.n_beams,
        num_return_sequences=options.n_beams,
        max_new_tokens=options.max_new_tokens,
        length_penalty=1.0,
        early_stopping=False,
        eos_token_id=options.end_id,
        pad_token_id=options.end_id,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        use_cache=use_cache,
        return_dict_in_generate=True,
        output_scores=options.n_beams > 1,
        output_logits=options.n_beams == 1,
    )


def greedy_scores(output: Any, prompt_length: int, end_id: int) -> list[float]:
    """Mean log-probability of greedy answers up to and with the end, over the full vocabulary."""
    answers = output.sequences[:, prompt_length:]
    logprobs = torch.stack(output.logits, dim=1).float().log_softmax(-1)
    chosen = logprobs.gather(-1, answers[..., None])[..., 0]
    lengths = [
        tokens.index(end_id) + 1 if end_id in tokens else len(tokens) for tokens in answers.tolist()
    ]
    return [float(row[:n].sum() / n) for row, n in zip(chosen, lengths, strict=True)]
