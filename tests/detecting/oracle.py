"""What the dictionary should find, worked out the slow way: every stretch of text is looked up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from longbel_cli.detecting.index import is_in_capitals, only_in_capitals
from longbel_cli.detecting.stop_words import stop_words
from longbel_cli.detecting.tokens import Tokenizer


class Oracle:
    """Names of one group in a set; no trie, no joined keys, no index."""

    def __init__(self, names: Iterable[str]) -> None:
        self._tokenizer = Tokenizer()
        self._words = {self._tokenizer.form(word) for word in stop_words()}
        self._names: dict[str, list[str]] = {}
        for name in names:
            self._names.setdefault(self._tokenizer.key(name), []).append(name)
        self._names.pop("", None)

    def is_name(self, text: str) -> bool:
        """Whether a text is one of the names in a casing that it has."""
        forms = self._tokenizer.key(text).split(" ")[:-1]
        if not any(letter.isalpha() for form in forms for letter in form):
            return False
        if all(form in self._words or not form.isalpha() for form in forms):
            return False
        names = self._names.get(self._tokenizer.key(text), [])
        return any(not only_in_capitals(name) or is_in_capitals(text) for name in names)

    def matches(self, text: str) -> Iterator[tuple[int, int]]:
        """Leftmost longest, trying every pair of token borders."""
        for segment in self._tokenizer.segments(text):
            first, n_tokens = 0, len(segment.forms)
            while first < n_tokens:
                ends = [
                    end
                    for end in range(first + 1, n_tokens + 1)
                    if not segment.glued[first]
                    and not (end < n_tokens and segment.glued[end])
                    and self.is_name(text[segment.starts[first] : segment.ends[end - 1]])
                ]
                if ends:
                    yield segment.starts[first], segment.ends[ends[-1] - 1]
                first = ends[-1] if ends else first + 1
