"""The marks of the prompt formats as tokens of a base model's tokenizer, with ids of their own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from longbel_cli.model.tokenizing import load_tokenizer


def with_marks(tokenizer: Any, marks: Sequence[str], configuration: Any) -> Any:
    """The tokenizer, to which those marks that it lacks are added as special tokens."""
    from tokenizers import AddedToken

    missing = [mark for mark in marks if mark not in tokenizer.get_added_vocab()]
    if missing:
        tokenizer = _without_gaps(tokenizer, configuration)
        added = [AddedToken(mark, special=True, normalized=False) for mark in missing]
        tokenizer.add_tokens(added, special_tokens=True)
    return tokenizer


def _without_gaps(tokenizer: Any, configuration: Any) -> Any:
    """The tokenizer with a piece for each id below its highest. A new token gets the number of
    pieces for an id, which would be a piece's where some ids are left out."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = state["model"].get("vocab")
    if not isinstance(vocabulary, dict) or max(vocabulary.values(), default=-1) < len(vocabulary):
        return tokenizer
    added = {token["id"]: token["content"] for token in state["added_tokens"]}
    vocabulary.update(_left_out(vocabulary, added))
    with tempfile.TemporaryDirectory(prefix="longbel-") as folder:
        tokenizer.save_pretrained(folder)
        (Path(folder) / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
        return load_tokenizer(Path(folder), configuration)


def _left_out(vocabulary: Mapping[str, int], added: Mapping[int, str]) -> dict[str, int]:
    """A piece for each id that none has: the added token of that id, else one that no text gives,
    since it holds a blank and nothing is cut so that a blank stands inside."""
    taken = set(vocabulary.values())
    free = [id for id in range(max(taken)) if id not in taken]
    return {added.get(id, f"<left out {id}>"): id for id in free}
