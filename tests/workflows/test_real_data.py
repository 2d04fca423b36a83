"""The workflow on real data: both errors in its tables and figures, differences paired over other data sets."""

import importlib.util

import numpy as np
import pytest
from helpers import WORKFLOWS

import biasvar as bv


@pytest.mark.slow
def test_real_data_show_both_errors(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("real_data", WORKFLOWS / "real_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    options = ["--store", tmp_path / "r.zarr", "--figure", tmp_path / "pictures" / "r.png", "--n-train", 20]
    module.main([str(option) for option in [*options, "--sets", "ridge", "10-NN", "logistic", "5-NN"]])
    printed = capsys.readouterr().out
    assert printed.count("+- data") == 6
    for data in ("diabetes", "breast_cancer"):
        found = bv.open(tmp_path / f"r-{data}.zarr").load().sel(n_train=20)
        # Ten times: the cuts' share of the error is small, and a bar of it alone would mislead.
        assert (found.expected_risk_se_data > 10 * found.expected_risk_se).all()
        bounds = bv.confidence_interval(found, "expected_risk_difference").isel(hypothesis=0, versus=1)
        low, high = bounds.low.item(), bounds.high.item()
        known = f"95 % of the law: {low:.3g} to {high:.3g}"
        assert (known if low <= high else "too few cuts or data for an interval") in printed
        if data == "diabetes":  # paired: narrower than risks of two data sets would leave it
            apart = np.hypot(*found.expected_risk_se_data.values)
            assert found.expected_risk_difference_se_data.isel(hypothesis=0, versus=1) < apart
        picture = (tmp_path / "pictures" / f"r-{data}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 20_000
