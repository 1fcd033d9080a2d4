"""`longbel convert`: predictions back into the corpus's own form."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kb_builder.errors import LongbelError
from longbel_cli.commands import options as shared
from longbel_cli.commands.options import OUTPUT, flag, option

if TYPE_CHECKING:
    from longbel_cli.corpora.file_writing import OutputOptions
    from longbel_cli.corpora.prediction_index import PredictionIndex
    from longbel_cli.corpora.records import Problem

log = logging.getLogger(__name__)

TABLE, OMOP = "Table", "NOTE_NLP"

EXAMPLE = """
longbel convert preds.jsonl corpus/ --to brat --out linked/
longbel convert preds.jsonl corpus/ --to table --vocabularies SNOMEDCT_US --kb kb/ --out answers.csv
"""


def convert(
    context: typer.Context,
    preds: shared.Predictions,
    corpus: shared.CorpusPaths,
    to: Annotated[
        str,
        option(
            "--to",
            "Format to write: {written_formats}.",
            OUTPUT,
            metavar="FORMAT",
            choice="written_formats",
        ),
    ],
    out: Annotated[
        Path,
        option(
            "--out",
            "New folder, or for {file_outputs} a new file.",
            OUTPUT,
            metavar="FOLDER|FILE",
        ),
    ],
    format: shared.AnnotatedFormat = "auto",
    database: Annotated[
        str,
        option(
            "--database",
            "Name of the database of the codes, for N lines and db_name.",
            OUTPUT,
            metavar="NAME",
        ),
    ] = "UMLS",
    replace_gold: Annotated[
        bool,
        flag(
            "--replace-gold",
            "Replace the corpus's own codes by the predictions (BigBio); by default they stay.",
            OUTPUT,
        ),
    ] = False,
    nil_score: Annotated[
        float | None,
        option(
            "--nil-score", "Write no concept where the answer scores below S.", OUTPUT, metavar="S"
        ),
    ] = None,
    candidates: Annotated[
        int | None,
        option(
            "--candidates",
            "A row for each of the best N candidates, with its rank.",
            TABLE,
            metavar="N",
            default="the answer alone",
            minimum=1,
        ),
    ] = None,
    text: Annotated[bool, flag("--text", "A column with the mentions' texts.", TABLE)] = False,
    vocabularies: Annotated[
        str | None,
        option(
            "--vocabularies",
            "A column for each vocabulary of --kb, with its codes of the concept.",
            TABLE,
            metavar="NAME,...",
        ),
    ] = None,
    types: Annotated[
        bool, flag("--types", "A column with the concept's semantic types, from --kb.", TABLE)
    ] = False,
    for_spreadsheet: Annotated[
        bool,
        flag(
            "--for-spreadsheet",
            "An apostrophe before cells that a spreadsheet would compute.",
            TABLE,
        ),
    ] = False,
    kb: shared.Kb = None,
    note_ids: Annotated[
        Path | None,
        option(
            "--note-ids",
            "Table `document_id,note_id`.",
            OMOP,
            metavar="FILE",
            default="the documents' ids",
        ),
    ] = None,
    omop_vocabulary: Annotated[
        Path | None,
        option(
            "--omop-vocabulary",
            "Vocabulary folder that gives concepts for the source codes of --kb.",
            OMOP,
            metavar="DIR",
        ),
    ] = None,
    concept_map: Annotated[
        Path | None,
        option(
            "--concept-map",
            "Table `code,concept_id`, or of the layout of SOURCE_TO_CONCEPT_MAP.",
            OMOP,
            metavar="FILE",
        ),
    ] = None,
    first_id: Annotated[
        int, option("--first-id", "First note_nlp_id; each row has the next.", OMOP, metavar="N")
    ] = 1,
    bigint: Annotated[
        bool, flag("--bigint", "Ids of 64 bits, where the database has such columns.", OMOP)
    ] = False,
    date: Annotated[
        str | None,
        option("--date", "Day for nlp_date.", OMOP, metavar="YYYY-MM-DD", default="the run's"),
    ] = None,
    no_text: Annotated[
        bool,
        flag(
            "--no-text", "Names of concepts as lexical_variant, in place of the notes' text.", OMOP
        ),
    ] = False,
) -> None:
    """Write a corpus with its predicted concepts, or a table of them.

    BRAT from BRAT keeps every byte and adds N lines. BigBio keeps the corpus's own codes, with the
    predictions beside them as `predicted`. Exit code 5: part of the corpus was quarantined.
    """
    from kb_builder.files import refuse_inputs
    from longbel_cli.corpora import Corpus
    from longbel_cli.corpora.converting import convert as write_converted
    from longbel_cli.corpora.converting import convert_to_file
    from longbel_cli.corpora.formats import writers
    from longbel_cli.corpora.outputs import FILE_OUTPUTS
    from longbel_cli.corpora.prediction_index import PredictionIndex
    from longbel_cli.corpora.writing import warn

    _check_flags(context, to)
    left_out: list[Problem] = []

    def leave_out(problem: Problem) -> None:
        left_out.append(problem)
        log.warning("quarantined: %s", problem.message)

    source = Corpus(corpus, format, warn)
    read = (preds, kb, note_ids, concept_map, omop_vocabulary, *corpus)
    refuse_inputs([("--out", out)], (*read, *(file.path for file in source.files)))
    documents = source.read_whole(leave_out)
    if to in FILE_OUTPUTS:
        FILE_OUTPUTS[to].suffix_of(out)
        index = PredictionIndex(preds)
        options = _options(context, to, index, kb)
        report = convert_to_file(index, documents, FILE_OUTPUTS[to], out, options, nil_score)
    else:
        report = write_converted(
            PredictionIndex(preds), documents, writers()[to], out, database, replace_gold, nil_score
        )
    log.info(
        f"{out}: {report.documents} documents, {report.answered} of {report.mentions} mentions "
        f"with a concept, {report.unjoined} predictions without a mention"
    )
    if report.nil:
        log.info("%d answers below --nil-score are no concept", report.nil)
    if left_out:
        raise typer.Exit(shared.QUARANTINED)


# The flags that not every output takes, by the names of their parameters.
_OF_SOME = (
    "text", "candidates", "vocabularies", "types", "for_spreadsheet", "note_ids",
    "omop_vocabulary", "concept_map", "first_id", "bigint", "date", "no_text",
)  # fmt: skip


def _check_flags(context: typer.Context, to: str) -> None:
    """LongbelError (usage) for a flag that means nothing to the output."""
    from longbel_cli.corpora.formats import CORPUS_FORMATS
    from longbel_cli.corpora.outputs import FILE_OUTPUTS

    given = shared.given(context)
    if to in FILE_OUTPUTS:
        taken = FILE_OUTPUTS[to].flags
    else:
        replaces = CORPUS_FORMATS[to].replaces_gold
        taken = frozenset({"database", "replace_gold"} if replaces else {"database"})
    refused = {
        f"--{name.replace('_', '-')}": name in given and name not in taken
        for name in ("database", "replace_gold", *_OF_SOME)
    }
    shared.refuse_beside(f"--to {to}", refused, "Leave it out.")


def _options(
    context: typer.Context, to: str, index: PredictionIndex, kb: Path | None
) -> OutputOptions:
    """Options of an output of one file; the knowledge base is opened where something asks."""
    from longbel_cli.corpora.file_writing import OutputOptions

    if to == "omop":
        from longbel_cli.commands.omop import omop_options

        return OutputOptions(omop=omop_options(index, kb, context.params))

    vocabularies = shared.listed(context.params["vocabularies"])
    facts = None
    if vocabularies or context.params["types"]:
        from kb_builder.store.concept_facts import ConceptFacts
        from kb_builder.store.knowledge_base import KnowledgeBase

        if kb is None:
            raise LongbelError(
                "--vocabularies and --types come from the knowledge base",
                "Give it with --kb.",
                exit_code=2,
            )
        facts = ConceptFacts(KnowledgeBase.open(kb), vocabularies)
    return shared.options_of(context, OutputOptions, facts=facts)
