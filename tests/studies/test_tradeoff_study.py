"""Tradeoff studies as studies: what they accept, extend and give back, and the flags that stopped fits deserve."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from distributed import Client, LocalCluster
from helpers import command, until

import biasvar as bv
from biasvar.errors import BiasvarWarning, StoreError, StudyError
from biasvar.studies.blocks import run_in_memory
from biasvar.studies.catalog import from_json
from biasvar.views.tables import results


def small(**changes):
    fields = {
        "name": "small",
        "target": bv.Sine(),
        "inputs": bv.Uniform(-1, 1),
        "model": bv.Polynomial(1),
        "n_train": [6],
        "noise": [0.5],
        "optimizers": {"sgd": bv.SGD(0.1)},
        "budgets": [60],
        "replicates": 16 * 16,
        "block_size": 16,
    }
    return bv.TradeoffStudy(**{**fields, **changes})


def whole(**changes):
    """A study with every way to descend: on eigenvectors, on minibatches, and with simulated noise."""
    fields = {
        "n_train": [6, 9],
        "noise": [0.0, 0.5],
        "optimizers": {"sgd": bv.SGD([0.1, 0.3]), "adam": bv.Adam(0.1), "nesterov": bv.Nesterov(0.05)},
        "budgets": [20, 60],
        "batch_size": [None, 2],
        "replicates": 16 * 20,
    }
    return small(**{**fields, **changes})


@pytest.mark.slow
def test_the_same_bits_on_any_scheduler_and_extended_along_every_axis(tmp_path):
    study, digests = whole(), set()
    for scheduler in ("synchronous", "threads", "processes"):
        bv.run(study, tmp_path / f"{scheduler}.zarr", scheduler=scheduler, progress=False)
        digests.add(bv.digest(tmp_path / f"{scheduler}.zarr"))
    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        bv.run(study, tmp_path / "cluster.zarr", progress=False, blocks_per_chunk=3)
        digests.add(bv.digest(tmp_path / "cluster.zarr"))
    store = tmp_path / "grown.zarr"
    bv.run(small(), store, scheduler="synchronous", progress=False)
    for axis in ("n_train", "noise", "budgets", "optimizers", "batch_size", "replicates"):
        grown = bv.load(store).replace(**{axis: getattr(study, axis)})
        bv.run(grown, store, scheduler="synchronous", progress=False)
    digests.add(bv.digest(store))
    assert len(digests) == 1
    assert bv.verify(store).ok
    assert run_in_memory(study).equals(bv.lazy(study).compute())


def test_an_extension_simulates_what_is_new_only(tmp_path):
    store = tmp_path / "s.zarr"
    bv.run(small(), store, scheduler="synchronous", progress=False)
    grown = small(budgets=[20, 60], noise=[0.0, 0.5])
    (group,) = grown.groups(stored={("n6", key) for each in small().groups() for key in each.cells})
    assert group.cells == ("sgd:learning_rate=0.1,batch_size=all,budget=20",)
    with pytest.raises(StoreError, match="budgets: the store has"):
        bv.run(small(budgets=[20]), store, scheduler="synchronous", progress=False)
    with pytest.raises(StoreError, match="model"):
        bv.run(small(model=bv.Polynomial(2)), store, scheduler="synchronous", progress=False)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path):
    (tmp_path / "study.yaml").write_text(
        "name: killed\nkind: tradeoff\ntarget: Sine\ninputs: {Uniform: [-1, 1]}\nmodel: {Polynomial: 1}\n"
        "n_train: [6]\nnoise: 0.5\noptimizers: {sgd: {SGD: 0.1}}\nbatch_size: [1]\nbudgets: [3000]\n"
        "replicates: 1024\nblock_size: 16\n"
    )
    arguments = ["run", "study.yaml", "--store", "k.zarr", "--scheduler", "threads"]
    process = subprocess.Popen([sys.executable, "-m", "biasvar.cli", *arguments], cwd=tmp_path)
    until(lambda: list(tmp_path.glob("k.zarr/blocks/n6/sgd*/count/c/*")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    study = bv.load(tmp_path / "study.yaml")
    bv.run(study, tmp_path / "whole.zarr", scheduler="synchronous", progress=False)
    assert bv.digest(tmp_path / "k.zarr") == bv.digest(tmp_path / "whole.zarr")


def test_json_and_yaml_give_the_study_back(tmp_path):
    study = small(
        optimizers={"sgd": bv.SGD([0.1, 0.2], schedule=bv.InverseSqrt(5)), "adam": bv.Adam()}, batch_size=[None, 1]
    )
    assert from_json(study.to_json(), study.supplement()) == study
    (tmp_path / "study.yaml").write_text(
        "name: small\nkind: tradeoff\ntarget: Sine\ninputs: {Uniform: {low: -1, high: 1}}\nmodel: {Polynomial: 1}\n"
        "n_train: [6]\nnoise: [0.5]\nbatch_size: [null, 1]\nbudgets: [60]\nreplicates: 256\nblock_size: 16\n"
        "optimizers:\n  sgd: {SGD: {learning_rate: [0.1, 0.2], schedule: {InverseSqrt: 5}}}\n  adam: Adam\n"
    )
    assert bv.load(tmp_path / "study.yaml") == study
    done = command("run", "study.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert {cell.get("path", "") for cell in cells} >= {"sgd", "adam"}
    shown = command("show", "small.zarr", cwd=tmp_path)
    assert "best n_train" in shown.stdout
    planned = command("plan", "study.yaml", cwd=tmp_path)
    assert "n6:sgd" in planned.stdout
    assert bv.load(tmp_path / "small.zarr") == study


def test_errors_add_up_in_every_cell_and_the_empirical_one_is_never_negative():
    tree = run_in_memory(whole(n_train=[9, 20], replicates=16 * 32, block_size=32))
    root = tree.to_dataset()
    for label in ("sgd", "adam", "nesterov"):
        node = tree[label].to_dataset()
        total = root.approximation_error + root.estimation_error + node.optimization_error
        np.testing.assert_allclose(*np.broadcast_arrays(total.transpose(*node.excess_risk.dims), node.excess_risk))
        assert (node.empirical_optimization_error >= 0).all()
        least = node.empirical_risk - node.empirical_optimization_error
        np.testing.assert_allclose(*np.broadcast_arrays(least, root.empirical_risk.broadcast_like(least)), atol=1e-12)
        np.testing.assert_allclose(node.bias2 + node.variance, node.excess_risk, rtol=1e-12)
        assert (node.diverged_share == 0).all()


def test_the_stopped_fit_has_a_risk_where_the_minimiser_has_none():
    tree = run_in_memory(
        small(n_train=[2, 3, 4, 6], noise=[0.0, 0.5], budgets=[40, 400], block_size=64, replicates=2048)
    )
    root, node = tree.to_dataset(), tree["sgd"].to_dataset().squeeze(["learning_rate", "batch_size"])
    assert root.status.sel(noise=0.5).values.tolist() == ["infinite", "infinite", "se_unreliable", "ok"]
    infinite = root.sel(noise=0.5, n_train=[2, 3])
    assert np.isposinf(infinite.estimation_error).all()
    assert np.isposinf(infinite.excess_risk).all()
    assert np.isfinite(infinite.approximation_error).all()
    stopped = node.sel(noise=0.5, n_train=[2, 3])
    assert np.isneginf(stopped.optimization_error).all()
    assert np.isnan(stopped.optimization_error_se).all()
    assert (stopped.status == "ok").all()
    assert np.isfinite(stopped.excess_risk_se).all()
    assert np.isnan(node.optimization_error_se.sel(noise=0.5, n_train=4)).all()
    assert np.isfinite(node.optimization_error_se.sel(noise=0.0)).all()


def test_descents_that_diverge_are_infinite_and_never_the_best():
    tree = run_in_memory(small(optimizers={"sgd": bv.SGD([0.1, 5.0])}, budgets=[60, 600], batch_size=[None, 1]))
    node = tree["sgd"].to_dataset().squeeze(["n_train", "noise"])
    far = node.sel(learning_rate=5.0)
    assert (far.status == "infinite").all()
    assert (far.sel(budget=600).diverged_share > 0.9).all()
    assert np.isposinf(far.sel(budget=600).excess_risk).all()
    assert np.isposinf(far.sel(budget=600).optimization_error).all()
    assert "diverged" in str(far.status_reason.sel(budget=600)[0].item())
    assert (node.best_learning_rate == 0.1).all()
    hopeless = run_in_memory(small(optimizers={"sgd": bv.SGD(50.0)}, budgets=[600]))
    assert np.isnan(hopeless["sgd"].best_n_train).all()
    assert "none" in results(hopeless)


def test_steps_and_zero_of_them():
    """A budget that does not pay for one step leaves the start, whose risk is the mean square of the target."""
    node = run_in_memory(small(n_train=[6, 100], batch_size=[None, 4], budgets=[60, 50]))["sgd"].to_dataset()
    assert node.steps.sel(batch_size=0).values.tolist() == [[10, 8], [0, 0]]
    assert node.steps.sel(batch_size=4).values.tolist() == [[20, 16], [15, 12]]
    start = node.sel(batch_size=0, n_train=100)
    np.testing.assert_allclose(start.excess_risk, 0.5, rtol=1e-12)
    np.testing.assert_allclose(start.variance, 0, atol=1e-12)


def test_the_best_is_judged_on_blocks_that_did_not_choose_it():
    """With equal candidates the least of all means is too good to be true, and the judged one is not."""
    rates = [0.1 + 1e-9 * i for i in range(3)]
    study = small(
        n_train=[6, 8], optimizers={"sgd": bv.SGD(rates)}, budgets=[300, 600], replicates=4096, block_size=256
    )
    node = run_in_memory(study)["sgd"].to_dataset().squeeze(["batch_size", "noise"])
    assert node.best_n_train.values.tolist() == [8, 8]
    assert (node.best_share > 0.9).all()
    judged = node.best_excess_risk
    assert (abs(judged - node.excess_risk.sel(n_train=8).min("learning_rate")) < 4 * node.best_excess_risk_se).all()
    bounds = bv.confidence_interval(node, "best_excess_risk")
    assert (bounds.low < judged).all()


def test_precision_adds_blocks_until_every_error_is_below_it():
    study = small(replicates=None, precision={"optimization_error": 0.02}, n_train=[6, 20])
    tree = run_in_memory(study)
    assert float(tree["sgd"].optimization_error_se.max()) < 0.02
    assert int(tree.replicates.sel(n_train=6).max()) > 256
    assert study.unmet_goals(tree) == []
    short = study.replace(precision={"excess_risk": 1e-6}, max_replicates=512)
    assert "precision not reached" in short.unmet_goals(run_in_memory(short))[0]


class Moody:
    """A rule of one's own that is not always well."""

    def __init__(self, learning_rate, fails=False):
        self.learning_rate, self.fails = learning_rate, fails

    def init(self, theta):
        return ()

    def update(self, theta, gradient, state, step, *, learning_rate):
        if self.fails and step > 3:
            raise ValueError("tired")
        return theta - learning_rate * gradient, ()


