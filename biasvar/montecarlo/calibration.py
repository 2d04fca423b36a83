"""Weights that make a block average low polynomials exactly: a control variate that knows no integrand.

In one or two random dimensions the integrands of smooth problems are almost polynomials, and a block whose
weights are exact for polynomials divides the standard error of the two-point sine problem by ninety at 2**12
points. From three dimensions on it gains nothing (fits are rational functions of their inputs there).

Weights solved from a block's own points would bias what they weight. So a block is drawn as two independent
halves, and each half is corrected by the other's deviation: unbiased exactly, and still exact for polynomials.
"""

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit

MAX_DIMENSION = 2
MIN_LOG2_SIZE = 9
MAX_DEGREE = 14


def applies(dimension: int, log2_size: int) -> bool:
    """Tell whether a block of this shape is worth calibrating."""
    return 1 <= dimension <= MAX_DIMENSION and log2_size >= MIN_LOG2_SIZE


def calibrated_weights(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight two independent halves so that together they average low symmetric polynomials exactly.

    With F the vector of symmetrised products of shifted Legendre polynomials up to some total degree (all of mean
    zero) and F_A, F_B their means over the halves, point k of half A gets
    w_k = (1 - F_B' G_A^{-1} (F(u_k) - F_A)) / K, where G_A is the covariance of F over A; and B likewise.

    Parameters
    ----------
    first, second : ndarray of shape (dimension, K / 2)
        Independent points in the unit cube, with exchangeable coordinates; dimension 1 or 2.

    Returns
    -------
    ndarray of shape (K,)
        Weights that sum to one, those of ``first`` first.

    References
    ----------
    J.-C. Deville and C.-E. Saerndal, Calibration estimators in survey sampling, 1992.

    Examples
    --------
    >>> a, b = np.random.default_rng(0).random((2, 2, 2048))
    >>> w, (u, v) = calibrated_weights(a, b), np.concatenate([a, b], axis=1)
    >>> bool(abs(w @ (u * v**3 + v * u**3) - 2 / 8) < 1e-12)
    True
    """
    half = first.shape[1]
    degree = min(MAX_DEGREE, 2 * (half.bit_length() - 6))
    functions = [_symmetric_polynomials(points, degree) for points in (first, second)]
    means = [values.mean(axis=1) for values in functions]
    return np.concatenate(
        [_half_weights(functions[0], means[0], means[1]), _half_weights(functions[1], means[1], means[0])]
    )


def _half_weights(
    values: NDArray[np.float64], own: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    size = values.shape[1]
    centred = values - own[:, None]
    shift = np.linalg.solve(centred @ centred.T, other)
    weights: NDArray[np.float64] = 0.5 / size - 0.5 * (shift @ centred)
    return weights


def _symmetric_polynomials(points: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """Evaluate p_a(u) p_b(v) + p_b(u) p_a(v) for b <= a and 1 <= a + b <= degree, a row each."""
    dimension, size = points.shape
    second = degree if dimension == 2 else 0
    count = sum(1 for a in range(1, degree + 1) for _ in range(min(a, degree - a, second) + 1))
    out = np.empty((count, size))
    _fill_symmetric(points[0], points[-1], degree, second, out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _legendre(u, out):  # type: ignore[no-untyped-def]
    degree = out.shape[0] - 1
    for k in range(u.shape[0]):
        out[0, k] = 1.0
        out[1, k] = 2.0 * u[k] - 1.0
    for a in range(1, degree):
        up, back = (2.0 * a + 1.0) / (a + 1.0), a / (a + 1.0)
        for k in range(u.shape[0]):
            out[a + 1, k] = up * (2.0 * u[k] - 1.0) * out[a, k] - back * out[a - 1, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_symmetric(u, v, degree, second, out):  # type: ignore[no-untyped-def]
    size = u.shape[0]
    tile = 256
    p_u, p_v = np.empty((degree + 1, tile)), np.empty((degree + 1, tile))
    for start in range(0, size, tile):
        stop = min(start + tile, size)
        _legendre(u[start:stop], p_u)
        _legendre(v[start:stop], p_v)
        row = 0
        for a in range(1, degree + 1):
            for b in range(min(a, degree - a, second) + 1):
                scale = np.sqrt((2.0 * a + 1.0) * (2.0 * b + 1.0)) / 2.0
                target = out[row, start:stop]
                for k in range(stop - start):
                    target[k] = scale * (p_u[a, k] * p_v[b, k] + p_u[b, k] * p_v[a, k])
                row += 1
