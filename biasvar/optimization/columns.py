"""States of update rules by columns, one per trajectory: taken, and put back.

A state is arrays whose last axis is the trajectories, numbers that all share, or tuples, lists and dicts of them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.intp]


def take(state: object, places: Places) -> Any:
    """Return some columns of a state.

    Examples
    --------
    >>> take((np.array([[1.0, 2.0, 3.0]]), 7), np.array([2, 0]))
    (array([[3., 1.]]), 7)
    """
    return _map(lambda array: _taken(array, places), state)


def put(state: object, places: Places, part: object) -> Any:
    """Return a state whose columns at ``places`` are the first ones of ``part``; numbers are those of ``part``."""
    return _map(lambda array, new: _replaced(array, places, new[..., : len(places)]), state, part)


def leaves(state: object) -> Iterator[Any]:
    """Yield a state's arrays and numbers.

    Examples
    --------
    >>> list(leaves({"count": 1, "rest": [2, (3,)]}))
    [1, 2, 3]
    """
    if isinstance(state, dict):
        state = list(state.values())
    if isinstance(state, tuple | list):
        for part in state:
            yield from leaves(part)
    elif state is not None:
        yield state


def filled(state: object, parts: Iterator[object]) -> Any:
    """Return a state of the same form with other arrays and numbers, in the order of :func:`leaves`.

    Examples
    --------
    >>> filled((1, None, [2, {"a": 3}]), iter("xyz"))
    ('x', None, ['y', {'a': 'z'}])
    """
    if isinstance(state, dict):
        return {name: filled(part, parts) for name, part in state.items()}
    if isinstance(state, tuple | list):
        several = [filled(part, parts) for part in state]
        return type(state)(*several) if hasattr(state, "_fields") else type(state)(several)
    return None if state is None else next(parts)


def _map(act: Callable[..., object], state: object, *others: Any) -> Any:
    """Act on all arrays of states of one form; numbers are the last state's."""
    # What the others are at a place follows from what the first is there.
    if isinstance(state, np.ndarray):
        return act(state, *others)
    if isinstance(state, dict):
        return {name: _map(act, part, *(other[name] for other in others)) for name, part in state.items()}
    if isinstance(state, tuple | list):
        parts = [_map(act, *several) for several in zip(state, *others, strict=True)]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    return others[-1] if others else state


def _taken(array: NDArray[Any], places: Places) -> NDArray[Any]:
    # As it lies in memory: matrix products of arrays that lie otherwise may round otherwise.
    out = np.empty_like(array, shape=(*array.shape[:-1], len(places)))
    out[...] = array[..., places]
    return out


def _replaced(array: NDArray[Any], places: Places, new: NDArray[Any]) -> NDArray[Any]:
    out = array.copy(order="K")
    out[..., places] = new
    return out
