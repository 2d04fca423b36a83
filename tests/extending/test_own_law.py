"""A law of inputs of one's own: the triangular law on [0, 1], P(x < t) = t^2."""

import numpy as np
import pytest

import biasvar as bv


class Triangular:
    """Draw inputs with density 2x on [0, 1]."""

    dim = 1

    def uniforms_per_set(self, n_train):
        return n_train

    def inputs_from(self, uniforms, n_train):
        return np.sqrt(uniforms)

    def test_points(self, count, breakpoints, seed):
        nodes, weights = np.polynomial.legendre.leggauss(count or 32)
        x = (nodes + 1) / 2
        return bv.TestPoints.deterministic(x, weights * x)


def study(inputs):
    return bv.RiskStudy(
        name="triangular", target=bv.Linear([3.0]), inputs=inputs, hypotheses={"mean": bv.Polynomial(0)},
        n_train=[4], noise=[0.5], replicates=2**12, block_size=2**7,
    )  # fmt: skip


def test_the_mean_of_labels_has_the_laws_bias_and_variance():
    cell = bv.lazy(study(Triangular())).compute(scheduler="synchronous").squeeze()
    # x has mean 2/3 and variance 1/18, f = 3x: bias2 is 9/18, variance (9/18 + 1/4) / 4.
    assert float(cell.bias2) == pytest.approx(0.5, abs=4 * float(cell.bias2_se) + 1e-12)
    assert float(cell.variance) == pytest.approx(0.75 / 4, abs=4 * float(cell.variance_se) + 1e-12)
    assert float(cell.quadrature_error) < 1e-12


def test_what_is_missing_is_named():
    class Half:
        dim = 1

        def inputs_from(self, uniforms, n_train):
            return uniforms

    with pytest.raises(bv.BiasvarError, match=r"inputs: .* one of your own needs uniforms_per_set, test_points too"):
        study(Half())
