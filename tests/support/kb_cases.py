"""Small releases for tests: rows by the fields that matter, and what was built, as sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from kb_builder.build import BuildOptions, BuildReport, build_kb
from kb_builder.semantics import SEMANTIC_TYPES

Atom = tuple[str, ...]


def conso_row(
    cui: str,
    text: str,
    lat: str = "ENG",
    ts: str = "S",
    sab: str = "MSH",
    tty: str = "SY",
    suppress: str = "N",
    code: str = "X",
) -> str:
    """One row of MRCONSO."""
    fields = [cui, lat, ts, "L1", "PF", "S1", "Y", "A1", "", "", "", sab, tty, code, text, "0",
              suppress, "256"]  # fmt: skip
    return "|".join(fields) + "|\n"


def rel_row(cui1: str, rel: str, cui2: str, rela: str = "", suppress: str = "N") -> str:
    """One row of MRREL (or RXNREL): `cui2` is the `rel` of `cui1`."""
    fields = [cui1, "A1", "AUI", rel, cui2, "A2", "AUI", rela, "R1", "", "MSH", "MSH", "", "",
              suppress, ""]  # fmt: skip
    return "|".join(fields) + "|\n"


def retired_row(cui1: str, rel: str, cui2: str = "") -> str:
    """One row of MRCUI."""
    return f"{cui1}|2016AA|{rel}|||{cui2}|Y|\n"


def sty_row(cui: str, tui: str, tree: str = "A1") -> str:
    """One row of MRSTY."""
    return f"{cui}|{tui}|{tree}|{SEMANTIC_TYPES[tui].name}|AT1||\n"


def write_release(
    folder: Path, conso: Iterable[str], sty: Iterable[str], **others: Iterable[str]
) -> Path:
    """A folder with both files, and such as `MRREL` by name, written as they are."""
    for name, rows in others.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.RRF").write_text("".join(rows), encoding="utf-8", newline="")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MRCONSO.RRF").write_bytes("".join(conso).encode("utf-8", "surrogateescape"))
    (folder / "MRSTY.RRF").write_bytes("".join(sty).encode("utf-8", "surrogateescape"))
    return folder


def build(source: Path, out: Path, **options: Any) -> BuildReport:
    """Build `source` with the options of build-kb."""
    return build_kb(BuildOptions(source=source, out=out, **options))


def names_of(kb: Path) -> set[tuple[str, str, str, str | None, bool]]:
    """(group, name, code, language, preferred) of every name."""
    columns = ["group", "name", "code", "language", "preferred"]
    return _rows(pq.read_table(kb / "names.parquet"), columns)


def audit_of(kb: Path) -> set[tuple[str, str, str, str, str | None]]:
    """(rule, group, name, code, given_to) of every decision."""
    columns = ["rule", "group", "name", "code", "given_to"]
    return _rows(pq.read_table(kb / "audit.parquet"), columns)


def _rows(table: Any, columns: Sequence[str]) -> set[tuple[Any, ...]]:
    rows = list(zip(*(table[column].to_pylist() for column in columns), strict=True))
    assert len(set(rows)) == len(rows), "a row stands twice"
    return set(rows)


def rows_of(kb: Path, table: str) -> list[tuple[Any, ...]]:
    """All rows of `codes`, `relations` or `replaced`, in order."""
    columns = pq.read_table(kb / f"{table}.parquet")
    return list(zip(*(column.to_pylist() for column in columns.columns), strict=True))


def short_names(kb: Path) -> dict[str, dict[str, str]]:
    """{group: {name: code}}."""
    names: dict[str, dict[str, str]] = {}
    for group, name, code, _, _ in names_of(kb):
        assert name not in names.setdefault(group, {}), f"{name} leads to two concepts"
        names[group][name] = code
    return names
