"""Optimizer studies: against closed forms and plain loops, the same bits everywhere, errors in one line."""

import inspect
from itertools import product

import dask
import numpy as np
import pytest
import xarray as xr
from helpers import command
from numba import njit
from scipy import stats

import biasvar as bv
from biasvar.errors import BiasvarError, StudyChangedError, StudyError
from biasvar.montecarlo.streams import Stream
from biasvar.optimization.batches import Batches
from biasvar.optimization.descent import Descent, log_spaced
from biasvar.optimization.trajectories import run
from biasvar.studies.optimizer_summary import reserved
from biasvar.views import tables

X = np.array([[1.0, 2.0], [0.5, -1.0], [-1.5, 0.3], [2.0, 1.0], [-0.2, -0.7], [0.9, 0.1], [1.1, -2.0]])
Y = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0])


def small(**changes):
    fields = {
        "name": "small",
        "objectives": {"ravine": bv.Quadratic(eigenvalues=[1, 100]), "curve": bv.Rosenbrock(2)},
        "optimizers": {
            "sgd": bv.SGD(learning_rate=[1e-4, 1e-3, 1e-2]),
            "adam": bv.Adam(learning_rate=[0.01, 0.1], beta2=[0.9, 0.999]),
        },
        "steps": 60,
        "replicates": 5,
        "targets": {"ravine": [10.0, 1.0], "curve": [10.0, 1.0]},
    }
    return bv.OptimizerStudy(**{**fields, **changes})


def logistic(**changes):
    fields = {
        "name": "logistic",
        "objectives": {"loss": bv.EmpiricalRisk(data=(X, Y), loss="logistic", penalty=0.1)},
        "optimizers": {"sgd": bv.SGD(learning_rate=[0.03, 0.3]), "momentum": bv.Momentum(learning_rate=0.1)},
        "batch_size": [None, 3, 1],
        "steps": 20,
        "replicates": 3,
    }
    return bv.OptimizerStudy(**{**fields, **changes})


# What it computes


def test_gradient_descent_on_a_quadratic_is_the_closed_form(store):
    study = small(objectives={"ravine": bv.Quadratic(eigenvalues=[1, 100])}, initial={"ravine": [1.0, 2.0]}, targets={})
    tree = bv.run(study, store)
    found = tree["ravine/sgd"].to_dataset().squeeze("batch_size")
    for rate in (1e-4, 1e-3, 1e-2):
        steps = found.step.values
        theta = np.array([1.0, 2.0]) * (1 - rate * np.array([1.0, 100.0])) ** steps[:, None]
        cell = found.sel(learning_rate=rate)
        np.testing.assert_allclose(cell.objective, theta**2 @ [0.5, 50], rtol=1e-10, atol=1e-28)
        np.testing.assert_allclose(cell.distance, np.sqrt((theta**2).sum(axis=1)), rtol=1e-10)
        np.testing.assert_allclose(cell.gradient_norm, np.sqrt((theta**2) @ [1, 1e4]), rtol=1e-9, atol=1e-13)
        assert (cell.objective_se == 0).all()  # nothing is random
    assert found.best_learning_rate[-1] == 1e-2


@pytest.mark.parametrize("order", ["shuffled", "replacement", "fixed"])
def test_a_study_is_the_plain_loop(order, store):
    study = logistic(order=order, record=["parameters", "objective"], record_steps=[1, 5, 20])
    tree = bv.run(study, store)
    loss = study.objectives["loss"]
    for size in (0, 3, 1):
        for replicate in range(3):
            start = study.initial_point("loss", replicate)
            batches = iter(Batches(Stream(0, "objective=loss", replicate), 7, size or 7, order))
            theta, velocity, path = start.copy(), np.zeros(2), {}
            for step in range(1, 21):
                gradient = loss.gradient(theta) if size == 0 else loss.gradient(theta, next(batches))
                velocity = 0.9 * velocity - 0.1 * gradient
                theta = theta + velocity
                path[step] = theta
            found = tree["loss/momentum"].parameters.sel(batch_size=size, replicate=replicate).squeeze()
            np.testing.assert_allclose(found, [path[step] for step in (1, 5, 20)], rtol=1e-12)


