"""The sharpness along descents and the curvature at minimisers, against numpy and closed forms."""

import numpy as np
import pytest
import xarray as xr

import biasvar as bv
from biasvar.errors import StudyChangedError, StudyError
from biasvar.optimization.curvature import curvature_at_minimizer, sharpness

RNG = np.random.default_rng(4)
X = RNG.normal(size=(40, 3))
LOGISTIC = bv.EmpiricalRisk(data=(X, (X[:, 0] + RNG.normal(size=40) > 0).astype(float)), loss="logistic", penalty=0.1)
NETWORK = bv.EmpiricalRisk(data=(X, X[:, 0] ** 2), loss="squared", model=bv.MLP(width=4))


def hessian(objective, theta):
    """By central differences of the gradient, a column per parameter."""
    h = 1e-5 * np.eye(len(theta))
    columns = [(objective.gradient(theta + e) - objective.gradient(theta - e)) / 2e-5 for e in h]
    return np.array(columns)


@pytest.mark.parametrize("objective", [LOGISTIC, NETWORK, bv.Rosenbrock(6), bv.Quadratic([1, 5, 100])], ids=repr)
def test_sharpness_is_the_greatest_eigenvalue_and_never_more(objective):
    theta = RNG.normal(size=(16, objective.dim))
    found = sharpness(objective, theta)
    wanted = np.array([np.linalg.eigvalsh(hessian(objective, at))[-1] for at in theta])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert (found <= wanted * (1 + 1e-6)).all()
    # Of each by itself, bit for bit.
    padded = np.repeat(theta[3][:, None], 16, axis=1).T
    assert sharpness(objective, padded)[0] == found[3]


def test_the_curvature_at_the_minimiser_is_that_of_the_closed_forms():
    ravine = curvature_at_minimizer(bv.Quadratic(eigenvalues=[1, 100]))
    assert (ravine.mu, ravine.L, ravine.limit) == (1, 100, 0.02)
    found = curvature_at_minimizer(LOGISTIC)
    values = np.linalg.eigvalsh(hessian(LOGISTIC, LOGISTIC.minimizer))
    np.testing.assert_allclose((found.mu, found.L), values[[0, -1]], rtol=1e-6)
    assert curvature_at_minimizer(NETWORK) is None
    assert curvature_at_minimizer(bv.Quadratic(eigenvalues=[0, 2])).contraction == 1


def test_descent_at_the_limit_goes_on_for_ever_and_is_quickest_where_it_is_said():
    """On a quadratic the distance shrinks by (kappa - 1) / (kappa + 1) per step at best, and by none at 2 / L."""
    known = curvature_at_minimizer(bv.Quadratic(eigenvalues=[1, 100]))
    rates = (0.9 * known.quickest, known.quickest, known.limit, 1.01 * known.limit)
    study = bv.OptimizerStudy(
        name="limit",
        objectives={"ravine": bv.Quadratic(eigenvalues=[1, 100])},
        optimizers={"sgd": bv.SGD(rates)},
        initial={"ravine": [1.0, 1.0]},
        steps=2000,
        replicates=1,
        record_steps=[0, 1000, 2000],
    )
    tree = bv.lazy(study).compute(scheduler="synchronous")
    distance = tree["ravine/sgd"].distance.squeeze().values
    shrinks = (distance[:, 1] / distance[:, 0]) ** 1e-3
    np.testing.assert_allclose(shrinks[1], known.contraction, rtol=1e-6)
    assert shrinks[0] > shrinks[1]
    assert distance[2, 2] == pytest.approx(1, rel=1e-6)
    assert distance[3, 2] > 1e3
    said = tree["ravine"].to_dataset()
    assert {name: float(said[name]) for name in ("mu", "L", "learning_rate_limit")} == {
        "mu": 1.0,
        "L": 100.0,
        "learning_rate_limit": 0.02,
    }
    assert float(said.quickest_learning_rate) == known.quickest
    assert float(said.contraction) == known.contraction


# As a quantity of studies


def descents(**changes):
    fields = {
        "name": "sharp",
        "objectives": {"network": NETWORK},
        "optimizers": {"sgd": bv.SGD([0.01, 0.1])},
        "steps": 20,
        "replicates": 2,
        "record": ["objective", "sharpness", "parameters"],
    }
    return bv.OptimizerStudy(**{**fields, **changes})


@pytest.mark.slow
def test_it_is_recorded_of_where_each_descent_is(store):
    node = bv.run(descents(), store)["network/sgd"].to_dataset().squeeze("batch_size")
    last = node.isel(step=-1).transpose("learning_rate", "replicate", "parameter", ...)
    wanted = [[np.linalg.eigvalsh(hessian(NETWORK, at))[-1] for at in rate] for rate in last.parameters.values]
    np.testing.assert_allclose(last.sharpness, np.mean(wanted, axis=1), rtol=1e-5)
    assert node.sharpness_se.dims == ("learning_rate", "step")
    xr.testing.assert_identical(
        bv.open(store)["network/sgd"].sharpness.load(), bv.run(descents(), store)["network/sgd"].sharpness.load()
    )


@pytest.mark.slow
def test_it_has_the_same_bits_whichever_configurations_stand_beside_it(store, tmp_path):
    bv.run(descents(optimizers={"sgd": bv.SGD(0.1)}), store, scheduler="synchronous")
    bv.run(descents(), store, scheduler="synchronous")
    bv.run(descents(), tmp_path / "at-once.zarr", scheduler="threads")
    assert bv.digest(store) == bv.digest(tmp_path / "at-once.zarr")


def test_it_is_in_all_records_of_a_store_or_in_none(store):
    bv.run(descents(), store)
    with pytest.raises(StudyChangedError, match="sharpness must be in both or neither"):
        bv.run(descents(record=["objective", "parameters"]), store)


class Bowl:
    dim = 2

    def value(self, theta):
        return (theta**2).sum(axis=-1)

    def gradient(self, theta):
        return 2 * theta


def test_without_hessian_products_it_is_refused_in_a_line():
    line = (
        r"record: sharpness needs Hessian products, and objectives.bowl has no hessian_product\(theta, v\); give it one"
    )
    with pytest.raises(StudyError, match=line):
        descents(objectives={"bowl": Bowl()})
