"""Tables on stdout: a line per row, columns aligned by spaces, so that `awk` reads them too."""

from collections.abc import Sequence

import typer


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Numbers to the right, all else to the left; None is a dash."""
    lines = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    to_the_right = [any(isinstance(row[n], int | float) for row in rows) for n in range(len(head))]
    for line in lines:
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, to_the_right, strict=True)
        )
        typer.echo("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
