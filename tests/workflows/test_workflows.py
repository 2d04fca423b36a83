"""The workflows as people run them: main() with small numbers of replicates, the table, the facts, the picture."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from helpers import WORKFLOWS

import biasvar as bv

PNG = b"\x89PNG\r\n\x1a\n"


class Ran:
    """What one run of a workflow left behind."""

    def __init__(self, name, folder, capsys, replicates):
        self.store, self.figure = folder / f"{name}.zarr", folder / "pictures" / f"{name}.png"
        self.module = load(name)
        arguments = ["--store", self.store, "--figure", self.figure, "--replicates", replicates]
        self.module.main([str(argument) for argument in arguments])
        self.printed = capsys.readouterr().out

    @property
    def summary(self) -> xr.Dataset:
        return bv.open(self.store).load()

    def row(self, *starts):
        """Return the first printed line whose words begin like this."""
        return next(line for line in self.printed.splitlines() if line.split()[: len(starts)] == list(starts))


def load(name):
    spec = importlib.util.spec_from_file_location(name, WORKFLOWS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_picture(path):
    """Tell whether a file is a PNG of some 100 000 pixels with something on it."""
    content = path.read_bytes()
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    return content.startswith(PNG) and width * height > 100_000 and len(content) > 20_000


def test_two_point_sine_prints_the_lectures_numbers(tmp_path, capsys):
    ran = Ran("two_point_sine", tmp_path, capsys, 2**16)
    cells = ran.summary.sel(n_train=2, noise=0.0)
    truth = {"H0": (1 / 2, 1 / 4), "H1": (0.206717, 1.676282)}
    for label, (bias2, variance) in truth.items():
        cell = cells.sel(hypothesis=label)
        assert float(cell.bias2) == pytest.approx(bias2, abs=1e-5)
        assert float(cell.variance) == pytest.approx(variance, abs=1e-5)
    assert "0.2067" in ran.row("2", "0", "H1")
    assert "1.67628" in ran.row("2", "0", "H1")
    assert "infinite" in ran.row("2", "0.5", "H1")
    assert "here it is 1.67628" in ran.printed
    assert is_picture(ran.figure)


def test_extremes_are_exact(tmp_path, capsys):
    ran = Ran("extremes", tmp_path, capsys, 2**12)
    summary = ran.summary
    ignore, believe = (summary.sel(hypothesis=label) for label in ("ignore", "believe"))
    assert (ignore.variance == 0).all()
    np.testing.assert_allclose(ignore.bias2, 0.5, atol=1e-12)
    np.testing.assert_allclose(believe.bias2, 0, atol=1e-12)
    np.testing.assert_allclose(believe.variance, np.broadcast_to(summary.noise**2, believe.variance.shape), atol=1e-12)
    np.testing.assert_allclose(believe.empirical_risk, 0, atol=1e-12)
    for label, coefficients in (("line", 2), ("cubic", 4)):
        variance = summary.variance.sel(hypothesis=label, n_train=10)
        np.testing.assert_allclose(variance, summary.noise**2 * coefficients / 10, atol=1e-12)
    assert ran.row("10", "0.5", "believe").split()[3:8] == ["0", "0.25", "0.25", "0.5", "0"]
    assert is_picture(ran.figure)


def test_tradeoff_and_learning_curves(tmp_path, capsys):
    ran = Ran("tradeoff", tmp_path, capsys, 2**14)
    summary = ran.summary.sel(noise=0.5)
    risk = summary.expected_risk
    assert risk.hypothesis.values[int(risk.sel(n_train=20).argmin("hypothesis"))] == "H3"
    assert (summary.empirical_risk.diff("hypothesis") < 0).all()
    assert float(risk.sel(n_train=100, hypothesis="H7") - risk.sel(n_train=100).min()) < 0.02
    assert "se_unreliable" in ran.row("20", "0.5", "H7")
    assert ran.row("20", "0.5", "H7").split()[4:7] == ["?", "0.25", "?"]
    assert is_picture(ran.figure)

    curves = bv.open(ran.store.with_name("learning-curves.zarr")).load().sel(noise=0.5)
    line = curves.sel(hypothesis="H1")
    assert (line.expected_risk.diff("n_train") < 0).all()
    assert (line.empirical_risk.diff("n_train") > 0).all()
    assert (line.empirical_risk < line.best_in_class_risk).all()
    assert (line.best_in_class_risk < line.expected_risk).all()
    assert ran.row("10").split()[3] == "inf"
    assert is_picture(ran.figure.with_name("learning-curves.png"))


def test_bagging_agrees_with_the_published_numbers(tmp_path, capsys):
    ran = Ran("bagging", tmp_path, capsys, 2**8)
    summary, module = ran.summary.squeeze(), ran.module
    tree, bagged = summary.sel(hypothesis="Tree"), summary.sel(hypothesis="Bagging(Tree)")
    # Not paired: the sum of the standard errors is larger than that of the difference whatever the correlation.
    assert float(tree.variance - bagged.variance) > 3 * float(tree.variance_se + bagged.variance_se)
    for label, (risk, bias2, variance, _) in module.PUBLISHED.items():
        cell, kept = summary.sel(hypothesis=label), 1 - 1 / module.SETS
        # Rerun with 12 other seeds, the published recipe scatters by 0.0007, 0.0001 and 0.0007 (standard deviations).
        assert close(cell.expected_risk - 0.01 / module.SETS, cell.expected_risk_se, risk, 0.0007)
        assert close(cell.bias2 + cell.variance / module.SETS, cell.bias2_se, bias2, 0.0001)
        assert close(cell.variance * kept, cell.variance_se, variance, 0.0007)
    assert ran.row("Tree", "variance", "0.0152")
    assert ran.row("Bagging(Tree)", "noise²", "0.0098", "0.01", "0.0098")
    assert "paired standard error" in ran.printed
    assert is_picture(ran.figure)


@pytest.mark.slow
def test_budgets_have_a_best_size_and_stopping_helps_on_few_examples(tmp_path, capsys):
    ran = Ran("scale", tmp_path, capsys, 2**11)
    node = bv.open(ran.store)["sgd"].to_dataset().squeeze()
    batch, online = (node.sel(batch_size=size) for size in (0, 1))
    assert (batch.best_n_train.diff("budget") >= 0).all()
    assert batch.best_n_train[-1] > batch.best_n_train[0]
    # More examples never cost more than a few standard errors online; on all examples they do.
    worse = online.excess_risk.diff("n_train")
    assert (worse < 4 * online.excess_risk_se.isel(n_train=slice(1, None)) + 1e-3).all()
    assert (batch.excess_risk.sel(n_train=1000) > 0.4).all()
    helped = batch.sel(n_train=20, budget=2000)
    assert helped.optimization_error < -3 * helped.optimization_error_se
    paths = bv.open(ran.store.with_name("paths.zarr")).load().squeeze()
    for count in (1, 10, 100, 1000):
        descent, ridge = (paths.expected_risk.sel(hypothesis=f"{name} {count}") for name in ("descent", "ridge"))
        assert float(descent) < 1.69 * float(ridge)  # the bound of Ali, Kolter and Tibshirani, for any target
    for name in ("scale", "three-errors", "paths"):
        assert is_picture(ran.figure.with_name(f"{name}.png"))


def test_surrogates_add_up_and_lie_beyond_the_bound(tmp_path, capsys):
    ran = Ran("surrogates", tmp_path, capsys, 2**11)
    votes = ran.summary.sel(loss="zero_one").squeeze()
    known = votes.sel(hypothesis=["logistic", "hinge", "squared"])
    errors = known.approximation_error + known.surrogate_error + known.estimation_error
    assert np.allclose(known.bayes_risk + errors, known.expected_risk, atol=1e-12)
    # The hinge's best line is nearly the best one, the logistic loss's is not, whatever n is.
    assert (known.surrogate_error.sel(hypothesis="hinge") < 0.002).all()
    assert (known.surrogate_error.sel(hypothesis="logistic") > 0.009).all()
    bounds = ran.summary.excess_bound.sel(loss=["logistic", "hinge", "squared"]).squeeze()
    assert (bounds > votes.excess_risk).all()
    assert is_picture(ran.figure)
    for name in ("margins", "votes"):
        assert is_picture(ran.figure.with_name(f"{ran.figure.stem}_{name}.png"))


def close(ours, our_error, theirs, their_error):
    """Tell whether two estimates differ by less than three of their common standard errors."""
    return abs(float(ours) - theirs) < 3 * np.hypot(float(our_error), their_error)


def test_runs_again_from_its_store(tmp_path, capsys):
    first = Ran("extremes", tmp_path, capsys, 2**12)
    before = bv.digest(first.store)
    again = Ran("extremes", tmp_path, capsys, 2**12)
    assert bv.digest(again.store) == before
    assert again.printed == first.printed


@pytest.mark.slow
def test_a_target_of_a_script_reaches_worker_processes(tmp_path):
    """The bagging workflow's target is in ``__main__`` when it runs as a script: workers get it by value."""
    options = ["--replicates", "256", "--store", tmp_path / "bagging.zarr", "--figure", tmp_path / "bagging.png"]
    command = [sys.executable, "-W", "error", WORKFLOWS / "bagging.py", *options]
    environment = os.environ | {"DASK_SCHEDULER": "processes"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "paired standard error" in done.stdout
    assert is_picture(tmp_path / "bagging.png")
