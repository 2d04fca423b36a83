"""Data sets as users have them: arrays, tables, files and names, read into numbers or refused in a line."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from biasvar.errors import MissingDependencyError, StudyError
from biasvar.learning.examples import Examples
from biasvar.studies.files import data_folder

F = TypeVar("F")

#: The sets that come with biasvar, and which of their columns is the label.
SHIPPED = {"breast_cancer": "diagnosis"}
#: Those that come with scikit-learn.
OF_SCIKIT_LEARN = ("diabetes", "digits", "iris", "wine")
NAMES = (*SHIPPED, *OF_SCIKIT_LEARN)


@dataclass(frozen=True, eq=False)
class Table:
    """A data set that was read: inputs in columns, and labels.

    Parameters
    ----------
    x : ndarray of shape (N, columns)
        Inputs.
    y : ndarray of shape (N,)
        Labels: numbers, or text.
    columns : tuple of str
        Names of the inputs.
    label : str
        Name of the label.
    source : str
        The name or path that it was read from; empty for what was in memory.
    asked : tuple
        Which label and columns were asked for.
    """

    x: NDArray[np.float64]
    y: NDArray[Any]
    columns: tuple[str, ...]
    label: str
    source: str = ""
    asked: tuple[object, object] = field(default=(None, None))

    def __repr__(self) -> str:
        where = f" from {self.source}" if self.source else ""
        return f"<{len(self.y)} examples of {len(self.columns)} columns and label {self.label}{where}>"

    @cached_property
    def sha256(self) -> str:
        """A hash of inputs and labels, whatever they are called and wherever they came from."""
        total = hashlib.sha256(repr(self.x.shape).encode())
        total.update(self.x.astype("<f8").tobytes())
        total.update(repr(self.y.tolist()).encode() if self.y.dtype == object else self.y.astype("<f8").tobytes())
        return total.hexdigest()

    def identity(self) -> dict[str, Any]:
        """Return what identifies it, as JSON."""
        return {"sha256": self.sha256, "examples": len(self.y), "columns": len(self.columns)}

    @cached_property
    def classes(self) -> NDArray[Any]:
        """The different labels, sorted."""
        return np.unique(self.y.astype(str)) if self.y.dtype == object else np.unique(self.y)

    def numbers(self) -> Examples:
        """Return it with labels that are numbers.

        Raises
        ------
        StudyError
            If they are text.
        """
        if self.y.dtype == object:
            raise StudyError(
                f"label: column {self.label!r} holds text ({self.y[0]!r}), and squared loss is of numbers; "
                "use loss='zero_one'"
            )
        return Examples(self._inputs, self.y.astype(float))

    def votes(self) -> Examples:
        """Return it with labels that are classes.

        Raises
        ------
        StudyError
            If there is one class only, or as good as one per example.
        """
        if len(self.classes) < 2:
            raise StudyError(f"label: column {self.label!r} has one value only, {self.classes[0]!r}; nothing to learn")
        if len(self.classes) > len(self.y) / 2:
            raise StudyError(
                f"label: column {self.label!r} has {len(self.classes)} different values among {len(self.y)}, which are "
                "no classes; use loss='squared'"
            )
        known = self.y.astype(str) if self.y.dtype == object else self.y
        codes = np.searchsorted(self.classes, known).astype(float)
        return Examples(self._inputs, codes, len(self.classes))

    @property
    def _inputs(self) -> NDArray[np.float64]:
        return self.x[:, 0] if self.x.shape[1] == 1 else self.x


def read(data: object, label: str | None = None, columns: Sequence[str] | None = None) -> Table:
    """Read a data set from whatever it is in.

    Parameters
    ----------
    data : (array, array), DataFrame, Dataset, str or path
        Inputs and labels; a table with the label's column; a CSV, Parquet or Zarr path; a name.
    label : str, optional
        The label's column, where there are columns.
    columns : sequence of str, optional
        The columns that are inputs; all but the label unless given.

    Raises
    ------
    StudyError
        Naming what is missing, or cannot be a number.
    MissingDependencyError
        If a library that reads it is missing.
    """
    asked = (label, tuple(columns) if isinstance(columns, list | tuple) else columns)
    if isinstance(data, Table):
        if data.asked != asked:
            raise StudyError("data: were read with another label or other columns; give the data again beside them")
        return data
    if isinstance(data, dict):  # of a store
        return _again(data, label, columns)
    if isinstance(data, str | Path):
        table, known_label = _from_place(str(data))
        source = str(data) if str(data) in NAMES else str(Path(data).expanduser().absolute())
        return _from_columns(table, label or known_label, columns, source, asked)
    if isinstance(data, pd.DataFrame):
        return _from_columns(data, label, columns, "", asked)
    if isinstance(data, xr.Dataset):
        return _from_columns(_frame_of(data, label), label, columns, "", asked)
    if isinstance(data, list | tuple) and len(data) == 2:
        x, y = data
        return _from_arrays(x, y, label, columns, asked)
    raise StudyError(
        f"data: expected (inputs, labels), a DataFrame, a Dataset, a path or one of {', '.join(NAMES)}; "
        f"got {type(data).__name__}"
    )


def _again(data: Mapping[str, object], label: str | None, columns: Sequence[str] | None) -> Table:
    """Read again what a store names, and check that it is what it was."""
    source = data.get("source")
    if not source:
        raise StudyError(
            "data: were in memory, and a store keeps a fingerprint of them only; make the study as it was made, "
            "from its script"
        )
    table = read(source, label, columns)
    if table.sha256 != data.get("sha256"):
        raise StudyError(f"data: {source} is not what it was when the store was made; give it as it was")
    return table


def _from_place(place: str) -> tuple[pd.DataFrame, str | None]:
    if place in SHIPPED:
        return _read_file(data_folder("sets") / f"{place}.csv", pd.read_csv), SHIPPED[place]
    if place in OF_SCIKIT_LEARN:
        return _of_scikit_learn(place), "target"
    path = Path(place).expanduser()
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return _read_file(path, pd.read_csv), None
    if name.endswith((".parquet", ".pq")):
        return _read_file(path, _read_parquet), None
    if name.rstrip("/").endswith(".zarr"):
        return _read_file(path, lambda p: xr.open_zarr(p, chunks=None, consolidated=False)), None
    raise StudyError(f"data: {place!r} is none of {', '.join(NAMES)}, and no path of .csv, .parquet or .zarr")


def _read_file(path: Path, reader: Callable[[Path], F]) -> F:
    if not path.exists():
        raise StudyError(f"data: {path}: there is no such file")
    try:
        return reader(path)
    except MissingDependencyError:
        raise
    except Exception as error:  # whatever a reader makes of what is not its own
        raise StudyError(f"data: {path}: cannot be read: {' '.join(str(error).split())}") from error


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "parquet") from error


def _of_scikit_learn(name: str) -> pd.DataFrame:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingDependencyError("scikit-learn", "estimators") from error
    found = getattr(datasets, f"load_{name}")()
    return pd.DataFrame(found.data, columns=list(found.feature_names)).assign(target=found.target)


def _frame_of(data: xr.Dataset, label: str | None) -> pd.DataFrame:
    """Lay a Dataset out in columns: each variable along the label's dim is one, or several if it has another dim."""
    if label not in data.data_vars and label not in data.coords:
        _refuse_label(label, [str(name) for name in data.data_vars])
    if data[label].ndim != 1:
        raise StudyError(f"label: {label!r} has dims {data[label].dims}; expected one, the examples'")
    (examples,) = data[label].dims
    columns: dict[str, Any] = {str(label): data[label].values}
    for name, variable in data.data_vars.items():
        if examples not in variable.dims or name == label:
            continue
        if variable.ndim > 2:
            raise StudyError(f"data: {name!r} has dims {variable.dims}; expected {examples!r}, and one more at most")
        rows = variable.transpose(examples, ...)
        if variable.ndim == 1:
            columns[str(name)] = rows.values
        else:
            others = rows[rows.dims[1]].values
            columns |= {f"{name}[{other}]": rows.values[:, i] for i, other in enumerate(others)}
    return pd.DataFrame(columns)


