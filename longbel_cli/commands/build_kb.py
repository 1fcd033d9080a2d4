"""`longbel build-kb`: a terminology becomes a knowledge base. Flags, progress and the summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longbel_cli.commands.notes import set_quiet
from longbel_cli.progress import Progress

if TYPE_CHECKING:
    from kb_builder.build import BuildReport

_SHOWN = 5


def build_kb(
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="UMLS or RxNorm folder, .zip or .nlm; OMOP vocabulary folder; OBO, OBO Graph JSON "
            "or MeSH XML files; tables (.tsv, .csv, .parquet) with code, name, group; a "
            "checkpoint's text_to_code.json. Several files are of one kind.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Directory of the knowledge base.", show_default=False)
    ],
    tokenizer: Annotated[
        list[Path] | None,
        typer.Option(
            help="Model folder to build a trie for; may be repeated. `link` adds a missing one.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="quaero or medmentions-st21pv.", show_default=False)
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(
            help="Languages of names, such as ENG,FRE.", show_default="those of ENG,FRE,SPA held"
        ),
    ] = None,
    vocabularies: Annotated[
        str | None,
        typer.Option(
            help="Vocabularies, such as MSH,SNOMEDCT_US (UMLS), SNOMED (OMOP), HP (OBO).",
            show_default="all",
        ),
    ] = None,
    semantic_groups: Annotated[
        str | None, typer.Option(help="Groups, such as DISO,CHEM.", show_default="all")
    ] = None,
    semantic_types: Annotated[
        str | None, typer.Option(help="Semantic types, such as T047,T191.", show_default="all")
    ] = None,
    suppressible: Annotated[
        str, typer.Option(help="drop or keep atoms that the release marks as suppressible.")
    ] = "drop",
    ambiguous: Annotated[
        str,
        typer.Option(
            help="drop: a concept may lose all its names to others; qualify: it stays reachable "
            "under 'name (preferred title)'."
        ),
    ] = "drop",
    group: Annotated[
        str | None,
        typer.Option(
            help="One group for all names, such as DISO: OBO, OMOP, MeSH, tables.",
            show_default="as the source says",
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="OBO: groups are namespaces, or the names of root terms: namespace or root.",
            show_default="namespace",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Tables: what columns are called, such as code=ICD10,name=Text.",
            show_default="by usual names",
        ),
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(
            help="OMOP: concept_id, or concept_code (VOCABULARY:code where there are several).",
            show_default="concept_id",
        ),
    ] = None,
    domains: Annotated[
        str | None, typer.Option(help="OMOP: domains, such as Condition,Drug.", show_default="all")
    ] = None,
    standard_only: Annotated[
        bool, typer.Option("--standard-only", help="OMOP: standard concepts alone.")
    ] = False,
    synonyms: Annotated[
        str | None,
        typer.Option(
            help="OBO: scopes of synonyms: exact, related, broad, narrow; or none.",
            show_default="exact,related",
        ),
    ] = None,
    max_bad_rows: Annotated[
        int | None,
        typer.Option(
            min=0, help="Unreadable rows to go on with.", show_default="10, or 0.1 % if more"
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a knowledge base of this name.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and the counts; write nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Build a knowledge base from a terminology.

    Names are cleaned and disambiguated; audit.parquet in the result says what became of each
    name that was dropped or given to another concept.
    """
    import signal

    from kb_builder.build import BuildOptions
    from kb_builder.build import build_kb as build
    from kb_builder.sources.tables import columns_of
    from longbel_cli.commands.kb_tables import build_summary, plan_table, print_parts

    options = BuildOptions(
        source=tuple(source), out=out, tokenizers=tuple(tokenizer or ()), preset=preset,
        languages=_listed(languages), vocabularies=_listed(vocabularies),
        semantic_groups=_listed(semantic_groups), semantic_types=_listed(semantic_types),
        suppressible=suppressible, ambiguous=ambiguous, group=group,
        group_by=group_by, columns=columns_of(columns), code=code, domains=_listed(domains),
        standard_only=standard_only, synonyms=_listed(synonyms), max_bad_rows=max_bad_rows,
        overwrite=overwrite, dry_run=dry_run,
    )  # fmt: skip
    # Ended from outside, a build tidies up as it does when interrupted by hand.
    signal.signal(signal.SIGTERM, _interrupt)
    if dry_run and not quiet:
        print_parts(
            plan_table({"source": options.source_name, "out": str(out), **options.deciding()})
        )
    set_quiet(quiet)
    with Progress("build-kb") as progress:
        report = build(options, progress.stage)
    if not quiet:
        print_parts(*build_summary(report))
    _warn(report)
    if report.n_unreadable or report.n_untyped:
        raise typer.Exit(5)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


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
        typer.echo(f"  {row.file}:{row.line}: {row.reason}", err=True)
    if len(report.quarantined) > _SHOWN:
        typer.echo("  more in quarantine.jsonl", err=True)


def _listed(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(word.strip() for word in text.split(",") if word.strip())
