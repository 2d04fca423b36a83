"""The command line: run, plan, show, status, verify and list studies.

Exit codes: 0 done; 1 verify found damage; 2 bad input, told in one line; 3 stopped, and the same command goes on.
"""

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from biasvar import __version__
from biasvar.errors import BiasvarError

LOG_SECONDS = 5.0  # between lines of progress where there is no terminal


def _stop(*_: Any) -> None:
    """Make SIGTERM unwind the stack as Ctrl-C does."""
    raise KeyboardInterrupt


class _Group(click.Group):
    """Commands that answer bad input with one line and exit code 2, and a stop with exit code 3."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BiasvarError as error:
            message = str(error)
        except click.UsageError as error:
            message = f"{error.format_message()} See: biasvar --help"
        except (KeyboardInterrupt, SystemError) as error:
            if not _is_interrupt(error):
                raise
            click.echo("\nbiasvar: stopped; what is done is kept, and the same command goes on from there", err=True)
            sys.stderr.flush()
            # A worker thread may be in the middle of a long task: the store does not need it, so do not wait for it.
            os._exit(3)
        click.echo(f"biasvar: {' '.join(message.split())}", err=True)
        return ctx.exit(2)


def _is_interrupt(error: BaseException | None) -> bool:
    """Tell whether an error is, or came of, Ctrl-C: compiled code turns that into a SystemError."""
    return error is not None and (
        isinstance(error, KeyboardInterrupt) or _is_interrupt(error.__cause__) or _is_interrupt(error.__context__)
    )


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="biasvar")
def main() -> None:
    """Run studies of why learning errs: bias, variance and noise, each with a true standard error.

    Exit codes: 0 done; 1 verify found damage; 2 bad input; 3 stopped, the same command goes on.
    """
    sys.path.append(os.getcwd())  # where a study's own module:function is expected
    signal.signal(signal.SIGTERM, _stop)


_SET = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Set a field of the study (YAML value)."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_STORE = click.argument("store", type=click.Path(path_type=Path))


@main.command()
@click.argument("study")
@click.option("--store", type=click.Path(path_type=Path), help="Zarr store to fill [default: NAME.zarr].")
@_SET
@click.option("--scheduler", metavar="WHERE", help="threads, processes, synchronous or tcp://HOST:PORT.")
@_JSON
def run(study: str, store: Path | None, changes: tuple[str, ...], scheduler: str | None, as_json: bool) -> None:
    """Run STUDY (a bundled name or a YAML file) into a Zarr store; resume it if it is there."""
    from biasvar.execution.run import run as run_study
    from biasvar.report import tables
    from biasvar.studies.catalog import load

    loaded = load(study, changes)
    path = store or Path(f"{loaded.name}.zarr")
    started = time.monotonic()
    with _progress() as report:
        summary = run_study(loaded, path, scheduler=scheduler, progress=report)
    if as_json:
        click.echo(json.dumps(_as_json(summary, path)))
        return
    click.echo(tables.results(summary))
    click.echo(f"{time.monotonic() - started:.1f} s; stored in {path}")


@main.command()
@click.argument("study")
@_SET
@_JSON
def plan(study: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Say what STUDY will cost, without running it."""
    from biasvar.execution.plan import plan as make_plan
    from biasvar.studies.catalog import load

    found = make_plan(load(study, changes))
    if as_json:
        names = ("name", "cells", "replicates", "tasks", "seconds", "bytes")
        click.echo(json.dumps({name: getattr(found, name) for name in names}))
        return
    click.echo(str(found))
    for part in found.groups:
        click.echo(f"  {part.group.path}: {part.blocks} blocks, {part.chunk} a task, {part.seconds:.2g} s")


@main.command()
@_STORE
@_JSON
def show(store: Path, as_json: bool) -> None:
    """Print the results in STORE."""
    from biasvar.execution.run import open as open_store
    from biasvar.report import tables

    summary = open_store(store).load()
    if as_json:
        click.echo(json.dumps(_as_json(summary, store)))
        return
    click.echo(tables.results(summary))


@main.command()
@_STORE
@_JSON
def status(store: Path, as_json: bool) -> None:
    """Say how far the run in STORE is, from the store alone."""
    from biasvar.execution.verify import status as store_status

    found = store_status(store)
    click.echo(json.dumps(found.to_json()) if as_json else str(found))


@main.command()
@_STORE
@_JSON
def verify(store: Path, as_json: bool) -> None:
    """Check every chunk in STORE; exit code 1 if any is missing, torn or altered."""
    from biasvar.execution.verify import verify as verify_store

    found = verify_store(store)
    click.echo(json.dumps(asdict(found)) if as_json else str(found))
    sys.exit(0 if found.ok else 1)


@main.command()
def studies() -> None:
    """List the studies that come with biasvar."""
    from biasvar.studies.catalog import bundled, load

    found = bundled()
    width = max(len(name) for name in found)
    for name in found:
        click.echo(f"{name.ljust(width)}  {load(name).description}")


@contextmanager
def _progress() -> Iterator[Callable[[Any], None]]:
    """Show progress on standard error: a bar on a terminal, lines now and then elsewhere."""
    with _bar() if sys.stderr.isatty() else _lines() as report:
        yield report


@contextmanager
def _bar() -> Iterator[Callable[[Any], None]]:
    bar: Any = click.progressbar(
        length=1, label="simulating", show_eta=True, show_pos=True, item_show_func=lambda text: text, file=sys.stderr
    )
    with bar:

        def report(state: Any) -> None:
            while state.messages:
                click.echo(f"\n{state.messages.pop(0)}", err=True)
            bar.length = max(state.total, 1)
            bar.update(state.done - bar.pos, _worst(state))

        yield report


@contextmanager
def _lines() -> Iterator[Callable[[Any], None]]:
    last = time.monotonic()

    def report(state: Any) -> None:
        nonlocal last
        while state.messages:
            click.echo(state.messages.pop(0), err=True)
        if state.done and time.monotonic() - last > LOG_SECONDS:
            last = time.monotonic()
            click.echo(
                f"{state.done} of {state.total} chunks, {_worst(state)}, {state.seconds_left:.0f} s left",
                err=True,
            )

    yield report


def _worst(state: Any) -> str:
    return "no standard error yet" if math.isnan(state.worst_error) else f"worst standard error {state.worst_error:.2g}"


def _as_json(summary: Any, path: Path) -> dict[str, Any]:
    """Return a summary's cells as JSON; numbers that do not exist are null, infinite ones the text 'inf'."""
    import numpy as np

    from biasvar.studies.base import nodes_of

    cells = []
    for place, node in nodes_of(summary).items():
        if "status" not in node:
            continue
        axes = node.status.dims  # a cell is what has a status
        last = node.isel(step=-1) if "step" in node.dims else node
        names = sorted(str(name) for name, variable in last.data_vars.items() if variable.dims == axes)
        for index in np.ndindex(node.status.shape):
            cell = last.isel(dict(zip(axes, index, strict=True)))
            labels = {str(axis): cell[axis].item() for axis in axes} | ({"path": place} if place else {})
            cells.append(labels | {name: _json_value(cell[name].item()) for name in names})
    return {"store": str(path), "study": json.loads(summary.attrs["study"]), "cells": cells}


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    return str(value) if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


if __name__ == "__main__":
    main()
