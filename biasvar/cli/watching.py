"""Following a run from its store: a table that redraws in place on a terminal, lines elsewhere."""

import json
import math
import shutil
import sys
import textwrap
import time

import click

from biasvar.execution.progress import least_known_of
from biasvar.execution.status import StoreStatus, store_status
from biasvar.notation import with_error
from biasvar.rows import Table, as_text

UP_AND_CLEAR = "\033[{}F\033[J"


def follow(store: str, every: float, as_json: bool) -> None:
    """Show how far the run in a store is, each time that something is new, until it is complete."""
    shown = ""
    while True:
        found = store_status(store)
        text = json.dumps(found.to_json()) if as_json else _told(found)
        if text != shown:
            if shown and sys.stdout.isatty() and not as_json:
                click.echo(UP_AND_CLEAR.format(shown.count("\n") + 1), nl=False)
            click.echo(text)
            shown = text
        sys.stdout.flush()
        if found.complete or getattr(sys.stdout, "unread", False):
            return
        time.sleep(every)


def _told(found: StoreStatus) -> str:
    """Return the line, and on a terminal below it as many estimates as there is room for, the least known ones."""
    if found.complete or not sys.stdout.isatty():
        return str(found)
    size = shutil.get_terminal_size()
    # A line that wraps by itself would be two, and what is drawn over it would miss one.
    lines = textwrap.wrap(str(found), size.columns - 1)
    room = max(size.lines - 4 - len(lines), 1)
    rows = [
        [estimate.problem, estimate.cell, str(estimate.blocks), _number(estimate.mean, estimate.error)]
        for estimate in least_known_of(found.estimates, room)
    ]
    table = Table(["problem", "cell", "blocks", found.headline or "mean"], rows, left=(0, 1))
    lines += as_text(table).splitlines() if rows else []
    return "\n".join(line[: size.columns - 1] for line in lines)


def _number(mean: float | None, error: float | None) -> str:
    """Write an estimate; JSON has none for what is no number."""
    return with_error(math.nan if mean is None else mean, math.nan if error is None else error)
