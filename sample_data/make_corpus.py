"""Make the sample corpus (corpus/brat, corpus/bigbio) from the marked texts of corpus_source.

    pip install . && python sample_data/make_corpus.py

A source text marks its mentions in place: ``[text|GROUP|label]``. The label is any name that
the release gives the concept in that group, letter case aside (a shared name is that of the
concept that prefers it), or a source code such as ``MSH:D003920``. Marks nest:
``[[liver|ANAT|Liver] failure|DISO|Liver Failure]``. A discontinuous mention is several marks
with one tag, the last one naming the concept:
``[hepatic|+a] or [cardiac [failure|+a|DISO|Liver Failure]|DISO|Heart Failure]``. Texts hold no
other square brackets and no bars. Lines ``== type ==`` begin a passage (BigBio only).

``corpus_source/brat/en/NAME.txt`` becomes ``corpus/brat/en/NAME.txt`` and ``.ann``;
``corpus_source/bigbio/en/*.txt`` becomes ``corpus/bigbio/en.jsonl``, one document a line.
Offsets are counted here, in code points; concept ids come from the release, so a label that
leads to no concept or to several is reported with file and label. What it does not know:
how a linker reads the files, and which names a knowledge base keeps.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kb_builder.semantics import SEMANTIC_TYPES

PASSAGE_HEADING = re.compile(r"^== (\w+) ==\n", re.MULTILINE)
CUI = re.compile(r"C\d{7}")


class SourceError(Exception):
    """A marked text that cannot be turned into a document; the message says where."""


@dataclass(frozen=True)
class Mark:
    """One mention: its fragments in text order, its group and the label of its concept."""

    spans: tuple[tuple[int, int], ...]
    group: str
    label: str


@dataclass(frozen=True)
class Release:
    """What the corpus needs of the release: labels to concepts, preferred English names."""

    concepts: dict[tuple[str, str], frozenset[str]]
    preferred: dict[str, str]

    def concept(self, group: str, label: str) -> str:
        """Return the one concept of the group that has the label as a name or code."""
        found = self.concepts.get((group, label.casefold()), frozenset())
        if len(found) > 1:
            named = [cui for cui in found if self.preferred[cui].casefold() == label.casefold()]
            found = frozenset(named) or found
        if len(found) != 1:
            raise SourceError(f"{group} {label!r} is {sorted(found) or 'no concept'}")
        return next(iter(found))


def read_release(folder: Path) -> Release:
    """Index the names and source codes of MRCONSO.RRF by semantic group."""
    groups: dict[str, set[str]] = defaultdict(set)
    for fields in _rows(folder / "MRSTY.RRF"):
        groups[fields[0]].add(SEMANTIC_TYPES[fields[1]].group_code)
    concepts: dict[tuple[str, str], set[str]] = defaultdict(set)
    preferred: dict[str, str] = {}
    for fields in _rows(folder / "MRCONSO.RRF"):
        cui, lat, ts, stt, ispref = fields[0], fields[1], fields[2], fields[4], fields[6]
        if (lat, ts, stt, ispref) == ("ENG", "P", "PF", "Y"):
            preferred[cui] = fields[14]
        for group in groups[cui]:
            concepts[group, fields[14].casefold()].add(cui)
            concepts[group, f"{fields[11]}:{fields[13]}".casefold()].add(cui)
    return Release({key: frozenset(cuis) for key, cuis in concepts.items()}, preferred)


def _rows(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield line.rstrip("\n").split("|")


def parse(marked: str) -> tuple[str, list[Mark]]:
    """Return the plain text and its mentions in document order."""
    text: list[str] = []
    open_marks: list[int] = []
    fragments: dict[str, list[tuple[int, int]]] = defaultdict(list)
    marks: list[Mark] = []
    length = position = 0
    while position < len(marked):
        character = marked[position]
        if character == "[":
            open_marks.append(length)
        elif character == "|":
            if not open_marks:
                raise SourceError(f"a bar outside a mark, after {''.join(text)[-30:]!r}")
            end = marked.index("]", position)
            fields = marked[position + 1 : end].split("|")
            span = (open_marks.pop(), length)
            if fields[0].startswith("+"):
                fragments[fields[0]].append(span)
                spans = tuple(sorted(fragments[fields[0]]))
                fields = fields[1:]
            else:
                spans = (span,)
            if fields:
                group, label = fields
                marks.append(Mark(spans, group, label))
            position = end
        else:
            text.append(character)
            length += 1
        position += 1
    if open_marks:
        raise SourceError(f"a mark without an end, after {''.join(text)[-30:]!r}")
    marks.sort(key=lambda mark: (mark.spans[0][0], mark.spans[-1][1]))
    return "".join(text), marks


def mention_text(text: str, mark: Mark) -> str:
    """Return the fragments joined by one space."""
    return " ".join(text[start:end] for start, end in mark.spans)


def reference(cui: str) -> str:
    """Return the database of a concept id: ids that UMLS does not have are local ones."""
    return "UMLS" if CUI.fullmatch(cui) else "LOCAL"


def brat_annotations(text: str, marks: list[Mark], release: Release) -> str:
    """Return the .ann file: a T line and an N line for each mention."""
    lines = []
    for number, mark in enumerate(marks, start=1):
        cui = release.concept(mark.group, mark.label)
        spans = ";".join(f"{start} {end}" for start, end in mark.spans)
        lines.append(f"T{number}\t{mark.group} {spans}\t{mention_text(text, mark)}\n")
        name = release.preferred[cui]
        lines.append(f"N{number}\tReference T{number} {reference(cui)}:{cui}\t{name}\n")
    return "".join(lines)


def passages(marked: str) -> list[tuple[str, str]]:
    """Return (type, marked text) of each passage."""
    parts = PASSAGE_HEADING.split(marked)
    return [(kind, body.strip("\n")) for kind, body in zip(parts[1::2], parts[2::2], strict=True)]


def bigbio_document(name: str, marked: str, release: Release) -> dict[str, object]:
    """Return one document in the BigBio KB schema, passages joined by one character."""
    passage_rows: list[dict[str, object]] = []
    entities: list[dict[str, object]] = []
    base = 0
    for kind, body in passages(marked):
        text, marks = parse(body)
        passage_rows.append(
            {
                "id": f"{name}_p{len(passage_rows) + 1}",
                "type": kind,
                "text": [text],
                "offsets": [[base, base + len(text)]],
            }
        )
        for mark in marks:
            cui = release.concept(mark.group, mark.label)
            entities.append(
                {
                    "id": f"{name}_e{len(entities) + 1}",
                    "type": mark.group,
                    "text": [text[start:end] for start, end in mark.spans],
                    "offsets": [[base + start, base + end] for start, end in mark.spans],
                    "normalized": [{"db_name": reference(cui), "db_id": cui}],
                }
            )
        base += len(text) + 1
    return {
        "id": name,
        "document_id": name,
        "passages": passage_rows,
        "entities": entities,
        "events": [],
        "coreferences": [],
        "relations": [],
    }


def make_corpus(source: Path, release: Release, out: Path) -> tuple[int, list[str]]:
    """Write the corpus; return the number of documents and what is wrong with the sources."""
    problems: list[str] = []
    documents = 0
    for path in sorted(source.glob("brat/*/*.txt")):
        documents += 1
        try:
            text, marks = parse(path.read_text(encoding="utf-8"))
            target = out / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            annotations = brat_annotations(text, marks, release)
            target.write_text(text, encoding="utf-8", newline="\n")
            target.with_suffix(".ann").write_text(annotations, encoding="utf-8", newline="\n")
        except SourceError as error:
            problems.append(f"{path}: {error}")
    (out / "bigbio").mkdir(parents=True, exist_ok=True)
    for folder in sorted(source.glob("bigbio/*/")):
        lines = []
        for path in sorted(folder.glob("*.txt")):
            documents += 1
            try:
                name = f"{folder.name}_{path.stem}"
                document = bigbio_document(name, path.read_text(encoding="utf-8"), release)
                lines.append(json.dumps(document, ensure_ascii=False) + "\n")
            except SourceError as error:
                problems.append(f"{path}: {error}")
        target = out / "bigbio" / f"{folder.name}.jsonl"
        target.write_text("".join(lines), encoding="utf-8", newline="\n")
    return documents, problems


def main() -> int:
    """Write the corpus beside this script, or where the options say."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--source", type=Path, default=here / "corpus_source")
    parser.add_argument("--release", type=Path, default=here / "release")
    parser.add_argument("--out", type=Path, default=here / "corpus")
    options = parser.parse_args()
    documents, problems = make_corpus(options.source, read_release(options.release), options.out)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{documents} documents, {len(problems)} with problems", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
