"""The command line: run, plan, check, show, watch, verify and list studies.

Exit codes: 0 done; 1 verify found damage; 2 bad input, told in one line; 3 stopped, or the cluster or the machine
failed, and the same command goes on; 4 finished, but some cells failed; 70 a bug in biasvar.
"""

import json
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click

from biasvar import __version__
from biasvar.errors import BiasvarError, BiasvarWarning, RunError, StudyError, several

WATCH_SECONDS = 2.0


class _Group(click.Group):
    """Commands that answer bad input with one line and exit code 2, and a stop with exit code 3."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        _open_streams()
        try:
            return super().make_context(*args, **extra)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            _tell(_usage(error))
            raise click.exceptions.Exit(2) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BiasvarError as error:
            message, code = str(error), 3 if isinstance(error, RunError) else 2
        except click.UsageError as error:
            message, code = _usage(error), 2
        except OSError as error:
            message, code = f"{error}; {_ON}", 3
        except MemoryError as error:
            message, code = f"out of memory: {error or 'nothing could be allocated'}; {_ON}", 3
        except BaseException as error:
            if _is_interrupt(error):
                _end_at_once("stopped; it was only looking" if ctx.invoked_subcommand != "run" else f"stopped; {_ON}")
            if not isinstance(error, Exception) or isinstance(error, click.exceptions.Exit):
                raise
            message, code = _bug(error), 70
        _tell(message)
        return ctx.exit(code)


_ON = "what is done is kept, and the same command goes on from there"


def _tell(message: str) -> None:
    click.echo(f"biasvar: {' '.join(message.split())}", err=True)


def _usage(error: click.UsageError) -> str:
    return f"{error.format_message()} See: biasvar --help"


def _bug(error: Exception) -> str:
    """Say that something happened that was not foreseen; with its traceback on request."""
    if os.environ.get("BIASVAR_TRACEBACK"):
        traceback.print_exception(error)
        return "this is a bug in biasvar, please report it with the lines above"
    return f"this is a bug in biasvar: {type(error).__name__}: {error}; for its traceback set BIASVAR_TRACEBACK=1"


def _is_interrupt(error: BaseException | None) -> bool:
    """Tell whether an error is, or came of, Ctrl-C: compiled code turns that into a SystemError."""
    return error is not None and (
        isinstance(error, KeyboardInterrupt) or _is_interrupt(error.__cause__) or _is_interrupt(error.__context__)
    )


def _end_at_once(message: str) -> NoReturn:
    click.echo(f"\nbiasvar: {message}", err=True)
    # A worker thread may be in the middle of a long task: the store does not need it, so do not wait for it.
    os._exit(3)


def _stop(*_: Any) -> None:
    """Make SIGTERM unwind the stack as Ctrl-C does."""
    raise KeyboardInterrupt


class _Stream:
    """A standard stream that is dropped, without a word, once no one reads it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.unread = stream, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._dropping():
            self._stream.flush()

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self.unread = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # for what is left in buffers, too
            os.close(nowhere)


def _open_streams() -> None:
    """Have all three standard streams: a daemon may have closed them, and no one may read them to the end."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # opened again, so that no store's file gets its number
            stream = open(os.devnull, mode)  # noqa: SIM115
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
        elif mode == "w" and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _Stream(stream))


@click.group("biasvar", cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="biasvar")
def main() -> None:
    """Run studies of why learning errs: bias, variance and noise, each with a true standard error.

    Exit codes: 0 done; 1 verify found damage; 2 bad input; 3 stopped, or the cluster or the machine failed: the same
    command goes on; 4 finished, but some cells failed; 70 a bug in biasvar.
    """
    sys.path.append(os.getcwd())  # where a study's own module:function is expected
    _tell_what_is_imported()
    signal.signal(signal.SIGTERM, _stop)


def _tell_what_is_imported() -> None:
    """Print which user's code is imported, and when: to run a study or try it out, never to open a store."""
    log = logging.getLogger("biasvar")
    log.handlers = [logging.StreamHandler(sys.stderr)]
    log.setLevel(logging.INFO)


