"""How to connect to a Dask scheduler, and to connect again when it is lost."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

from biasvar.execution.settings import seconds


class Connection(ABC):
    """How to (re)connect to a Dask scheduler."""

    @property
    def patience(self) -> float:
        """Seconds for which a run waits while there are no workers."""
        return seconds("no-workers-timeout")

    @property
    def refusal(self) -> str:
        """Why the last worker that was asked for did not come, as far as that was said."""
        return ""

    def check(self) -> None:
        """Refuse, before anything is written, what cannot be connected to; a StudyError says why."""
        return

    @abstractmethod
    def client(self) -> AbstractContextManager[Any]:
        """Return a context that is a connected Client.

        Raises
        ------
        SchedulerError
            From ``with``, if no one answers.
        """
