"""Rows of text under one another."""

from collections.abc import Sequence


def align(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """Return lines of a table, the first row its head; columns ``left`` are aligned to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if i in left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines
