"""The workflows on constraints, sharpness and matrix calculus, small: what they print, and their pictures."""

import importlib.util

import dask
import numpy as np
import pytest
from helpers import WORKFLOWS

import biasvar as bv

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(tmp_path, capsys):
    """Run a workflow; return what it printed."""

    def ran(name, *options):
        spec = importlib.util.spec_from_file_location(name, WORKFLOWS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        picture = tmp_path / "pictures" / f"{name}.png"
        with dask.config.set(scheduler="threads"):  # starting workers takes longer than these
            module.main([str(option) for option in ("--figure", picture, *options)])
        content = picture.read_bytes()
        assert content.startswith(PNG)
        assert len(content) > 20_000
        return capsys.readouterr().out

    return ran


def test_within_the_simplex_a_rule_needs_its_own_norm(run, tmp_path):
    printed = run("constrained", "--store", tmp_path / "c.zarr", "--steps", 1500)
    tree = bv.open(tmp_path / "c.zarr").load()
    for label, least in (("ravine", 50 / 101), ("portfolio", 0.429850746)):
        for rule in ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"):
            last = tree[f"{label}/{rule}"].to_dataset().squeeze("batch_size").isel(step=-1)
            assert float(last.objective.min()) == pytest.approx(least, abs=1e-8)
            assert float(last.gap.min()) < 1e-8
        for rule in ("adagrad", "rmsprop", "adam"):
            last = tree[f"{label}/{rule}-no-norm"].to_dataset().isel(step=-1)
            assert (last.objective > (12.62 if label == "ravine" else 4.38)).all()
    assert "they stay at J = 12.62, 12.13 above the least, at every rate" in printed
    assert "adam-no-norm: the rule has no metric: projected by Euclidean distance" in printed


@pytest.mark.slow
def test_gradient_descent_goes_to_the_edge_of_stability(run, tmp_path):
    """Of two seeded starts."""
    printed = run("edge_of_stability", "--store", tmp_path / "e.zarr", "--steps", 1000, "--replicates", 2)
    node = bv.open(tmp_path / "e.zarr")["network/sgd"].to_dataset().squeeze("batch_size").load()
    ratio = node.sharpness * node.learning_rate / 2
    late = ratio.sel(step=ratio.step >= 400)
    assert float(late.sel(learning_rate=0.8).mean()) == pytest.approx(1, abs=0.1)
    assert (late.sel(learning_rate=[0.1, 0.2]) < 0.6).all()
    slow = ratio.sel(learning_rate=0.1).values
    assert slow[-1] > slow[10]
    assert "sharpness x learning rate / 2" in printed


def test_matrix_calculus_agrees_and_finds_the_slip(run):
    printed = run("matrix_calculus")
    rows = [line.split() for line in printed.splitlines()[1:10]]
    assert all("agrees" in row for row in rows)
    assert [row[-1] for row in rows] == ["exact", "exact", *["2.00"] * 7]
    assert "but finite differences of value give" in printed
    assert np.all([float(row[-2]) < 1e-10 for row in rows])
