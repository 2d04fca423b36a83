"""Sets that are linear in their coefficients, fitted by least squares."""

import numpy as np

from biasvar.fields import NonNegativeInt, PositiveInt, PositiveReal, component
from biasvar.learning.bases import Coordinates, Monomials, OrthonormalPolynomials
from biasvar.learning.hypotheses.base import BOUNDED, LeastSquaresSet, TailIndex
from biasvar.learning.inputs import Independent, Inputs
from biasvar.learning.least_squares import LinearModel


@component
class Polynomial(LeastSquaresSet):
    """Fit polynomials of total degree up to ``degree`` by least squares: H0 is degree 0, H1 degree 1.

    Fitted in polynomials that are orthonormal under the inputs' law, which changes no prediction and keeps high
    degrees well conditioned. Needs at least as many points as coefficients.

    Notes
    -----
    n points of a bounded density lie within e of each other with probability e^(n-1), and the noise in the fit then
    grows like e^(-2 degree): the noise gain has tail index (n - 1) / (2 degree).

    References
    ----------
    Y. Abu-Mostafa, M. Magdon-Ismail, H.-T. Lin, Learning From Data, 2012, section 2.3.

    Examples
    --------
    >>> from biasvar.learning.inputs import Uniform
    >>> Polynomial(1).linear_model(Uniform(-1, 1)).size
    2
    >>> Polynomial(1).tail_index(Uniform(-1, 1), 2).noise  # the famous line through two points
    0.5
    """

    degree: NonNegativeInt

    def linear_model(self, inputs: Inputs) -> LinearModel:
        """Return the model: orthonormal polynomials, no penalty."""
        basis = OrthonormalPolynomials(inputs, self.degree)
        return LinearModel(basis, basis.size)

    def why_unfit(self, inputs: Inputs, n_train: int) -> str | None:
        """Say why a fit is not unique, if it is not."""
        size = self.linear_model(inputs).size
        if size > n_train:
            return (
                f"degree {self.degree} has {size} coefficients and n_train={n_train} points cannot determine them; "
                "use a lower degree, Ridge, or n_train of at least that many"
            )
        return None

    def tail_index(self, inputs: Inputs, n_train: int) -> TailIndex:
        """Return the known index of the noise gain; that of the signal is known for smooth targets."""
        if self.degree == 0 or not isinstance(inputs, Independent):
            return BOUNDED
        if inputs.dim > 1:
            return TailIndex()
        return TailIndex(signal=np.nan, noise=(n_train - 1) / (2 * self.degree))


@component
class Ridge(LeastSquaresSet):
    """Fit polynomials in the powers of x with a penalty on their squared coefficients, the intercept's excepted.

    Minimises ``|y - phi c|^2 + penalty |c|^2`` over c, phi the monomials up to total degree ``degree``: scikit-learn's
    ``Ridge(alpha=penalty)`` on ``PolynomialFeatures(degree)``.

    References
    ----------
    A. Hoerl and R. Kennard, Ridge regression, 1970.

    Examples
    --------
    >>> from biasvar.learning.inputs import Uniform
    >>> Ridge(degree=2, penalty=0.1).linear_model(Uniform(-1, 1)).penalty
    0.1
    """

    degree: NonNegativeInt
    penalty: PositiveReal

    def linear_model(self, inputs: Inputs) -> LinearModel:
        """Return the model: monomials, penalised."""
        basis = Monomials(inputs.dim, self.degree)
        return LinearModel(basis, basis.size, self.penalty)

    def tail_index(self, inputs: Inputs, n_train: int) -> TailIndex:
        """Return infinite indices: the penalty bounds what noise can do."""
        return BOUNDED


@component
class LeastSquares(LeastSquaresSet):
    """Fit <c, x> over the first ``features`` coordinates; the fit of minimum norm when they outnumber the points.

    Notes
    -----
    On n Gaussian inputs the noise variance is sigma^2 p / (n - p - 1) for p <= n - 2. A random matrix loses rank on a
    set of codimension ``|n - p| + 1``, so the noise gain has tail index ``(|n - p| + 1) / 2`` on either side of p = n.

    References
    ----------
    T. Hastie, A. Montanari, S. Rosset, R. Tibshirani, Surprises in high-dimensional ridgeless least squares
    interpolation, 2022.

    Examples
    --------
    >>> from biasvar.learning.inputs import Normal
    >>> LeastSquares(features=5).tail_index(Normal(dim=8), n_train=10).noise
    3.0
    """

    features: PositiveInt

    def linear_model(self, inputs: Inputs) -> LinearModel:
        """Return the model: coordinates, no intercept."""
        return LinearModel(Coordinates(inputs.dim), self.features, intercept=False)

    def why_unfit(self, inputs: Inputs, n_train: int) -> str | None:
        """Say when the inputs have fewer coordinates than are asked for."""
        if self.features > inputs.dim:
            return f"features={self.features} is more than the {inputs.dim} coordinates of inputs {inputs!r}"
        return None

    def tail_index(self, inputs: Inputs, n_train: int) -> TailIndex:
        """Return the known index of the noise gain."""
        if not isinstance(inputs, Independent):
            return BOUNDED
        return TailIndex(signal=np.nan, noise=(abs(n_train - self.features) + 1) / 2)
