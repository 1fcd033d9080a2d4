"""The options that several commands take: each with one name, one type and one help text.

A command uses them as annotations of its parameters, `kb: Kb = None`, and makes its own with
`option`, `flag` and `argument`. A `choice` is a name in `choices.CHOICES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer

from kb_builder.errors import LongbelError
from longbel_cli.commands.choices import checked, completed
from longbel_cli.commands.help import GENERAL

# The groups of options on a help page.
INPUT = "Input"
OUTPUT = "Output"
MODEL = "Model and knowledge base"
DECODING = "Decoding"
DETECTION = "Detection"
RUNS = "Runs"
COMPUTING = "Computing"
DIAGNOSTICS = "Diagnostics"


Options = TypeVar("Options")
QUARANTINED = 5  # the exit code of what is done, but for what was quarantined


def given(context: typer.Context) -> list[str]:
    """The names of the parameters that the command line states."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def options_of(context: typer.Context, kind: type[Options], **more: Any) -> Options:
    """An option record whose fields are the command's parameters of the same names, but for
    `more`."""
    names = {field.name for field in fields(cast(Any, kind))} & context.params.keys()
    return kind(**{name: context.params[name] for name in names} | more)


def listed(text: str | None) -> tuple[str, ...]:
    """The parts of a list by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def number_or_auto(flag: str, text: str) -> int | None:
    """The value of a flag that takes a positive number, or `auto`: None."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise LongbelError(f"{flag} {text}: neither a positive number nor auto", exit_code=2)
    return int(text)


def refuse_beside(what: str, given: Mapping[str, object], hint: str) -> None:
    """LongbelError for the first flag that was given and does not go with `what`."""
    for flag, is_given in given.items():
        if is_given:
            raise LongbelError(f"{flag} does not go with {what}", hint, exit_code=2)


def option(
    name: str,
    help: str,
    panel: str = GENERAL,
    *,
    metavar: str,
    default: str | None = None,
    choice: str | None = None,
    commas: bool = False,
    closed: bool = True,
    envvar: str | None = None,
    minimum: int | None = None,
) -> Any:
    """An option with a value. `default` says what happens without it, where that is no value.
    `commas`: the value may list several names of the choice; `closed`: it takes no others."""
    return typer.Option(
        name,
        help=help,
        rich_help_panel=panel,
        metavar=metavar,
        show_default=default or True,
        callback=checked(choice, commas) if choice and closed else None,
        autocompletion=None if choice is None else completed(choice, commas),
        envvar=envvar,
        min=minimum,
    )


def flag(name: str, help: str, panel: str = GENERAL) -> Any:
    """An option without a value."""
    return typer.Option(name, help=help, rich_help_panel=panel)


def argument(metavar: str, help: str) -> Any:
    """A parameter that is known by its place."""
    return typer.Argument(metavar=metavar, help=help, rich_help_panel=INPUT, show_default=False)


CorpusPaths = Annotated[
    list[str],
    argument("CORPUS...", "Files or folders of the corpus; - reads JSONL from stdin."),
]
Predictions = Annotated[Path, argument("PREDS", "Predictions, as `longbel link` writes them.")]
RunPath = Annotated[Path, argument("OUT", "Path that was given to --out of `longbel link`.")]


def _corpus_format(default: str | None = None, choice: str = "corpus_formats") -> Any:
    text = f"Corpus format: {{{choice}}}."
    return option("--format", text, INPUT, metavar="FORMAT", choice=choice, default=default)


def _kb(default: str | None = None, envvar: str | None = "LONGBEL_KB") -> Any:
    text = "Knowledge base directory."
    return option("--kb", text, MODEL, metavar="KB", envvar=envvar, default=default)


def _model(default: str | None = None, envvar: str | None = "LONGBEL_MODEL") -> Any:
    text = "Model folder, id of a model on the Hugging Face Hub, or sample (the bundled one)."
    return option("--model", text, MODEL, metavar="MODEL", envvar=envvar, default=default)


def _context_format(default: str | None = None) -> Any:
    return option(
        "--context-format",
        "Prompt format: {prompt_formats}.",
        MODEL,
        metavar="FORMAT",
        choice="prompt_formats",
        default=default,
    )


def _language(default: str | None = None) -> Any:
    return option(
        "--language",
        "Language of the texts, for formats that show sentences: {languages}.",
        MODEL,
        metavar="LANG",
        choice="languages",
        closed=False,
        default=default,
    )


# What `longbel explain` is not told it takes from the run.
_RECORDED = "as run.json says"
_SAMPLE = "the bundled sample"