_SET = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Set a field of the study (YAML value)."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_STORE = click.argument("store")
_FILE = click.Path(path_type=Path)


@main.command()
@click.argument("study", required=False)
@click.option("--resume", metavar="STORE", help="Go on with the study that STORE holds, there.")
@click.option("--store", metavar="PLACE", help="Zarr store: a path or s3://BUCKET/KEY [default: NAME.zarr].")
@_SET
@click.option("--retry-failed", is_flag=True, help="Simulate again what a function of yours failed at before.")
@click.option(
    "--scheduler", metavar="WHERE", help="threads, processes, synchronous, tcp://HOST:PORT or tls://HOST:PORT."
)
@click.option("--scheduler-file", type=_FILE, help="File that a dask scheduler wrote its address to.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes on this machine.")
@click.option("--memory-limit", metavar="BYTES", help="Memory of each of them, such as 2GiB.")
@click.option("--cluster", type=click.Choice(["slurm"]), help="Queue that gives workers, by dask-jobqueue.")
@click.option("--jobs", type=click.IntRange(1), help="Jobs to ask the queue for, a worker each.")
@click.option("--queue", help="Its partition.")
@click.option("--walltime", metavar="HH:MM:SS", help="Time of a job.")
@click.option("--memory", metavar="BYTES", help="Memory of a job, such as 4GB.")
@click.option("--interface", help="Network interface between jobs, such as ib0.")
@click.option("--tls-ca-file", type=_FILE, help="Certificate of the run's own authority.")
@click.option("--tls-cert", type=_FILE, help="Certificate for this process.")
@click.option("--tls-key", type=_FILE, help="Its key.")
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
    from biasvar.report import tables

    loaded: Any = load(_stated(study, resume, store), changes)
    path = resume or store or f"{loaded.name}.zarr"
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BiasvarWarning)  # the command says the same below
        summary = run_study(loaded, path, scheduler=_where(**where), retry_failed=retry_failed)
    for missed in loaded.unmet_goals(summary):
        click.echo(missed, err=True)
    if as_json:
        click.echo(json.dumps(_as_json(summary, path)))
    else:
        click.echo(tables.results(summary))
        click.echo(f"{time.monotonic() - started:.1f} s; stored in {path}")
    _tell_failures(summary, path)


def _tell_failures(summary: Any, path: str) -> None:
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


def _where(
    scheduler: str | None,
    scheduler_file: Path | None,
    cluster: str | None,
    tls_ca_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    **options: Any,
) -> Any:
    """Return what the options say of where to run; None if they say nothing."""
    given = {name for name, value in options.items() if value is not None}
    local, queued = {"workers", "memory_limit"}, {"jobs", "queue", "walltime", "memory", "interface"}
    chosen = [
        name
        for name, said in (
            ("--scheduler", scheduler),
            ("--scheduler-file", scheduler_file),
            ("--cluster", cluster),
            ("--workers", given & local),
        )
        if said
    ]
    if len(chosen) > 1:
        raise StudyError(f"{' and '.join(chosen)}: say one way to run only")
    if given & queued and not cluster:
        raise StudyError(f"--{min(given & queued)}: belongs to --cluster")
    files = (tls_ca_file, tls_cert, tls_key)
    if not chosen and not any(files):
        return None
    from biasvar.execution import clusters

    secure = clusters.security(*files)
    if secure and not (cluster or scheduler_file or str(scheduler).startswith("tls://")):
        raise StudyError("--tls-ca-file: TLS is for --scheduler tls://HOST:PORT, --scheduler-file and --cluster")
    if cluster:
        return clusters.Slurm(**{name: options[name] for name in given & queued}, security=secure)
    if scheduler_file:
        return clusters.SchedulerFile(scheduler_file, secure)
    if given & local:
        return clusters.LocalWorkers(**{name: options[name] for name in given & local})
    return clusters.Address(clusters.checked_address(scheduler), secure) if secure else scheduler


