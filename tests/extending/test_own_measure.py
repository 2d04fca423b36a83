"""A measure of one's own: the share of the excess risk that is bias."""

import numpy as np
import pytest
from helpers import command

import biasvar as bv


def influence(a):
    """Return what each block contributes to bias2 / excess risk: the quotient rule."""
    mean = a.excess.mean()
    return (a.bias2_influence - a.bias2 / mean * (a.excess - mean)) / mean


class WithBiasShare(bv.Squared):
    """Squared loss, with one more number."""

    measures = (
        *bv.Squared.measures,
        bv.Measure(
            "bias_share",
            "share of the excess risk that is squared bias",
            "bias share",
            value=lambda a: a.bias2 / a.excess.mean(),
            influence=influence,
            unit="1",
            square=True,
            spoiled="with_the_loss",
            column=6,
        ),
    )


def test_the_share_is_in_the_summary_and_in_the_table(tmp_path):
    study = bv.load("two-point-sine", ["replicates=16384", "block_size=512"]).replace(loss=WithBiasShare())
    summary = bv.run(study, tmp_path / "share.zarr")
    cell = summary.sel(hypothesis="H0", n_train=2, noise=0.0)
    # The lecture's constant through two points of a sine: bias2 is 1/2 and variance 1/4.
    assert float(cell.bias_share) == pytest.approx(2 / 3, abs=4 * float(cell.bias_share_se) + 1e-6)
    infinite = summary.sel(hypothesis="H1", n_train=2, noise=0.5)
    assert str(infinite.status.item()) == "infinite"
    assert infinite.bias_share_se.isnull()
    assert "bias share" in command("show", tmp_path / "share.zarr", cwd=tmp_path).stdout


@pytest.mark.slow
def test_its_standard_error_is_the_spread_between_seeds():
    study = bv.load("two-point-sine", ["replicates=1024", "block_size=64", "n_train=10"]).replace(loss=WithBiasShare())
    shares = [
        bv.lazy(study.replace(seed=seed)).compute().sel(hypothesis="H1", noise=0.5).squeeze() for seed in range(40)
    ]
    spread = np.std([float(s.bias_share) for s in shares], ddof=1)
    claimed = sum(float(s.bias_share_se) for s in shares) / len(shares)
    # The standard deviation of 40 draws is within 45 % of the truth with an error rate below 1e-4.
    assert 0.55 < claimed / spread < 1.8