def test_a_rule_of_ones_own_fails_alone(tmp_path):
    study = small(optimizers={"own": Moody([0.1]), "tired": Moody([0.1], fails=True), "sgd": bv.SGD(0.1)}, noise=0.0)
    with pytest.warns(BiasvarWarning, match="tired"):
        tree = bv.run(study, tmp_path / "s.zarr", scheduler="synchronous", progress=False)
    assert str(tree["tired"].status.item()) == "failed"
    assert "ValueError: tired" in str(tree["tired"].status_reason.item())
    # Not known to be linear, so that labels are simulated; without noise these are the same.
    np.testing.assert_allclose(tree["own"].excess_risk.values, tree["sgd"].excess_risk.values, rtol=1e-10)


def test_more_dimensions_and_more_coefficients_than_examples():
    """In eight dimensions the test points are sampled, and their error counts; of minimum norm where p > n."""
    study = small(
        target=bv.Linear([1.0] * 8),
        inputs=bv.Normal(dim=8),
        model=bv.LeastSquares(8),
        n_train=[4, 40],
        noise=0.1,
        optimizers={"sgd": bv.SGD(0.01)},
        budgets=[40 * 4000],
        test_points=2048,
    )
    tree = run_in_memory(study)
    node = tree["sgd"].to_dataset().squeeze()
    # After 4000 or 40 000 steps: the minimiser, whose excess is noise^2 p / (n - p - 1), and of minimum norm at n = 4.
    truth = 0.1**2 * 8 / (40 - 8 - 1)
    found = node.sel(n_train=40)
    assert abs(found.excess_risk - truth) < 5 * found.excess_risk_se
    assert abs(node.optimization_error.sel(n_train=40)) < 1e-3
    few = node.sel(n_train=4)
    bias = 8 * (1 - 4 / 8)
    assert abs(few.excess_risk - bias - 0.1**2 * 4 / 3) < 5 * few.excess_risk_se
    assert float(few.empirical_optimization_error) < 1e-3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": bv.Ridge(1, 0.1)}, "model: expected a set that is linear in its coefficients and has no penalty"),
        ({"model": bv.NearestNeighbors(1)}, "model: expected a set that is linear"),
        ({"batch_size": [7]}, "batch_size: 7 is more than the 6 examples of the smallest n_train"),
        ({"batch_size": [1, 1]}, "batch_size: .* twice"),
        ({"budgets": [20, 20]}, "budgets: .* twice"),
        ({"budgets": []}, "budgets: "),
        ({"budgets": [0]}, "budgets"),
        ({"optimizers": {}}, "optimizers: is empty"),
        (
            {"optimizers": {"sgd": bv.SGD(0.1, schedule=bv.Cosine())}},
            "optimizers.sgd: the schedule depends on",
        ),
        ({"optimizers": {"a/b": bv.SGD(0.1)}}, "optimizers: 'a/b' cannot be a label"),
        ({"optimizers": {"sgd": 3}}, "optimizers.sgd: 3 has no init"),
        ({"noise": [-1.0]}, "noise"),
        ({"n_train": [6, 6]}, "n_train: .* twice"),
        ({"replicates": 100}, "replicates: 100 is too few"),
        ({"precision": {"riskiness": 1.0}, "replicates": None}, "precision: unknown variable 'riskiness'"),
        ({"target": 3.0}, "target: expected a vectorised callable"),
        ({"target": lambda x: 1e80 * x}, "target: reaches 9.*e.79"),
    ],
)
def test_bad_input_is_refused_in_a_line(changes, said):
    with pytest.raises(StudyError, match=said) as caught:
        small(**changes)
    assert "\n" not in str(caught.value)


def test_too_few_examples_fail_with_their_reason():
    tree = run_in_memory(small(model=bv.Polynomial(3), n_train=[3, 8]))
    assert tree.status.sel(n_train=3).item() == "failed"
    cell = tree["sgd"].to_dataset().sel(n_train=3)
    assert "n_train=3 points cannot determine them" in str(cell.status_reason.item())
