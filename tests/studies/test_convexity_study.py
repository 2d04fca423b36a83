"""Convexity studies: one stream per domain, the same bits everywhere, extension, resolution, what is refused."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from helpers import command

import biasvar as bv
from biasvar.errors import StoreError, StudyError
from biasvar.studies.blocks import run_in_memory
from biasvar.views.tables import results

SQUARE = bv.Box(-2, 2, dim=2)


def saddle(theta):
    return theta[..., 0] ** 2 - theta[..., 1] ** 2


def study(**changes):
    fields = {
        "name": "small",
        "objectives": {"valley": bv.Rosenbrock(), "bowl": bv.Quadratic([1, 100]), "saddle": saddle},
        "within": {"valley": SQUARE, "bowl": SQUARE, "saddle": SQUARE},
        "segments": 2048,
        "block_size": 256,
    }
    return bv.ConvexityStudy(**{**fields, **changes})


def values(tree):
    return tree.to_dataset().drop_vars(["status_reason"])


# What it says


def test_a_tree_of_verdicts_and_witnesses():
    tree = run_in_memory(study())
    root = tree.to_dataset()
    assert root.verdict.dims == ("objective", "condition")
    assert root.verdict.sel(objective="valley").values.tolist() == ["not convex"] * 4
    assert root.verdict.sel(objective="bowl").values.tolist() == ["no violation"] * 4
    # A function of its own has values alone.
    assert root.verdict.sel(objective="saddle").values.tolist() == ["not convex", "", "", ""]
    assert root.curvature_at_most.sel(objective="saddle").isnull().values.tolist() == [False, True, True, True]
    node = tree["valley"].to_dataset()
    assert node.witness.dims == ("condition", "point", "parameter")
    assert (node.gap < -node.margin).all()
    # The profile begins, and ends, with the values at the chord's ends.
    rosenbrock = bv.Rosenbrock()
    for condition in node.condition.values:
        cell = node.sel(condition=condition)
        ends = rosenbrock.value(cell.witness.sel(point=["x", "y"]).values)
        assert np.allclose(cell.profile.values[[0, -1]], ends)
        along = (cell.witness.sel(point="y") - cell.witness.sel(point="x")).values
        assert np.isclose(cell.slope, rosenbrock.gradient(cell.witness.sel(point="z").values) @ along)
    assert root.segments.max() == 2048
    assert ((root.curvature_quantile.diff("quantile") >= 0) | root.curvature_quantile.isnull()).all()
    interval = bv.confidence_interval(root, "curvature_quantile")
    median = interval.sel(objective="bowl", condition="monotone", quantile=0.5)
    assert 1 < median.low < median.high < 100


def test_the_table_has_verdicts_dashes_and_sentences():
    text = results(run_in_memory(study()))
    rows = {tuple(line.split()[:2]): line for line in text.splitlines()}
    assert rows["objective", "condition"].split()[2:] == [
        "mu", "<=", "L", ">=", "violated", "from", "to", "ties", "verdict",
    ]  # fmt: skip
    assert rows["saddle", "monotone"].split()[2:] == ["-"] * 7
    assert rows["valley", "jensen"].endswith("not convex")
    assert rows["bowl", "jensen"].split()[4:7] == ["0", "0", "0.00180"]
    assert "valley is not convex: between x=(" in text
    assert "bowl: no violation in 2048 segments: at most 0.0018 of them violate (95 %); mu <= 1, L >= 100" in text
    assert "2048 segments per cell" in text


def test_objectives_of_one_domain_see_the_same_segments():
    """Wherever they stand, whatever else there is: only another domain has other segments."""
    seen = {}
    for label, within in (("valley", SQUARE), ("bowl", bv.Box([-2, -2], 2)), ("saddle", bv.Ball(1, dim=2))):
        whole = study(within={**study().within, label: within})
        seen[label] = whole._sample(label, 3, 256)[0].segments
    assert np.array_equal(seen["valley"].x, study()._sample("saddle", 3, 256)[0].segments.x)
    assert not np.array_equal(seen["valley"].x, seen["bowl"].x)  # the same box, said otherwise
    assert not np.array_equal(seen["valley"].x, seen["saddle"].x)
    alone = run_in_memory(study(objectives={"bowl": bv.Quadratic([1, 100])}, within={"bowl": SQUARE}))
    together = run_in_memory(study())
    one, other = (tree.to_dataset().sel(objective="bowl") for tree in (alone, together))
    assert one.drop_vars("objective").equals(other.drop_vars("objective"))


def test_points_between_are_exact_wherever_the_domain_is():
    for box in (SQUARE, bv.Box(1e6, 1e6 + 1, dim=2), bv.Box([-1e-9, 3], [1e-9, 1e9]), bv.Box(0, 1e100, dim=2)):
        drawn = study(objectives={"f": lambda theta: theta[..., 0]}, within={"f": box})._sample("f", 0, 64)[0].segments
        whole = np.longdouble(drawn.x) + np.longdouble(drawn.theta)[:, None] * (
            np.longdouble(drawn.y) - np.longdouble(drawn.x)
        )
        assert np.array_equal(whole, drawn.z)  # of 64 digits, nothing was rounded to 53
        assert (box.contains(drawn.x) | (np.abs(drawn.x) > 1e5).any(axis=1)).all()
        assert len(np.unique(drawn.x[:, 0])) == 64


def test_a_law_is_a_domain_too_and_stands_where_none_is_given():
    lawful = study(within={"valley": bv.Uniform(-2, 2), "saddle": SQUARE})
    assert lawful.domains["bowl"] == bv.Normal(0, 1)
    drawn = lawful._sample("bowl", 0, 256)[0].segments
    assert 0.8 < drawn.x.std() < 1.2
    assert np.abs(lawful._sample("valley", 0, 256)[0].segments.x).max() <= 2
    assert run_in_memory(lawful).verdict.sel(objective="valley", condition="jensen") == "not convex"


def test_functions_that_are_convex_only_where_they_are_asked():
    """x^3 from 0 up, and a chord that leaves it would be one below: eigenvectors at the border stay inside."""

    class Cubic:
        dim = 2

        def value(self, theta):
            return (theta**3).sum(axis=-1)

        def gradient(self, theta):
            return 3 * theta**2

        def hessian_product(self, theta, v):
            return 6 * theta * v

    for within in (bv.Box(0, 1, dim=2), bv.Uniform(0, 1)):
        root = run_in_memory(study(objectives={"f": Cubic()}, within={"f": within})).to_dataset()
        assert (root.violations == 0).all()
        assert set(root.verdict.values.ravel()) == {"no violation"}


def test_conditions_are_chosen():
    some = study(conditions=["monotone"])
    root = run_in_memory(some).to_dataset()
    assert root.condition.values.tolist() == ["monotone"]
    whole = run_in_memory(study()).to_dataset().sel(condition=["monotone"])
    for name in ("violations", "curvature_at_most", "ties"):
        assert root[name].equals(whole[name])


# How it runs


@pytest.mark.slow
def test_the_same_bits_on_every_scheduler(tmp_path):
    digests = set()
    reference = run_in_memory(study())
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        for scheduler in ("synchronous", "threads", "processes", client):
            path = tmp_path / f"{len(digests)}-{type(scheduler).__name__}-{scheduler!s:.7}.zarr"
            tree = bv.run(study(), path, scheduler=scheduler, blocks_per_chunk=3)
            digests.add(bv.digest(path))
            xr.testing.assert_identical(values(tree).drop_attrs(), values(reference).drop_attrs())
    assert len(digests) == 1
    xr.testing.assert_identical(values(bv.lazy(study()).compute()).drop_attrs(), values(reference).drop_attrs())


DRIVER = """
import os, signal, sys
import biasvar as bv