def test_everything_has_a_label_and_the_tree_opens_with_plain_xarray(store):
    tree = bv.run(small(), store)
    for node in tree.leaves:
        for name, variable in node.data_vars.items():
            assert variable.attrs["long_name"], name
        assert {"objective_se", "outcome", "status", "best_objective_se", "sensitivity_se"} <= set(node.data_vars)
        for name in (name.removesuffix("_se") for name in node.data_vars if name.endswith("_se")):
            assert node[name].attrs["short_name"], name
            assert node[name].attrs["blocks"] == "replicate", name
    plain = xr.open_datatree(store, engine="zarr", consolidated=False)
    np.testing.assert_array_equal(plain["ravine/adam/objective"], tree["ravine/adam/objective"])
    opened = bv.open(store)
    assert isinstance(opened, xr.DataTree)
    xr.testing.assert_identical(
        opened["curve/sgd"].to_dataset().load(), tree["curve/sgd"].to_dataset().assign_attrs(opened["curve/sgd"].attrs)
    )


def test_no_hyperparameter_may_be_called_as_a_summary_calls_its_own():
    study = logistic(record=["objective", "gradient_norm", "distance", "excess_risk", "gap", "sharpness", "parameters"])
    tree = study.layout()
    # What is said of an objective itself stands in a node of its own.
    names = {str(name) for node in (tree, *tree.leaves) for name in (*node.variables, *node.dims)}
    own = {"learning_rate", "momentum"}
    added = {f"{prefix}{name}" for prefix in ("", "best_", "cheapest_") for name in own}
    assert {name for name in names if not name.endswith("_se")} - added <= reserved()
    assert not reserved() & own


def test_costs_count_examples(store):
    found = bv.run(logistic(), store)["loss/sgd"].to_dataset()
    evaluations = found.gradient_evaluations.sel(step=20)
    assert evaluations.sel(batch_size=0) == 20 * 7
    assert evaluations.sel(batch_size=1) == 20
    assert evaluations.sel(batch_size=3) == 6 * 7 + 2 * 3  # epochs of 3 + 3 + 1


def test_a_diverged_configuration_disturbs_no_other_and_is_flagged(store, tmp_path):
    rates = [1e-3, 1e-2, 0.5]
    both = small(optimizers={"sgd": bv.SGD(learning_rate=rates)}, targets={}, steps=400)
    alone = small(optimizers={"sgd": bv.SGD(learning_rate=rates[:2])}, targets={}, steps=400)
    found = bv.run(both, store)["ravine/sgd"].to_dataset()
    sound = bv.run(alone, tmp_path / "alone.zarr")["ravine/sgd"].to_dataset()
    bad = found.sel(learning_rate=0.5).squeeze()
    assert (bad.outcome == "diverged").all()
    assert bad.status == "infinite"
    assert bad.status_reason == "5 of 5 replicates diverged"
    assert np.isinf(bad.objective[-1])
    assert np.isnan(bad.objective_se[-1])
    assert (bad.stop_step < 400).all()
    for name in ("objective", "gradient_norm", "objective_se"):
        np.testing.assert_array_equal(found[name].sel(learning_rate=rates[:2]), sound[name])


def test_trajectories_stop_where_they_should(store):
    study = small(
        objectives={"bowl": bv.Quadratic(eigenvalues=[1.0, 1.0])},
        optimizers={"sgd": bv.SGD(learning_rate=[0.5, 0.1, 1e-6])},
        initial={"bowl": [3.0, 4.0]},
        targets={"bowl": [1.0, 1e-3]},
        tolerance=1e-4,
        steps=100,
        record_steps=range(101),
    )
    found = bv.run(study, store)["bowl/sgd"].to_dataset().squeeze("batch_size").isel(replicate=0)
    # J = 12.5 (1 - rate)^(2 t): 1e-3 is reached at the first t that makes it so small.
    assert found.outcome.values.tolist() == ["reached", "reached", "running"]
    expected = [int(np.ceil(np.log(goal / 12.5) / (2 * np.log(1 - 0.1)))) for goal in (1.0, 1e-3)]
    assert found.steps_to_target.sel(learning_rate=0.1).values.tolist() == expected
    assert found.stop_step.sel(learning_rate=0.1) == expected[1]
    assert np.isinf(found.steps_to_target.sel(learning_rate=1e-6)).all()
    loose = bv.run(study.replace(targets={}, tolerance=0.1), store.with_name("loose.zarr"))
    assert (loose["bowl/sgd"].outcome.sel(learning_rate=0.5) == "converged").all()


