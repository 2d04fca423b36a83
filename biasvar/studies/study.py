"""What a study is: fields, and a handful of verbs by which the engine runs it."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar

import xarray as xr
from numpy.typing import NDArray

from biasvar.errors import StudyError
from biasvar.studies.base import Begun, BlockRecords, BlockSource, Group, Reducer, Summary
from biasvar.studies.model import StudyModel

S = TypeVar("S", bound=Summary)


class Study(StudyModel, Generic[S]):
    """A study lists its cells, simulates blocks of them and summarises all blocks.

    What a kind of study must say is abstract here; all else has a default. Its fields, each with a mark, say how it is
    written, how it may be extended and what two of its stores come to together: see ``biasvar.studies.marks``.
    :class:`~biasvar.studies.average.AverageStudy` is the short way to a kind whose numbers are averages.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.load("two-point-sine")
    >>> isinstance(study, bv.Study), study.block_size
    (True, 4096)
    >>> study.blocks_needed()
    {'n2': 32, 'n10': 32}
    """

    # What there is to do

    @abstractmethod
    def groups(self, stored: Collection[tuple[str, str]] = ()) -> list[Group]:
        """Arrange the cells that are not ``stored`` yet, as (problem, cell) keys, in groups."""

    @abstractmethod
    def blocks_needed(self, summary: S | None = None) -> dict[str, int]:
        """Return how many blocks each problem needs: to begin with, or having seen a summary of those."""

    @property
    def open_goal(self) -> str:
        """The field that asks for as many blocks as it takes, known by computing only; empty if none does."""
        return ""

    @property
    @abstractmethod
    def block_size(self) -> int:
        """Replicates per block."""

    @property
    def block_work(self) -> int:
        """Units of work per block, replicates unless a kind of study says otherwise; a trial does fewer."""
        return self.block_size

    # How it is done

    @abstractmethod
    def simulate(self, group: Group, block: int, work: int | None = None) -> BlockRecords:
        """Simulate one block: pure, seeded by what it is.

        Parameters
        ----------
        group : Group
            Which cells.
        block : int
            Index of the block.
        work : int, optional
            Do only so many units of :attr:`block_work`, to see what they cost; the records are then dropped.
        """

    def work_begun(self, group: Group, statistic: Mapping[str, NDArray[Any]]) -> int:
        """Return after how many units of work an earlier edition of a group left off, if its blocks are gone on with.

        0, as here, if they are simulated again from the start. ``statistic`` is what the numbers of its records are,
        as :meth:`record_coordinates` of that edition said.
        """
        return 0

    def go_on(self, group: Group, block: int, begun: Sequence[Begun]) -> BlockRecords:
        """Simulate one block from what was ``begun``, most work first: the bits are those of :meth:`simulate`."""
        return self.simulate(group, block)

    @abstractmethod
    def record_coordinates(self, group: Group) -> dict[str, NDArray[Any]]:
        """Return what the numbers of a group's records are: ``moment``, a name, and ``place`` within that name."""

    @property
    def headline_name(self) -> str:
        """What :meth:`headline` returns, in a word or two."""
        return "mean"

    @property
    def headline_goal(self) -> float | None:
        """The standard error of it that the study asks for, if it asks for any."""
        return None

    def headline(self, group: Group, records: NDArray[Any]) -> NDArray[Any]:
        """Return one number per cell and block, (cells, blocks), of records (cells, blocks, numbers).

        Its standard error is shown while a study runs; NaN for cells that have none to show. The first number of the
        record unless a kind of study says otherwise.
        """
        first: NDArray[Any] = records[..., 0]
        return first

    def headline_cells(self, group: Group) -> Sequence[str]:
        """Return what cells are called beside that number: their keys, and where it is told, if not everywhere."""
        return group.cells

    # What comes of it

    @abstractmethod
    def layout(self) -> S:
        """Return the empty labelled summary: variables, dims, coordinates, attributes; all values missing."""

    def reducer(self, group: Group, known: object = None) -> Reducer:
        """Return what makes of a leaf of blocks what :meth:`summarise` needs of them: unless it says less, all.

        It runs wherever there are workers. What it returns is pickled, and has a classmethod ``joined`` that makes of
        what several leaves come to, in their order, what all of them do.

        Parameters
        ----------
        group : Group
            Whose blocks.
        known : object
            What :meth:`summarise` knows of all of them by an earlier pass.
        """
        return lambda blocks, first: blocks

    @abstractmethod
    def summarise(self, source: BlockSource) -> S:
        """Turn blocks into labelled results with standard errors."""

    def unmet_goals(self, summary: S) -> list[str]:
        """Say which of its goals the finished study did not reach, one line per goal."""
        return []

    # What is a user's

    def call_user_code(self) -> None:
        """Call the user's functions once, so that errors appear before any task runs; they are StudyErrors."""

    def check_derivatives(self) -> dict[str, xr.Dataset]:
        """Compare the derivatives that the study uses with values, by label; none unless it uses any."""
        return {}

    def fingerprint_values(self) -> Any:
        """Return numbers (JSON) that are likely to change with a user's function, though its name stays the same."""
        return []

    def changed_values(self, stored: Any) -> str:
        """Say how the fingerprint values differ from a stored study's; empty text if they do not."""
        return ""


def check_is_study(value: object) -> None:
    """Refuse what is no study.

    Raises
    ------
    StudyError
        Saying what was got.
    """
    if not isinstance(value, Study):
        raise StudyError(f"study: expected a study, got {value!r}; load one from YAML or by name with biasvar.load")
