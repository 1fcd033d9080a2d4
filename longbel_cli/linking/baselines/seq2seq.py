"""`--linker seq2seq`: an encoder-decoder that writes a name of the mention's group, as GENRE does.

The encoder reads the `short` prompt; the decoder's answer is held to the same trie of names as
that of the causal models, by `transformers.generate`. What the decoder starts with (a language's
code, say) is what the model's generation config tells.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.trie.tokenization import ANSWER_PREFIX, plain_text_tokenizer
from longbel_cli.linking.baselines.folder import PublishedModel
from longbel_cli.linking.options import BaselineOptions
from longbel_cli.linking.prompted import PromptedLinker, PromptingOptions
from longbel_cli.model.decoders import MAX_NEW_TOKENS
from longbel_cli.model.folder import GENERATION, read_object
from longbel_cli.prompting.formats import Prompt, prompt_format
from longbel_cli.prompting.segments import CLOSE, GROUP_CLOSE, GROUP_OPEN, OPEN, Mark

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MARKS = (OPEN, CLOSE, GROUP_OPEN, GROUP_CLOSE)


class PromptEncoder:
    """Token ids of a prompt for an encoder, the tokenizer's own special tokens around it.

    Marks are tokens where the tokenizer has them as such, else the characters that they are.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._plain = plain_text_tokenizer(tokenizer.backend_tokenizer)
        added = tokenizer.get_added_vocab()
        self._mark_ids = {mark: added[mark] for mark in _MARKS if mark in added}
        around, inside = tokenizer("a").input_ids, self._text("a")
        starts = [
            start for start in range(len(around)) if around[start : start + len(inside)] == inside
        ]
        start = starts[0] if starts else 0
        self._before = list(around[:start]) if starts else []
        self._after = list(around[start + len(inside) :]) if starts else []

    def __call__(self, prompt: Prompt) -> list[int]:
        ids, text = list(self._before), ""
        for segment in prompt.segments:
            if isinstance(segment, Mark) and segment in self._mark_ids:
                ids += [*self._text(text), self._mark_ids[segment]]
                text = ""
            else:
                text += segment
        return [*ids, *self._text(text), *self._after]

    def _text(self, text: str) -> list[int]:
        return list(self._plain.encode(text, add_special_tokens=False).ids) if text else []


class Seq2SeqLinker(PromptedLinker[PublishedModel, PromptingOptions]):
    """An encoder-decoder and a knowledge base joined."""

    name = "seq2seq"

    def __init__(
        self, model: PublishedModel, knowledge_base: KnowledgeBase, options: PromptingOptions
    ) -> None:
        if not model.is_encoder_decoder:
            raise LongbelError(
                f"{model.path}: no encoder-decoder by its config.json",
                "Give the folder of a BART, mBART or T5 model with --model.",
            )
        if model.tokenizer.eos_token_id is None:
            raise LongbelError(
                f"{model.path}: the tokenizer has no end-of-sequence token",
                "Set eos_token in its tokenizer_config.json.",
            )
        super().__init__(model, knowledge_base, options, prompt_format("short"))
        self.start = answer_start(model)
        self._encode = PromptEncoder(model.tokenizer)

    @cached_property
    def model(self) -> PreTrainedModel:
        """The weights, on their device. What their generation config says of searching is not
        asked for."""
        from transformers import GenerationConfig

        model = self.checkpoint.load("AutoModelForSeq2SeqLM", self.options.device)
        model.generation_config = GenerationConfig(do_sample=False)
        return model

    @cached_property
    def trie(self) -> Any:
        """The names over the tokens of the answer; they do without the mark before them."""
        return self.knowledge_base.trie(answering(self.checkpoint.tokenizer.backend_tokenizer))

    @property
    def max_prompt_tokens(self) -> int:
        """What the encoder reads at most."""
        return self.checkpoint.input_tokens

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt for the encoder."""
        return self._encode(prompt)

    def settings(self) -> dict[str, Any]:
        """Whatever of it can change predictions; resolving an `Auto` loads the model."""
        return super().settings() | {
            "dtype": "float32",
            "answer_start": list(self.start),
            "input_tokens": self.checkpoint.input_tokens,
        }

    def decoder(self, beams: int) -> Any:
        """The beam search of `transformers.generate` (loads the model)."""
        from longbel_cli.linking.baselines.seq2seq_decoder import Seq2SeqDecoder
        from longbel_cli.model.decoders.search import SearchOptions

        tokenizer = self.checkpoint.tokenizer
        options = SearchOptions(
            end_id=int(tokenizer.eos_token_id), n_beams=beams, max_new_tokens=MAX_NEW_TOKENS
        )
        pad_id = options.end_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        return Seq2SeqDecoder(self.model, self.trie, options, self.start, pad_id)


def answer_start(model: PublishedModel) -> tuple[int, ...]:
    """The tokens that the decoder is given before an answer: the start, and the one that is forced
    to follow (a language's code, say), as the model's generation config tells."""
    start, forced = (
        _token_id(model, key) for key in ("decoder_start_token_id", "forced_bos_token_id")
    )
    if start is None:
        raise LongbelError(
            f"{model.path}: the model does not say what its answers start with",
            "Set decoder_start_token_id in its generation_config.json.",
        )
    return (start,) if forced is None else (start, forced)


def _token_id(model: PublishedModel, key: str) -> int | None:
    """A token of the generation config; older models tell it in config.json."""
    file = model.path / GENERATION
    token = (read_object(file) if file.exists() else model.config).get(key)
    if token is None or (isinstance(token, int) and not isinstance(token, bool) and token >= 0):
        return token
    raise LongbelError(
        f"{model.path}: {key} is no token id", "Set it in its generation_config.json."
    )


def answering(tokenizer: Any) -> Any:
    """A copy to which the mark before answers is a token; names do not hold it, so their ids stay
    what they are."""
    from tokenizers import AddedToken, Tokenizer

    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.add_tokens([AddedToken(ANSWER_PREFIX, normalized=False, special=False)])
    return copy


def open_linker(knowledge_base: KnowledgeBase, options: BaselineOptions) -> Seq2SeqLinker:
    """As the table of baselines opens it; a language that is missing is refused at once."""
    model = PublishedModel.given(options.model, "--linker seq2seq", "an encoder-decoder")
    linker = Seq2SeqLinker(model, knowledge_base, options)
    _ = linker.split
    return linker