def _from_arrays(
    x: ArrayLike, y: ArrayLike, label: str | None, columns: Sequence[str] | None, asked: tuple[object, object]
) -> Table:
    if label is not None or columns is not None:
        raise StudyError("label: goes with data that have named columns; leave it out beside arrays")
    inputs, labels = np.asarray(x), np.asarray(y)
    inputs = inputs[:, None] if inputs.ndim == 1 else inputs
    if inputs.ndim != 2 or labels.ndim != 1 or len(inputs) != len(labels):
        raise StudyError(
            f"data: expected inputs (N,) or (N, columns) and labels (N,), got shapes {np.shape(x)} and {np.shape(y)}"
        )
    frame = pd.DataFrame(inputs, columns=[f"x{i}" for i in range(inputs.shape[1])]).assign(y=labels)
    return _from_columns(frame, "y", None, "", asked)


def _from_columns(
    table: pd.DataFrame | xr.Dataset,
    label: str | None,
    columns: Sequence[str] | None,
    source: str,
    asked: tuple[object, object],
) -> Table:
    frame = _frame_of(table, label) if isinstance(table, xr.Dataset) else table
    names = {str(name): name for name in frame.columns}
    if len(names) < len(frame.columns):
        raise StudyError("data: two columns have one name; rename one")
    if label is None or str(label) not in names:
        _refuse_label(label, list(names))
    chosen = [name for name in names if name != str(label)] if columns is None else [str(name) for name in columns]
    if unknown := [name for name in chosen if name not in names or name == str(label)]:
        raise StudyError(f"columns: {unknown[0]!r} is no column of inputs; choose of {_some(names)}")
    if not chosen or not len(frame):
        raise StudyError(
            f"data: have {len(frame)} rows and {len(chosen)} columns of inputs; at least 3 and 1 are needed"
        )
    x = np.stack([_numbers(frame[names[name]], name) for name in chosen], axis=1)
    return Table(
        _frozen(x), _frozen(_labels(frame[names[str(label)]], str(label))), tuple(chosen), str(label), source, asked
    )


