"""`transformers.generate` of an encoder-decoder, its answers held to the trie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kb_builder.trie.trie import Trie
from longbel_cli.model.decoders import NOT_FINITE, Beam, Request
from longbel_cli.model.decoders.reference import (
    ReferenceDecoder,
    TrieMask,
    greedy_scores,
    pinned_generation,
)
from longbel_cli.model.decoders.search import SearchOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Seq2SeqDecoder(ReferenceDecoder):
    """As the reference decoder of causal models; the prompt goes to the encoder, and the answer
    follows `start`, the model's own start tokens, which count neither as score nor as length."""

    def __init__(
        self,
        model: PreTrainedModel,
        trie: Trie,
        options: SearchOptions,
        start: Sequence[int],
        pad_id: int,
    ) -> None:
        super().__init__(model, trie, options)
        self._start, self._pad_id = list(start), pad_id

    def generate(self, requests: Sequence[Request]) -> list[list[Beam]]:
        """The beams of each request, best first."""
        import torch

        n_beams, start = self._options.n_beams, len(self._start)
        longest = max(len(request.prompt_ids) for request in requests)
        ids = torch.full((len(requests), longest), self._pad_id)
        mask = torch.zeros_like(ids)
        for index, request in enumerate(requests):
            ids[index, : len(request.prompt_ids)] = torch.tensor(request.prompt_ids)
            mask[index, : len(request.prompt_ids)] = 1
        walks = [self._walk(request.semantic_group) for request in requests]
        masked = TrieMask(walks, start, n_beams)
        configuration = pinned_generation(self._options)
        configuration.decoder_start_token_id = self._start[0]
        device = self._model.device
        generate: Any = self._model.generate
        with torch.inference_mode():
            output = generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                decoder_input_ids=torch.tensor([self._start] * len(requests), device=device),
                generation_config=configuration,
                logits_processor=[masked],
            )
        answers = output.sequences[:, start:].tolist()
        scores = (
            output.sequences_scores.tolist()
            if n_beams > 1
            else greedy_scores(output, start, self._options.end_id)
        )
        self.stats.prefill_tokens += ids.numel()
        self.stats.padding_tokens += int((mask == 0).sum())
        self.stats.decode_forwards += len(requests) * len(answers[0])
        beams = [
            self._beam(walks[row // n_beams], answer, scores[row])
            for row, answer in enumerate(answers)
        ]
        return [
            list(NOT_FINITE)
            if first // n_beams in masked.broken
            else [beam for beam in beams[first : first + n_beams] if beam is not None]
            for first in range(0, len(beams), n_beams)
        ]
