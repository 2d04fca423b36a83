"""What is concluded from a summary: which error dominates, how sure that is, and in which words."""

import numpy as np
import pytest
import xarray as xr
from helpers import small_study, two_point_study

import biasvar as bv
from biasvar.views.conclusions import conclusions


@pytest.fixture(scope="module")
def summary():
    return bv.lazy(small_study()).compute()


def test_what_dominates_is_what_closed_forms_say(summary):
    # A constant on two points of a sine: bias2 1/2, variance 1/4; a line: 0.2067 and 1.6763.
    found = bv.diagnose(summary).sel(n_train=2, noise=0)
    assert found.dominant.sel(hypothesis="H0") == "bias2"
    assert float(found.share.sel(hypothesis="H0")) == pytest.approx(2 / 3, abs=0.02)
    assert found.remedy.sel(hypothesis="H0") == "a richer set"
    assert found.dominant.sel(hypothesis="H1") == "variance"
    assert float(found.lead.sel(hypothesis="H1")) == pytest.approx(1.6763 - 0.2067, abs=0.1)
    assert "more examples" in str(found.sentence.sel(hypothesis="H1").item())


def test_beyond_the_peak_of_variance_no_poorer_set_is_advised():
    """Least squares of 20 and 32 inputs: the poorer set has more variance, and more examples have more."""
    study = bv.load("double-descent", ["replicates=512", "block_size=16", "n_train=[16, 18]", "noise=[0.5]"])
    cells = bv.lazy(study).compute().sel(noise=0.5)
    variance = cells.variance.sel(hypothesis=["p20", "p32"])
    assert (variance.sel(hypothesis="p20") > variance.sel(hypothesis="p32")).all()
    assert (variance.sel(n_train=18) > variance.sel(n_train=16)).all()
    found = bv.diagnose(cells).sel(n_train=16)
    assert found.remedy.sel(hypothesis="p20") == "many more examples, or a set that is held tighter,"
    assert found.remedy.sel(hypothesis="p12") == "more examples, or a set that is poorer or held tighter,"


def test_of_an_infinite_risk_nothing_is_said(summary):
    cell = bv.diagnose(summary).sel(n_train=2, noise=0.5, hypothesis="H1")
    assert (cell.dominant, cell.remedy, cell.sentence) == ("", "", "")
    assert np.isnan(cell.share)


def test_noise_dominates_where_it_is_most():
    summary = bv.lazy(small_study(n_train=[10], noise=[3.0])).compute()
    found = bv.diagnose(summary).sel(hypothesis="H0", n_train=10, noise=3.0)
    assert found.dominant == "irreducible_risk"
    assert "less noise" in str(found.remedy.item())


def test_the_error_of_a_difference_of_parts_is_that_of_repeated_studies():
    # 200 studies: the ratio's own standard error is 5 %, a wrong alarm at 3.9 of them is one in 10,000.
    studies = [two_point_study(seed=seed, sampler="random", replicates=2**10, n_train=3) for seed in range(200)]
    found = [bv.diagnose(bv.lazy(study).compute()).squeeze() for study in studies]
    for label in ("H0", "H1"):
        lead = np.array([float(each.lead.sel(hypothesis=label)) for each in found])
        told = np.sqrt(np.mean([float(each.lead_se.sel(hypothesis=label)) ** 2 for each in found]))
        assert told / lead.std(ddof=1) == pytest.approx(1, abs=0.2 if label == "H0" else 0.35)


def test_a_tie_is_seldom_told():
    # Label noise as large as the bias of a constant, both 1/2. Of 40 studies 5 % err: more than 10 do once in 50,000.
    fields = {"hypotheses": {"H0": bv.Polynomial(0)}, "noise": np.sqrt(0.5), "sampler": "random", "replicates": 2**10}
    studies = [two_point_study(seed=seed, n_train=5, **fields) for seed in range(40)]
    told = [str(bv.diagnose(bv.lazy(study).compute()).dominant.item()) for study in studies]
    assert sum(map(bool, told)) <= 10
    assert set(told) <= {"", "bias2", "irreducible_risk"}


def test_a_bias_that_is_of_the_fits_has_another_remedy():
    # Ridge with a huge penalty: its best in class is the line, its fits are pulled to zero.
    held = {"held": bv.Ridge(1, 100.0)}
    study = small_study(hypotheses=held, n_train=[10], noise=[0.0], target=bv.Linear(coefficients=[1.0]))
    summary = bv.lazy(study).compute()
    found = bv.diagnose(summary).squeeze()
    assert found.dominant == "bias2"
    assert "less penalty" in str(found.remedy.item())


def test_of_optimizers_there_are_no_errors_that_add_up():
    study = bv.OptimizerStudy(
        name="bowl", objectives={"bowl": bv.Quadratic(eigenvalues=[1, 2])}, optimizers={"sgd": bv.SGD(0.1)}, steps=5
    )
    with pytest.raises(bv.BiasvarError, match="no errors that add up"):
        bv.diagnose(bv.lazy(study).compute())


def test_flags_come_first_and_differences_are_paired(summary):
    first, *rest = conclusions(summary)
    assert first == "1 cell with numbers that are infinite, of 8; the first: H1, n_train 2, noise 0.5."
    cell = summary.sel(noise=0, n_train=10)
    more = float(cell.excess_risk_difference.sel(hypothesis="H0", versus="H1"))
    error = float(cell.excess_risk_difference_se.sel(hypothesis="H0", versus="H1"))
    assert f"H0 has {more:.4g} more, 95 % interval {more - 1.96 * error:.4g} to {more + 1.96 * error:.4g}" in rest[0]
    assert "H0 errs least at training-set size 2, H1 at 10" in rest[0]
    assert rest[-1].startswith("Of 8 cells, ")


@pytest.mark.parametrize("targets", [{}, {"bowl": [1e-3]}])
def test_optimizers_are_compared_by_cost_or_by_what_they_reach(targets):
    optimizers = {"slow": bv.SGD(0.01), "quick": bv.SGD(0.4)}
    study = bv.OptimizerStudy(
        name="bowl",
        objectives={"bowl": bv.Quadratic(eigenvalues=[1, 2])},
        optimizers=optimizers,
        targets=targets,
        steps=50,
        replicates=4,
    )
    (sentence,) = [said for said in conclusions(bv.lazy(study).compute()) if said.startswith("bowl: ")]
    assert sentence.startswith("bowl: quick ")
    assert "slow" in sentence


def test_cells_without_a_standard_error_are_not_called_sure(summary):
    bare = summary.copy()
    for name in ("bias2_se", "variance_se", "expected_risk_se"):
        bare[name] = xr.full_like(bare[name], np.nan)
    assert (bv.diagnose(bare).dominant == "").all()
