"""Tables of text, and the forms in which they leave: plain, Markdown, LaTeX, HTML."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape

MARK = " *"  # of what stands out, where letters cannot be bold


@dataclass(frozen=True)
class Table:
    """Rows of text under a head, and words about them.

    Parameters
    ----------
    head : sequence of str
        What stands above each column.
    rows : sequence of sequences of str
        As many texts in each as there are columns.
    left : collection of int
        Columns of words, which are aligned to the left.
    title : str
        What stands above.
    notes : sequence of str
        Lines below.
    leading : collection of (int, int)
        Row and column of the cells that stand out.
    meaning : str
        What it means that they do.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Collection[int] = ()
    title: str = ""
    notes: Sequence[str] = ()
    leading: Collection[tuple[int, int]] = ()
    meaning: str = ""

    def words(self, sign: str) -> list[str]:
        """Return the lines below, that on what stands out first: by which sign."""
        return [*([f"{sign} {self.meaning}"] if self.meaning else []), *self.notes]


def as_text(table: Table) -> str:
    """Write a table for a terminal.

    Examples
    --------
    >>> print(as_text(Table(["set", "risk"], [["H0", "0.5"], ["H1", "0.25"]], left=[0], leading=[(1, 1)])))
    set    risk
    ---  ------
    H0    0.5
    H1   0.25 *
    """
    marked = {column for _, column in table.leading}
    rows = [
        [text + _mark((i, j) in table.leading) * (j in marked) for j, text in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]
    return "\n".join(filter(None, [table.title, *align([table.head, *rows], table.left), *table.words("*")]))


def _mark(leads: bool) -> str:
    return MARK if leads else " " * len(MARK)


def align(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
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


def as_markdown(table: Table) -> str:
    """Write a table in GitHub's Markdown, what stands out in bold.

    Examples
    --------
    >>> print(as_markdown(Table(["set", "risk"], [["H0", "0.5"]], left=[0], leading=[(0, 1)])))
    | set | risk |
    | :-- | --: |
    | H0 | **0.5** |
    """
    rows = _emphasised(table, _markdown, "**{}**")
    ruler = [":--" if i in table.left else "--:" for i in range(len(table.head))]
    lines = [f"| {' | '.join(row)} |" for row in (map(_markdown, table.head), ruler, *rows)]
    title = [f"**{_markdown(table.title)}**", ""] if table.title else []
    return "\n".join([*title, *lines, *(line for note in table.words("bold:") for line in ("", _markdown(note)))])


# An underscore within a word is itself.
_MARKS = re.compile(r"[\\`*\[$|~]|(?<![^\W_])_|_(?![^\W_])")


def _markdown(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", _line(text)).replace("&", "&amp;").replace("<", "&lt;")


def _line(text: str) -> str:
    return " ".join(text.splitlines())


_LATEX = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "|": r"\textbar{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}"}
_LATEX |= {letter: f"\\{letter}" for letter in "&%$#_{}"}


def as_latex(table: Table) -> str:
    r"""Write a table for LaTeX, with the rules of its package booktabs; notes are comments.

    Examples
    --------
    >>> print(as_latex(Table(["set", "risk"], [["k_1", "0.5"]], left=[0])))
    \begin{tabular}{lr}
    \toprule
    set & risk \\
    \midrule
    k\_1 & 0.5 \\
    \bottomrule
    \end{tabular}
    """
    columns = "".join("l" if i in table.left else "r" for i in range(len(table.head)))
    head = " & ".join(map(_latex, table.head))
    rows = [" & ".join(row) for row in _emphasised(table, _latex, r"\textbf{{{}}}")]
    lines = [*([f"% {_line(table.title)}"] if table.title else []), f"\\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [f"{head} \\\\", r"\midrule", *(f"{row} \\\\" for row in rows), r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *(f"% {_line(note)}" for note in table.words("bold:"))])


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in _line(text))


def as_html(table: Table) -> str:
    """Write a table in HTML, with nothing but its own elements and alignment; texts are shown as they are.

    Examples
    --------
    >>> as_html(Table(["set"], [["<b>"]]))
    '<table><thead><tr><th>set</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """

    def line(row: Sequence[str], tag: str) -> str:
        aligned = [' style="text-align:left"' if i in table.left else "" for i in range(len(row))]
        cells = (f"<{tag}{style}>{text}</{tag}>" for style, text in zip(aligned, row, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    rows = "".join(line(row, "td") for row in _emphasised(table, escape, "<b>{}</b>"))
    title = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.words("bold:"))
    head = line([escape(text) for text in table.head], "th")
    return f"<table>{title}<thead>{head}</thead><tbody>{rows}</tbody></table>{notes}"


def _emphasised(table: Table, written: Callable[[str], str], form: str) -> list[list[str]]:
    return [
        [form.format(written(text)) if (i, j) in table.leading else written(text) for j, text in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]


#: Forms of tables, by name.
FORMS: Mapping[str, Callable[[Table], str]] = {"text": as_text, "md": as_markdown, "latex": as_latex, "html": as_html}
