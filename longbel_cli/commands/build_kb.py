"""`longbel build-kb`: a terminology becomes a knowledge base. Flags, progress and the summary."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kb_builder.text import visible_line
from longbel_cli.commands import options as shared
from longbel_cli.commands.notes import set_quiet
from longbel_cli.commands.options import DIAGNOSTICS, OUTPUT, argument, flag, option
from longbel_cli.commands.privacy import files_of_text
from longbel_cli.progress import Progress

if TYPE_CHECKING:
    from kb_builder.build import BuildReport

SELECTION = "Selection"
CORPORA = "Names of corpora"
_SHOWN = 5

EXAMPLE = """
longbel build-kb umls-2025AA-metathesaurus-full.zip --preset quaero --out kb/
longbel build-kb gazetteer.tsv --out kb/
"""


def selecting(name: str, help: str, **settings: Any) -> Any:
    """An option of the selection that not every kind of source takes; its help says which do."""
    return option(name, f"{help} For {{takers:{name}}}.", SELECTION, **settings)


def build_kb(
    source: Annotated[
        list[Path],
        argument("SOURCE...", "Source, or several of one kind: {sources:kinds}."),
    ],
    out: Annotated[
        Path, option("--out", "Knowledge base directory to make.", OUTPUT, metavar="KB")
    ],
    tokenizer: Annotated[
        list[Path] | None,
        option(
            "--tokenizer",
            "Model folder to build a trie for (repeatable); `link` adds a missing one.",
            OUTPUT,
            metavar="MODEL",
        ),
    ] = None,
    overwrite: shared.Overwrite = False,
    languages: Annotated[
        str | None,
        selecting(
            "--languages",
            "Languages of names, such as ENG,FRE.",
            metavar="LANG,...",
            default="those of ENG,FRE,SPA that there are",
        ),
    ] = None,
    vocabularies: Annotated[
        str | None,
        selecting(
            "--vocabularies",
            "Vocabularies, such as MSH,SNOMEDCT_US (UMLS) or HP (OBO).",
            metavar="NAME,...",
            default="all",
        ),
    ] = None,
    semantic_groups: Annotated[
        str | None,
        option(
            "--semantic-groups",
            "Semantic groups, such as DISO,CHEM.",
            SELECTION,
            metavar="GROUP,...",
            default="all",
        ),
    ] = None,
    semantic_types: Annotated[
        str | None,
        selecting(
            "--semantic-types",
            "Semantic types, such as T047,T191.",
            metavar="TYPE,...",
            default="all",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        selecting(
            "--preset",
            "Published selection of types: {presets}.",
            metavar="PRESET",
            choice="presets",
        ),
    ] = None,
    suppressible: Annotated[
        str,
        selecting(
            "--suppressible",
            "Atoms that the release marks as suppressible: {suppressible}.",
            metavar="ACTION",
            choice="suppressible",
        ),
    ] = "drop",
    group: Annotated[
        str | None,
        selecting(
            "--group",
            "One group for all names, such as DISO.",
            metavar="GROUP",
            default="as the source says",
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        selecting(
            "--group-by",
            "What names the groups: {groupings}.",
            metavar="WHAT",
            choice="groupings",
            default="namespace",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        selecting(
            "--columns",
            "Names of the columns, such as code=ICD10,name=Text.",
            metavar="COLUMN=NAME,...",
            default="the usual ones",
        ),
    ] = None,
    code: Annotated[
        str | None,
        selecting(
            "--code",
            "Code of a concept: {codes:help}.",
            metavar="COLUMN",
            choice="codes",
            default="concept_id",
        ),
    ] = None,
    domains: Annotated[
        str | None,
        selecting(
            "--domains", "Domains, such as Condition,Drug.", metavar="DOMAIN,...", default="all"
        ),
    ] = None,
    standard_only: Annotated[
        bool,
        flag("--standard-only", "Standard concepts only. For {takers:--standard-only}.", SELECTION),
    ] = False,
    synonyms: Annotated[
        str | None,
        selecting(
            "--synonyms",
            "Scopes of synonyms, or none: {scopes}.",
            metavar="SCOPE,...",
            default="exact,related",
        ),
    ] = None,
    ambiguous: Annotated[
        str,
        option(
            "--ambiguous",
            "Names of several concepts: {ambiguous:help}.",
            SELECTION,
            metavar="ACTION",
            choice="ambiguous",
        ),
    ] = "drop",
    names_from: Annotated[
        list[Path] | None,
        option(
            "--names-from",
            "Annotated corpus whose names of concepts come before the source's (repeatable).",
            CORPORA,
            metavar="CORPUS",
        ),
    ] = None,
    names_min_documents: Annotated[
        int,
        option(
            "--names-min-documents",
            "Minimum number of documents in which a name is annotated with its concept.",
            CORPORA,
            metavar="N",
            minimum=1,
        ),
    ] = 1,
    max_bad_rows: Annotated[
        int | None,
        option(
            "--max-bad-rows",
            "Unreadable rows above which the build fails.",
            DIAGNOSTICS,
            metavar="N",
            minimum=0,
            default="10, or 0.1 % if more",
        ),
    ] = None,
    dry_run: Annotated[
        bool, flag("--dry-run", "Print the plan and the counts, and write nothing.", DIAGNOSTICS)
    ] = False,
    quiet: shared.Quiet = False,
) -> None:
    """Build a knowledge base from a terminology.

    Names are normalised and disambiguated; audit.parquet in the result says what became of each
    name that was dropped or given to another concept. Exit code 5: built, but for rows that could
    not be read.
    """
    from kb_builder.build import BuildOptions
    from kb_builder.build import build_kb as build
    from kb_builder.files import refuse_inputs
    from kb_builder.sources.tables import columns_of
    from longbel_cli.commands.kb_tables import build_summary, plan_table, print_parts
    from longbel_cli.corpora.gold_names import gold_names

    refuse_inputs([("--out", out)], (*source, *(tokenizer or ()), *(names_from or ())))
    options = BuildOptions(
        source=tuple(source), out=out, tokenizers=tuple(tokenizer or ()), preset=preset,
        languages=_names(languages), vocabularies=_names(vocabularies),
        semantic_groups=_names(semantic_groups), semantic_types=_names(semantic_types),
        suppressible=suppressible, ambiguous=ambiguous, group=group,
        group_by=group_by, columns=columns_of(columns), code=code, domains=_names(domains),
        standard_only=standard_only, synonyms=_names(synonyms), max_bad_rows=max_bad_rows,
        names_from=gold_names(names_from or ()), names_min_documents=names_min_documents,
        overwrite=overwrite, dry_run=dry_run,
    )  # fmt: skip
    if dry_run and not quiet:
        print_parts(
            plan_table({"source": options.source_name, "out": str(out), **options.deciding()})
        )
    set_quiet(quiet)
    # Names of a corpus are words of its documents.
    private = files_of_text() if names_from else nullcontext()
    with private, Progress("build-kb") as progress:
        report = build(options, progress.stage)
    if not quiet:
        print_parts(*build_summary(report))
    _warn(report)
    if report.n_unreadable or report.n_untyped:
        raise typer.Exit(shared.QUARANTINED)


def _warn(report: BuildReport) -> None:
    """What was left out, with the first places, on stderr."""
    kinds = (
        (report.n_unreadable, "rows could not be read and were left out"),
        (report.n_untyped, "concepts have no semantic type and were left out"),
    )
    for count, words in kinds:
        if count:
            typer.echo(f"longbel: warning: {count} {words}", err=True)
    for row in report.quarantined[:_SHOWN]:
        location = f"{row.file}:{row.line}" if row.line else row.file
        typer.echo(visible_line(f"  {location}: {row.reason}"), err=True)
    if len(report.quarantined) > _SHOWN:
        typer.echo("  more in quarantine.jsonl", err=True)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else shared.listed(text)
