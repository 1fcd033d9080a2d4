"""The index of a knowledge base's names, kept in its folder, or in the user's cache where that
cannot be written. One process builds it while others wait.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from kb_builder.errors import LongbelError
from kb_builder.files import sha256_of, share_like, whole_folder
from kb_builder.files.locks import locked
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.store.tries import cache_folder, is_writable
from longbel_cli.detecting.index import FORMAT_VERSION, GROUP_ORDER, NameIndex, build_index
from longbel_cli.detecting.names import NameFilter, names_of
from longbel_cli.detecting.options import Rules
from longbel_cli.detecting.tokens import Tokenizer

log = logging.getLogger(__name__)

_VERSION = 1  # of how names become keys: another one is another index


def name_index(
    base: KnowledgeBase, chosen: NameFilter = NameFilter(), rules: Rules = Rules()
) -> NameIndex:
    """The index of the chosen names, built where there is none yet."""
    name = _folder_name(base, chosen, rules)
    kept = next((each / name for each in _folders(base) if (each / name).is_dir()), None)
    if kept is not None:
        return _opened(kept)
    folder = next((each for each in _folders(base) if is_writable(each)), None)
    if folder is None:
        log.warning("no place to keep the index of names: building it anew")
        return _built(base, chosen, rules)
    with locked(folder / f".{name}.lock"):
        if not (folder / name).is_dir():  # another process may have built it
            log.info("indexing %d names for the dictionary detector, once", base.n_names)
            _keep(_built(base, chosen, rules), folder / name, base)
            log.info("kept the index in %s", folder / name)
    return _opened(folder / name)


def _built(base: KnowledgeBase, chosen: NameFilter, rules: Rules) -> NameIndex:
    key = Tokenizer(rules.folding).key
    return build_index(names_of(base, chosen), base.groups, key, rules.capitals)


def _keep(index: NameIndex, path: Path, base: KnowledgeBase) -> None:
    """As a whole, for those who may read the knowledge base where it lies in that."""
    with whole_folder(path) as draft:
        index.save(draft)
        if base.path in path.parents:
            for file in draft.iterdir():
                share_like(file, base.path / "kb.json")
            share_like(draft, base.path)
            share_like(path.parent, base.path)


def _folders(base: KnowledgeBase) -> Iterator[Path]:
    yield base.path / "detecting"
    yield cache_folder() / "detecting"


def _folder_name(base: KnowledgeBase, chosen: NameFilter, rules: Rules) -> str:
    """By the names and all that decides which key each has and what it stands for."""
    parts = [
        _VERSION, FORMAT_VERSION, GROUP_ORDER, base.signature, chosen.to_json(),
        repr(rules.folding), rules.capitals,
    ]  # fmt: skip
    return sha256_of(json.dumps(parts).encode())[:16]


def _opened(folder: Path) -> NameIndex:
    try:
        return NameIndex.open(folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise LongbelError(
            f"{folder}: damaged ({type(error).__name__})",
            "Delete the folder; the index is built again when it is needed.",
        ) from error
