"""The outputs of `convert` that are one file: one row for each, from which help and messages are
made. Formats that are folders, corpora all of them, are rows of `formats.CORPUS_FORMATS`.

To add an output, write a module beside this one with a function `open_writer`, and add its row. The
module is imported when it is written: help needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from kb_builder.errors import LongbelError, listed

if TYPE_CHECKING:
    from longbel_cli.corpora.file_writing import FileWriter, OutputOptions

_TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class FileOutput:
    """`suffixes`: what the file's name may end in, which says how it is written. `flags`: those of
    `convert` that it takes, of those that not every output does, by the names of their
    parameters."""

    name: str
    help: str
    suffixes: tuple[str, ...]
    module: str
    flags: frozenset[str] = frozenset()

    def open(self, path: Path, suffix: str, options: OutputOptions) -> FileWriter:
        """A writer to that path of what a name with the suffix says."""
        module = import_module(f"longbel_cli.corpora.{self.module}")
        writer: FileWriter = module.open_writer(path, suffix, options)
        return writer

    def suffix_of(self, out: Path) -> str:
        """How a file of this name is written; LongbelError (usage) where it does not say."""
        suffix = out.suffix.lower()
        if suffix not in self.suffixes:
            raise LongbelError(
                f"--out {out}: --to {self.name} writes one file whose name ends in "
                f"{listed(self.suffixes)}",
                "Name such a file.",
                exit_code=2,
            )
        return suffix


FILE_OUTPUTS: dict[str, FileOutput] = {
    row.name: row
    for row in (
        FileOutput("bioc", "BioC (.json or .xml)", (".json", ".xml"), "bioc_writer"),
        FileOutput(
            "table",
            "one row a mention (.csv, .tsv or .parquet)",
            _TABLES,
            "table_writer",
            frozenset({"text", "candidates", "vocabularies", "types", "for_spreadsheet"}),
        ),
        FileOutput(
            "omop",
            "NOTE_NLP of the OMOP CDM 5.4 (.csv, .tsv or .parquet)",
            _TABLES,
            "omop_writer",
            frozenset(
                {
                    "note_ids",
                    "concept_map",
                    "omop_vocabulary",
                    "first_id",
                    "bigint",
                    "date",
                    "no_text",
                }
            ),
        ),
    )
}


def written_formats() -> dict[str, str]:
    """All that `convert` writes, with a line of help each."""
    from longbel_cli.corpora.formats import CORPUS_FORMATS, writers

    folders = {name: CORPUS_FORMATS[name].help for name in writers()}
    return folders | {name: row.help for name, row in FILE_OUTPUTS.items()}
