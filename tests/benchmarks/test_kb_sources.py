"""Generated releases are what the benchmark says: every row is read, and every parent there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.kb_source_files import KINDS, concepts
from tests.support.kb_cases import build

N_NAMES = 400
N_CONCEPTS = N_NAMES // 4
# Rows that a source counts as names, and parents; one OMOP concept in 20 is invalid, and MeSH
# counts the heading beside its terms.
ROWS = {"OMOP": N_NAMES - N_NAMES // 20, "MeSH XML": N_NAMES + N_CONCEPTS}
WITHOUT_PARENTS = ("table", "UMLS")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("UMLS")])
def test_all_rows_of_a_generated_release_are_read(kind: str, tmp_path: Path) -> None:
    file, write = KINDS[kind]
    write(tmp_path / file, N_NAMES)
    report = build(tmp_path / file, tmp_path / "kb")
    assert report.quarantined == []
    assert report.info["counts"]["atoms"] == ROWS.get(kind, N_NAMES)
    parents = [(c.index, c.parent) for c in concepts(N_NAMES) if c.parent is not None]
    if kind == "OMOP":
        parents = [pair for pair in parents if all((index + 1) % 20 for index in pair)]
    expected = 0 if kind in WITHOUT_PARENTS else len(parents)
    assert report.info["tables"].get("relations", 0) == expected


def test_a_release_of_umls_with_its_relations(tmp_path: Path) -> None:
    file, write = KINDS["UMLS, MRREL"]
    write(tmp_path / file, N_NAMES)
    report = build(tmp_path / file, tmp_path / "kb")
    assert report.quarantined == [] and report.info["tables"]["relations"] > N_CONCEPTS
    again = tmp_path / "again"
    write(again, N_NAMES)
    for name in ("MRCONSO.RRF", "MRSTY.RRF", "MRREL.RRF"):
        assert (again / name).read_bytes() == (tmp_path / file / name).read_bytes()
