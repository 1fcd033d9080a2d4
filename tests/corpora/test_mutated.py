"""Mutated corpora: no traceback, no silent drop, every message with its place.

What must have been in a file is counted here, from the bytes, by other means than the readers'.
LONGBEL_MUTATIONS sets the number of mutated inputs for each reader; it takes the place of the
fixed quick choice with fresh ones.
"""

from __future__ import annotations

import json
import os
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from longbel_cli.corpora import Corpus, Problem
from longbel_cli.types import Document
from tests.corpora.nasty.cases import CASES
from tests.support.files import stored

EXAMPLES = int(os.environ.get("LONGBEL_MUTATIONS", "40"))
thorough = settings(
    max_examples=EXAMPLES,
    derandomize="LONGBEL_MUTATIONS" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

Files = Mapping[str, bytes]
# What breaks parsers: the formats' own marks, encodings, numbers, controls.
FRAGMENTS = [
    *(text.encode() for text in (
        "\t", "\n", "\r\n", "\r", " ", ";", ":", "|", "+", '"', "\\", "{", "}", "[", "]", ",", "<",
        ">", "&", "&#x0;", "-1", "0", "5", "99999999999", "1e9", "true", "null", "NaN", "T1", "T2",
        "#1\tAnnotatorNotes T1\tC0015967\n", "N9\tReference T1 UMLS:C1\tx\n", "7|t|", "7|a|",
        "\n\n", '"id"', '"offsets": [[0, 5]]', '"text": []', "<document>", "</document>",
        "<annotation>", "</passage>", "<!DOCTYPE a [", "\\ud800", "\u2028", "\u0085", "\ufeff",
        "\u00a0", "\U0001f600", "e\u0300", "\x00", "\x1a",
    )),
    b"\xff", b"\xe9", b"\xc3", b"\x1f\x8b", b"PAR1",
]  # fmt: skip

mutation = st.tuples(
    st.sampled_from(["insert", "delete", "replace", "repeat", "cut", "drop line"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 40),
    st.sampled_from(FRAGMENTS) | st.binary(max_size=4),
)


def mutated(data: bytes, kind: str, where: float, length: int, payload: bytes) -> bytes:
    """One change at a place given as a share of the file."""
    start = int(where * len(data))
    if kind == "insert":
        return data[:start] + payload + data[start:]
    if kind == "delete":
        return data[:start] + data[start + length :]
    if kind == "replace":
        return data[:start] + payload + data[start + len(payload) :]
    if kind == "repeat":
        return data[:start] + data[start : start + length] * 2 + data[start + length :]
    if kind == "cut":
        return data[:start]
    lines = data.split(b"\n")
    del lines[int(where * len(lines))]
    return b"\n".join(lines)


def bases(*prefixes: str, suffix: str) -> list[Files]:
    """The files of small nasty cases: valid ones and such as are broken already."""
    return [
        case.files
        for case in CASES
        if case.name.startswith(prefixes)
        and (len(case.files) == 1 or prefixes == ("brat",))
        and all(name.endswith(suffix) and len(data) < 5000 for name, data in case.files.items())
    ]


def mutations_of(files: list[Files]) -> st.SearchStrategy[Files]:
    @st.composite
    def changed(draw: st.DrawFn) -> Files:
        chosen = dict(draw(st.sampled_from(files)))
        for _ in range(draw(st.integers(1, 4))):
            name = draw(st.sampled_from(sorted(chosen)))
            chosen[name] = mutated(chosen[name], *draw(mutation))
        return chosen

    return changed()


def read(files: Files) -> tuple[list[Document], list[Problem]]:
    """Read the files from a folder; what all mutated corpora must keep is asserted here."""
    with tempfile.TemporaryDirectory() as folder:
        stored(files, Path(folder))
        documents: list[Document] = []
        problems: list[Problem] = []
        try:
            for _, document in Corpus([folder]).read(problems.append, on_remark=with_place):
                documents.append(document)
        except LongbelError as error:
            assert folder in error.message
        for problem in problems:
            with_place(problem)
            assert Path(problem.source).is_relative_to(folder)
        for document in documents:
            for mention in document.mentions:
                there = " ".join(document.text[start:end] for start, end in mention.spans)
                assert there == mention.text
                assert mention.entity_type
        assert len({document.id for document in documents}) == len(documents)
        return documents, problems


def with_place(problem: Problem) -> None:
    assert problem.source in problem.message
    assert problem.reason


def whole(problems: list[Problem]) -> int:
    return sum(problem.whole_document for problem in problems)


def decoded(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


@thorough
@given(mutations_of(bases("bigbio", suffix=".jsonl")))
def test_json_lines(files: Files) -> None:
    (data,) = files.values()
    documents, problems = read(files)
    if data.startswith(b"\x1f\x8b") or b'"infons"' in data or b'"PubTator3"' in data:
        return
    filled = [
        (index, line)
        for index, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
        if line.strip()
    ]
    assert len(documents) + whole(problems) == len(filled)
    entities = {
        int(document.source.rpartition(":")[2]): len(document.mentions) for document in documents
    }
    for problem in problems:
        if not problem.whole_document:
            assert problem.line is not None
            entities[problem.line] += 1
    for index, line in filled:
        if index in entities:
            assert entities[index] == len(json.loads(line)["entities"] or [])


@thorough
@given(mutations_of(bases("bigbio_json", "bioc_json", suffix=".json")))
def test_json(files: Files) -> None:
    (data,) = files.values()
    documents, problems = read(files)
    text = decoded(data)
    try:
        value = json.loads((text or "").removeprefix("\ufeff"))
    except ValueError:
        return
    if isinstance(value, list):
        assert len(documents) + whole(problems) == len(value)
    elif not isinstance(value, dict) or not {"documents", "PubTator3"} & value.keys():
        assert len(documents) + whole(problems) == 1


@thorough
@given(mutations_of(bases("bigbio_parquet", suffix=".parquet")))
def test_parquet(files: Files) -> None:
    read(files)


@thorough
@given(mutations_of([files for suffix in (".ann", ".txt", "") for files in bases(
    "brat", suffix=suffix) if any(name.endswith(".ann") for name in files)]))  # fmt: skip
def test_brat(files: Files) -> None:
    documents, problems = read(files)
    stems = {name.rpartition(".")[0] for name in files if name.endswith(".ann")}
    folders = {stem.rpartition("/")[0] for stem in stems}
    stems |= {
        name[:-4]
        for name in files
        if name.endswith(".txt")
        and name.rpartition("/")[0] in folders
        and not name.startswith("LICENSE")
    }
    if any(b"|t|" in data or b"|a|" in data for data in files.values()):
        return  # a text that looks like PubTator
    assert len(documents) + whole(problems) == len(
        [stem for stem in stems if not stem.startswith(".")]
    )
    for document in documents:
        text = decoded(files[f"{document.id}.ann"])
        assert text is not None
        faults = [
            problem
            for problem in problems
            if problem.document_id == document.id and not problem.whole_document
        ]
        lines = text.removeprefix("\ufeff").split("\n")
        named = sum(line.startswith("T") for line in lines)
        assert len(document.mentions) + len(faults) == named


@thorough
@given(mutations_of(bases("pubtator", suffix=".pubtator")))
def test_pubtator(files: Files) -> None:
    (data,) = files.values()
    documents, problems = read(files)
    if whole(problems) or data.startswith(b"\x1f\x8b"):
        return
    mentions = 0
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        fields = line.removesuffix(b"\r").split(b"\t")
        bars = fields[0].split(b"|")
        is_text = len(bars) > 2 and bars[0] and bars[1] in (b"t", b"a")
        second = fields[1].strip() if len(fields) > 1 else b""
        is_offset = not second or second.lstrip(b"+-. ")[:1].isdigit()
        is_relation = len(fields) in (4, 5) and not is_offset
        mentions += bool(line.strip()) and not is_text and not is_relation
    assert sum(len(document.mentions) for document in documents) + len(problems) == mentions


def outermost(element: ElementTree.Element) -> int:
    if element.tag == "document":
        return 1
    return sum(outermost(child) for child in element)


@thorough
@given(mutations_of(bases("bioc", suffix=".xml")))
def test_bioc_xml(files: Files) -> None:
    (data,) = files.values()
    documents, problems = read(files)
    if not data.lstrip().startswith(b"<") or b"<!ENTITY" in data:
        return
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError):
        return
    if b"<passage>" * 100 in data:
        return  # the rest of the file is left out: nesting too deep
    assert len(documents) + whole(problems) == outermost(root)
    if whole(problems):
        return
    annotations = sum(1 for _ in root.iter("annotation"))
    assert sum(len(document.mentions) for document in documents) + len(problems) == annotations
