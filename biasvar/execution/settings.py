"""Settings: Dask's configuration under ``biasvar:``, by YAML files or environment (``DASK_BIASVAR__TRIES=5``)."""

from typing import Any

import dask.config
from dask.utils import parse_timedelta

#: Every setting and its default.
DEFAULTS: dict[str, Any] = {
    "task-seconds": "2s",  # of simulation per task; more of it where there are thousands of workers
    "attempts": 10,  # in a row without a new chunk, before a run on a cluster gives up
    "retry-wait": "1s",  # after the first of them; each next one waits twice as long, up to LONGEST_WAIT
    "tries": 3,  # of a block whose own code raises, and of a chunk that ends its workers
    "connect-timeout": "10s",  # until a scheduler answers
    "no-workers-timeout": "5 minutes",  # without any worker, before an attempt counts as failed
    "queue-timeout": "24 hours",  # the same where workers are jobs that wait in a queue
    "lease": "60s",  # of the lock on a store in an object store, which a killed run leaves behind
    "jobs": 2,  # that --cluster asks its queue for
}
LONGEST_WAIT = 30.0

dask.config.update_defaults({"biasvar": DEFAULTS})


def count(name: str) -> int:
    """Return a setting that is a whole number."""
    return int(dask.config.get(f"biasvar.{name}"))


def seconds(name: str) -> float:
    """Return a setting that is a length of time."""
    return float(parse_timedelta(dask.config.get(f"biasvar.{name}")))
