"""The modules of both packages as syntax trees, each parsed once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.support.paths import ROOT

PACKAGES = ("kb_builder", "longbel_cli")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


def imports(tree: ast.AST) -> Iterator[str]:
    """The dotted names of all imports, wherever they stand; relative ones with their dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def package_of(name: str) -> str:
    return name.split(".")[0]


def packages_of(name: str) -> set[str]:
    """The packages that a module imports anywhere."""
    return {package_of(imported) for imported in imports(tree_of(name))}


def calls_of(name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree_of(name)) if isinstance(node, ast.Call)]