@main.command()
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
        click.echo(f"  {part.group.path}: {several(part.blocks, 'block')}, {part.chunk} per task, {part.seconds:.2g} s")


@main.command()
@click.argument("study")
@_SET
@_JSON
def check(study: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Compare the derivatives that STUDY (as for run) uses with values; exit code 2 if any is wrong."""
    from biasvar.execution.reopen import load
    from biasvar.report.derivatives import as_json as rows
    from biasvar.report.derivatives import table
    from biasvar.studies.derivatives import wrong

    loaded = load(study, changes)
    found = loaded.check_derivatives()
    if not found:
        raise StudyError(f"{loaded.name}: a study of kind {loaded.kind} has no derivatives to check")
    click.echo(json.dumps(rows(found)) if as_json else table(found))
    sys.exit(2 if any(wrong(one) for one in found.values()) else 0)


@main.command()
@click.argument("stores", nargs=-1, required=True)
@click.option("--store", required=True, metavar="PLACE", help="Zarr store to make of them.")
@_JSON
def merge(stores: tuple[str, ...], store: str, as_json: bool) -> None:
    """Merge STORES that hold parts of one study into one, as if it had been run at once."""
    from biasvar.execution.merge import merge as merge_stores
    from biasvar.report import tables

    summary = merge_stores(stores, store)
    if as_json:
        click.echo(json.dumps(_as_json(summary, store)))
        return
    click.echo(tables.results(summary))
    click.echo(f"stored in {store}")


@main.command()
@_STORE
@_JSON
def show(store: str, as_json: bool) -> None:
    """Print the results in STORE."""
    from biasvar.execution.run import open as open_store
    from biasvar.report import tables

    summary = open_store(store).load()
    click.echo(json.dumps(_as_json(summary, store)) if as_json else tables.results(summary))
    _tell_failures(summary, store)


@main.command()
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


@main.command()
@_STORE
@click.option("--every", type=click.FloatRange(0.1), default=WATCH_SECONDS, help="Seconds between looks.")
def watch(store: str, every: float) -> None:
    """Show the progress of the run in STORE until it is complete, from the store alone and from any machine."""
    from biasvar.execution.status import store_status

    shown = ""
    while True:
        found = store_status(store)
        if sys.stdout.isatty():
            click.echo(f"\r\033[K{found}", nl=found.complete)
        elif str(found) != shown:
            click.echo(str(found))
        sys.stdout.flush()
        if found.complete or getattr(sys.stdout, "unread", False):
            return
        shown = str(found)
        time.sleep(every)


@main.command()
@_STORE
def digest(store: str) -> None:
    """Print the SHA-256 of STORE's results: equal digests mean equal bits, wherever and however it was run."""
    from biasvar.execution.digest import digest as store_digest

    click.echo(store_digest(store))


@main.command()
@_STORE
@_JSON
def verify(store: str, as_json: bool) -> None:
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


def _as_json(summary: Any, path: str) -> dict[str, Any]:
    """Return a summary's cells as JSON; numbers that do not exist are null, infinite ones the text 'inf'."""
    import numpy as np

    from biasvar.studies.base import nodes_of

    cells = []
    for place, node in nodes_of(summary).items():
        if "status" not in node:
            continue
        axes = node.status.dims  # a cell is what has a status
        last = node.isel({dim: -1 for dim in node.dims if dim in node and node[dim].attrs.get("shown") == "last"})
        names = sorted(str(name) for name, variable in last.data_vars.items() if variable.dims == axes)
        for index in np.ndindex(node.status.shape):
            cell = last.isel(dict(zip(axes, index, strict=True)))
            labels = {str(axis): cell[axis].item() for axis in axes} | ({"path": place} if place else {})
            cells.append(labels | {name: _json_value(cell[name].item()) for name in names})
    return {"store": path, "study": json.loads(summary.attrs["study"]), "cells": cells}


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    return str(value) if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


if __name__ == "__main__":
    main()
