"""States of descents as numbers, one row per trajectory, so that a longer descent goes on from them.

A row is how the arrays lay in memory, then theta, then the state of the rule. What is restored is what it was to the
last bit, types and layout included: matrix products of arrays that lie otherwise may round otherwise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasvar.optimization import columns
from biasvar.optimization.columns import Array
from biasvar.optimization.rules import UpdateRule

#: What a state is made of.
Number = NDArray[Any] | np.generic | float

#: Arrays of a state of which it is kept how they lay; their bits have to be those of an exact float.
MOST_ARRAYS = 50


def names(rule: UpdateRule, dim: int) -> list[str]:
    """Return what the numbers of a row are.

    Examples
    --------
    >>> from biasvar import Momentum
    >>> names(Momentum(), 2)
    ['order', 'theta', 'theta', 'state', 'state']
    """
    first, *rest = _leaves(_template(rule, dim, 1))
    return ["order", *["theta"] * first.size, *["state"] * sum(np.size(part) for part in rest)]


def keep(rule: UpdateRule, theta: Array, state: object) -> Array:
    """Return the rows (K, numbers) of K trajectories; missing where the state has not the types that it began with."""
    dim, width = theta.shape
    template = _leaves(_template(rule, dim, width))
    parts = _leaves((theta, state))
    if [_type(part) for part in parts] != [_type(part) for part in template] or not all(map(_is_ordered, parts)):
        return np.full((width, len(names(rule, dim))), np.nan)
    order = float(sum(_is_fortran(part) << i for i, part in enumerate(parts)))
    rows = [np.full((1, width), order), *(_numbers(part, width) for part in parts)]
    return np.concatenate(rows).T


def are_kept(rows: Array) -> NDArray[np.bool_]:
    """Tell of which trajectories there is a state."""
    known: NDArray[np.bool_] = ~np.isnan(rows[:, 0])
    return known


def restore(rule: UpdateRule, dim: int, rows: Array) -> tuple[Array, Any]:
    """Return theta and state of rows (K, numbers), of which one at least is kept; the others are missing."""
    width = len(rows)
    first = int(np.flatnonzero(are_kept(rows))[0])
    order, at, parts = int(rows[first, 0]), 1, []
    for i, like in enumerate(_leaves(_template(rule, dim, width))):
        size = np.size(like) // width if np.ndim(like) else 1
        numbers, at = rows[:, at : at + size], at + size
        if np.ndim(like):
            part = np.empty_like(like, order="F" if order >> i & 1 else "C")
            part[...] = _typed(numbers.T.reshape(np.shape(like)), like.dtype)
        else:
            part = type(like)(_typed(numbers[first], np.asarray(like).dtype)[0])
        parts.append(part)
    theta, state = columns.filled(_template(rule, dim, width), iter(parts))
    return theta, state


def unfit(rule: UpdateRule, theta: Array, state: object) -> str:
    """Say why the state after a step cannot be kept; empty text if it can."""
    before, after = _leaves(_template(rule, *theta.shape)), _leaves((theta, state))
    if len(before) > MOST_ARRAYS:
        return f"its state has {len(before) - 1} parts, of which {MOST_ARRAYS - 1} can be kept"
    for one, other in zip(before, after, strict=True):
        if _type(one) != _type(other):
            return f"its state is {_type(one)} at first and {_type(other)} after a step"
        kind, size = np.asarray(one).dtype.kind, np.asarray(one).dtype.itemsize
        if kind not in "biuf" or size > 8:
            return f"its state has numbers of type {_type(one)}"
    return ""


def _template(rule: UpdateRule, dim: int, width: int) -> tuple[Array, Any]:
    theta = np.zeros((dim, width))
    return theta, rule.init(theta)


def _leaves(state: object) -> list[Any]:
    return list(columns.leaves(state))


def _type(part: object) -> str:
    return str(part.dtype) if isinstance(part, np.ndarray) else type(part).__name__


def _is_fortran(part: Number) -> bool:
    return isinstance(part, np.ndarray) and part.ndim > 1 and part.flags.f_contiguous and not part.flags.c_contiguous


def _is_ordered(part: Number) -> bool:
    return (
        not isinstance(part, np.ndarray) or part.ndim == 0 or bool(part.flags.c_contiguous or part.flags.f_contiguous)
    )


def _numbers(part: object, width: int) -> Array:
    """Return an array (..., K) or number as floats (numbers, K) of 64 bits: integers by their bits."""
    array = np.asarray(part)
    array = np.broadcast_to(array, (1, width)) if array.ndim == 0 else array.reshape(-1, width)
    return array.astype(float) if array.dtype.kind == "f" else array.astype(np.int64).view(float)


def _typed(numbers: Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the array that :func:`_numbers` took."""
    exact = numbers if dtype.kind == "f" else np.ascontiguousarray(numbers).view(np.int64)
    return exact.astype(dtype)
