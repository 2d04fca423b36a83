"""Bias, variance and their kin: what is averaged over training sets, and what is made of the averages.

For squared loss, with g the fit on a random training set and m = E[g | X] its mean over label noise,

    E(g) = sigma^2 + E_x (E[g] - f)^2 + E_x Var[g],      Var[g] = Var[m] + sigma^2 E[sum_i S_i(x)^2],

the second equality for fits g = S y that are linear in the labels. One *record* a block holds the moments of m, the
mean noise gain, the training error and the largest losses; everything else is a function of averaged records.

References
----------
S. Geman, E. Bienenstock, R. Doursat, Neural networks and the bias/variance dilemma, 1992.
L. Bottou and O. Bousquet, The tradeoffs of large scale learning, 2008 (approximation and estimation error).
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasvar.errors import BiasvarError, MissingDependencyError, StudyError, TargetError
from biasvar.learning import targets
from biasvar.learning.least_squares import Fits, LinearModel, Projection, fit_nested, fit_one
from biasvar.learning.quadrature import TestPoints
from biasvar.montecarlo.draws import Block, Purpose
from biasvar.montecarlo.moments import (
    TAIL_SIZE,
    largest,
    weighted_covariance,
    weighted_mean,
    weighted_variance,
)

TILE_BYTES = 1 << 24


@dataclass(frozen=True)
class Problem:
    """A law of data: target, inputs, and the test points at which risk is evaluated."""

    target: Any
    inputs: Any
    test: TestPoints

    @classmethod
    def of(cls, target: Any, inputs: Any, test_points: int | None, seed: int) -> "Problem":
        """Choose the test points and check the target on them."""
        test = inputs.test_points(test_points, targets.breakpoints(target), seed)
        _read_only(test.x)
        problem = cls(target, inputs, test)
        if not np.array_equal(problem.f, targets.evaluate(target, test.x, inputs.dim)):
            raise TargetError(
                f"target: {target!r} gives different values for the same x; take what is random out of it"
            )
        return problem

    @cached_property
    def f(self) -> NDArray[np.float64]:
        """Target values at the test points."""
        return targets.evaluate(self.target, self.test.x, self.inputs.dim)

    def model(self, hypothesis: Any) -> tuple[LinearModel, Projection]:
        """Return a least-squares set's model and its features under the test points, made once."""
        if id(hypothesis) not in self._models:
            model = hypothesis.linear_model(self.inputs)
            features = model.basis.evaluate(self.test.x, model.size)
            self._models[id(hypothesis)] = hypothesis, model, Projection.of(features, self.test.weights)
        return self._models[id(hypothesis)][1:]

    @cached_property
    def _models(self) -> dict[int, tuple[Any, LinearModel, Projection]]:
        """Models by the identity of their hypothesis, which is kept with them so that it stays alive."""
        return {}

    def quadrature_error(self) -> float:
        """Compare averages of f over x by this rule and by one cut into many more pieces.

        Far above rounding only where f jumps or bends between the test points.
        """
        if self.inputs.dim > 1:
            return 0.0  # sampled test points: their error is estimated from their spread
        fine = self.inputs.finer_points(len(self.f), targets.breakpoints(self.target))
        values = targets.evaluate(self.target, fine.x, self.inputs.dim)
        scale = 1 / np.abs(fine.x).max() if fine.x.any() else 1.0
        errors = [
            (self.f * (self.test.x * scale)) @ self.test.weights - (values * (fine.x * scale)) @ fine.weights,
            *(self.f**power @ self.test.weights - values**power @ fine.weights for power in (1, 2)),
        ]
        rounding = 1e-13 * max(1.0, float(values**2 @ fine.weights))
        worst = float(np.abs(errors).max())
        return worst if worst > rounding else 0.0


class Cell(NamedTuple):
    """One hypothesis set, at one noise level if its label noise is simulated, else (None) at all of them."""

    hypothesis: Any
    noise: float | None