CorpusFormat = Annotated[str, _corpus_format()]
AnnotatedFormat = Annotated[str, _corpus_format(choice="annotated_formats")]
TextColumn = Annotated[
    str | None,
    option(
        "--text-column",
        "Column of the texts in tables of texts.",
        INPUT,
        metavar="NAME",
        default="note_text, else text",
    ),
]
IdColumn = Annotated[
    str | None,
    option(
        "--id-column",
        "Column of the documents' ids in tables of texts.",
        INPUT,
        metavar="NAME",
        default="note_id, else document_id, else id",
    ),
]
RecordedCorpusFormat = Annotated[str | None, _corpus_format(_RECORDED, "annotated_formats")]
TypeMap = Annotated[
    Path | None,
    option(
        "--type-map",
        "Groups of entity types: lines of `type<TAB>group`, or a JSON object.",
        INPUT,
        metavar="FILE",
    ),
]
OnError = Annotated[
    str,
    option(
        "--on-error",
        "Documents and mentions that cannot be used: {on_error:help}.",
        INPUT,
        metavar="ACTION",
        choice="on_error",
    ),
]
UnknownGroup = Annotated[
    str,
    option(
        "--unknown-group",
        "Entity types that are no group of the knowledge base: {unknown_group:help}.",
        INPUT,
        metavar="ACTION",
        choice="unknown_group",
    ),
]
RetiredCodes = Annotated[
    Path | None,
    option(
        "--retired",
        "What stands for retired codes: a table `old,new`, or a knowledge base that keeps them.",
        INPUT,
        metavar="FILE|KB",
    ),
]
Overwrite = Annotated[bool, flag("--overwrite", "Replace what lies under --out.", OUTPUT)]
AsJson = Annotated[bool, flag("--json", "Print JSON on stdout.", OUTPUT)]

Kb = Annotated[Path | None, _kb()]
SampleKb = Annotated[Path | None, _kb(_SAMPLE)]
RecordedKb = Annotated[Path | None, _kb(_RECORDED, envvar=None)]
Model = Annotated[str | None, _model(_SAMPLE)]
RecordedModel = Annotated[str | None, _model(_RECORDED, envvar=None)]
ContextFormat = Annotated[str, _context_format()]
ModelContextFormat = Annotated[str | None, _context_format("the model's, else hybrid_long")]
RecordedContextFormat = Annotated[str | None, _context_format(_RECORDED)]
Language = Annotated[str | None, _language()]
ModelLanguage = Annotated[str | None, _language("the model's")]
RecordedLanguage = Annotated[str | None, _language(_RECORDED)]

Device = Annotated[
    str,
    option(
        "--device", "Device to compute on: auto, cpu, cuda, cuda:1, ...", COMPUTING,
        metavar="DEVICE",
    ),
]  # fmt: skip
Dtype = Annotated[
    str,
    option(
        "--dtype", "Type of the weights: {dtypes}.", COMPUTING, metavar="DTYPE", choice="dtypes"
    ),
]
MaxBatchTokens = Annotated[
    int | None,
    option(
        "--max-batch-tokens", "Prompt tokens that are computed together.", COMPUTING, metavar="N",
        default="by free memory",
    ),
]  # fmt: skip
Threads = Annotated[
    int | None, option("--threads", "CPU threads.", COMPUTING, metavar="N", default="all cores")
]
StopFile = Annotated[
    Path | None,
    option("--stop", "Texts that are never mentions, one a line.", DETECTION, metavar="FILE"),
]
DetectedGroups = Annotated[
    str | None,
    option(
        "--semantic-groups",
        "Semantic groups to detect; text that names of other groups match is skipped.",
        DETECTION,
        metavar="GROUP,...",
        default="all",
    ),
]
DetectedTypes = Annotated[
    str | None,
    option(
        "--semantic-types",
        "Semantic types of concepts whose names are detected.",
        DETECTION,
        metavar="TYPE,...",
        default="all",
    ),
]
DetectedVocabularies = Annotated[
    str | None,
    option(
        "--vocabularies",
        "Vocabularies whose names are detected.",
        DETECTION,
        metavar="NAME,...",
        default="all",
    ),
]
UndetectedVocabularies = Annotated[
    str | None,
    option(
        "--without-vocabularies",
        "Vocabularies whose names are not detected.",
        DETECTION,
        metavar="NAME,...",
        default="none",
    ),
]
Nested = Annotated[bool, flag("--nested", "Also detect mentions inside other mentions.", DETECTION)]
ShardOption = Annotated[
    str,
    option(
        "--shard", "The shard to work on: I/N (from 1), or auto (Slurm, accelerate, torchrun).",
        RUNS, metavar="I/N",
    ),
]  # fmt: skip
Restart = Annotated[bool, flag("--restart", "Start over, and keep the earlier run aside.", RUNS)]
TimeLimit = Annotated[
    str | None,
    option(
        "--time-limit", "Stop, resumable, before this time is over: 90m, 20h, 1-12:00:00.", RUNS,
        metavar="TIME",
    ),
]  # fmt: skip
Quiet = Annotated[bool, flag("--quiet", "Print nothing but errors and results.")]
