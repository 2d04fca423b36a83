"""The workflow on convexity: its table, its lesson's facts, its three pictures; what its figures refuse."""

import importlib.util

import pytest
from helpers import WORKFLOWS

import biasvar as bv
from biasvar.errors import BiasvarError


@pytest.mark.slow
def test_convexity_prints_verdicts_and_draws(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("convexity", WORKFLOWS / "convexity.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    options = ["--store", tmp_path / "c.zarr", "--figure", tmp_path / "pictures" / "c.png", "--segments", 1024]
    module.main([str(option) for option in options])
    printed = capsys.readouterr().out
    for said in ("annulus is not convex: between x=(", "quadratic: no violation in 1024 segments", "What to see"):
        assert said in printed
    tree = bv.open(tmp_path / "c.zarr").load()
    root = tree.to_dataset()
    # What the lesson says.
    far = root.sel(objective="rosenbrock-20")
    assert (far.violations.sel(condition=["jensen", "monotone"]) == 0).all()
    assert abs(far.violation_rate.sel(condition="second_order") - 0.94) < 0.03
    assert root.learning_rate_at_most.sel(objective="quadratic") == pytest.approx(0.02, rel=1e-3)
    assert root.verdict.sel(objective="norm-half", condition="jensen") == "not convex"
    assert root.ties.sel(objective="norm-1", condition="jensen") > 0.05
    for name in ("c", "c_curvature", "c_plane"):
        picture = (tmp_path / "pictures" / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 20_000
    chords = bv.plot.witness(tree, objectives=["annulus", "rosenbrock"])
    titles = [panel.get_title() for panel in chords.axes]
    assert titles == ["annulus: not convex", "rosenbrock: not convex"]
    assert chords.get_suptitle().replace("\n", " ") == "5 of 10 functions are not convex: annulus, rosenbrock"
    with pytest.raises(BiasvarError, match="plane: needs an objective with two parameters"):
        bv.plot.plane(tree, objectives=["norm-1"])
    with pytest.raises(BiasvarError, match="objectives: 'hill' is not in the summary; choose from quadratic, "):
        bv.plot.curvature(tree, objectives=["hill"])
