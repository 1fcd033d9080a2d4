"""A corpus of one document in each format, whose mentions have gold in a given spelling.

A row for each way in which a format holds codes; the tests of gold ask for one for each format of
the table of corpus formats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, NamedTuple

from kb_builder.codes import is_database
from tests.corpora.nasty.cases import parquet

Files = dict[str, bytes]


class GoldForm(NamedTuple):
    """One way in which a format holds codes: the format's name, and the files of document `d`, in
    which mention `index` is the word at `6 * index` and has the gold that is spelled there."""

    format: str
    files: Callable[[Sequence[str]], Files]


def text_of(golds: Sequence[str]) -> str:
    return " ".join(["Fever"] * len(golds))


def _brat(golds: Sequence[str], lines: Callable[[int, str], str]) -> Files:
    annotations = "".join(
        f"T{index}\tDISO {6 * index} {6 * index + 5}\tFever\n"
        + (lines(index, gold) if gold else "")
        for index, gold in enumerate(golds)
    )
    return {"d.txt": text_of(golds).encode(), "d.ann": annotations.encode()}


def brat_notes(golds: Sequence[str]) -> Files:
    return _brat(golds, lambda index, gold: f"#{index}\tAnnotatorNotes T{index}\t{gold}\n")


def brat_references(golds: Sequence[str]) -> Files:
    """A reference has to name a database: one that names none is of UMLS."""

    def lines(index: int, gold: str) -> str:
        named = is_database(gold.partition(":")[0])
        return f"N{index}\tReference T{index} {gold if named else f'UMLS:{gold}'}\tx\n"

    return _brat(golds, lines)


def _page(golds: Sequence[str], entry: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    text = text_of(golds)
    return {
        "id": "d",
        "document_id": "d",
        "passages": [{"id": "p", "type": "t", "text": [text], "offsets": [[0, len(text)]]}],
        "entities": [
            {
                "id": f"T{index}",
                "type": "DISO",
                "text": ["Fever"],
                "offsets": [[6 * index, 6 * index + 5]],
                "normalized": [entry(gold)],
            }
            for index, gold in enumerate(golds)
        ],
    }


def _whole(gold: str) -> dict[str, Any]:
    return {"db_name": "", "db_id": gold}


def _parted(gold: str) -> dict[str, Any]:
    database, _, code = gold.partition(":")
    return {"db_name": database, "db_id": code} if is_database(database) else _whole(gold)


def bigbio(golds: Sequence[str]) -> Files:
    return {"c.jsonl": json.dumps(_page(golds, _whole)).encode()}


def bigbio_databases(golds: Sequence[str]) -> Files:
    """A database before the code as its name."""
    return {"c.jsonl": json.dumps(_page(golds, _parted)).encode()}


def bigbio_parquet(golds: Sequence[str]) -> Files:
    return {"c.parquet": parquet(_page(golds, _whole))}


def bigbio_saved(golds: Sequence[str]) -> Files:
    """As `datasets` saves a dataset: a folder for each split, with facts beside its data."""
    import pyarrow as pa

    table, sink = pa.Table.from_pylist([_page(golds, _whole)]), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}
    return {
        "dataset_dict.json": json.dumps({"splits": ["train"]}).encode(),
        "train/state.json": json.dumps(state).encode(),
        "train/dataset_info.json": json.dumps({"features": {}}).encode(),
        "train/data-00000-of-00001.arrow": sink.getvalue().to_pybytes(),
    }


def pubtator(golds: Sequence[str]) -> Files:
    rows = "".join(
        f"d\t{6 * index}\t{6 * index + 5}\tFever\tDISO\t{gold}\n"
        for index, gold in enumerate(golds)
    )
    return {"c.pubtator": f"d|t|{text_of(golds)}\nd|a|\n{rows}\n".encode()}


def bioc_xml(golds: Sequence[str]) -> Files:
    annotations = "".join(
        f'<annotation id="T{index}"><infon key="type">DISO</infon>'
        f'<infon key="identifier">{escape(gold)}</infon>'
        f'<location offset="{6 * index}" length="5"/><text>Fever</text></annotation>'
        for index, gold in enumerate(golds)
    )
    passage = f"<passage><offset>0</offset><text>{text_of(golds)}</text>{annotations}</passage>"
    return {"c.xml": f"<collection><document><id>d</id>{passage}</document></collection>".encode()}


def bioc_json(golds: Sequence[str]) -> Files:
    annotations = [
        {
            "id": f"T{index}",
            "infons": {"type": "DISO", "identifier": gold},
            "text": "Fever",
            "locations": [{"offset": 6 * index, "length": 5}],
        }
        for index, gold in enumerate(golds)
    ]
    passage = {"offset": 0, "text": text_of(golds), "annotations": annotations}
    return {"c.json": json.dumps({"documents": [{"id": "d", "passages": [passage]}]}).encode()}


def table(golds: Sequence[str]) -> Files:
    """Mentions in a table beside their text."""
    rows = "".join(
        f"d\tT{index}\tDISO\t{6 * index}\t{6 * index + 5}\tFever\t{gold}\n"
        for index, gold in enumerate(golds)
    )
    header = "filename\tmark\tlabel\toff0\toff1\tspan\tcode\n"
    return {"d.txt": text_of(golds).encode(), "d.tsv": (header + rows).encode()}


def spans(golds: Sequence[str]) -> Files:
    """A text with spans, as spaCy writes those that have a concept."""
    marked = [
        {"start": 6 * index, "end": 6 * index + 5, "label": "DISO", "kb_id": gold}
        for index, gold in enumerate(golds)
    ]
    value = {"id": "d", "text": text_of(golds), "spans": {"sc": marked}}
    return {"c.json": json.dumps(value).encode()}


GOLD_FORMS = {
    made.__name__: GoldForm(format_, made)
    for format_, made in (
        ("brat", brat_notes),
        ("brat", brat_references),
        ("bigbio", bigbio),
        ("bigbio", bigbio_databases),
        ("bigbio", bigbio_parquet),
        ("bigbio", bigbio_saved),
        ("pubtator", pubtator),
        ("bioc", bioc_xml),
        ("bioc", bioc_json),
        ("table", table),
        ("spans", spans),
    )
}
# Formats whose files hold no codes.
WITHOUT_GOLD: frozenset[str] = frozenset({"text", "texts"})
