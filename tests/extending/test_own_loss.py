"""A loss of one's own, in a risk study: the absolute error."""

import math

import numpy as np
import pytest

import biasvar as bv


class Absolute:
    """Charge |y - g|; over labels f + noise e its mean is the folded normal law's."""

    def value(self, labels, predictions):
        return np.abs(labels - predictions)

    def expected(self, f, noise, predictions):
        distance = np.abs(f - predictions)
        if noise == 0:
            return distance
        z = distance / noise
        erf = np.vectorize(math.erf)
        return noise * math.sqrt(2 / math.pi) * np.exp(-(z**2) / 2) + distance * erf(z / math.sqrt(2))


def zero(x):
    return 0.0 * x


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    study = bv.RiskStudy(
        name="absolute", target=zero, inputs=bv.Uniform(-1, 1), loss=Absolute(), n_train=[4], noise=[0.5],
        hypotheses={"H0": bv.Polynomial(0), "own": bv.Constant(1.0), "near": bv.NearestNeighbors(2)},
        replicates=2**12, block_size=2**7, sampler="random",
    )  # fmt: skip
    store = tmp_path_factory.mktemp("own") / "absolute.zarr"
    bv.run(study, store)
    assert bv.verify(store).ok
    return bv.open(store)


@pytest.mark.parametrize(
    ("label", "spread"), [("H0", 0.5 * math.sqrt(1 + 1 / 4)), ("near", 0.5 * math.sqrt(1 + 1 / 2))]
)
def test_the_risk_of_a_mean_of_labels_is_the_folded_normal_laws(summary, label, spread):
    cell = summary.sel(hypothesis=label).squeeze()
    # Four standard errors of 32 blocks: a false alarm in 3,000.
    assert abs(float(cell.expected_risk) - spread * math.sqrt(2 / math.pi)) < 4 * float(cell.expected_risk_se)
    assert 0 < float(cell.expected_risk_se) < 0.01


def test_a_constants_risk_needs_no_luck(summary):
    cell = summary.sel(hypothesis="own").squeeze()
    assert float(cell.expected_risk) == pytest.approx(Absolute().expected(0.0, 0.5, 1.0), abs=1e-12)
    assert summary.expected_risk.attrs["units"] == "loss"


def test_differences_are_paired(summary):
    pair = summary.sel(hypothesis="H0", versus="near").squeeze()
    alone = np.hypot(*summary.expected_risk_se.sel(hypothesis=["H0", "near"]).values.ravel())
    assert float(pair.expected_risk_difference) < 0
    assert float(pair.expected_risk_difference_se) < 0.8 * alone
