"""The tables of an evaluation as text: in a terminal, and in Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Sequence

from kb_builder.text import no_formula, visible, visible_line
from longbel_cli.scoring.evaluation import Evaluation
from longbel_cli.scoring.tables import (
    Table,
    confidence_line,
    counts_line,
    coverage_line,
    long_table,
    score_tables,
    tuned_lines,
)

WIDE = 200  # characters of a table that goes to a file


def write_rich(tables: Sequence[Table], footer: Sequence[str]) -> str:
    """Boxes, as wide as the terminal or, elsewhere, as wide as they need; no colours."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(color_system=None, width=None if sys.stdout.isatty() else WIDE)
    with console.capture() as printed:
        for table in tables:
            console.print(Text(table.title))
            drawn = RichTable()
            for position, column in enumerate(table.columns):
                drawn.add_column(column, justify="left" if position < table.n_left else "right")
            for row in table.rows:
                drawn.add_row(*(Text(cell) for cell in row))
            console.print(drawn)
    return printed.get() + "".join(f"{line}\n" for line in footer)


def write_markdown(tables: Sequence[Table], footer: Sequence[str]) -> str:
    parts: list[str] = []
    for table in tables:
        n_right = len(table.columns) - table.n_left
        rule = ["---"] * table.n_left + ["---:"] * n_right
        lines = [_pipes(table.columns), _pipes(rule), *(_pipes(row) for row in table.rows)]
        parts.append(f"**{table.title}**\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts) + "\n" + "\n\n".join(f"`{line}`" for line in footer) + "\n"


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "†": r"$^{\dagger}$",
}


def _latex(cell: str) -> str:
    return "".join(LATEX.get(character, character) for character in cell)


def write_latex(tables: Sequence[Table], footer: Sequence[str]) -> str:
    parts: list[str] = []
    for table in tables:
        shape = "".join("l" if i < table.n_left else "r" for i in range(len(table.columns)))
        rows = [" & ".join(map(_latex, row)) + r" \\" for row in table.rows]
        head = " & ".join(map(_latex, table.columns)) + r" \\"
        parts.append(
            "\n".join(
                [
                    f"% {table.title}",
                    rf"\begin{{tabular}}{{{shape}}}",
                    r"\hline",
                    head,
                    r"\hline",
                    *rows,
                    r"\hline",
                    r"\end{tabular}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n" + "".join(f"% {line}\n" for line in footer)


def write_csv(tables: Sequence[Table], footer: Sequence[str]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for position, table in enumerate(tables):
        if position:
            stream.write("\n")
        writer.writerow(table.columns)
        writer.writerows(table.rows)
    return stream.getvalue() + "".join(f"# {line}\n" for line in footer)


WRITERS: dict[str, Callable[[Sequence[Table], Sequence[str]], str]] = {
    "rich": write_rich,
    "markdown": write_markdown,
    "latex": write_latex,
    "csv": write_csv,
}


def evaluation_text(
    evaluation: Evaluation, partitions: Sequence[str], form: str, for_spreadsheet: bool = False
) -> str:
    """All tables of an evaluation, as a form of WRITERS draws them.

    In tables for people no control character takes effect. CSV keeps every cell as it is, but
    `for_spreadsheet` keeps formulas from being computed.
    """
    first = evaluation.first.score
    signature = visible_line(evaluation.signature)
    if form == "csv":  # for programs: one long table
        table = long_table(first)
        return WRITERS[form]([table.changed(no_formula) if for_spreadsheet else table], [signature])
    footer = [counts_line(first), confidence_line(evaluation), evaluation.signature]
    line = coverage_line(evaluation) if form in ("rich", "markdown") else None
    head = "".join(f"{text}\n" for text in tuned_lines(evaluation))
    head += "" if line is None else f"{line}\n\n"
    tables = [table.changed(visible_line) for table in score_tables(evaluation, partitions)]
    return visible(head) + WRITERS[form](tables, [visible_line(line) for line in footer])
