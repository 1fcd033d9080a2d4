"""What a built knowledge base and its look-ups print, as rich tables. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as RichTable

from kb_builder.text import visible_line

if TYPE_CHECKING:
    from kb_builder.build import BuildReport

_LISTED = 5


class Table(RichTable):
    """A table of what a terminology says: no control in it takes effect."""

    def __init__(self, *headers: str, title: str | None = None, **settings: Any) -> None:
        shown = None if title is None else visible_line(title)
        super().__init__(*map(visible_line, headers), title=shown, **settings)

    def add_row(self, *cells: Any, **settings: Any) -> None:
        super().add_row(*map(visible_line, cells), **settings)


# Key in kb.json's counts, and how the summary words it; those a source lacks are left out.
_COUNTS = (
    ("atoms", "rows read"),
    ("suppressed", "  suppressible, dropped"),
    ("terms", "terms read"),
    ("obsolete", "  obsolete, left out"),
    ("without_name", "  without a name, left out"),
    ("partly_read", "  no valid OBO, read in part"),
    ("other_vocabulary", "  of other vocabularies"),
    ("other_domain", "  of other domains"),
    ("not_standard", "  not standard"),
    ("other_scope", "  synonyms of other scopes"),
    ("other_language", "  in other languages"),
    ("without_code", "  without a code"),
    ("unreadable_rows", "  unreadable, left out"),
    ("concepts_without_a_type", "concepts without a semantic type, left out"),
    ("ambiguous_names", "names that several concepts claimed"),
    ("only-nameless", "  given to the one concept without any other"),
    ("smallest-code", "  given to the smallest code"),
    ("ambiguous_dropped", "  dropped"),
    ("unambiguous", "names that one concept claimed"),
    ("titles_added", "preferred titles added"),
    ("all_caps_dropped", "ALL-CAPS names dropped"),
    ("qualified", "names that came back qualified"),
    ("corpus_mentions", "mentions of one concept in corpora"),
    ("corpus_unknown_codes", "  of concepts that the source lacks"),
    ("corpus_names", "names that corpora use"),
    ("corpus_names_new", "  new ones"),
    ("corpus_lost", "claims that lost a name to them"),
    ("names", "names kept"),
    ("concepts", "concepts with names"),
    ("concepts_without_a_name", "concepts left without any name"),
)
# Tables beside the names, and how the summary words their rows.
_BESIDE = (
    ("codes", "source codes of names and concepts"),
    ("relations", "parents of concepts"),
    ("replaced", "retired codes"),
    ("documents", "documents that names came from"),
)


def print_parts(*parts: Table | str) -> None:
    """Tables, and lines that are not broken, on stdout."""
    console = Console(highlight=False, markup=False)
    with console.capture() as printed:  # of a closed pipe rich would make an exit code of its own
        for part in parts:
            line = visible_line(part) if isinstance(part, str) else part
            console.print(line, soft_wrap=isinstance(part, str))
    print(printed.get(), end="")


def counts_table(counts: dict[str, int], beside: dict[str, int] | None = None) -> Table:
    """What became of the rows and the names, and what is kept beside them."""
    table = Table("", "count", title="Rows and names", title_justify="left")
    table.columns[1].justify = "right"
    for key, words in _COUNTS:
        if key in counts:
            table.add_row(words, f"{counts[key]:,}")
    for key, words in _BESIDE:
        if key in (beside or {}):
            table.add_row(words, f"{(beside or {})[key]:,}")
    return table


def groups_table(info: dict[str, Any]) -> Table:
    """Concepts and names of each group, names by language."""
    languages = sorted(info["languages"], key=lambda language: -info["languages"][language])
    columns = ("group", "concepts", "names", *languages)
    table = Table(*columns, title="Semantic groups", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for group in info["groups"]:
        by_language = (f"{group['languages'].get(language, 0):,}" for language in languages)
        table.add_row(group["name"], f"{group['concepts']:,}", f"{group['names']:,}", *by_language)
    return table


def stages_table(report: BuildReport) -> Table:
    """Time and rows a second of each step."""
    table = Table("step", "seconds", "rows", "rows/s", title="Time", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in report.stages:
        rate = stage.rows / stage.seconds if stage.seconds else 0.0
        table.add_row(stage.name, f"{stage.seconds:.1f}", f"{stage.rows:,}", f"{rate:,.0f}")
    return table


def build_summary(report: BuildReport) -> Iterator[Table | str]:
    """The summary of a build, piece by piece."""
    yield groups_table(report.info)
    yield counts_table(report.info["counts"], report.info.get("tables"))
    yield from _corpus_lines(report.info)
    for trie in report.tries:
        yield (
            f"trie for {trie['tokenizer'] or 'the tokenizer'}: {trie['bytes'] / 1e6:,.1f} MB, "
            f"{trie['inner_nodes']:,} shared prefixes, {trie['tail_tokens']:,} tail tokens; "
            f"{trie['too_long']:,} names longer than 128 tokens can never be generated"
        )
        if trie["indistinct"]:
            yield f"  {trie['indistinct']:,} names have the tokens of another name of their group"
    if report.nameless:
        yield f"without any name: {_some(report.nameless, report.info)} (n_names = 0 in concepts)"
    yield stages_table(report)
    memory = report.peak_memory_bytes / 1e9
    yield f"{report.seconds:.1f} s, {memory:.2f} GB of memory at the peak"
    where = "nothing was written" if report.dry_run else f"written to {report.path}"
    yield f"signature {report.info['signature']}; {where}"


def _some(codes: list[str], info: dict[str, Any]) -> str:
    count = info["counts"]["concepts_without_a_name"]
    more = f" and {count - _LISTED:,} more" if count > _LISTED else ""
    return ", ".join(codes[:_LISTED]) + more


def plan_table(plan: dict[str, Any]) -> Table:
    """What a build is about to do."""
    table = Table(title="Plan", title_justify="left", show_header=False)
    for key, value in plan.items():
        table.add_row(key.replace("_", " "), "all" if value is None else _words(value))
    return table


def _corpus_lines(info: dict[str, Any]) -> Iterator[str]:
    """That a knowledge base holds words of corpora."""
    for corpus in info.get("corpora", ()):
        yield (
            f"holds words of the corpus {corpus['name']} ({corpus['documents']:,} documents): it "
            "may be shared only as that may, and links none of these documents"
        )


def _words(value: Any) -> str:
    if isinstance(value, dict):  # what columns are called, or corpora with their hashes
        value = [f"{key}={word[:16]}" for key, word in value.items()]
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def info_tables(info: dict[str, Any], tries: Iterable[Path]) -> Iterator[Table | str]:
    """A knowledge base's description."""
    about = Table(title="Knowledge base", title_justify="left", show_header=False)
    about.add_row("signature", info["signature"])
    about.add_row("source", info["source"]["name"])
    about.add_row("release", info["source"].get("release") or "not told")
    for file in info["source"]["files"]:
        about.add_row(f"  {file['name']}", f"{file['rows']:,} rows, sha256 {file['sha256'][:16]}…")
    for key, value in info["options"].items():
        about.add_row(key.replace("_", " "), "all" if value is None else _words(value))
    about.add_row("tries for tokenizers", _words([path.stem for path in tries]) or "none")
    yield about
    yield from _corpus_lines(info)
    yield groups_table(info)
    yield counts_table(info["counts"], info.get("tables"))
    yield info["licence"]


def hits_table(hits: list[dict[str, Any]], title: str) -> Table:
    """Names found: how they match, and the concept they lead to."""
    table = Table("match", "name", "code", "group", "row", title=title, title_justify="left")
    for hit in hits:
        table.add_row(hit["match"], hit["name"], hit["code"], hit["group"], str(hit["row"]))
    return table


def concept_parts(concept: dict[str, Any]) -> Iterator[Table | str]:
    """A concept: what it is, and what stands beside its names."""
    yield (
        f"concept {concept['code']}: {concept['preferred_name'] or 'without preferred name'}; "
        f"{', '.join(concept['semantic_types']) or 'no semantic types'}; "
        f"{concept['n_names']} names"
    )
    for key, title in (("parents", "parent"), ("children", "child")):
        for row in concept[key]:
            name = row["name"] or "without preferred name"
            yield f"  {title} {row['code']}: {name} ({row['kind']})"
        yield from _more(concept, key)
    for row in concept["replaces"]:
        yield f"  in place of {row['old']} ({row['reason']})"
    yield from _more(concept, "replaces")
    if concept["codes"]:
        table = Table("source", "code", "names", title="Source codes", title_justify="left")
        for row in concept["codes"]:
            table.add_row(row["source"], row["source_code"], ", ".join(row["names"]))
        yield table
        yield from _more(concept, "codes")


