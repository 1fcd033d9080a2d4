"""The index of a knowledge base's names, built once and kept."""

from __future__ import annotations

import json
import logging

from kb_builder.files import sha256_of
from kb_builder.store.kept import kept
from kb_builder.store.knowledge_base import KnowledgeBase
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

    def build() -> NameIndex:
        log.info("indexing %d names for the dictionary detector, once", base.n_names)
        key = Tokenizer(rules.folding).key
        return build_index(names_of(base, chosen), base.groups, key, rules.capitals)

    name = _folder_name(base, chosen, rules)
    return kept(base, "detecting", name, build, NameIndex.save, NameIndex.open)


def _folder_name(base: KnowledgeBase, chosen: NameFilter, rules: Rules) -> str:
    """By the names and all that decides which key each has and what it stands for."""
    parts = [
        _VERSION, FORMAT_VERSION, GROUP_ORDER, base.signature, chosen.to_json(),
        repr(rules.folding), rules.capitals,
    ]  # fmt: skip
    return sha256_of(json.dumps(parts).encode())[:16]
