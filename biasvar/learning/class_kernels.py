"""Compiled arithmetic of two normal classes: inputs out of uniforms, and how likely class +1 is there."""

import numpy as np

from biasvar.compiling import njit
from biasvar.montecarlo.elementary import exp, log, normal_quantile

LOG_TWO_PI = 1.8378770664093453
TILE = 256  # inputs that are worked on side by side
LEAST, MOST = 2.0**-54, 1 - 2.0**-53


@njit(cache=True, nogil=True, error_model="numpy")
def fill_inputs(uniforms, prior, centres, roots, out):  # type: ignore[no-untyped-def]
    """Fill in inputs (n, K, dim) from uniforms (n, dim, K): the first of each input says its class too."""
    n, dim, size = uniforms.shape
    plus, z, x = np.empty(TILE), np.empty((dim, TILE)), np.empty(TILE)
    for i in range(n):
        for start in range(0, size, TILE):
            count = min(TILE, size - start)
            _tell_class(uniforms[i, 0, start : start + count], prior, plus, z[0])
            for axis in range(1, dim):
                u, normal = uniforms[i, axis, start : start + count], z[axis]
                for k in range(count):
                    normal[k] = normal_quantile(u[k])
            for axis in range(dim):
                for k in range(count):
                    x[k] = centres[1, axis] if plus[k] > 0.0 else centres[0, axis]
                for other in range(axis + 1):
                    of_plus, of_minus, normal = roots[1, axis, other], roots[0, axis, other], z[other]
                    for k in range(count):
                        x[k] += (of_plus if plus[k] > 0.0 else of_minus) * normal[k]
                target = out[i, start : start + count]
                for k in range(count):
                    target[k, axis] = x[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _tell_class(u, prior, plus, z):  # type: ignore[no-untyped-def]
    """Fill in 1 for class +1, else 0, and the normal number that the rest of a uniform makes."""
    other = 1.0 - prior
    for k in range(u.size):
        plus[k] = 1.0 if u[k] >= other else 0.0
        rest = (u[k] - other) / prior if u[k] >= other else u[k] / other
        z[k] = normal_quantile(min(max(rest, LEAST), MOST))


@njit(cache=True, nogil=True, error_model="numpy")
def fill_log_density(x, centre, root, share, out):  # type: ignore[no-untyped-def]
    """Fill in the logarithm of a share of a normal density, whose covariance is root root', root being triangular."""
    size, dim = x.shape
    z = np.empty((dim, TILE))
    highest = log(share)
    for i in range(dim):
        highest -= log(root[i, i]) + LOG_TWO_PI / 2
    for start in range(0, size, TILE):
        count = min(TILE, size - start)
        places, target = x[start : start + count], out[start : start + count]
        for k in range(count):
            target[k] = highest
        for i in range(dim):
            row = z[i]
            for k in range(count):
                row[k] = places[k, i] - centre[i]
            for j in range(i):
                factor, known = root[i, j], z[j]
                for k in range(count):
                    row[k] -= factor * known[k]
            for k in range(count):
                row[k] /= root[i, i]
                target[k] -= row[k] * row[k] / 2


@njit(cache=True, nogil=True, error_model="numpy")
def fill_probability(plus, minus):  # type: ignore[no-untyped-def]
    """Turn the logarithm of class +1's share of the density into the probability of that class."""
    for k in range(plus.size):
        plus[k] = 1.0 / (1.0 + exp(minus[k] - plus[k]))