def test_what_swings_passes_a_target_before_it_stays(store):
    # The heavy ball on a bowl swings through the origin: J is below the target at each passage, and above it between.
    study = small(
        objectives={"bowl": bv.Quadratic(eigenvalues=[1.0, 1.0])},
        optimizers={"momentum": bv.Momentum(learning_rate=[0.05, 0.1], momentum=0.9)},
        targets={"bowl": [0.1, 1e-3]},
        steps=150,
        record_steps=range(151),
        replicates=4,
    )
    found = bv.run(study, store)["bowl/momentum"].to_dataset().squeeze(["batch_size", "momentum"])
    gap = 0
    for rate, replicate in product((0.05, 0.1), range(4)):
        theta, velocity = study.initial_point("bowl", replicate), 0.0
        values = [theta @ theta / 2]
        while values[-1] > 1e-3:  # where it stops for good
            velocity = 0.9 * velocity - rate * theta
            theta = theta + velocity
            values.append(theta @ theta / 2)
        for i, goal in enumerate((0.1, 1e-3)):
            cell = found.sel(learning_rate=rate).isel(replicate=replicate, target=i)
            assert cell.steps_to_target == next(step for step, value in enumerate(values) if value <= goal)
            assert (
                cell.steps_to_stay == max((step for step, value in enumerate(values) if value > goal), default=-1) + 1
            )
            gap += float(cell.steps_to_stay - cell.steps_to_target)
    assert gap > 20
    assert (found.stayed_share == 1).all()
    assert (found.stayed_share_se == 0).all()
    assert found.steps_to_stay.attrs["units"] == "steps"
    never = bv.run(study.replace(steps=3, record_steps=[3]), store.with_name("short.zarr"))["bowl/momentum"]
    assert np.isinf(never.steps_to_stay.isel(target=1)).all()
    assert (never.stayed_share.isel(target=1) == 0).all()


def saddle(**changes):
    fields = {
        "objectives": {"saddle": bv.Saddle([1, -0.5])},
        "optimizers": {"sgd": bv.SGD(learning_rate=[0.5, 1.0])},
        "initial": {"saddle": [1.0, 1e-4]},
        "targets": {"saddle": [-1.0]},
        "steps": 100,
        "record_steps": range(101),
    }
    return small(**{**fields, **changes})


def test_descents_from_a_saddle_stop_at_their_target(store):
    tree = bv.run(saddle(), store)
    found = tree["saddle/sgd"].to_dataset().squeeze("batch_size").isel(replicate=0, target=0)
    for rate in (0.5, 1.0):
        steps = np.arange(101)
        value = (1 - rate) ** (2 * steps) / 2 - 0.25e-8 * (1 + 0.5 * rate) ** (2 * steps)
        assert found.steps_to_target.sel(learning_rate=rate) == np.argmax(value <= -1)
        assert found.outcome.sel(learning_rate=rate) == "reached"
    assert "distance" not in found  # there is no minimiser
    assert "-1" in tables.results(tree)


def test_descents_from_a_saddle_without_target_diverge_and_are_never_best(store):
    study = saddle(targets={}, optimizers={"sgd": bv.SGD([0.1, 2.0])}, steps=2000, record_steps=[60, 2000])
    found = bv.run(study, store)["saddle/sgd"].to_dataset().squeeze("batch_size")
    # At first those that run off are the lowest; what has overflowed is none.
    assert found.best_learning_rate.values.tolist() == [2.0, 0.1]
    assert found.status.values.tolist() == ["ok", "infinite"]
    assert np.isinf(found.objective.sel(learning_rate=2.0, step=2000))


def test_the_profile_compares_the_best_of_each(store):
    tree = bv.run(small(steps=300), store)
    profile = tree.performance_profile
    costs = np.array(
        [
            [tree[f"{objective}/{rule}"].best_cost_to_target for rule in ("sgd", "adam")]
            for objective in ("ravine", "curve")
        ]
    )
    problems = np.moveaxis(costs, 1, -1).reshape(-1, 2)
    np.testing.assert_allclose(profile.sel(ratio=1.0), (problems <= problems.min(axis=1, keepdims=True)).mean(axis=0))
    assert (profile.diff("ratio") >= 0).all()


def test_all_configurations_of_a_replicate_start_alike(store):
    study = small(record=["parameters"], record_steps=[0, 60])
    tree = bv.run(study, store)
    for rule in ("sgd", "adam"):
        start = tree[f"curve/{rule}"].parameters.sel(step=0)
        expected = np.stack([study.initial_point("curve", replicate) for replicate in range(5)])
        np.testing.assert_array_equal(
            start.transpose("replicate", "parameter", ...).values.reshape(5, 2, -1)[..., 0], expected
        )
        assert (start == start.isel(learning_rate=0)).all()
    assert len(np.unique(expected)) == 10


def test_intervals_are_students(store):
    node = bv.run(small(targets={}), store)["curve/adam"]
    bounds = bv.confidence_interval(node, "objective")
    half = stats.t.ppf(0.975, 4) * node.objective_se
    np.testing.assert_allclose(bounds.high - node.objective, half, rtol=1e-12)


