"""What each label weighs in a fit by minibatches of a linear rule: one descent, gone through from its end to its start.

A step of a linear rule makes of z = (theta, state ...) and of the gradient g, wherever that is taken,

    z_i <- sum_j A_ij z_j + B_i g,      g = H sum_j L_j z_j - phi'y / b,

with H = phi'phi / b, and the penalty, of the b examples of its batch. Backwards, what the end has of each z_i is known
before what the labels of a step add to it, p x p numbers whatever the number of labels: a step costs the same for any.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.optimization.batches import Places
from biasvar.optimization.rules.base import UpdateRule, advance

Array = NDArray[np.float64]


class LinearStep(NamedTuple):
    """What a step makes of theta and state, of the gradient, and where it looks for that: A, B and L."""

    moved: Array  # (Z, Z)
    pushed: Array  # (Z,)
    place: Array  # (Z,)


def linear_steps(rule: UpdateRule, hyper: Mapping[str, float], steps: int) -> Iterator[LinearStep]:
    """Yield the steps of a linear rule, the last one first, as it makes them of units.

    Examples
    --------
    >>> from biasvar.optimization.rules.momentum import Nesterov
    >>> (step,) = linear_steps(Nesterov(), {"learning_rate": 0.25, "momentum": 0.5}, 1)
    >>> step.moved.tolist(), step.pushed.tolist(), step.place.tolist()
    ([[1.0, 0.5], [0.0, 0.5]], [-0.25, -0.25], [1.0, 0.5])
    """
    size = 1 + len(rule.init(np.zeros((1, 1))))
    units = np.eye(size, size + 1)
    columns = {name: np.full(size + 1, value) for name, value in hyper.items()}
    shapes = [part.shape for part in rule.init(np.zeros((1, size + 1)))]
    state = tuple(unit.reshape(shape) for unit, shape in zip(units[1:], shapes, strict=True))
    of_gradient = np.eye(1, size + 1, size)
    for step in range(steps, 0, -1):
        places: list[Array] = []

        def gradient(place: Array, places: list[Array] = places) -> Array:
            places.append(place)
            return of_gradient

        theta, after = advance(rule, gradient, units[:1], state, step, steps, columns)
        made = np.stack([theta.ravel(), *(part.ravel() for part in after)])
        yield LinearStep(np.ascontiguousarray(made[:, :size]), made[:, size].copy(), places[0].ravel()[:size].copy())


def label_weights(features: Array, penalties: Array, steps: Iterator[LinearStep], batches: Sequence[Places]) -> Array:
    """Return what each label weighs in the coefficients after all steps, from coefficients of zero.

    Parameters
    ----------
    features : ndarray of shape (K, n, p)
        Features of the training inputs.
    penalties : ndarray of shape (p,)
        What is added to the diagonal of H.
    steps : iterator of LinearStep
        The last one first.
    batches : sequence of ndarray of shape (K, b)
        The examples of each step, the first one first; none is twice in one step.

    Returns
    -------
    ndarray of shape (K, p, n)

    Examples
    --------
    >>> from biasvar.optimization.rules.momentum import SGD
    >>> steps = linear_steps(SGD(), {"learning_rate": 0.5}, 2)
    >>> label_weights(np.ones((1, 2, 1)), np.zeros(1), steps, [np.array([[1]]), np.array([[0]])]).tolist()
    [[[0.5, 0.25]]]
    """
    size, n, p = features.shape
    weights, reach = np.zeros((size, n, p)), np.zeros((0, size, p, p))
    for step, batch in zip(steps, reversed(batches), strict=True):
        if not len(reach):
            reach = np.zeros((len(step.pushed), size, p, p))
            reach[0] = np.eye(p)
        _step_back(features, penalties, *step, batch, reach, weights)
    return np.ascontiguousarray(np.swapaxes(weights, 1, 2))


@njit(cache=True, nogil=True, error_model="numpy")
def _step_back(features, penalties, moved, pushed, place, batch, reach, weights):  # type: ignore[no-untyped-def]
    """Add what the labels of a batch weigh; replace reach, (Z, K, p, p), after a step by what it is before."""
    ways, size, p = reach.shape[:3]
    pull, curved, before = np.empty(p), np.empty(p), np.empty((ways, p))
    for k in range(size):
        for row in range(p):
            for d in range(p):
                pull[d] = 0.0
                for i in range(ways):
                    pull[d] += pushed[i] * reach[i, k, row, d]
                curved[d] = pull[d] * penalties[d]
            for example in batch[k]:
                along = 0.0
                for d in range(p):
                    along += pull[d] * features[k, example, d]
                along /= batch.shape[1]
                weights[k, example, row] -= along
                for d in range(p):
                    curved[d] += along * features[k, example, d]
            _pull_back(moved, place, curved, reach[:, k, row], before)


@njit(cache=True, nogil=True, error_model="numpy")
def _pull_back(moved, place, curved, reach, before):  # type: ignore[no-untyped-def]
    """Replace one row of reach, (Z, p), by moved' reach + place curved."""
    ways, p = reach.shape
    for j in range(ways):
        for d in range(p):
            before[j, d] = place[j] * curved[d]
            for i in range(ways):
                before[j, d] += moved[i, j] * reach[i, d]
    for j in range(ways):
        for d in range(p):
            reach[j, d] = before[j, d]