@dataclass(frozen=True)
class Record:
    """How one block's averages of one cell are laid out in a row of numbers."""

    points: int

    @property
    def fields(self) -> dict[str, int]:
        """Names and lengths, in order; 0 stands for a single number."""
        return {
            "mean": self.points,
            "variance": self.points,
            "noise_gain": self.points,
            "training_error": 0,
            "training_noise_gain": 0,
            "largest_loss": TAIL_SIZE,
            "largest_noise_gain": TAIL_SIZE,
        }

    @property
    def size(self) -> int:
        """Length of the row."""
        return sum(max(length, 1) for length in self.fields.values())

    def pack(self, **values: Any) -> NDArray[np.float64]:
        """Lay named values out in a row."""
        row = np.empty(self.size)
        for name, place in self._places.items():
            row[place] = values[name]
        return row

    def unpack(self, rows: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return views of the named parts of rows (..., size); numbers that stand alone lose their axis."""
        return {name: rows[..., place] for name, place in self._places.items()}

    @cached_property
    def _places(self) -> dict[str, int | slice]:
        places: dict[str, int | slice] = {}
        start = 0
        for name, length in self.fields.items():
            places[name] = slice(start, start + length) if length else start
            start += max(length, 1)
        return places


def simulates_noise(hypothesis: Any) -> bool:
    """Tell whether label noise is simulated for a set, rather than integrated exactly."""
    return not (hasattr(hypothesis, "linear_model") or hasattr(hypothesis, "weights"))


def refuses(hypothesis: Any, inputs: Any, n_train: int) -> str | None:
    """Return why a set cannot be fitted to training sets of this size, or None."""
    method: Callable[[Any, int], str | None] | None = getattr(hypothesis, "refuses", None)
    return method(inputs, n_train) if method else None


class Outcome(NamedTuple):
    """A cell's record of one block, or the reason why there is none."""

    record: NDArray[np.float64]
    failure: str = ""
    traceback: str = ""


def simulate_block(problem: Problem, cells: Sequence[Cell], n_train: int, block: Block) -> list[Outcome]:
    """Fit every cell to the same training sets and take their moments.

    Parameters
    ----------
    problem : Problem
        The law of data.
    cells : sequence of Cell
        What is fitted; all see the same inputs and, scaled, the same label noise.
    n_train : int
        Size of the training sets.
    block : Block
        The draws.

    Returns
    -------
    list of Outcome
        One a cell. A set that fails on its own yields NaN and a sentence, and disturbs no other.
    """
    uniforms, replicate_weights = block.uniforms()
    x = _read_only(problem.inputs.place(uniforms, n_train))
    f = _read_only(targets.evaluate(problem.target, x, problem.inputs.dim))
    shared = _Shared(problem, n_train, block, x, f, replicate_weights)
    outcomes: dict[int, Outcome] = {}
    for indices, attempt in _attempts(shared, cells):
        try:
            records = attempt()
        except (MissingDependencyError, MemoryError, OSError):
            raise  # the machine's fault, not the set's: nothing to remember
        except Exception as error:  # a user's set may raise anything: it fails, and the others go on
            kind = "" if isinstance(error, BiasvarError) else f"{type(error).__name__}: "
            trace = "".join(traceback.format_exception(error))
            outcomes |= {i: shared.failed(f"{kind}{error}", trace) for i in indices}
        else:
            outcomes |= {i: shared.checked(record) for i, record in zip(indices, records, strict=True)}
    return [outcomes[i] for i in range(len(cells))]


def best_in_class(problem: Problem, hypothesis: Any) -> tuple[NDArray[np.float64], float, float] | None:
    """Project the target onto a hypothesis set: the minimiser of expected risk inside it.

    Returns
    -------
    (values, error, se) or None
        g* at the test points, its excess risk (the approximation error) and that figure's standard error, which is zero
        for quadrature and the jackknife over independent test sets else; None where the set does not say what spans it.
    """
    features = _spanning_features(problem, hypothesis)
    if features is None:
        return None
    offset = hypothesis.offset(problem.test.x) if hasattr(hypothesis, "offset") else 0.0
    test, goal = problem.test, problem.f - offset
    values = _project(features, goal, test.weights)
    error = float(test.weights @ (values - goal) ** 2)
    if test.replicates == 1:
        return values + offset, error, 0.0
    left_out = np.empty(test.replicates)
    for replicate in range(test.replicates):
        keep = test.replicate != replicate
        weights = test.weights[keep] / test.weights[keep].sum()
        left_out[replicate] = weights @ (_project(features[:, keep], goal[keep], weights) - goal[keep]) ** 2
    count = test.replicates
    unbiased = count * error - (count - 1) * float(left_out.mean())
    se = float(np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum()))
    return values + offset, unbiased, se