def test_quantiles_are_numpys(store):
    rules = {"sgd": bv.SGD(learning_rate=[1e-5, 1e-4])}
    study = small(optimizers=rules, targets={}, record=["objective", "parameters"])
    found = bv.run(study, store)["curve/sgd"].to_dataset().squeeze("batch_size").isel(step=-1)
    values = study.objectives["curve"].value(
        found.parameters.transpose("replicate", "learning_rate", "parameter").values
    )
    expected = np.quantile(values, found["quantile"].values, axis=0, method="inverted_cdf")
    np.testing.assert_allclose(found.objective_quantile.transpose("quantile", "learning_rate"), expected)
    np.testing.assert_allclose(found.objective_se, values.std(axis=0, ddof=1) / np.sqrt(5))


class Bowl:
    """A user's own objective."""

    dim = 3

    def value(self, theta):
        return (theta**2).sum(axis=-1)

    def gradient(self, theta, batch=None):
        return 2 * theta


class Halve:
    """A user's own rule: go a share of the way to the origin."""

    def __init__(self, share):
        self.share = share

    def init(self, theta):
        return ()

    def update(self, theta, gradient, state, step, *, share):
        return theta * (1 - share), state


def test_users_own_objectives_and_rules(store):
    study = bv.OptimizerStudy(
        name="own",
        objectives={"bowl": Bowl()},
        optimizers={"halve": Halve([0.5, 0.25])},
        steps=4,
        record_steps=[0, 4],
        check=True,
    )
    found = bv.run(study, store)["bowl/halve"].to_dataset().squeeze("batch_size")
    np.testing.assert_allclose(found.objective[:, 1], found.objective[:, 0] * np.array([0.5, 0.75]) ** 8)


def third(step, steps):
    return 1 / 3


def scheduled(schedule):
    rules = {"sgd": bv.SGD(learning_rate=[0.01], schedule=schedule)}
    return small(optimizers=rules, targets={}, steps=10)


@pytest.mark.parametrize(
    "schedule",
    [bv.ConstantRate(), bv.InverseSqrt(3), bv.StepDecay(0.5, 4), bv.Cosine(0.1), third, lambda step, steps: 1 / step],
    ids=["constant", "root", "steps", "cosine", "function", "lambda"],
)
def test_schedules_multiply_the_learning_rate(schedule, store):
    study = scheduled(schedule)
    found = bv.run(study, store)["ravine/sgd"].to_dataset().squeeze()
    theta = np.stack([study.initial_point("ravine", replicate) for replicate in range(5)])
    for step in range(1, 11):
        theta = theta - 0.01 * schedule(step, 10) * theta * [1, 100]
    np.testing.assert_allclose(found.objective[-1], (theta**2 @ [0.5, 50]).mean(), rtol=1e-10)
    assert bv.run(scheduled(schedule), store)["ravine/sgd"].to_dataset().squeeze().equals(found)


def test_a_changed_schedule_is_refused(store):
    bv.run(scheduled(lambda step, steps: 1 / step), store)
    with pytest.raises(StudyChangedError, match="schedule"):
        bv.run(scheduled(lambda step, steps: 2 / step), store)


def test_schedules_are_written_by_name():
    written = small(optimizers={"sgd": {"SGD": {"schedule": {"StepDecay": {"factor": 0.5, "every": 4}}}}})
    assert written.optimizers["sgd"].schedule == bv.StepDecay(0.5, 4)
    with pytest.raises(StudyError, match="unknown name 'Cosinus'"):
        small(optimizers={"sgd": {"SGD": {"schedule": "Cosinus"}}})