def seen(progress):
    if progress.done == 7:
        os.kill(os.getpid(), signal.SIGKILL)

bv.run(bv.load(sys.argv[1]), sys.argv[2], scheduler="synchronous", blocks_per_chunk=1, progress=seen)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(tmp_path):
    options = ["segments=512", "block_size=128", "search=2", "objectives.logistic=null", "objectives.network=null"]
    whole, cut = tmp_path / "whole.zarr", tmp_path / "cut.zarr"
    bv.run(bv.load("convexity", options), whole, scheduler="synchronous")
    stated = tmp_path / "s.yaml"
    stated.write_text(json.dumps(bv.load("convexity", options).to_json()))
    killed = subprocess.run([sys.executable, "-c", DRIVER, str(stated), str(cut)], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = command("run", str(stated), "--store", str(cut), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert bv.digest(cut) == bv.digest(whole)
    assert bv.verify(cut).ok


def test_more_segments_objectives_and_conditions_extend_a_store(tmp_path, monkeypatch):
    store = tmp_path / "s.zarr"
    first = study(objectives={"bowl": bv.Quadratic([1, 100])}, within={"bowl": SQUARE}, conditions=["jensen"])
    bv.run(first, store, scheduler="synchronous")
    seen, simulate = [], bv.ConvexityStudy.simulate

    def spied(self, group, block, work=None):
        if work is None:
            seen.extend((group.problem, cell, block) for cell in group.cells)
        return simulate(self, group, block, work)

    monkeypatch.setattr(bv.ConvexityStudy, "simulate", spied)
    more = study(segments=4096)
    bv.run(more, store, scheduler="synchronous")
    assert not {("bowl", "jensen", block) for block in range(8)} & set(seen)
    assert len(seen) == len(set(seen)) == 9 * 16 - 8
    bv.run(more, tmp_path / "fresh.zarr", scheduler="synchronous")
    assert bv.digest(store) == bv.digest(tmp_path / "fresh.zarr")
    with pytest.raises(StoreError, match="segments: the store has 4096, the study only 2048"):
        bv.run(study(), store)
    with pytest.raises(StoreError, match=r"within\.bowl"):
        bv.run(more.replace(within={**more.within, "bowl": bv.Ball(1, dim=2)}), store)


def test_resolution_says_how_many_segments(tmp_path):
    by_goal = study(resolution=1e-3, segments=None)
    assert by_goal.blocks_needed() == dict.fromkeys(by_goal.objectives, 15)  # 3688 in blocks of 256
    root = bv.run(by_goal, tmp_path / "s.zarr").to_dataset()
    assert (root.violation_rate_high.sel(objective="bowl") <= 1e-3).all()
    finer = bv.run(by_goal.replace(resolution=5e-4), tmp_path / "s.zarr").to_dataset()
    assert (finer.violation_rate_high.sel(objective="bowl") <= 5e-4).all()
    with pytest.raises(StoreError, match="resolution"):
        bv.run(by_goal, tmp_path / "s.zarr")
    # Where few segments have both ends in the domain there are more.
    disc = {"objectives": {"ball": bv.Indicator(bv.Ball(1, dim=2))}, "within": {"ball": SQUARE}}
    ball = study(**disc, resolution=1e-2, segments=None)
    tested = bv.run(ball, tmp_path / "b.zarr").to_dataset()
    assert tested.segments.max() >= 368
    assert tested.block_count.max() > ball.blocks_needed()["ball"]
    assert tested.violation_rate_high.max() <= 1e-2


@pytest.mark.slow
def test_yaml_plan_show_and_json(tmp_path):
    (tmp_path / "s.yaml").write_text(
        """
kind: convexity
name: s
objectives: {bowl: {Quadratic: {eigenvalues: [1, 10]}}, disc: {Indicator: {set: {Ball: {radius: 1, dim: 2}}}}}
within: {bowl: {Box: {low: -1, high: 1, dim: 2}}, disc: {Uniform: [-1, 1]}}
segments: 512
block_size: 128
search: 2
"""
    )
    assert "2 blocks" not in command("plan", "s.yaml", cwd=tmp_path).stdout
    done = command("run", "s.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert {(cell["objective"], cell["condition"]) for cell in cells} >= {("bowl", "jensen"), ("disc", "monotone")}
    first = next(cell for cell in cells if cell["objective"] == "bowl" and cell["condition"] == "second_order")
    assert (first["verdict"], first["violations"], first["violation_rate_low"]) == ("no violation", 0, 0)
    assert first["finding"].startswith("bowl: no violation in 512 segments")
    assert (first["mu_at_most"], first["L_at_least"]) == (pytest.approx(1), pytest.approx(10))
    shown = command("show", "s.zarr", cwd=tmp_path)
    assert "bowl: no violation in 512 segments" in shown.stdout
    assert bv.load(tmp_path / "s.zarr") == bv.load(tmp_path / "s.yaml")
    assert bv.verify(tmp_path / "s.zarr").ok


def test_what_a_user_wrote_is_known_again(tmp_path):
    store = tmp_path / "s.zarr"
    bv.run(study(), store)
    with pytest.raises(StoreError, match=r"objectives\.saddle"):
        bv.run(study(objectives={**study().objectives, "saddle": lambda theta: theta[..., 0]}), store)


def test_a_function_that_is_sometimes_no_number_fails_alone(tmp_path):
    def hole(theta):
        return np.where(theta[..., 0] > 1.99, np.nan, theta[..., 0])

    objectives = {"hole": hole, "bowl": bv.Quadratic([1, 100])}
    within = {"hole": SQUARE, "bowl": SQUARE}
    with pytest.warns(bv.BiasvarWarning, match="1 of 8 cells failed, the first at objective=hole, condition=jensen"):
        root = bv.run(study(objectives=objectives, within=within), tmp_path / "s.zarr").to_dataset()
    reason = root.status_reason.sel(objective="hole", condition="jensen").item()
    assert reason.startswith("value: is nan at theta=[")
    assert reason.endswith("return inf where theta is outside the domain")
    assert root.verdict.sel(objective="bowl", condition="jensen") == "no violation"


# What is refused


class NoPlace:
    dim = 2

    def contains(self, theta):
        return np.ones(theta.shape[:-1], bool)


BAD = {
    "no dim": (
        {"objectives": {"f": saddle}, "within": {}},
        "objectives.f: has no dim; give it one, or a set of so many parameters in within",
    ),
    "another dim": (
        {"objectives": {"f": bv.Rosenbrock(3)}, "within": {"f": SQUARE}},
        "within.f: is a set of 2 parameters, and the objective has 3",
    ),
    "no objective": ({"within": {"hill": SQUARE}}, "within: 'hill' is no objective; choose from valley, bowl, saddle"),
    "a label": ({"objectives": {"a/b": saddle}, "within": {}}, "objectives: 'a/b' cannot be a label"),
    "none": ({"objectives": {}, "within": {}}, "objectives: is empty; name at least one"),
    "not a function": ({"objectives": {"f": 3}, "within": {"f": SQUARE}}, "objectives.f: 3 has no value(theta)"),
    "no contains": ({"within": {"valley": 3}}, "within.valley: 3 has no contains(theta); give a set, or a law"),
    "no place": (
        {"objectives": {"f": saddle}, "within": {"f": NoPlace()}},
        "has no uniform law of its points: it has no ends, or gives no place()",
    ),
    "no ends": ({"within": {"valley": bv.Box(0, dim=2)}}, "Box: has no uniform law of its points where a bound is"),
    "two sets": ({"within": {"valley": [SQUARE, SQUARE]}}, "within.valley: got 2 sets, expected one"),
    "a law of points": ({"within": {"valley": bv.Normal(0, 1, dim=2)}}, "expected a set, or the law of one coordinate"),
    "few": ({"segments": 300}, "segments: expected at least 2 blocks of 256, got 300; ask for more, or for a smaller"),
    "both": ({"resolution": 0.1}, "resolution: cannot be combined with segments; give one of the two"),
    "resolution 0": ({"resolution": 0.0, "segments": None}, "resolution: input should be greater than 0, got 0.0"),
    "resolution 1": ({"resolution": 1.0, "segments": None}, "resolution: input should be less than 1, got 1.0"),
    "a condition": ({"conditions": ["secant"]}, "conditions: expected some of jensen, first_order, monotone, second"),
    "search": ({"search": -1}, "search: input should be greater than or equal to 0, got -1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_a_line(case):
    changes, words = BAD[case]
    with pytest.raises(StudyError) as error:
        study(**changes)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_bounds_that_are_reversed_are_refused():
    with pytest.raises(StudyError, match="is empty: low is 2 and high -2; exchange them"):
        bv.Box(2, -2, dim=2)


def complex_values(theta):
    return theta[..., 0] + 1j


def wrong_shape(theta):
    return theta


def outside(theta):
    return np.full(theta.shape[:-1], np.inf)


def no_number(theta):
    return np.full(theta.shape[:-1], np.nan)


def scalar(theta):
    return 1.0 if theta[0] > 0 else 0.0


class Writes:
    dim = 2

    def value(self, theta):
        return theta[..., 0]

    def gradient(self, theta):
        theta *= 2
        return theta


CALLED = {
    complex_values: "objectives.f.value: returned complex128 numbers, expected real ones",
    wrong_shape: "objectives.f.value: returned shape (64, 2) for theta of shape (64, 2), expected (64,)",
    outside: "objectives.f.value: is infinite at 64 random points, so none is in its domain; choose another set or law",
    no_number: "objectives.f.value: is nan at theta=[",
    scalar: "vectorise it",
    Writes(): "objectives.f.gradient: writes into its argument; work on a copy",
}


@pytest.mark.parametrize("function", CALLED, ids=lambda each: getattr(each, "__name__", type(each).__name__))
def test_functions_are_called_before_anything_runs(function, tmp_path):
    with pytest.raises(StudyError) as error:
        bv.run(study(objectives={"f": function}, within={"f": SQUARE}), tmp_path / "s.zarr")
    assert CALLED[function] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_set_whose_points_are_not_its_own_is_refused(tmp_path):
    class Apart(NoPlace):
        def contains(self, theta):
            return np.zeros(theta.shape[:-1], bool)

        def place(self, uniforms):
            return uniforms

    with pytest.raises(StudyError, match=r"within\.f: contains none of its own points; do place and contains agree"):
        bv.run(study(objectives={"f": saddle}, within={"f": Apart()}), tmp_path / "s.zarr")


def test_a_domain_that_is_not_convex_is_no_place_to_ask(tmp_path):
    class Ring(NoPlace):
        def contains(self, theta):
            return np.abs((theta**2).sum(axis=-1) - 1) < 1e-9

        def place(self, uniforms):
            angle = 2 * np.pi * uniforms[..., 0]
            return np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    with pytest.raises(
        StudyError, match=r"within\.f: is not convex: it has \[.*\] and \[.*\], and not the point in the"
    ):
        bv.run(study(objectives={"f": saddle}, within={"f": Ring()}), tmp_path / "s.zarr")


def test_its_derivatives_are_checked_on_request():
    """What ``biasvar check`` asks: of objectives that have a gradient, at points of their domain."""

    class Steep:
        dim = 2

        def value(self, theta):
            return np.where((theta > 0).all(axis=-1), (theta**4).sum(axis=-1), np.inf)

        def gradient(self, theta):
            return 4 * theta**3 * (1 + 1e-6)

    more = {"objectives": {**study().objectives, "steep": Steep()}, "within": {**study().within, "steep": SQUARE}}
    found = study(**more).check_derivatives()
    assert list(found) == ["valley", "bowl", "steep"]
    assert set(found["valley"].verdict.values) == {"agrees"}
    assert found["steep"].verdict.sel(what="gradient") == "wrong"


def test_gradients_that_are_no_numbers_outside_the_domain():
    """Differences of gradients beside the border reach across: those points are not counted, and nothing fails."""

    class Barrier:
        dim = 2

        def value(self, theta):
            return np.where((theta > 0).all(axis=-1), -np.log(np.abs(theta)).sum(axis=-1), np.inf)

        def gradient(self, theta):
            return np.where(theta > 0, -1 / theta, np.nan)

    class Beside(NoPlace):
        def contains(self, theta):
            return ((theta >= 0) & (theta <= 1e-3)).all(axis=-1)

        def place(self, uniforms):
            return 1e-3 * uniforms**16

    for within in (bv.Box(0, 1e-3, dim=2), Beside()):
        root = run_in_memory(study(objectives={"f": Barrier()}, within={"f": within})).to_dataset().sel(objective="f")
        assert set(root.status.values) == {"ok"}
        assert set(root.verdict.values) <= {"no violation", "no violation: equal to rounding"}
        assert (root.curvature_at_most >= 1e6 * (1 - 1e-9)).all()
    tested = root.segments.sel(condition=["jensen", "second_order"]).values
    assert 0 < tested[1] < 0.9 * tested[0]


def test_very_small_blocks_and_one_parameter():
    line = {"f": lambda theta: np.abs(theta[..., 0])}
    for size, count in ((1, 2), (3, 7)):
        root = run_in_memory(
            study(objectives=line, within={"f": bv.Box(-1, 1, dim=1)}, segments=count, block_size=size)
        )
        assert root["segments"].max() == -(-count // size) * size
        assert root["verdict"].sel(objective="f", condition="jensen").item().startswith("no violation")


def test_a_users_set_is_found_again(tmp_path, monkeypatch):
    (tmp_path / "rings.py").write_text(
        "import numpy as np\n"
        "class Annulus:\n"
        "    dim = 2\n"
        "    def contains(self, theta):\n"
        "        return np.abs((theta**2).sum(axis=-1) - 1) < 0.5\n"
    )
    text = """
kind: convexity
name: rings
objectives: {ring: {Indicator: {set: "rings:Annulus"}}, again: {Indicator: {set: {"rings:Annulus": {}}}}}
within: {ring: {Box: {low: -2, high: 2, dim: 2}}, again: {Box: {low: -2, high: 2, dim: 2}}}
segments: 4096
block_size: 512
"""
    (tmp_path / "rings.yaml").write_text(text)
    done = command("run", "rings.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ring is not convex: between x=(" in done.stdout
    more = command("run", "--resume", "rings.zarr", "--set", "segments=8192", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert "again is not convex" in command("show", "rings.zarr", cwd=tmp_path).stdout


def test_parts_are_merged(tmp_path):
    whole = study()
    for label in ("valley", "bowl"):
        part = study(objectives={label: whole.objectives[label]}, within={label: SQUARE})
        bv.run(part, tmp_path / f"{label}.zarr", scheduler="synchronous")
    bv.merge([tmp_path / "valley.zarr", tmp_path / "bowl.zarr"], tmp_path / "all.zarr")
    both = study(
        objectives={k: whole.objectives[k] for k in ("valley", "bowl")},
        within=dict.fromkeys(("valley", "bowl"), SQUARE),
    )
    bv.run(both, tmp_path / "once.zarr", scheduler="synchronous")
    assert bv.digest(tmp_path / "all.zarr") == bv.digest(tmp_path / "once.zarr")


def test_it_is_a_study_like_others():
    one = study()
    assert one == one.replace(description="the same") != one.replace(seed=1)
    assert one.replace(resolution=0.1).segments is None
    assert one.replace(resolution=0.1).replace(segments=512).resolution is None
