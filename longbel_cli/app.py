"""The command line: which commands there are, and how errors leave the program.

Command modules import nothing heavy at their top, so that `--help` is instant.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from contextlib import suppress
from typing import Annotated, Any, NamedTuple

import typer

from kb_builder.errors import LongbelError
from kb_builder.text import visible_line
from longbel_cli.commands.help import Command, Group
from longbel_cli.commands.leaving import sigterm_tidies_up
from longbel_cli.commands.notes import notes_on_stderr
from longbel_cli.commands.privacy import files_of_text

FIRST_RUN = "From a terminology to scored predictions"
LONG_RUNS = "Long runs"
MODELS = "Models"


class Entry(NamedTuple):
    """A command: its name on the command line, the module in longbel_cli.commands, the function in
    it (a `Typer` that is called `app` is a group of commands), its heading in the list, and whether
    what it writes may hold text of documents."""

    name: str
    module: str
    function: str
    heading: str
    holds_text: bool = True


# In the order of a first run.
COMMANDS = (
    Entry("build-kb", "build_kb", "build_kb", FIRST_RUN, holds_text=False),
    Entry("kb", "kb", "app", FIRST_RUN, holds_text=False),
    Entry("check", "check", "check", FIRST_RUN),
    Entry("detect", "detect", "detect", FIRST_RUN),
    Entry("link", "link", "link", FIRST_RUN),
    Entry("score", "score", "score", FIRST_RUN),
    Entry("explain", "explain", "explain", FIRST_RUN),
    Entry("convert", "convert", "convert", FIRST_RUN),
    Entry("status", "status", "status", LONG_RUNS),
    Entry("merge", "merge", "merge", LONG_RUNS),
    Entry("slurm", "slurm", "slurm", LONG_RUNS),
    Entry("train", "train", "train", MODELS),
    Entry("fuse", "fuse", "fuse", MODELS),
)

EXAMPLE = """
longbel build-kb umls-2025AA-metathesaurus-full.zip --out kb/
longbel link corpus/ --kb kb/ --model model/ --out preds.jsonl
longbel score preds.jsonl
"""

STOPPED = (75, 130)  # asked to stop: no error


class _Longbel(Group):
    def list_commands(self, ctx: Any) -> list[str]:
        return [entry.name for entry in COMMANDS]


app = typer.Typer(
    name="longbel",
    cls=_Longbel,
    help="Document-level biomedical entity linking: link mentions to concepts of a knowledge base.",
    epilog=EXAMPLE,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from longbel_cli.version import version_text

        typer.echo(version_text())
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print versions and the device, and exit.",
        ),
    ] = False,
) -> None:
    context.with_resource(notes_on_stderr())
    if any(entry.holds_text for entry in COMMANDS if entry.name == context.invoked_subcommand):
        context.with_resource(files_of_text())


def _add(entry: Entry) -> None:
    module = importlib.import_module(f"longbel_cli.commands.{entry.module}")
    command = getattr(module, entry.function)
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=entry.name, rich_help_panel=entry.heading)
        return
    decorate = app.command(
        entry.name, cls=Command, epilog=module.EXAMPLE, rich_help_panel=entry.heading
    )
    decorate(command)


for _entry in COMMANDS:
    _add(_entry)


def main() -> None:
    """Run the command line; leave with the exit codes of the README's table."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # JSON lines and pages are UTF-8 whatever the locale says.
        sys.stdout.reconfigure(encoding="utf-8", errors=sys.stdout.errors)
    try:
        with sigterm_tidies_up():
            app()
    except LongbelError as error:
        label = "" if error.exit_code in STOPPED else "error: "
        _print_error(f"{label}{error.lines()[0]}", *error.lines()[1:])
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("LONGBEL_DEBUG"):
            raise
        sys.exit(_explain(error))


def _explain(error: Exception) -> int:
    """Report an unexpected exception without quoting it; return the exit code."""
    if isinstance(error, OSError) and error.errno is not None:  # the system's own words
        file = "" if error.filename is None else visible_line(f"{error.filename}: ")
        _print_error(f"error: {file}{error.strerror}")
        return 3
    if isinstance(error, MemoryError):
        _print_error(
            "error: not enough memory",
            "Use a machine with more memory, or give the command less at once.",
        )
        return 3
    # The message of a foreign exception may quote its input: name its type and place alone.
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "unknown"
    _print_error(
        f"internal error: {type(error).__name__} at {where}",
        "Set LONGBEL_DEBUG=1 to see the traceback, and report it.",
    )
    return 1


def _print_error(message: str, *more: str) -> None:
    with suppress(OSError):  # a standard error that takes nothing changes no exit code
        print(f"longbel: {message}", *(f"  {line}" for line in more), sep="\n", file=sys.stderr)