@pytest.mark.slow
def test_ones_own_objectives_and_rules_by_name(tmp_path):
    (tmp_path / "mine.py").write_text(f"{inspect.getsource(Bowl)}\n\n{inspect.getsource(Halve)}")
    (tmp_path / "own.yaml").write_text(
        "kind: optimizer\nname: own\nsteps: 4\nreplicates: 2\nobjectives: {bowl: 'mine:Bowl'}\n"
        "optimizers: {halve: {'mine:Halve': {share: [0.25, 0.5]}}}\n"
    )
    done = command("run", "own.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "share=0.5" in done.stdout
    bad = command("run", "own.yaml", "--set", "optimizers={x: 'mine:Bowl'}", "--store", "b.zarr", cwd=tmp_path)
    *imported, told = bad.stderr.splitlines()
    assert (bad.returncode, all(line.startswith("importing mine:") for line in imported)) == (2, True)
    assert "optimizers.x" in told


class FailsLater(Halve):
    """A user's rule that raises at the fifth step where its share is large."""

    def update(self, theta, gradient, state, step, *, share):
        if step == 5 and (share > 0.4).any():
            raise ZeroDivisionError("by design")
        return theta * (1 - share), state


def test_what_fails_on_the_way_is_a_value_with_a_sentence(store):
    study = bv.OptimizerStudy(
        name="fails", objectives={"bowl": Bowl()}, steps=8, replicates=2, record_steps=[1, 8],
        optimizers={"bad": FailsLater([0.5]), "good": FailsLater([0.25])},
    )  # fmt: skip
    tree = bv.run(study, store)
    bad, good = (tree[f"bowl/{name}"].to_dataset().squeeze() for name in ("bad", "good"))
    assert bad.status == "failed"
    assert bad.status_reason == "2 of 2 replicates failed: ZeroDivisionError: by design"
    assert bad.outcome.values.tolist() == ["failed", "failed"]
    assert np.isnan(bad.objective).all()
    assert good.status == "ok"
    assert np.isfinite(good.objective).all()
    assert bv.verify(store).ok


class Explodes(Bowl):
    """Raises where theta is far from the origin, or anywhere but at the start."""

    def __init__(self, reach):
        self.reach = reach

    def gradient(self, theta, batch=None):
        if (np.abs(theta) > self.reach).any():
            raise RuntimeError("boom")
        return 2 * theta


def exploding(reach, rates):
    return bv.OptimizerStudy(
        name="explodes", objectives={"o": Explodes(reach)}, optimizers={"sgd": bv.SGD(learning_rate=rates)},
        steps=40, replicates=4, targets={"o": [0.5]}, initial={"o": [1.0, 2.0, 3.0]},
    )  # fmt: skip


def test_the_best_is_none_where_all_failed(store):
    tree = bv.run(exploding(3.5, [2.0, 3.0, 4.0]), store)
    found = tree["o/sgd"].to_dataset()
    assert (found.status == "failed").all()
    for name in ("best_learning_rate", "best_batch_size", "best_share", "best_objective", "best_objective_se"):
        assert np.isnan(found[name]).all(), name
    assert np.isnan(found.cheapest_learning_rate).all()
    assert np.isinf(found.best_cost_to_target).all()
    assert bv.best_configurations(tree) == {}
    assert "none: all failed" in tables.results(tree)
    shown = command("show", store, cwd=store.parent)
    assert (shown.returncode, len(shown.stderr.splitlines())) == (4, 1)
    assert "3 of 3 cells failed" in shown.stderr
    assert "12 of 12" not in shown.stderr


def test_the_best_is_none_where_all_diverged(store):
    tree = bv.run(small(optimizers={"sgd": bv.SGD(learning_rate=[10.0, 20.0])}, steps=200), store)
    found = tree["ravine/sgd"].to_dataset()
    assert np.isnan(found.best_learning_rate[-1])
    assert np.isinf(found.best_objective[-1])
    assert bv.best_configurations(tree) == {}


def test_the_best_is_one_that_did_not_fail(store):
    tree = bv.run(exploding(50, [0.01, 0.1, 4.0]), store)
    found = tree["o/sgd"].to_dataset().squeeze("batch_size")
    assert found.status.values.tolist() == ["ok", "ok", "failed"]
    assert found.status_reason.values[2] == "4 of 4 replicates failed: RuntimeError: boom"
    labels = bv.best_configurations(tree)["o/sgd"]
    assert labels == {"learning_rate": 0.1, "batch_size": 0.0}
    assert tree["o/sgd"].to_dataset().sel(labels).objective.dims == ("step",)
    assert bv.best_configurations(tree, target=0)["o/sgd"] == labels
    assert bv.best_configurations(tree, step=1)["o/sgd"] == labels
    with pytest.raises(BiasvarError, match="step: 7777 was not recorded"):
        bv.best_configurations(tree, step=7777)
    with pytest.raises(BiasvarError, match="there is no target 1; the study has 1"):
        bv.best_configurations(tree, target=1)


def test_tables_say_what_is_best_in_what(store):
    text = tables.results(bv.run(small(), store))
    assert tables.results(bv.open(store)) == text
    headings = [line for line in text.splitlines() if line.startswith(("cheapest", "lowest"))]
    assert headings == ["cheapest to J = 10", "cheapest to J = 1", "lowest objective J at the last step, 60"]


def test_trajectories_go_to_pandas_in_a_line(store):
    tree = bv.run(small(record=["objective", "parameters"], record_steps=[0, 60]), store)
    frame = tree["ravine/sgd"].to_dataset()[["objective", "objective_se"]].to_dataframe()
    assert len(frame) == 3 * 2
    assert len(tree["ravine/sgd"].parameters.to_dataframe()) == 3 * 5 * 2 * 2


def test_one_replicate_has_no_error_and_says_so(store):
    found = bv.run(small(replicates=1, targets={}), store)["ravine/sgd"].to_dataset()
    assert np.isnan(found.objective_se).all()
    assert (found.status == "se_unreliable").all()
    assert "two or more" in found.status_reason.values.ravel()[0]


class Counts(Bowl):
    """A user's objective that changes as it is used."""

    calls = 0

    def value(self, theta):
        self.calls += 1
        return super().value(theta)


def test_an_objective_that_counts_its_calls_is_the_same_study(store):
    study = bv.OptimizerStudy(name="own", objectives={"o": Counts()}, optimizers={"h": Halve([0.5])}, steps=2)
    first = bv.run(study, store)
    assert bv.run(study, store)["o/h"].to_dataset().equals(first["o/h"].to_dataset())


@njit
def shrink(theta, share):
    return theta * (1 - share)


class Compiled(Halve):
    def update(self, theta, gradient, state, step, *, share):
        return shrink(theta, share), state


def test_rules_may_call_compiled_functions(store):
    study = bv.OptimizerStudy(name="own", objectives={"o": Bowl()}, optimizers={"h": Compiled([0.5])}, steps=2)
    assert np.isfinite(bv.run(study, store)["o/h"].objective).all()


def test_defaults_written_out_are_the_same_study(store):
    bv.run(small(), store)
    bv.run(small(initial={"ravine": bv.Normal(), "curve": {"Normal": {}}}), store)


@pytest.mark.parametrize("sizes", [np.array([1, 3]), range(1, 4, 2), (np.int64(1), 3)], ids=str)
def test_batch_sizes_come_in_any_sequence(sizes):
    assert logistic(batch_size=sizes).batch_size == (1, 3)


# The same bits


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "store.zarr"
    bv.run(logistic(), path, scheduler="synchronous")
    return bv.digest(path)


@pytest.mark.parametrize(
    ("scheduler", "chunk"), [("threads", 1), pytest.param("processes", 2, marks=pytest.mark.slow), ("synchronous", 2)]
)
def test_same_bits_everywhere(scheduler, chunk, store, reference):
    bv.run(logistic(), store, scheduler=scheduler, blocks_per_chunk=chunk)
    assert bv.digest(store) == reference
    assert bv.verify(store).ok


def test_lazy_has_the_same_bits_and_computes_nothing_before(store, monkeypatch):
    calls = []
    monkeypatch.setattr(bv.OptimizerStudy, "simulate", lambda *a: calls.append(a))
    lazy = bv.lazy(logistic())
    assert calls == []
    monkeypatch.undo()
    assert all(dask.is_dask_collection(v.data) for node in lazy.leaves for v in node.data_vars.values())
    computed, ran = lazy.compute(), bv.run(logistic(), store)
    for path in ("loss/sgd", "loss/momentum"):
        xr.testing.assert_equal(computed[path].to_dataset(), ran[path].to_dataset())


@pytest.mark.parametrize("dim", [2, 30])
def test_bits_of_a_trajectory_do_not_depend_on_its_neighbours(dim):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, dim)), rng.integers(0, 2, 40).astype(float)
    for objective in (
        bv.EmpiricalRisk(data=(x, y), loss="logistic"),
        bv.Quadratic(eigenvalues=range(1, dim + 1)),
        bv.Rosenbrock(dim),
    ):
        descent = Descent(objective, bv.SGD(learning_rate=1e-3), dim, 20, (1, 20))
        rates = rng.uniform(1e-4, 1e-2, 2000)
        many = run(descent, np.ones(dim), {"learning_rate": rates}, None).records
        for some in (slice(0, 1), slice(3, 10), slice(1000, 1999)):
            alone = run(descent, np.ones(dim), {"learning_rate": rates[some]}, None)
            np.testing.assert_array_equal(alone.records, many[some])


