"""Settings: Dask's configuration under ``biasvar:``, by YAML files or environment (``DASK_BIASVAR__TRIES=5``)."""

import math
from typing import Any

import dask.config
from dask.utils import parse_timedelta

from biasvar.errors import SettingError

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
    "dashboard-page": True,  # of ours, in the dashboard of the scheduler that runs a study
}
LONGEST_WAIT = 30.0

dask.config.update_defaults({"biasvar": DEFAULTS})


def _given(name: str) -> Any:
    """Return a setting as it stands; who leaves a ``dask.config.set`` in which defaults were added takes them away."""
    return dask.config.get(f"biasvar.{name}", DEFAULTS[name])


def count(name: str) -> int:
    """Return a setting that is a whole number, at least 1.

    Raises
    ------
    SettingError
        If it is something else.
    """
    value = _given(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingError(f"setting biasvar.{name}: expected a whole number of at least 1, got {value!r}")
    return value


def seconds(name: str) -> float:
    """Return a setting that is a length of time.

    Raises
    ------
    SettingError
        If it is something else.
    """
    value = _given(name)
    try:
        found = float(parse_timedelta(value))
    except (KeyError, ValueError, TypeError, AttributeError):
        found = math.nan
    if not 0 < found < math.inf:
        raise SettingError(f"setting biasvar.{name}: expected a length of time such as '2s', got {value!r}")
    return found


def is_on(name: str) -> bool:
    """Return a setting that is true or false.

    Raises
    ------
    SettingError
        If it is something else.
    """
    value = _given(name)
    if not isinstance(value, bool):
        raise SettingError(f"setting biasvar.{name}: expected true or false, got {value!r}")
    return value


def check() -> None:
    """Refuse settings that are unknown, or have values that they cannot have.

    Raises
    ------
    SettingError
        Naming the first one.
    """
    found = dask.config.get("biasvar", {})
    if not isinstance(found, dict):
        raise SettingError(f"setting biasvar: expected settings in it, got {found!r}; see docs/clusters.md")
    for name in found:
        if name.replace("_", "-") not in DEFAULTS:
            raise SettingError(f"setting biasvar.{name}: is unknown; choose from {', '.join(DEFAULTS)}")
    for name, default in DEFAULTS.items():
        reader = is_on if isinstance(default, bool) else count if isinstance(default, int) else seconds
        reader(name)