def _more(concept: dict[str, Any], key: str) -> Iterator[str]:
    left = concept[f"n_{key}"] - len(concept[key])
    if left:
        yield f"  and {left:,} more"


def successor_lines(code: str, successors: list[dict[str, Any]]) -> Iterator[str]:
    """What became of a retired code."""
    for row in successors:
        if row["code"] is None:
            yield f"{code} is retired; no successor is named"
        else:
            name = row["name"] or "not in this knowledge base"
            yield f"{code} is retired ({row['reason']}): {row['code']}, {name}"


# What a difference counts, and how its tables call it.
_DIFFERENCES = {
    "Concepts": {
        "added": "added", "retired": "retired", "replaced": "replaced",
        "without_names": "without names",
    },
    "Names": {
        "names_added": "added", "names_dropped": "dropped",
        "names_followed": "with concept", "names_moved": "to another",
    },
}  # fmt: skip


def difference_parts(difference: dict[str, Any], limit: int) -> Iterator[Table | str]:
    """What differs between two knowledge bases, with the first of each kind."""
    yield f"{difference['old']} to {difference['new']}"
    for title, counted in _DIFFERENCES.items():
        table = Table("group", *counted.values(), title=title, title_justify="left")
        for column in table.columns[1:]:
            column.justify = "right"
        for group, counts in {**difference["groups"], "all": difference["total"]}.items():
            table.add_row(group, *(f"{counts[key]:,}" for key in counted))
        yield table
    if not difference["knows_successors"]:
        yield "the newer knowledge base keeps no retired codes, so none can be said to be replaced"
    for key in ("added", "retired", "without_names"):
        if difference[key]:
            yield f"{key.replace('_', ' ')}: {_first(difference[key], limit)}"
    if difference["replaced"]:
        pairs = [f"{row['old']} by {row['new']}" for row in difference["replaced"]]
        yield f"replaced: {_first(pairs, limit)}"
    if difference["moved"]:
        yield _moved_table(difference["moved"], limit)
    if "codes" in difference:
        yield from _codes_parts(difference["codes"], limit)


def _first(words: list[str], limit: int) -> str:
    more = len(words) - limit
    return ", ".join(words[:limit]) + (f" and {more:,} more" if more > 0 else "")


def _moved_table(moved: list[dict[str, str]], limit: int) -> Table:
    title = f"{len(moved):,} names that lead to another concept"
    table = Table("name", "group", "old", "new", title=title, title_justify="left")
    for row in moved[:limit]:
        table.add_row(row["name"], row["group"], row["old"], row["new"])
    return table


def _codes_parts(codes: list[dict[str, Any]], limit: int) -> Iterator[Table | str]:
    if not codes:
        yield "both knowledge bases have all of the codes"
        return
    title = f"{len(codes):,} codes that are affected"
    table = Table("code", "gold", "predicted", "what", "becomes", title=title, title_justify="left")
    for row in sorted(codes, key=lambda row: -(row["gold"] + row["predicted"]))[:limit]:
        becomes = f"{row['becomes']} ({row['reason']})" if row["becomes"] else ""
        what = row["status"].replace("_", " ")
        table.add_row(row["code"], f"{row['gold']:,}", f"{row['predicted']:,}", what, becomes)
    yield table


def decisions_table(decisions: list[dict[str, Any]]) -> Table:
    """Names that were dropped or given to another concept, and by which rule."""
    table = Table("rule", "name", "group", "claimed by", "given to", title="Dropped or reassigned",
                  title_justify="left")  # fmt: skip
    for decision in decisions:
        given_to = decision["given_to"] or "nobody"
        table.add_row(
            decision["rule"], decision["name"], decision["group"], decision["code"], given_to
        )
    return table