def test_an_extension_computes_only_what_is_new(store, monkeypatch):
    first = bv.run(logistic(), store)
    seen = []
    simulate = bv.OptimizerStudy.simulate
    monkeypatch.setattr(
        bv.OptimizerStudy,
        "simulate",
        lambda self, group, block, work=None: (
            (work is None and seen.append((group, block))) or simulate(self, group, block, work)
        ),
    )
    more = logistic(
        optimizers={"sgd": bv.SGD(learning_rate=[0.03, 0.1, 0.3]), "momentum": bv.Momentum(learning_rate=0.1)},
        replicates=4,
    )
    grown = bv.run(more, store, scheduler="synchronous")
    fresh = {(key, block) for group, block in seen for key in group.cells if "0.1," in key and group.label == "sgd"}
    assert {block for _, block in fresh} == {0, 1, 2, 3}
    old = [
        (group, block) for group, block in seen if not all(key.startswith("learning_rate=0.1,") for key in group.cells)
    ]
    assert {block for _, block in old} == {3}
    kept = grown["loss/sgd"].outcome.sel(learning_rate=[0.03, 0.3], replicate=[0, 1, 2])
    xr.testing.assert_equal(kept, first["loss/sgd"].outcome)
    assert bv.run(more, store)["loss/sgd"].to_dataset().equals(grown["loss/sgd"].to_dataset())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 19}, "steps: the store has 20, the study only 19"),
        ({"steps": 21, "seed": 1}, "seed"),
        ({"seed": 1}, "seed"),
        ({"order": "fixed"}, "order"),
        ({"batch_size": [3, 1]}, "batch_size"),
        ({"objectives": {"loss": bv.EmpiricalRisk(data=(X, Y), loss="logistic", penalty=0.2)}}, "objectives.loss"),
        ({"optimizers": {"sgd": bv.SGD(learning_rate=[0.03]), "momentum": bv.Momentum(learning_rate=0.1)}}, "0.3"),
        ({"optimizers": {"sgd": bv.SGD(learning_rate=[0.03, 0.3])}}, "lacks"),
        ({"replicates": 2}, "replicates"),
        ({"targets": {"loss": [0.5]}}, "targets: the store has {}"),
    ],
)
def test_a_changed_study_is_refused_with_the_difference(changes, message, store):
    bv.run(logistic(), store)
    with pytest.raises(StudyChangedError, match=message):
        bv.run(logistic(**changes), store)


