"""Numbers as aligned text."""

from collections.abc import Sequence

__all__ = ["table"]


def table(rows: Sequence[Sequence[object]]) -> str:
    """Rows of cells, the first row a head: the first column to the left, the others to the right."""
    text = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*text, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in text]
    return "\n".join(line.rstrip() for line in lines)
