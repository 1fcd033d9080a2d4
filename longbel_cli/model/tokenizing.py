"""Token ids of prompts and answers, by the tokenizer of a checkpoint.

Marks become their ids; text never becomes a special token, whatever it spells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kb_builder.errors import LongbelError
from longbel_cli.prompting.formats import Prompt
from longbel_cli.prompting.segments import (
    CLOSE,
    COMPOSITE,
    GROUP_CLOSE,
    GROUP_OPEN,
    OPEN,
    Mark,
    answer_segments,
)
from longbel_cli.types import Span

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

REQUIRED_MARKS = (OPEN, CLOSE, GROUP_OPEN, GROUP_CLOSE)
# Brackets stand in no cleaned text, so this is in none.
_AFTER_A_MARK = "[{]}"
# Characters from which on a text is put together from sentences. Marks move from one mention's
# prompt to the next, and most sentences between them come back.
_LONG = 300
_SENTENCE_ENDS = re.compile(r"(?<=[.,;:!?)])(?= [!-~])")
# Of the pieces between marks that come back from one mention's prompt to the next; some 40 MB.
_REMEMBERED_TOKENS = 1_000_000


def load_tokenizer(folder: Path, configuration: PreTrainedConfig) -> Any:
    """The fast tokenizer of a model folder; LongbelError where there is none."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=configuration, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        raise LongbelError(
            f"{folder}: the tokenizer cannot be loaded ({type(error).__name__})",
            "The folder must hold tokenizer.json and tokenizer_config.json.",
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise LongbelError(
            f"{folder}: the tokenizer has no tokenizer.json", "Save a fast tokenizer."
        )
    return tokenizer


def size_of(tokenizer: Any) -> int:
    """One more than the highest id, which is more than the number of tokens where ids have gaps."""
    return 1 + max(tokenizer.get_vocab().values(), default=-1)


class _Remembered:
    """Token ids of pieces, of the latest used so many that they hold `most` ids together."""

    def __init__(self, tokenize: Callable[[str, bool], Sequence[int]], most: int) -> None:
        self._tokenize, self._most = tokenize, most
        self._pieces: dict[tuple[str, bool], Sequence[int]] = {}
        self._held = 0

    def __call__(self, text: str, first: bool) -> Sequence[int]:
        ids = self._pieces.pop((text, first), None)
        if ids is None:
            ids = self._tokenize(text, first)
            self._held += len(ids)
        self._pieces[text, first] = ids  # last: the latest used
        while self._held > self._most:
            self._held -= len(self._pieces.pop(next(iter(self._pieces))))
        return ids


class PromptTokenizer:
    """Reads prompts and answers piece by piece with `tokenizer`, transformers' fast one, which
    messages call by its `folder`."""

    def __init__(self, tokenizer: Any, folder: Path) -> None:
        self._tokenizer, self._folder = tokenizer, folder

    def mark_id(self, mark: Mark) -> int:
        """The id of one of the format's own tokens; LongbelError where the tokenizer lacks it, or
        where it is that of a piece of text as well."""
        added = self._tokenizer.get_added_vocab()
        if mark not in added:
            raise LongbelError(
                f"{self._folder}: the tokenizer has no token {mark!s} of its own",
                "Use a checkpoint trained for this format (`longbel train` makes one).",
            )
        piece = self._tokenizer.backend_tokenizer.model.id_to_token(added[mark])
        if piece is not None and piece != mark:
            raise LongbelError(
                f"{self._folder}: the token {mark!s} has the id {added[mark]}, which is that of a "
                "piece of text as well",
                "Add the marks to the base's tokenizer anew (`longbel train` does).",
            )
        return int(added[mark])

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, with the tokenizer's own leading special tokens."""
        ids = list(self.leading_ids)
        for index, piece in enumerate(prompt.pieces):
            if type(piece) is Mark:
                ids.append(self._mark_ids[piece])
            elif len(piece) < _LONG or not self._splits_at_blanks:
                ids.extend(self._ids_of(piece, index == 0))
            else:
                for rank, sentence in enumerate(_SENTENCE_ENDS.split(piece)):
                    ids.extend(self._ids_of(sentence, index + rank == 0))
        return ids

    def token_places(self, prompt: Prompt) -> list[Span]:
        """The characters of `prompt.text` that each id of `encode` stands for; an empty span for
        the tokenizer's own leading tokens."""
        spans = [Span(0, 0)] * len(self.leading_ids)
        position = 0
        for index, piece in enumerate(prompt.pieces):
            if isinstance(piece, Mark):
                spans.append(Span(position, position + len(piece)))
            else:
                inner = self._spans_of(piece, index == 0)
                spans += [Span(position + start, position + end) for start, end in inner]
            position += len(piece)
        return spans

    def encode_answer(self, names: tuple[str, ...]) -> list[int]:
        """Ids of an answer without its end, as the trie holds them."""
        ids: list[int] = []
        for segment in answer_segments(names):
            if isinstance(segment, Mark):
                ids.append(self.mark_id(segment))
            else:
                ids.extend(self._ids_of(segment, False))
        return ids

    @cached_property
    def leading_ids(self) -> list[int]:
        """What the tokenizer puts before a text: BOS for Llama 3."""
        with_special = self._tokenizer("a").input_ids
        plain = self._tokenizer("a", add_special_tokens=False).input_ids
        for start in range(len(with_special)):
            if with_special[start : start + len(plain)] == plain:
                return list(with_special[:start])
        return []

    @cached_property
    def _mark_ids(self) -> dict[str, int]:
        added = self._tokenizer.get_added_vocab()
        return {
            mark: added[mark] for mark in (*REQUIRED_MARKS, COMPOSITE, "<SEP>") if mark in added
        }

    @cached_property
    def _splits_at_blanks(self) -> bool:
        """Whether the ids of a text are those of its parts, cut before blanks."""
        from kb_builder.trie.tokenization import splits_at_blanks

        return splits_at_blanks(self._tokenizer.backend_tokenizer)

    @cached_property
    def _ids_of(self) -> Callable[[str, bool], Sequence[int]]:
        """The ids of a text that stands first in a prompt, or after a mark."""
        return _Remembered(
            lambda text, first: self._encoding(text, first).ids[not first :], _REMEMBERED_TOKENS
        )

    def _spans_of(self, text: str, first: bool) -> Iterator[tuple[int, int]]:
        """The characters of a text that each of its ids stands for."""
        front = 0 if first else len(_AFTER_A_MARK)
        for start, end in self._encoding(text, first).offsets[not first :]:
            yield max(start - front, 0), end - front

    def _encoding(self, text: str, first: bool) -> Any:
        """Some tokenizers (SentencePiece's) treat a text's beginning in a way of their own, so the
        place after a mark is shown to them as such: by one token in front."""
        front = "" if first else _AFTER_A_MARK
        return self._text_tokenizer.encode(front + text, add_special_tokens=False)

    @cached_property
    def _text_tokenizer(self) -> Any:
        """The tokenizer with `_AFTER_A_MARK` as its only token that is not of text."""
        from tokenizers import AddedToken

        from kb_builder.trie.tokenization import plain_text_tokenizer

        tokenizer = plain_text_tokenizer(self._tokenizer.backend_tokenizer)
        tokenizer.add_tokens([AddedToken(_AFTER_A_MARK, normalized=False, special=False)])
        return tokenizer
