"""Empirical risk: the mean loss of a model over examples, so that gradients may be taken over batches of these."""

from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from biasvar.errors import StudyError
from biasvar.fields import NonNegativeReal, Real, component
from biasvar.montecarlo.linear_algebra import matmul, singular
from biasvar.optimization.newton import newton_minimizer, whitened
from biasvar.optimization.objectives.base import (
    Array,
    Batch,
    Described,
    Objective,
    as_columns,
    from_columns,
    written_as,
)
from biasvar.optimization.objectives.examples import Examples, Pair, examples_of
from biasvar.optimization.objectives.losses import LOSSES, Loss
from biasvar.optimization.objectives.models import MLP, LinearModel, Model

Fraction = Annotated[Real, Field(ge=0, lt=1)]

# Numbers at a time of each column, so that those of a thousand columns stay in a cache.
BLOCK = 64
LINEAR = LinearModel()


class Prepared(NamedTuple):
    """Examples as kernels want them: x (m, p), and what the loss makes of labels; None where x has taken it in."""

    x: Array
    targets: Any

    def chosen(self, index: NDArray[np.intp] | slice) -> "Prepared":
        """Return some of them."""
        return Prepared(self.x[index], None if self.targets is None else self.targets[index])


def _model_of(value: object) -> Any:
    value = written_as(MLP)(value)
    if not (value == "linear" or isinstance(value, Model)):
        raise StudyError(f"expected 'linear' or MLP(width=...), got {value!r}")
    return value


