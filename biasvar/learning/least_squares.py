"""Least squares on thousands of training sets at once, in coefficient space.

The fit is linear in the labels, c = W(X) y, so that E[c | X] = W f(X) and Cov[c | X] = sigma^2 W W': one pass over
the inputs serves every noise level, without noise in the noise.

Sets without a penalty share one factorisation: the features are nested, and so are the columns of a QR
factorisation, so that the fits of all degrees come out of the fit of the highest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.compiling import njit
from biasvar.errors import StudyError
from biasvar.learning.bases import Basis
from biasvar.montecarlo.linear_algebra import matmul, qr, solve_positive, solve_upper

LANES = 64  # replicates side by side: enough for SIMD, few enough for the cache
TILE_BYTES = 1 << 20
ROUNDING = 1e-12


@dataclass(frozen=True)
class LinearModel:
    """Say what is fitted: how many features of which basis, and how large coefficients are paid for.

    Minimises |y - phi c|^2 + penalty * |c without its intercept|^2; where that has many solutions, the one of
    minimum norm.
    """

    basis: Basis
    size: int
    penalty: float = 0.0
    intercept: bool = True

    @property
    def penalties(self) -> NDArray[np.float64]:
        """The penalty of each coefficient, shape (size,)."""
        penalties = np.full(self.size, float(self.penalty))
        if self.intercept:
            penalties[0] = 0.0
        return penalties

    def shares_factorisation(self, n_train: int) -> bool:
        """Tell whether a plain QR factorisation fits this model: full rank and no penalty."""
        return self.penalty == 0 and self.size <= n_train


class Fits(NamedTuple):
    """All that is needed of the fits of one model on one block of K replicates.

    Coefficients are those of features that are orthonormal under the test points, so that
    loss_k = |c_k - c*|^2 and gain_k = tr(W_k W_k').
    """

    coefficients: NDArray[np.float64]  # (p, K): E[c | X]
    gain: NDArray[np.float64]  # (K,): what unit label noise adds to the risk
    covariance: NDArray[np.float64]  # (p, p): weighted mean of W W'
    residual: NDArray[np.float64]  # (K,): mean squared training residual without label noise
    residual_gain: float  # weighted mean of tr((I - S)'(I - S)) / n


@dataclass(frozen=True)
class Projection:
    """Features phi of one basis made orthonormal under the test points: phi = A' psi, so c_psi = A c_phi.

    Column by column, so that what belongs to the first p features has the same bits however many follow.
    """

    orthonormal: NDArray[np.float64]  # psi, (rank, points)
    change: NDArray[np.float64]  # A, (rank, p), upper trapezoidal

    @classmethod
    def of(cls, features: NDArray[np.float64], weights: NDArray[np.float64]) -> "Projection":
        """Orthonormalise ``features`` (p, points) under ``weights`` (points,) by Gram-Schmidt, twice over."""
        columns = features * np.sqrt(weights)
        p, points = columns.shape
        q = np.zeros((min(p, points), points))
        change = np.zeros((min(p, points), p))
        rank = 0
        for j, column in enumerate(columns):
            rest = column.copy()
            for _ in range(2):
                along = matmul(q[:rank], rest)
                rest -= matmul(along, q[:rank])
                change[:rank, j] += along
            norm = float(np.sqrt(matmul(rest, rest)))
            if rank < len(q) and norm > 1e-10 * np.sqrt(matmul(column, column)):
                change[rank, j] = norm
                q[rank] = rest / norm
                rank += 1
        return cls(q[:rank] / np.sqrt(weights), change[:rank])

    def apply(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn features phi (p, ...) into psi (p, ...) in place, for as many as there are; needs full rank."""
        for j, feature in enumerate(features):
            for i in range(j):
                if abs(self.change[i, j]) > ROUNDING:
                    feature -= self.change[i, j] * features[i]
            if abs(self.change[j, j] - 1) > ROUNDING:
                feature /= self.change[j, j]
        return features


def fit_nested(
    basis: Basis,
    sizes: Sequence[int],
    projection: Projection,
    x: NDArray[np.float64],
    f: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> Iterator[Fits]:
    """Fit the first p features for every p in ``sizes`` (ascending), by modified Gram-Schmidt.

    Parameters
    ----------
    basis : Basis
        The features.
    sizes : sequence of int
        Ascending numbers of features, each at most n.
    projection : Projection
        The basis made orthonormal under the test points, for the largest size.
    x : ndarray of shape (n, K) or (n, K, dim)
        Training inputs, replicates innermost.
    f : ndarray of shape (n, K)
        Target values there.
    weights : ndarray of shape (K,)
        Weights of the replicates.

    References
    ----------
    G. Golub and C. Van Loan, Matrix Computations, 2013, section 5.2.8.
    """
    n, size = f.shape
    most = sizes[-1]
    inverse = np.empty((most, most, size))
    products = np.empty((most, size))
    residuals = np.empty((most, size))
    step = max(LANES, TILE_BYTES // (8 * n * most) // LANES * LANES)
    for start in range(0, size, step):
        tile = slice(start, min(start + step, size))
        features = projection.apply(basis.evaluate(x[:, tile], most))
        _factorise(features, f[:, tile], inverse[:, :, tile], products[:, tile], residuals[:, tile])
    coefficients = np.zeros((most, size))
    gain = np.zeros(size)
    covariance = np.zeros((most, most))
    for p in range(1, most + 1):
        column = inverse[:p, p - 1]
        coefficients[:p] += column * products[p - 1]
        gain += (column * column).sum(axis=0)
        covariance[:p, :p] += matmul(column * weights, column.T)
        if p in sizes:
            yield Fits(
                coefficients[:p].copy(), gain.copy(), covariance[:p, :p].copy(), residuals[p - 1] / n, (n - p) / n
            )


def fit_one(
    model: LinearModel,
    projection: Projection,
    x: NDArray[np.float64],
    f: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> Fits:
    """Fit one penalised or minimum-norm model by its explicit map W (p, n) from labels to coefficients."""
    n, size = f.shape
    rank = len(projection.change)
    coefficients = np.empty((rank, size))
    gain, residual, residual_gain = np.empty(size), np.empty(size), np.empty(size)
    covariance = np.zeros((rank, rank))
    step = max(1, TILE_BYTES // (8 * n * model.size))
    for start in range(0, size, step):
        tile = slice(start, min(start + step, size))
        phi = np.moveaxis(model.basis.evaluate(x[:, tile], model.size), -1, 0)  # (k, p, n)
        maps = _ridge_map(phi, model) if model.penalty else _minimum_norm_map(phi)
        labels = f[:, tile].T[..., None]
        fitted = matmul(maps, labels)
        hat = matmul(np.swapaxes(phi, 1, 2), maps)
        residual[tile] = ((labels - matmul(np.swapaxes(phi, 1, 2), fitted)) ** 2).mean(axis=(1, 2))
        residual_gain[tile] = (n - 2 * np.trace(hat, axis1=1, axis2=2) + (hat**2).sum(axis=(1, 2))) / n
        orthonormal = matmul(projection.change, maps)
        coefficients[:, tile] = matmul(projection.change, fitted)[..., 0].T
        gain[tile] = (orthonormal**2).sum(axis=(1, 2))
        rows = np.moveaxis(orthonormal, 1, 0).reshape(rank, -1)
        covariance += matmul(rows * np.repeat(weights[tile], n), rows.T)
    # A minimum-norm fit goes through every point: what is left of its residual is rounding.
    exact = model.penalty == 0 and model.size >= n
    return Fits(
        coefficients, gain, covariance, residual, 0.0 if exact else float(matmul(np.maximum(residual_gain, 0), weights))
    )


def label_maps(model: LinearModel, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the maps W (K, p, n) from labels to coefficients of fits to inputs (n, K) or (n, K, dim).

    Examples
    --------
    >>> from biasvar.learning.bases import Monomials
    >>> line = label_maps(LinearModel(Monomials(1, 1), 2), np.array([[0.0], [1.0], [2.0]]))
    >>> (line @ [1.0, 3.0, 5.0]).round(12).tolist()
    [[1.0, 2.0]]
    """
    phi = np.moveaxis(model.basis.evaluate(x, model.size), -1, 0)  # (K, p, n)
    if model.penalty:
        return _ridge_map(phi, model)
    if model.size > len(x):
        return _minimum_norm_map(phi)
    q, r = qr(np.swapaxes(phi, 1, 2))
    lengths = np.sqrt((r**2).sum(axis=1))  # of the features
    if (np.abs(np.diagonal(r, axis1=1, axis2=2)) <= ROUNDING * lengths).any():
        raise StudyError(
            f"inputs of some training sets of {len(x)} repeat, or depend on each other, so that they cannot determine "
            f"{model.size} coefficients; use Ridge, a lower degree or a larger n_train"
        )
    return solve_upper(r, np.swapaxes(q, 1, 2))


def _ridge_map(phi: NDArray[np.float64], model: LinearModel) -> NDArray[np.float64]:
    return solve_positive(matmul(phi, np.swapaxes(phi, 1, 2)) + np.diag(model.penalties), phi)


def _minimum_norm_map(phi: NDArray[np.float64]) -> NDArray[np.float64]:
    q, r = qr(phi)  # (k, p, n) with p >= n: the normal equations would square the condition number
    return np.swapaxes(solve_upper(r, np.swapaxes(q, 1, 2)), 1, 2)


@njit(cache=True, nogil=True, error_model="numpy")
def _factorise(features, f, inverse, products, residuals):  # type: ignore[no-untyped-def]
    """Fill inverse = R^-1 (p, p, K), products = Q'f (p, K) and residuals (p, K) of features (p, n, K)."""
    most, n, size = features.shape
    q = np.zeros((most, n, LANES))
    r = np.zeros((most, LANES))
    rest = np.zeros((n, LANES))
    total = np.zeros(LANES)
    scale = np.zeros(LANES)
    for start in range(0, size, LANES):
        lanes = min(LANES, size - start)  # the last tile may be short: its other lanes hold old numbers, unread
        rest[:, :lanes] = f[:, start : start + lanes]
        for p in range(most):
            q[p, :, :lanes] = features[p, :, start : start + lanes]
            for j in range(p):
                _inner(q[j], q[p], r[j])
                _subtract(q[p], r[j], q[j])
            _inner(q[p], q[p], total)
            scale[:] = 1.0 / np.sqrt(total)
            for i in range(n):
                q[p, i] *= scale
            _inner(q[p], rest, total)
            products[p, start : start + lanes] = total[:lanes]
            _subtract(rest, total, q[p])
            _inner(rest, rest, total)
            residuals[p, start : start + lanes] = total[:lanes]
            _next_column(inverse, r, scale, p, start, lanes)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _inner(a, b, out):  # type: ignore[no-untyped-def]
    """Sum a[i] b[i] over i, lane by lane."""
    for k in range(LANES):
        out[k] = 0.0
    for i in range(a.shape[0]):
        for k in range(LANES):
            out[k] += a[i, k] * b[i, k]


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _subtract(a, factor, b):  # type: ignore[no-untyped-def]
    """Take factor b from a, lane by lane."""
    for i in range(a.shape[0]):
        for k in range(LANES):
            a[i, k] -= factor[k] * b[i, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _next_column(inverse, r, scale, p, start, lanes):  # type: ignore[no-untyped-def]
    """Extend R^-1 by the column of R whose entries above the diagonal are r[:p] and on it 1 / scale."""
    for k in range(lanes):
        inverse[p, p, start + k] = scale[k]
    for j in range(p):
        for k in range(lanes):
            inverse[j, p, start + k] = 0.0
        for i in range(j, p):
            for k in range(lanes):
                inverse[j, p, start + k] -= inverse[j, i, start + k] * r[i, k]
        for k in range(lanes):
            inverse[j, p, start + k] *= scale[k]