@dataclass(frozen=True)
class _Shared:
    """What all cells of a block have in common."""

    problem: Problem
    n_train: int
    block: Block
    x: NDArray[np.float64]  # (n, K) or (n, K, dim)
    f: NDArray[np.float64]  # (n, K)
    weights: NDArray[np.float64]  # (K,)

    @property
    def layout(self) -> Record:
        return Record(len(self.problem.f))

    def failed(self, reason: str, trace: str = "") -> Outcome:
        return Outcome(np.full(self.layout.size, np.nan), " ".join(reason.split()) or "failed", trace)

    def checked(self, record: NDArray[np.float64]) -> Outcome:
        parts = self.layout.unpack(record)
        if not all(np.isfinite(value).all() for name, value in parts.items() if not name.startswith("largest")):
            return self.failed("predictions are not finite on some training sets")
        return Outcome(record)

    @cached_property
    def rows(self) -> NDArray[np.float64]:
        """Training inputs with the replicate first, (K, n) or (K, n, dim)."""
        return _read_only(np.ascontiguousarray(np.swapaxes(self.x, 0, 1)))

    def tiles(self, numbers_each: int) -> Iterator[slice]:
        """Cut the block so that arrays of ``numbers_each`` floats a replicate stay small."""
        step = max(1, TILE_BYTES // (8 * numbers_each))
        for start in range(0, self.block.size, step):
            yield slice(start, min(start + step, self.block.size))

    def places(self, tile: slice) -> NDArray[np.float64]:
        """Return test points, then training points, for each replicate of a tile: where predictions are wanted."""
        rows = self.rows[tile]
        test = np.broadcast_to(self.problem.test.x, (len(rows), *self.problem.test.x.shape))
        return np.concatenate([test, rows], axis=1)


_Attempt = tuple[list[int], Callable[[], list[NDArray[np.float64]]]]


def _attempts(shared: _Shared, cells: Sequence[Cell]) -> Iterator[_Attempt]:
    """Group cells that are computed together: least-squares sets that share a factorisation, else one by one."""
    nested: list[tuple[int, LinearModel, Projection]] = []
    for i, cell in enumerate(cells):
        if hasattr(cell.hypothesis, "linear_model"):
            model, projection = shared.problem.model(cell.hypothesis)
            if model.shares_factorisation(shared.n_train):
                if len(projection.change) < model.size:
                    points = len(projection.change)
                    reason = f"{model.size} coefficients cannot be determined by {points} distinct points"
                    yield [i], partial(_refuse, reason)
                else:
                    nested.append((i, model, projection))
            else:
                yield [i], partial(_one_record, shared, model, projection)
        elif hasattr(cell.hypothesis, "weights"):
            yield [i], partial(_smoother_record, shared, cell.hypothesis)
        else:
            yield [i], partial(_sampled_record, shared, cell)
    while nested:
        basis = nested[0][1].basis
        family = [entry for entry in nested if entry[1].basis == basis]
        nested = [entry for entry in nested if entry[1].basis != basis]
        yield [i for i, *_ in family], partial(_nested_records, shared, [(model, p) for _, model, p in family])


def _refuse(reason: str) -> list[NDArray[np.float64]]:
    raise StudyError(reason)


def _nested_records(shared: _Shared, models: list[tuple[LinearModel, Projection]]) -> list[NDArray[np.float64]]:
    largest_model, projection = max(models, key=lambda pair: pair[0].size)
    sizes = sorted({model.size for model, _ in models})
    fits = fit_nested(largest_model.basis, sizes, projection, shared.x, shared.f, shared.weights)
    records = {p: _coefficient_record(shared, projection, fit) for p, fit in zip(sizes, fits, strict=True)}
    return [records[model.size] for model, _ in models]


def _one_record(shared: _Shared, model: LinearModel, projection: Projection) -> list[NDArray[np.float64]]:
    fits = fit_one(model, projection, shared.x, shared.f, shared.weights)
    return [_coefficient_record(shared, projection, fits)]


def _coefficient_record(shared: _Shared, projection: Projection, fits: Fits) -> NDArray[np.float64]:
    """Take moments of coefficients, then move them to the test points: a cost that is paid once a block."""
    psi = projection.orthonormal[: len(fits.coefficients)]
    best = psi @ (shared.problem.test.weights * shared.problem.f)
    mean = weighted_mean(fits.coefficients, shared.weights)
    covariance = weighted_covariance(fits.coefficients, mean, shared.weights)
    loss = ((fits.coefficients - best[:, None]) ** 2).sum(axis=0)
    return shared.layout.pack(
        mean=mean @ psi,
        variance=np.einsum("ix,ix->x", psi, covariance @ psi),
        noise_gain=np.einsum("ix,ix->x", psi, fits.covariance @ psi),
        training_error=fits.residual @ shared.weights,
        training_noise_gain=fits.residual_gain,
        largest_loss=largest(loss, TAIL_SIZE),
        largest_noise_gain=largest(fits.gain, TAIL_SIZE),
    )


def _smoother_record(shared: _Shared, hypothesis: Any) -> list[NDArray[np.float64]]:
    n, size = shared.f.shape
    points = len(shared.problem.f)
    predictions, gains = np.empty((points, size)), np.empty((points, size))
    training, training_gain = np.empty(size), np.empty(size)
    for tile in shared.tiles((points + n) * n * 2):
        rows = shared.rows[tile]
        smoother = _shaped(
            hypothesis.weights(rows, shared.places(tile)), (len(rows), points + n, n), hypothesis, "weights"
        )
        at_test, hat = smoother[:, :points], smoother[:, points:]
        labels = shared.f[:, tile].T[..., None]
        predictions[:, tile] = (at_test @ labels)[..., 0].T
        gains[:, tile] = np.einsum("kmn,kmn->mk", at_test, at_test)
        training[tile] = ((labels - hat @ labels) ** 2).mean(axis=(1, 2))
        training_gain[tile] = ((np.eye(n) - hat) ** 2).sum(axis=(1, 2)) / n
    return [_prediction_record(shared, predictions, gains, training, training_gain)]


def _sampled_record(shared: _Shared, cell: Cell) -> list[NDArray[np.float64]]:
    n, size = shared.f.shape
    points = len(shared.problem.f)
    labels = shared.f
    if cell.noise:
        labels = labels + cell.noise * shared.block.normals(n)
    labels = _read_only(np.ascontiguousarray(labels.T))
    rng = shared.block.stream.generator(Purpose.ESTIMATOR)
    predictions, training = np.empty((points, size)), np.empty(size)
    for tile in shared.tiles((points + n) * (shared.problem.inputs.dim + 1)):
        rows = shared.rows[tile]
        fitted = _shaped(
            cell.hypothesis.fit_predict(rows, labels[tile], shared.places(tile), rng),
            (len(rows), points + n),
            cell.hypothesis,
            "fit_predict",
        )
        predictions[:, tile] = fitted[:, :points].T
        training[tile] = ((labels[tile] - fitted[:, points:]) ** 2).mean(axis=1)
    return [_prediction_record(shared, predictions, np.zeros((points, size)), training, np.zeros(size))]


def _prediction_record(
    shared: _Shared,
    predictions: NDArray[np.float64],
    gains: NDArray[np.float64],
    training: NDArray[np.float64],
    training_gain: NDArray[np.float64],
) -> NDArray[np.float64]:
    test = shared.problem.test
    mean = weighted_mean(predictions, shared.weights)
    loss = test.weights @ (predictions - shared.problem.f[:, None]) ** 2
    return shared.layout.pack(
        mean=mean,
        variance=weighted_variance(predictions, mean, shared.weights),
        noise_gain=weighted_mean(gains, shared.weights),
        training_error=training @ shared.weights,
        training_noise_gain=training_gain @ shared.weights,
        largest_loss=largest(loss, TAIL_SIZE),
        largest_noise_gain=largest(test.weights @ gains, TAIL_SIZE),
    )


def _read_only(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Guard what all cells share: a user's set that writes into it fails, and spoils no other's numbers."""
    array.flags.writeable = False
    return array


def _shaped(values: Any, shape: tuple[int, ...], hypothesis: Any, method: str) -> NDArray[np.float64]:
    if np.iscomplexobj(values):
        raise StudyError(f"{type(hypothesis).__name__}.{method} returned complex numbers")
    array = np.asarray(values, dtype=float)
    if array.shape != shape:
        raise StudyError(f"{type(hypothesis).__name__}.{method} returned shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise StudyError(f"{type(hypothesis).__name__}.{method} returned values that are not finite")
    return array


def _spanning_features(problem: Problem, hypothesis: Any) -> NDArray[np.float64] | None:
    if hasattr(hypothesis, "linear_model"):
        model, _ = problem.model(hypothesis)
        return model.basis.evaluate(problem.test.x, model.size)
    if hasattr(hypothesis, "features") and callable(hypothesis.features):
        return np.asarray(hypothesis.features(problem.test.x), dtype=float)
    return None


def _project(
    features: NDArray[np.float64], goal: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    projection = Projection.of(features, weights)
    return (projection.orthonormal @ (weights * goal)) @ projection.orthonormal
