"""The commands of biasvar."""

import json
import logging
import os
import signal
import sys
import time
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from biasvar import __version__
from biasvar.cli.options import Command, connection_of, where_to_run
from biasvar.cli.shell import Group, stop
from biasvar.errors import BiasvarWarning, StudyError, several

WATCH_SECONDS = 2.0


@click.group("biasvar", cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="biasvar")
def main() -> None:
    """Run studies of why learning errs: bias, variance and noise, each with a true standard error.

    Exit codes: 0 done; 1 verify found damage; 2 bad input; 3 stopped, or the cluster or the machine failed: the same
    command goes on; 4 finished, but some cells failed; 70 a bug in biasvar.
    """
    sys.path.append(os.getcwd())  # where a study's own module:function is expected
    _tell_what_is_imported()
    signal.signal(signal.SIGTERM, stop)


def _tell_what_is_imported() -> None:
    """Print which user's code is imported, and when: to run a study or try it out, never to open a store."""
    log = logging.getLogger("biasvar")
    log.handlers = [logging.StreamHandler(sys.stderr)]
    log.setLevel(logging.INFO)


_SET = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Set a field of the study (YAML value)."
)

if TYPE_CHECKING:
    from biasvar.studies.base import Summary
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_STORE = click.argument("store")


@main.command(cls=Command, short_help="Run a study into a store, or resume it there.")
@click.argument("study", required=False)
@click.option("--resume", metavar="STORE", help="Go on with the study that STORE holds, there.")
@click.option("--store", metavar="PLACE", help="Zarr store: a path or s3://BUCKET/KEY [default: NAME.zarr].")
@_SET
@click.option("--retry-failed", is_flag=True, help="Simulate again what a function of yours failed at before.")
@where_to_run
@_JSON
def run(
    study: str | None,
    resume: str | None,
    store: str | None,
    changes: tuple[str, ...],
    retry_failed: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Run STUDY (a bundled name, a YAML file, or - for standard input) into a Zarr store; resume it if it is there."""
    from biasvar.execution.reopen import load
    from biasvar.execution.run import run as run_study

    loaded: Any = load(_stated(study, resume, store), changes)
    path = resume or store or f"{loaded.name}.zarr"
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BiasvarWarning)  # the command says the same below
        summary = run_study(loaded, path, scheduler=connection_of(**where), retry_failed=retry_failed)
    for missed in loaded.unmet_goals(summary):
        click.echo(missed, err=True)
    _tell_results(summary, path, as_json, f"{time.monotonic() - started:.1f} s; stored in {path}")


def _tell_results(summary: "Summary", path: str, as_json: bool, last: str) -> None:
    """Print a summary, as tables with a last line or as JSON, and what failed."""
    from biasvar.views import tables

    click.echo(json.dumps(_as_json(summary, path)) if as_json else f"{tables.results(summary)}\n{last}")
    _tell_failures(summary, path)


def _tell_failures(summary: "Summary", path: str) -> None:
    """Say what failed, if anything did, and exit so."""
    from biasvar.studies.base import failed_cells

    if failed := failed_cells(summary):
        click.echo(f"biasvar: {failed}; tracebacks: biasvar status --tracebacks {path}", err=True)
        sys.exit(4)


def _stated(study: str | None, resume: str | None, store: str | None) -> str:
    """Return where the study to run is stated: in a file or by name, or in the store to resume."""
    from biasvar.execution.reopen import is_store

    if resume:
        if study or store:
            raise StudyError("--resume: runs the study of that store, there; give no STUDY and no --store beside it")
        return resume
    if study is None:
        raise StudyError("run: which study? Give a name, a YAML file, or --resume STORE; names: biasvar studies")
    if is_store(study):
        raise StudyError(f"{study}: is a store; go on with the study in it by: biasvar run --resume {study}")
    return study


@main.command(short_help="What a study would cost, without running it.")
@click.argument("study")
@_SET
@_JSON
def plan(study: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Say what STUDY (as for run, or a store of it) costs as a whole, without running it."""
    from biasvar.execution.plan import plan as make_plan
    from biasvar.execution.reopen import load

    found = make_plan(load(study, changes))
    if as_json:
        names = ("name", "cells", "replicates", "tasks", "seconds", "bytes")
        click.echo(json.dumps({name: getattr(found, name) for name in names}))
        return
    click.echo(str(found))
    for part in found.groups:
        click.echo(
            f"  {part.group.task_name}: {several(part.blocks, 'block')}, {part.chunk} per task, {part.seconds:.2g} s"
        )


@main.command(short_help="Compare a study's derivatives with its values.")
@click.argument("study")
@_SET
@_JSON
def check(study: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Compare the derivatives that STUDY (as for run) uses with values; exit code 2 if any is wrong."""
    from biasvar.execution.reopen import load
    from biasvar.studies.derivatives import wrong
    from biasvar.views.derivatives import as_json as rows
    from biasvar.views.derivatives import table

    loaded = load(study, changes)
    found = loaded.check_derivatives()
    if not found:
        raise StudyError(f"{loaded.name}: a study of kind {loaded.kind} has no derivatives to check")
    click.echo(json.dumps(rows(found)) if as_json else table(found))
    sys.exit(2 if any(wrong(one) for one in found.values()) else 0)


@main.command(short_help="Make one store of several parts of a study.")
@click.argument("stores", nargs=-1, required=True)
@click.option("--store", required=True, metavar="PLACE", help="Zarr store to make of them.")
@_JSON
def merge(stores: tuple[str, ...], store: str, as_json: bool) -> None:
    """Merge STORES that hold parts of one study into one, as if it had been run at once."""
    from biasvar.execution.merge import merge as merge_stores

    _tell_results(merge_stores(stores, store), store, as_json, f"stored in {store}")


@main.command()
@_STORE
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "md", "latex", "html", "csv"]),
    default="text",
    help="Form of the tables; csv has all numbers in full.",
)
@_JSON
def show(store: str, form: str, as_json: bool) -> None:
    """Print the results in STORE."""
    from biasvar.accessor import Results
    from biasvar.execution.run import open as open_store

    if as_json and form != "text":
        raise StudyError(f"--format {form}: says nothing of --json; give one of them")
    summary = open_store(store).load()
    click.echo(json.dumps(_as_json(summary, store)) if as_json else Results(summary).to_text(form))
    _tell_failures(summary, store)


@main.command(short_help="Make a film of what a store holds: mp4, webp or gif.")
@_STORE
@click.option("--out", metavar="FILE", help="Ends in .mp4, .webp or .gif [default: NAME.mp4].")
@click.option("--width", type=click.IntRange(200, 4000), default=1120, show_default=True, help="Pixels.")
def animate(store: str, out: str | None, width: int) -> None:
    """Make a film of STORE: update rules that race over contours, or fits that pile up into their band."""
    from biasvar.execution.reopen import load
    from biasvar.execution.run import open as open_store
    from biasvar.views.animate.choose import film_of
    from biasvar.views.animate.film import writer_of

    if out is not None:
        writer_of(out)
    study: Any = load(store)
    path = film_of(study, open_store(store)).save(out or f"{study.name}.mp4", width=width)
    click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


@main.command(short_help="Write what a store holds as one page of HTML.")
@_STORE
@click.option("--out", metavar="FILE", help="The page [default: the store's name, with .html].")
@click.option("--open", "look", is_flag=True, help="Open it in the browser.")
def report(store: str, out: str | None, look: bool) -> None:
    """Write what STORE holds as one page of HTML, for people without biasvar: findings, figures, tables, the study."""
    from biasvar.pages.report import report as write

    path = write(store, out)
    click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    if look:
        click.launch(str(path))


@main.command(short_help="How far a store is, who runs on it, what failed.")
@_STORE
@click.option("--tracebacks", is_flag=True, help="Print where user functions failed, one traceback per group.")
@_JSON
def status(store: str, tracebacks: bool, as_json: bool) -> None:
    """Say how many chunks STORE has and who runs on it, from the store alone."""
    from biasvar.execution.status import failures, store_status

    found = store_status(store)
    click.echo(json.dumps(found.to_json()) if as_json else str(found))
    for group, trace in failures(store).items() if tracebacks else ():
        click.echo(f"\nblocks/{group.path}:\n{trace.rstrip()}", err=as_json)


@main.command(short_help="Follow a run's progress from its store.")
@_STORE
@click.option("--every", type=click.FloatRange(0.1), default=WATCH_SECONDS, help="Seconds between looks.")
@_JSON
def watch(store: str, every: float, as_json: bool) -> None:
    """Show how far the run in STORE is and what is known so far, until it is complete, from the store alone.

    On a terminal a table is drawn anew; elsewhere, and with --json, there is a line each time that something is new.
    A line of JSON has what `biasvar status --json` has: chunks and how many are done, the pace, who runs it, and of
    each cell the estimate with its standard error; null is what is not known yet. The last has "complete": true.
    """
    from biasvar.cli.watching import follow

    follow(store, every, as_json)


@main.command(short_help="SHA-256 of a store's results.")
@_STORE
def digest(store: str) -> None:
    """Print the SHA-256 of STORE's results: equal digests mean equal bits, wherever and however it was run.

    Where the same study gives it again is said on standard error.
    """
    from biasvar.execution.digest import digest as store_digest
    from biasvar.execution.promise import promise
    from biasvar.execution.store import Store

    click.echo(store_digest(store))
    click.echo(promise(Store(store).attributes()), err=True)


@main.command(short_help="Check every chunk of a store.")
@_STORE
@_JSON
def verify(store: str, as_json: bool) -> None:
    """Check every chunk in STORE; exit code 1 if any is missing, torn or altered."""
    from biasvar.execution.verify import verify as verify_store

    found = verify_store(store)
    click.echo(json.dumps(asdict(found)) if as_json else str(found))
    sys.exit(0 if found.ok else 1)


@main.command(short_help="List the studies that come with biasvar.")
@click.option("--cost", is_flag=True, help="Say what each takes, too: each is planned, which takes a minute or two.")
def studies(cost: bool) -> None:
    """List the studies that come with biasvar."""
    from biasvar.rows import align
    from biasvar.studies.catalog import bundled, load

    found = {name: load(name) for name in bundled()}
    head, rows = ["study", "kind"], [[name, study.kind] for name, study in found.items()]
    if cost:
        from biasvar.execution.plan import plan as make_plan

        head += ["CPU seconds"]
        with click.progressbar(found.values(), label="planning", file=sys.stderr) as planned:
            rows = [[*row, f"{make_plan(study).seconds:.1f}"] for row, study in zip(rows, planned, strict=True)]
    rows = [[*row, study.description] for row, study in zip(rows, found.values(), strict=True)]
    click.echo("\n".join(align([[*head, "what it shows"], *rows], left=(0, 1, len(head)))))


def _as_json(summary: "Summary", path: str) -> dict[str, Any]:
    """Return a summary's cells as JSON; numbers that do not exist are null, infinite ones the text 'inf'."""
    from biasvar.views.records import records

    cells = [{name: _json_value(value) for name, value in cell.items()} for cell in records(summary)]
    return {"store": path, "study": json.loads(summary.attrs["study"]), "cells": cells}


def _json_value(value: object) -> Any:
    if isinstance(value, float) and value != value:
        return None
    return str(value) if isinstance(value, float) and value in (float("inf"), float("-inf")) else value
