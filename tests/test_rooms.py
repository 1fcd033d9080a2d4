"""The order of the rooms: imports point down, rooms beside each other do not know each other.

A room is a folder of modules below a package, or a module directly in it. `ROOMS` lists them from
the top floor down; every import counts, also those inside functions and those for type checkers.
`python -m tests.test_rooms` prints the house.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.sources import PACKAGES, tree_of

ROOMS = (
    ("longbel_cli.app",),
    ("longbel_cli.commands",),
    ("longbel_cli.training",),
    ("longbel_cli.explaining", "longbel_cli.reviewing"),
    ("longbel_cli.linking",),
    ("longbel_cli.detecting", "longbel_cli.scoring"),
    ("longbel_cli.model",),
    ("longbel_cli.runs",),
    ("longbel_cli.corpora",),
    ("longbel_cli.prompting",),
    ("longbel_cli.pages", "longbel_cli.progress", "longbel_cli.types"),
    ("longbel_cli.version", "longbel_cli.sample_paths"),
    ("kb_builder.build",),
    ("kb_builder.sources", "kb_builder.store"),
    ("kb_builder.rules", "kb_builder.trie"),
    ("kb_builder.terms",),
    ("kb_builder.semantics", "kb_builder.codes"),
    ("kb_builder.files",),
    ("kb_builder.errors",),
    ("kb_builder.text", "kb_builder.headers"),
)
MOST_ROOMS, MOST_FLOORS = 28, 12  # 27 are used; one stands on the plan: reviewing
FLOOR = {room: floor for floor, rooms in enumerate(reversed(ROOMS), start=1) for room in rooms}
# The public names, given lazily, and `python -m longbel_cli`.
DOORS = ("longbel_cli", "longbel_cli.__main__", "kb_builder")


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of both packages."""
    result = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        result[name.removesuffix(".__init__")] = path
    return result


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports anywhere."""
    for node in ast.walk(tree_of(str(path.relative_to(ROOT)))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in modules():
                    yield whole
                elif node.module in modules():
                    yield node.module


@cache
def imports() -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports."""
    return {name: set(imported(path)) - {name} for name, path in modules().items()}


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def between_rooms() -> Iterator[tuple[str, str]]:
    """All imports from one room into another, but for the doors'."""
    for module, targets in imports().items():
        for target in targets:
            if room_of(module) != room_of(target) and not {module, target} & set(DOORS):
                yield module, target


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(module) for module in modules()} - set(DOORS)
    assert rooms - FLOOR.keys() == set()
    assert 15 < len(rooms) <= MOST_ROOMS
    assert max(storeys().values()) <= MOST_FLOORS


def test_imports_point_down() -> None:
    upward = [
        f"{module} imports {target}"
        for module, target in between_rooms()
        if FLOOR[room_of(target)] >= FLOOR[room_of(module)]
    ]
    assert upward == []


def test_nothing_imports_the_doors() -> None:
    knocking = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in targets & set(DOORS)
        if module not in DOORS
    ]
    assert knocking == []


def circles() -> list[list[str]]:
    """Groups of files that import each other in a circle (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    result: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        path.append(module)
        for target in imports()[module]:
            if target not in order:
                visit(target)
            if target in path:
                low[module] = min(low[module], low[target])
        if low[module] == order[module]:
            cut = path.index(module)
            if len(path) - cut > 1:
                result.append(sorted(path[cut:]))
            del path[cut:]

    for module in modules():
        if module not in order:
            visit(module)
    return result


def test_no_circle_of_files() -> None:
    assert circles() == []


MOST_LINES = 400


def test_no_module_is_long() -> None:
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in modules().items()}
    assert [name for name in lines if lines[name] > MOST_LINES] == []


def storeys() -> dict[str, int]:
    """Room -> the floor it would need by its imports alone, from 1."""
    below: dict[str, set[str]] = {room: set() for room in map(room_of, modules())}
    for module, target in between_rooms():
        below[room_of(module)].add(room_of(target))

    @cache
    def floor(room: str) -> int:
        return 1 + max(map(floor, below[room]), default=0)

    return {room: floor(room) for room in below if room not in DOORS}


if __name__ == "__main__":
    house = storeys()
    for level in range(max(house.values()), 0, -1):
        print(level, ", ".join(sorted(room for room in house if house[room] == level)))
    arrows = {(room_of(module), room_of(target)) for module, target in between_rooms()}
    print(f"{len(house)} rooms, {max(house.values())} floors, {len(arrows)} imports between rooms")
    print("circles of files:", circles() or "none")
