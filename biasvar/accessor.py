"""What summaries can do where they stand: ``summary.biasvar``, on xarray's Datasets and DataTrees.

Where biasvar is imported they have it, whoever opened them: :func:`biasvar.open` or plain ``xarray.open_zarr``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from biasvar import rows
from biasvar.studies.base import Summary
from biasvar.views import plot, records, tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Plots:
    """The figures of :mod:`biasvar.plot` that are made of a summary, as methods."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    def __dir__(self) -> list[str]:
        return plot.figures_of(self._summary)

    def __getattr__(self, name: str) -> Callable[..., "Figure"]:
        if name not in dir(self):
            raise AttributeError(
                f"no figure {name!r} of these numbers; choose from {', '.join(plot.figures_of(self._summary))}"
            )
        return partial(getattr(plot, name), self._summary)


class Results:
    """Tables of a summary; in a notebook it shows itself as one.

    Parameters
    ----------
    summary : xarray.Dataset or xarray.DataTree
        What :func:`biasvar.run` or :func:`biasvar.open` returned.

    Examples
    --------
    >>> import biasvar as bv
    >>> study = bv.RiskStudy(
    ...     name="mean", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)}, n_train=[4],
    ...     replicates=256, block_size=16,
    ... )
    >>> summary = bv.lazy(study).compute()
    >>> summary.biasvar.table(["noise", "status"]).loc[0, "status"]
    'ok'
    """

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    def table(self, columns: Sequence[str] = ()) -> "pd.DataFrame":
        """Return the results as text: numbers with the standard error of their last digits in parentheses.

        Parameters
        ----------
        columns : sequence of str
            Headings of the columns to keep; all unless given. Of several tables those that have them are kept, one
            below the other.

        Notes
        -----
        For a paper there is ``to_text("latex")``, which escapes names, aligns numbers and marks the best ones.
        pandas' ``table().to_latex(index=False, escape=True)`` writes the same rows; it escapes nothing unless told to.
        """
        import pandas as pd

        frames = [pd.DataFrame(found.rows, columns=list(found.head)) for found in tables.tables(self._summary)]
        whole = pd.concat(frames, ignore_index=True)
        return whole[list(columns)] if columns else whole

    @property
    def plot(self) -> "Plots":
        """Figures: ``summary.biasvar.plot.along_x(n_train=2)`` is ``bv.plot.along_x(summary, n_train=2)``."""
        return Plots(self._summary)

    def records(self) -> "pd.DataFrame":
        """Return one row per cell with all its numbers in full, standard errors and status included."""
        import pandas as pd

        return pd.DataFrame(records.records(self._summary))

    def to_text(self, form: str = "text") -> str:
        """Write the tables as ``"text"``, ``"md"``, ``"latex"``, ``"html"``, or all numbers in full as ``"csv"``."""
        return records.as_csv(self._summary) if form == "csv" else tables.results(self._summary, form)

    def _repr_html_(self) -> str:
        return "".join(rows.as_html(table) for table in tables.tables(self._summary))