def _refuse_label(label: str | None, names: Sequence[str]) -> None:
    if label is None:
        raise StudyError(f"label: is missing; say which column is the label, of {_some(names)}")
    raise StudyError(f"label: {label!r} is no column; choose of {_some(names)}")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")


def _numbers(column: pd.Series, name: str) -> NDArray[np.float64]:
    """Return a column of inputs as numbers."""
    _refuse_missing(column, name)
    if column.dtype.kind not in "biuf" and not pd.api.types.is_numeric_dtype(column.dtype):
        _refuse_text(column, name)
    values: NDArray[np.float64] = column.to_numpy(dtype=float)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise StudyError(f"data: column {name!r} is {values[row]} in row {row}; expected finite numbers")
    return values


def _labels(column: pd.Series, name: str) -> NDArray[Any]:
    """Return the column of labels: numbers, or text."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _numbers(column, name)
    _refuse_missing(column, name)
    values: list[Hashable] = column.tolist()
    if all(isinstance(value, bool | int | float) for value in values):
        return _numbers(column.astype(float), name)
    if not all(isinstance(value, str) for value in values):
        raise StudyError(f"label: column {name!r} holds {type(values[0]).__name__}s; expected numbers or text")
    return np.array(values, dtype=object)


def _refuse_missing(column: pd.Series, name: str) -> None:
    missing = np.flatnonzero(column.isna().to_numpy())
    if missing.size:
        raise StudyError(
            f"data: column {name!r} lacks {missing.size} of {len(column)} values, the first in row {missing[0]}; "
            "fill them in, or drop their rows"
        )


def _refuse_text(column: pd.Series, name: str) -> None:
    raise StudyError(
        f"data: column {name!r} holds {column.iloc[0]!r}, which is no number; leave it out by columns=[...], "
        "or write it in numbers"
    )


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
