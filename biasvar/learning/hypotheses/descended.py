"""Sets fitted by an update rule that is stopped: what is learnt when optimization ends before the minimum.

References
----------
L. Bottou and O. Bousquet, The tradeoffs of large scale learning, 2008.
A. Ali, J. Z. Kolter, R. J. Tibshirani, A continuous-time view of early stopping for least squares, 2019.
"""

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from biasvar.errors import StudyError
from biasvar.fields import PositiveInt, component
from biasvar.learning.fits import Fit, Predictions, SmootherWeights, Trained
from biasvar.learning.hypotheses.base import HAS_MEAN, HypothesisSet, LeastSquaresSet, TailIndex
from biasvar.learning.inputs import FixedDesign, Independent, Inputs
from biasvar.learning.label_weights import label_weights, linear_steps
from biasvar.learning.least_squares import LinearModel
from biasvar.montecarlo.linear_algebra import eigh, matmul
from biasvar.optimization.batches import shuffled_batches
from biasvar.optimization.rules.base import UpdateRule, adapted, looks

Array = NDArray[np.float64]
FAR = 1e150
KEPT = 1 << 21  # examples of batches


@component
class Descended(HypothesisSet):
    """Fit a set that is linear in its coefficients by some steps of an update rule, from coefficients of zero.

    The rule descends on ``|y - phi c|^2 / (2 n)``, and half the set's penalty over n, in the set's own features: for
    ``Polynomial`` those are orthonormal under the inputs' law.

    Parameters
    ----------
    set : Polynomial, Ridge or LeastSquares
        What is fitted.
    rule : UpdateRule
        What updates; each hyperparameter one number.
    steps : int
        Updates.
    batch_size : int, optional
        Examples per update, of epochs in random order; all unless given.

    Notes
    -----
    Rules that are linear in the gradient (``SGD``, ``Momentum``, ``Nesterov``) make fits that are linear in the labels,
    whatever the batches: label noise is integrated exactly; that of other rules is simulated. With all examples such a
    rule runs as one scalar recurrence per eigenvalue of phi'phi / n, with batches backwards from the fit to what each
    label weighs in it: a step does not cost more for more examples.

    Examples
    --------
    >>> from biasvar.learning.hypotheses.linear import Polynomial
    >>> from biasvar.optimization.rules.momentum import SGD
    >>> half_way = Descended(Polynomial(0), SGD(0.5), steps=1)  # half of the mean label
    >>> x = np.array([[0.0, 1.0]])
    >>> from biasvar.learning.inputs import Uniform
    >>> half_way.fit(Uniform(-1, 1)).weights(x, np.array([[0.0]])).round(12).tolist()
    [[[0.25, 0.25]]]
    """

    set: Any
    rule: Any
    steps: PositiveInt
    batch_size: PositiveInt | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Descended":
        if not isinstance(self.set, LeastSquaresSet):
            raise ValueError(f"set: expected one that is linear in coefficients, as Polynomial(1) is, got {self.set!r}")
        several = [name for name, values in self._rule.hyperparameters.items() if len(values) != 1]
        if several:
            raise ValueError(f"rule.{several[0]}: expected one number, got several; a grid of them is several sets")
        return self

    @property
    def _rule(self) -> UpdateRule:
        return adapted(self.rule)

    def fit(self, inputs: Inputs) -> Fit:
        """Return weights of labels where the rule is linear in gradients, else what is trained or predicted."""
        model = self.set.linear_model(inputs)
        if self._rule.linear:
            if self.batch_size is None:
                return SmootherWeights(partial(self._weights, model))
            return SmootherWeights(partial(self._weights_by_batches, model), drawn=True)
        if self.batch_size is None:
            return Trained(model.basis, model.size, partial(self._trained, model))
        return Predictions(partial(self._by_batches, model))

    def why_unfit(self, inputs: Inputs, n_train: int) -> str | None:
        """Return why batches cannot be drawn: they hold more examples than there are."""
        if self.batch_size is not None and self.batch_size > n_train:
            return f"batch_size={self.batch_size} needs n_train of at least that, got {n_train}"
        return None

    def tail_index(self, inputs: Inputs, n_train: int) -> TailIndex:
        """Say that the loss has a mean under laws that have all moments.

        So many steps make no more of the data than some power of it. How far its tails are seen is another question:
        near the minimum they are long those of the minimiser.
        """
        return HAS_MEAN if isinstance(inputs, Independent | FixedDesign) else TailIndex()

    def spanning_functions(self, inputs: Inputs, x: Array) -> Array | None:
        """Return the set's features."""
        functions: Array | None = self.set.spanning_functions(inputs, x)
        return functions

    def _weights(self, model: LinearModel, x: Array, at: Array) -> Array:
        """Return S (K, m, n): on eigenvectors, what the rule makes of a unit slope at zero."""
        features = np.moveaxis(model.basis.evaluate(np.swapaxes(x, 0, 1), model.size), -1, 0)  # (K, p, n)
        n = features.shape[2]
        values, vectors = eigh((matmul(features, np.swapaxes(features, 1, 2)) + np.diag(model.penalties)) / n)
        reached = self._descend(lambda c: values.T * c - 1, values.T.shape)  # (p, K): of a slope of -1 at zero
        maps = matmul(matmul(vectors * reached.T[:, None], np.swapaxes(vectors, 1, 2)), features) / n
        there = self._features(model, at)
        return np.asarray(matmul(there, maps))

    def _trained(self, model: LinearModel, features: Array, y: Array) -> Array:
        """Return coefficients (p, K) after all steps, of features (p, n, K) and labels (n, K)."""
        n = len(y)
        square = np.einsum("ink,jnk->ijk", features, features) / n + np.diag(model.penalties)[..., None] / n
        slope = np.einsum("ink,nk->ik", features, y) / n
        return self._descend(lambda c: np.einsum("ijk,jk->ik", square, c) - slope, slope.shape)

    def _weights_by_batches(self, model: LinearModel, x: Array, at: Array, rng: np.random.Generator) -> Array:
        """Return S (K, m, n) after all steps, each on the next examples of an epoch in random order."""
        features = self._features(model, x)
        size, n, p = features.shape
        assert self.batch_size is not None
        maps = np.empty((size, p, n))
        # Batches are kept until the last one is known: those of so few training sets that they are no burden.
        few = max(1, KEPT // (self.steps * self.batch_size))
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, size, few):
                some = features[start : start + few]
                batches = list(islice(shuffled_batches(rng, len(some), n, self.batch_size), self.steps))
                steps = linear_steps(self._rule, self._hyper, self.steps)
                maps[start : start + few] = label_weights(some, model.penalties / n, steps, batches)
        there = self._features(model, at)
        return np.asarray(matmul(there, self._arrived(maps)))

    def _by_batches(self, model: LinearModel, x: Array, y: Array, at: Array, rng: np.random.Generator) -> Array:
        """Predict (K, m) after all steps, each on the next examples of an epoch in random order."""
        features = self._features(model, x)
        size, n = y.shape
        assert self.batch_size is not None
        penalties, every = model.penalties[:, None] / n, np.arange(size)[:, None]
        batches = shuffled_batches(rng, size, n, self.batch_size)

        def gradient(c: Array) -> Array:
            batch = next(batches)
            phi = features[every, batch]
            residual = np.einsum("kbp,pk->kb", phi, c) - y[every, batch]
            return np.asarray(np.einsum("kbp,kb->pk", phi, residual) / batch.shape[1] + penalties * c)

        theta = self._descend(gradient, (model.size, size))
        there = self._features(model, at)
        return np.asarray(matmul(there, theta.T[..., None])[..., 0])

    @staticmethod
    def _features(model: LinearModel, x: Array) -> Array:
        """Return features at places, (K, m, p)."""
        return np.ascontiguousarray(np.moveaxis(model.basis.evaluate(x, model.size), 0, -1))

    @property
    def _hyper(self) -> dict[str, float]:
        return {name: values[0] for name, values in self._rule.hyperparameters.items()}

    def _descend(self, gradient: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
        hyper = {name: np.full(shape[1], value) for name, value in self._hyper.items()}
        with np.errstate(over="ignore", invalid="ignore"):
            (theta,) = looks(self._rule, gradient, np.zeros(shape), hyper, [self.steps])
        return self._arrived(theta)

    def _arrived(self, numbers: Array) -> Array:
        """Return what the steps have led to.

        Raises
        ------
        StudyError
            If that is so far away that its square overflows.
        """
        if not (np.abs(numbers) < FAR).all():
            raise StudyError(f"{self.steps} steps of {self.rule!r} diverge; give it a smaller learning_rate")
        return numbers