@component
class EmpiricalRisk(Described, Objective):
    """Evaluate ``J(theta) = mean_i loss(f(x_i; theta), y_i) + penalty |theta|^2 / 2``, the empirical risk of a model f.

    No intercept is added to a linear model: give X a column of ones to have one (columns of named sets have mean zero).
    Where examples are held out, training examples are numbered as they follow one another without those.

    Parameters
    ----------
    data : str, pair of array_like or Examples
        The name of a set that scikit-learn ships (breast_cancer, diabetes, digits, iris or wine, standardised), or
        (X, y): examples of shape (m, p) and their labels of shape (m,); see :class:`Examples`.
    loss : {"squared", "logistic", "softmax"}
        Of a score z: (z - y)^2 / 2 for labels that are numbers; log(1 + exp(-s z)) for two classes, s = 1 for the label
        that sorts second, else -1; -log softmax(z)_y for any number of classes, with a score for each, in the order of
        their sorted labels.
    model : "linear" or MLP
        What gives the score: x' theta, where of several scores ``theta`` is the matrix (features, classes) row by row;
        or a network, :class:`MLP`.
    penalty : float
        Weight of the squared parameters, all of them.
    held_out : float
        Fraction of the examples, evenly spread, that ``risk`` is measured on instead.

    Raises
    ------
    StudyError
        If the labels do not fit the loss, or the loss not the model.

    References
    ----------
    T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning, 2009, sections 3.2 and 4.4.

    Examples
    --------
    >>> line = EmpiricalRisk(data=([[1.0], [2.0]], [2.0, 4.0]), loss="squared")
    >>> line.gradient(np.array([1.0])).tolist(), line.minimizer.round(12).tolist()
    ([-2.5], [2.0])
    >>> EmpiricalRisk(data=([[1.0], [-1.0]], ["spam", "ham"]), loss="logistic").minimum is None  # separable
    True
    >>> iris = EmpiricalRisk(data="iris", loss="softmax", penalty=0.1)
    >>> iris.dim, round(float(iris.value(np.zeros(12))), 6) == round(float(np.log(3)), 6)
    (12, True)
    >>> net = EmpiricalRisk(data=([[0.0], [1.0]], [0.0, 2.0]), loss="squared", model=MLP(width=3))
    >>> net.dim, float(net.value(np.zeros(10))), net.minimum
    (10, 1.0, None)
    """

    data: Annotated[Examples, BeforeValidator(examples_of)]
    loss: Literal["squared", "logistic", "softmax"]
    model: Annotated[Any, BeforeValidator(_model_of)] = "linear"
    penalty: NonNegativeReal = 0.0
    held_out: Fraction = 0.0

    def __post_init__(self) -> None:
        self._loss.check(self.data)
        self._model.dim(1, self._loss.scores(self.data))
        if self.data.name is None:
            _ = self._split

    @cached_property
    def dim(self) -> int:
        """Number of parameters."""
        return self._model.dim(self.training_examples[0].shape[1], self._loss.scores(self.data))

    @property
    def examples(self) -> int:
        """Number of training examples."""
        return len(self.training_examples[1])

    @property
    def training_examples(self) -> Pair:
        """Training examples as X of shape (m, p) and y of shape (m,)."""
        return self._split[0]

    @property
    def has_held_out(self) -> bool:
        """Whether ``risk`` can be measured."""
        return self.held_out > 0

    @cached_property
    def minimizer(self) -> Array | None:
        """The minimiser of least norm; None where it is unknown, or where a plane separates the classes."""
        if not self._model.is_linear:
            return None
        if self._loss.is_quadratic:
            return self._least_squares()
        # Below a mean loss of log(2) / m every example has a probability above a half: the classes are separated, and
        # larger parameters lower the loss for ever.
        floor = -np.inf if self.penalty else self._loss.separated / self.examples
        basis = np.kron(whitened(self._training.x), self._loss.directions(self.data))
        return newton_minimizer(self, np.asarray(basis, dtype=float), floor)

    @cached_property
    def minimum(self) -> float | None:
        """The least value, None where it is not attained or unknown."""
        return super().minimum

    def value(self, theta: Array) -> Array:
        """Return J over all training examples, shape (...)."""
        columns = as_columns(theta, self.dim)
        total = self._sum(self._mean_loss, self._training, columns)
        if self.penalty:
            total += self.penalty / 2 * np.square(columns).sum(axis=0)
        return total.reshape(theta.shape[:-1])[()]

    def risk(self, theta: Array) -> Array:
        """Return the mean loss over the examples held out, without penalty, shape (...).

        Raises
        ------
        StudyError
            If none are held out.
        """
        if not self.has_held_out:
            raise StudyError("this empirical risk has no held-out examples to measure risk on; give held_out=0.25")
        total = self._sum(self._mean_loss, self._tested, as_columns(theta, self.dim))
        return total.reshape(theta.shape[:-1])[()]

    def gradient(self, theta: Array, batch: Batch | None = None) -> Array:
        """Return the gradient of J, or of its estimate by the examples numbered in ``batch``, shape (..., D)."""
        columns = as_columns(theta, self.dim)
        if batch is not None:
            out = self._sum(self._slope, self._training.chosen(batch), columns)
        elif self._normal_equations is not None:
            gram, moments = self._normal_equations
            out = matmul(gram, columns)
            out -= moments
        else:
            out = self._sum(self._slope, self._training, columns)
        if self.penalty:
            out += self.penalty * columns
        return from_columns(out, theta.shape)

    def hessian_product(self, theta: Array, v: Array) -> Array:
        """Return the Hessian at theta (of the shape of v, or one point) times v, shape (..., D)."""
        directions = as_columns(v, self.dim)
        out = self._sum(self._curvature, self._training, as_columns(theta, self.dim), directions)
        if self.penalty:
            out += self.penalty * directions
        return from_columns(out, v.shape)

    def _mean_loss(self, examples: Prepared, count: int, theta: Array) -> Array:
        """Return the sum of losses over ``count``, shape (K,)."""
        return self._loss.total(self._model.scores(theta, examples.x), examples.targets) / count

    def _slope(self, examples: Prepared, count: int, theta: Array) -> Array:
        """Return its gradient, shape (D, K)."""
        return self._model.slope(theta, examples.x, lambda scores: self._loss.slope(scores, examples.targets, count))

    def _curvature(self, examples: Prepared, count: int, theta: Array, v: Array) -> Array:
        """Return its Hessian times v, shape (D, K)."""
        loss, targets = self._loss, examples.targets
        early, late = (count, 1) if loss.averages_first else (1, count)
        total = self._model.curvature(
            theta,
            v,
            examples.x,
            lambda scores: loss.slope(scores, targets, early),
            lambda scores, directions: loss.curvature(scores, directions, targets) / early,
        )
        total /= late
        return total

    def _sum(self, part: Callable[..., Array], examples: Prepared, *columns: Array) -> Array:
        """Add up a part of the mean over blocks of examples."""
        count, block = len(examples.x), self._block
        if count <= block:
            return part(examples, count, *columns)
        total = part(examples.chosen(slice(block)), count, *columns)
        for start in range(block, count, block):
            total += part(examples.chosen(slice(start, start + block)), count, *columns)
        return total

    def _least_squares(self) -> Array:
        """Return the fit of least norm; a penalty is as good as further examples with the label zero."""
        x, y = self.training_examples
        if self.penalty:
            x = np.vstack([x, np.sqrt(self.penalty * len(x)) * np.eye(x.shape[1])])
            y = np.append(y, np.zeros(x.shape[1]))
        found = singular(x)
        kept = found.values > found.values[0] * max(x.shape) * np.finfo(float).eps
        shares = matmul(found.left[kept], np.asarray(y, dtype=float)) / np.square(found.values[kept])
        theta = matmul(found.right[kept].T, shares)
        theta.flags.writeable = False
        return theta

    @cached_property
    def _loss(self) -> Loss:
        return LOSSES[self.loss]

    @cached_property
    def _model(self) -> Model:
        return self.model if isinstance(self.model, Model) else LINEAR

    @cached_property
    def _block(self) -> int:
        return max(1, BLOCK // self._model.numbers(self._loss.scores(self.data)))

    @cached_property
    def _normal_equations(self) -> tuple[Array, Array] | None:
        """X'X / m and X'y / m, where these give the gradient; None elsewhere."""
        if not (self._model.is_linear and self._loss.is_quadratic):
            return None
        x, y = self._training.x, np.asarray(self._training.targets, dtype=float)
        return matmul(x.T, x) / len(x), matmul(x.T, y) / len(x)

    @cached_property
    def _split(self) -> tuple[Pair, Pair]:
        return self.data.split(self.held_out)

    @cached_property
    def _training(self) -> Prepared:
        return self._prepared(*self._split[0])

    @cached_property
    def _tested(self) -> Prepared:
        return self._prepared(*self._split[1])

    def _prepared(self, x: Array, y: NDArray[Any]) -> Prepared:
        targets = self._loss.targets(self.data, y)
        if self._loss.of_margins and self._model.is_linear:
            # With signs in the rows, labels drop out of all that follows.
            return Prepared(np.where(targets > 0, x, -x), None)
        return Prepared(np.ascontiguousarray(x), targets)