# Bad input


class WrongShape(Bowl):
    def gradient(self, theta, batch=None):
        return theta.sum(axis=-1)


class WrongGradient(Bowl):
    def gradient(self, theta, batch=None):
        return 2.1 * theta


class SlightlyWrong(Bowl):
    def gradient(self, theta, batch=None):
        return super().gradient(theta) * (1 + 1e-7)


class Overwrites(Bowl):
    def value(self, theta):
        theta *= theta
        return theta.sum(axis=-1)


class Complex(Bowl):
    def value(self, theta):
        return super().value(theta) + 0j


class Shortens(Halve):
    def update(self, theta, gradient, state, step, *, share):
        return theta[:1], state


class Spoils(Halve):
    def update(self, theta, gradient, state, step, *, share):
        share *= 0.5
        return theta * (1 - share), state


class Draws(Halve):
    def __init__(self, draws):
        self.draws = draws


class Raises(Halve):
    def update(self, theta, gradient, state, step, *, share):
        raise ZeroDivisionError("by design")


BAD = {
    "no objectives": ({"objectives": {}}, "objectives: is empty"),
    "no optimizers": ({"optimizers": {}}, "optimizers: is empty"),
    "steps": ({"steps": 0}, "steps"),
    "unknown field": ({"stepz": 3}, "stepz: unknown field"),
    "label": ({"objectives": {"a/b": Bowl()}, "targets": {}}, "cannot be a label"),
    "no gradient": ({"objectives": {"a": 3}, "targets": {}}, "no value"),
    "class": ({"optimizers": {"a": bv.SGD}}, "no init"),
    "batch without data": ({"batch_size": [2]}, "needs data"),
    "record step": ({"record_steps": [61]}, "after the last step"),
    "target": ({"targets": {"other": [1.0]}}, "no objective"),
    "quantity": ({"record": ["loss"]}, "record"),
    "order": ({"order": "sorted"}, "order"),
    "start": ({"initial": {"ravine": "abc"}}, "initial.ravine"),
    "start of two": ({"initial": {"ravine": bv.Normal(dim=2)}}, "law of one coordinate"),
    "start not finite": ({"initial": {"ravine": [np.nan, 1]}}, "finite"),
    "momentum": ({"optimizers": {"m": {"Momentum": {"momentum": 1.5}}}}, "momentum"),
    "hyperparameter": ({"optimizers": {"m": {"Momentum": {"mass": 1.5}}}}, "mass"),
    "empty grid": ({"optimizers": {"m": {"SGD": {"learning_rate": []}}}}, "learning_rate"),
    "taken name": ({"optimizers": {"m": Draws([0.1])}}, "the name is taken"),
    "not finite": ({"optimizers": {"m": Halve([np.inf])}}, "not finite"),
    "rule": ({"optimizers": {"m": {"SDG": {}}}}, "unknown name 'SDG'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_clear_line(name):
    changes, message = BAD[name]
    with pytest.raises(StudyError, match=message) as caught:
        small(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("batch_size", [[None, 3, 1], [3, 1]])
def test_objectives_with_and_without_data_stand_side_by_side(batch_size, store, tmp_path):
    loss, bowl = logistic().objectives["loss"], bv.Quadratic(eigenvalues=[1, 2])
    targets = {"loss": [0.6], "bowl": [1e9]}
    both = logistic(objectives={"loss": loss, "bowl": bowl}, batch_size=batch_size, targets=targets)
    tree = bv.run(both, store, scheduler="synchronous")
    assert tree["bowl/sgd"].batch_size.values.tolist() == [0]
    assert tree["loss/sgd"].batch_size.values.tolist() == [size or 0 for size in batch_size]
    # The numbers are those of a study of its own.
    for label, sizes in (("loss", batch_size), ("bowl", None)):
        alone = logistic(objectives={label: both.objectives[label]}, batch_size=sizes, targets={label: targets[label]})
        alone = bv.run(alone, tmp_path / f"{label}.zarr", scheduler="synchronous")
        for optimizer in ("sgd", "momentum"):
            xr.testing.assert_identical(
                tree[f"{label}/{optimizer}"].to_dataset(inherit=False),
                alone[f"{label}/{optimizer}"].to_dataset(inherit=False),
            )
    assert tree.performance_profile.sizes["optimizer"] == 2
    assert (tree.performance_profile.isel(ratio=-1) > 0).all()
    assert bv.best_configurations(tree)["bowl/sgd"]["batch_size"] == 0


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(StudyError, match="8 is more than the 7 examples of 'loss'; use None"):
        logistic(batch_size=8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": {"own": WrongShape()}}, r"gradient: returned shape \(3,\) for theta of shape \(3, 3\)"),
        ({"objectives": {"own": WrongGradient()}, "check": True}, "finite differences of value give"),
        ({"objectives": {"own": SlightlyWrong()}, "check": True}, r"^objectives.own.gradient: component \d is "),
        ({"objectives": {"own": Overwrites()}}, "value: writes into its argument"),
        ({"objectives": {"own": Complex()}}, "returned complex128 numbers"),
        ({"optimizers": {"own": Shortens([0.5])}}, r"optimizers.own.update: expected theta .* of shape \(2, 2\)"),
        ({"optimizers": {"own": Spoils([0.5])}}, "update: writes into its arguments"),
        ({"optimizers": {"own": Raises([0.5])}, "objectives": {"own": Bowl()}}, "ZeroDivisionError: by design"),
        ({"initial": {"ravine": [1.0, 2.0, 3.0]}}, "ravine"),
    ],
)
def test_what_cannot_run_is_told_before_anything_does(changes, message, store):
    with pytest.raises(StudyError, match=message):
        bv.run(small(targets={}, **changes), store)
    assert not store.exists()


def single(theta):
    return Bowl().value(theta).astype(np.float32).astype(float)


def far_up(theta):
    return Bowl().value(theta) + 1e8


@pytest.mark.parametrize("value", [single, far_up])
def test_right_gradients_of_values_of_few_digits_are_not_refused(value, store):
    own = Bowl()
    own.value = value
    bv.run(small(targets={}, objectives={"own": own}, check=True, steps=2), store)


@pytest.mark.slow
def test_the_command_line_runs_optimizer_studies(tmp_path):
    done = command("run", "ravine", "--set", "steps=50", "--set", "replicates=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "lowest objective J at the last step, 50" in done.stdout
    shown = command("show", "ravine.zarr", cwd=tmp_path)
    assert shown.stdout.splitlines()[3].split()[:2] == ["ravine", "sgd"]
    assert command("verify", "ravine.zarr", cwd=tmp_path).returncode == 0
    bad = command("run", "ravine", "--set", "optimizers.sgd.SGD.learning_rate=-1", "--store", "b.zarr", cwd=tmp_path)
    assert bad.returncode == 2
    assert "learning_rate" in bad.stderr
    assert len(bad.stderr.splitlines()) == 1


def test_log_spaced_steps_end_where_they_should():
    for steps in (1, 2, 37, 100_000):
        found = log_spaced(steps, 40)
        assert found[0] == 1
        assert found[-1] == steps
        assert len(set(found)) == len(found) <= 40
