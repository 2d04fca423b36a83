"""Options in groups, and those that say where a study runs."""

from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import click

from biasvar.errors import StudyError

FILE = click.Path(path_type=Path)
HERE, QUEUED, SECURE = "Where it runs", "On jobs of a queue", "By TLS"


class Option(click.Option):
    """An option that stands under a heading of its own in the help."""

    def __init__(self, names: Sequence[str], group: str, **settings: Any) -> None:
        super().__init__(names, **settings)
        self.group = group


class Command(click.Command):
    """A command whose help lists its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those without a heading of their own first."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)):
                groups.setdefault(option.group if isinstance(option, Option) else "Options", []).append(record)
        for name, records in sorted(groups.items(), key=lambda group: group[0] != "Options"):
            with formatter.section(name):
                formatter.write_dl(records)


def grouped(group: str, *names: str, **settings: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds an option under a heading."""
    return click.option(*names, cls=Option, group=group, **settings)


_WHERE = [
    grouped(
        HERE,
        "--scheduler",
        metavar="WHERE",
        help="threads, processes, synchronous, tcp://HOST:PORT or tls://HOST:PORT.",
    ),
    grouped(HERE, "--scheduler-file", type=FILE, help="File that a dask scheduler wrote its address to."),
    grouped(HERE, "--workers", type=click.IntRange(1), help="Worker processes on this machine."),
    grouped(HERE, "--memory-limit", metavar="BYTES", help="Memory of each of them, such as 2GiB."),
    grouped(QUEUED, "--cluster", type=click.Choice(["slurm"]), help="Queue that gives workers, by dask-jobqueue."),
    grouped(QUEUED, "--jobs", type=click.IntRange(1), help="Jobs to ask the queue for, a worker each."),
    grouped(QUEUED, "--queue", help="Its partition."),
    grouped(QUEUED, "--walltime", metavar="HH:MM:SS", help="Time of a job."),
    grouped(QUEUED, "--memory", metavar="BYTES", help="Memory of a job, such as 4GB."),
    grouped(QUEUED, "--interface", help="Network interface between jobs, such as ib0."),
    grouped(SECURE, "--tls-ca-file", type=FILE, help="Certificate of the run's own authority."),
    grouped(SECURE, "--tls-cert", type=FILE, help="Certificate for this process."),
    grouped(SECURE, "--tls-key", type=FILE, help="Its key."),
]


def where_to_run(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that :func:`connection_of` reads."""
    return reduce(lambda found, option: option(found), reversed(_WHERE), command)


def connection_of(
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
    from biasvar.execution import addresses, clusters

    secure = addresses.security(*files)
    if secure and not (cluster or scheduler_file or str(scheduler).startswith("tls://")):
        raise StudyError("--tls-ca-file: TLS is for --scheduler tls://HOST:PORT, --scheduler-file and --cluster")
    if cluster:
        return clusters.Slurm(**{name: options[name] for name in given & queued}, security=secure)
    if scheduler_file:
        return addresses.SchedulerFile(scheduler_file, secure)
    if given & local:
        return clusters.LocalWorkers(**{name: options[name] for name in given & local})
    return addresses.Address(addresses.checked_address(scheduler), secure) if secure else scheduler
