"""Every figure, made of every kind of summary that has its numbers, without labels: words, artists, limits."""

import numpy as np
import pytest
import xarray as xr

import biasvar as bv
from biasvar.views.conclusions import findings
from biasvar.views.diagnosis import diagnosed
from biasvar.views.plot import figures_of

RISK = {
    "target": bv.Sine(),
    "inputs": bv.Uniform(-1, 1),
    "hypotheses": {"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
    "n_train": [2, 10],
    "noise": [0.0, 0.5],
    "replicates": 512,
    "block_size": 32,
}
MADE = {
    "risk": lambda: bv.RiskStudy(name="drawn", **RISK),
    "classification": lambda: bv.ClassificationStudy(
        name="drawn",
        inputs=bv.GaussianClasses(means=[-1, 1], stds=[2, 1]),
        hypotheses={
            "line": bv.LinearClassifier(degree=1, loss="logistic", penalty=0.1),
            "means": bv.Discriminant(covariance="identity"),
        },
        losses=["zero_one", "logistic"],
        n_train=[10, 20],
        replicates=512,
        block_size=32,
    ),
    "data": lambda: bv.DataStudy(
        name="drawn",
        data="iris",
        hypotheses={"majority": bv.Polynomial(0), "1-NN": bv.NearestNeighbors(1)},
        loss="zero_one",
        n_train=[10, 20],
        replicates=1024,
        block_size=64,
    ),
    "optimizer": lambda: bv.OptimizerStudy(
        name="drawn",
        objectives={"valley": bv.Rosenbrock(dim=2), "bowl": bv.Quadratic(eigenvalues=[1, 10])},
        optimizers={
            "sgd": bv.SGD(learning_rate=[1e-4, 1e-3, 1e-2]),
            "momentum": bv.Momentum(learning_rate=[1e-4, 1e-3], momentum=[0.5, 0.9]),
        },
        steps=300,
        replicates=4,
        record=["objective", "parameters", "sharpness"],
        record_steps=[0, 1, 2, 5, 10, 20, 300],
        targets={"valley": [1.0], "bowl": [0.1]},
    ),
    "convexity": lambda: bv.ConvexityStudy(
        name="drawn",
        objectives={"bowl": bv.Quadratic(eigenvalues=[1, 10]), "valley": bv.Rosenbrock(dim=2)},
        within={label: bv.Box(-2, 2, dim=2) for label in ("bowl", "valley")},
        segments=512,
        block_size=128,
    ),
    "tradeoff": lambda: bv.TradeoffStudy(
        name="drawn",
        target=bv.Sine(),
        inputs=bv.Uniform(-1, 1),
        model=bv.Polynomial(1),
        noise=[0.5],
        n_train=[10, 100],
        optimizers={"sgd": bv.SGD(learning_rate=[0.1])},
        budgets=[100, 1000],
        replicates=512,
        block_size=32,
    ),
}
OFFERED = {
    "risk": "decomposition along_x fits learning_curves sources_of_error noise_curves differences status_map digits",
    "classification": "decomposition fits learning_curves votes margins sources_of_error differences status_map digits",
    "data": "decomposition learning_curves differences status_map digits",
    "optimizer": "curves paths sharpness learning_rates heat cost_map sensitivity expected_best performance_profile",
    "convexity": "witness curvature plane",
    "tradeoff": "budget_curves three_errors",
}
CASES = [(kind, name) for kind, names in OFFERED.items() for name in names.split()]


@pytest.fixture(scope="module")
def summaries():
    return {}


@pytest.fixture
def summary(summaries, request):
    kind = request.param
    if kind not in summaries:
        summaries[kind] = bv.lazy(MADE[kind]()).compute()
    return summaries[kind]


@pytest.mark.parametrize(("summary", "names"), OFFERED.items(), indirect=["summary"])
def test_what_is_offered(summary, names):
    assert figures_of(summary) == names.split()


@pytest.mark.parametrize("kind", MADE)
def test_a_store_that_xarray_opens_shows_the_same(kind, tmp_path):
    own = bv.run(MADE[kind](), tmp_path / "s.zarr", scheduler="synchronous", progress=False)
    # All that lies in a store: of a tree its blocks, too.
    opening = xr.open_datatree if isinstance(own, xr.DataTree) else xr.open_dataset
    with opening(tmp_path / "s.zarr", engine="zarr") as plain:
        assert figures_of(plain) == figures_of(own)
        assert plain.biasvar.to_text() == own.biasvar.to_text()
        assert plain.biasvar.records().equals(own.biasvar.records())
        assert findings(plain, diagnosed(plain)) == findings(own, diagnosed(own))
        if kind == "optimizer":
            assert bv.best_configurations(plain) == bv.best_configurations(own)


def test_no_figure_is_left_out():
    drawn = {name for _, name in CASES}
    assert drawn == set(bv.plot.__all__) - {"figures_of", "precision", "remainders"}  # these are of something else
    assert figures_of(bv.check_derivatives(bv.Rosenbrock())) == ["remainders"]


@pytest.mark.parametrize(("summary", "name"), CASES, indirect=["summary"])
def test_a_figure_needs_no_labels(summary, name):
    figure = getattr(bv.plot, name)(summary)
    figure.canvas.draw()  # warnings are errors
    title = figure.get_suptitle()
    assert any(letter.isdigit() for letter in title) or " errs least " in title or "sound" in title, "no finding"
    assert figure.get_supxlabel()
    shown = [panel for panel in figure.axes if panel.get_visible() and panel.get_label() != "<colorbar>"]
    assert shown
    for panel in shown:
        assert panel.has_data()
        assert panel.get_xlabel() or panel.get_ylabel() or panel.get_title()
        assert np.isfinite([*panel.get_xlim(), *panel.get_ylim()]).all()
    assert getattr(bv.plot, name)(summary, title="mine").get_suptitle() == "mine"
    width = figure.bbox.width
    for text in (figure._suptitle, figure._supxlabel):
        box = text.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= width, "words leave the picture"


@pytest.mark.parametrize("summary", ["optimizer"], indirect=True)
class TestOptimizerFigures:
    def test_step_0_is_where_it_is(self, summary):
        panel = bv.plot.curves(summary, objective="bowl").axes[0]
        assert (panel.get_xscale(), panel.get_yscale()) == ("symlog", "log")
        assert panel.get_xlim()[0] == 0
        best = bv.best_configurations(summary, target=-1)["bowl/sgd"]
        node = summary["bowl/sgd"].to_dataset().sel(best)
        line = panel.lines[0]
        np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2, 5, 10, 20, 300])
        np.testing.assert_allclose(line.get_ydata(), node.objective_quantile.sel(quantile=0.5))
        assert len(panel.collections) == 2  # a band each

    def test_titles_say_who_is_first(self, summary):
        cost = {rule: float(summary[f"bowl/{rule}"].best_cost_to_target[0]) for rule in ("sgd", "momentum")}
        first = min(cost, key=cost.get)
        title = bv.plot.curves(summary, objective="bowl").get_suptitle()
        assert title.replace("\n", " ").startswith(f"{first} is first at J = 0.1: {cost[first]:g} gradients against ")

    def test_paths_have_one_start_equal_axes_and_the_labels_asked_for(self, summary):
        figure = bv.plot.paths(summary, objective="bowl", replicate=2, at={"sgd": {"learning_rate": 1e-3}})
        left = figure.axes[0]
        assert left.get_aspect() == 1.0
        assert left.get_title() == "sgd\nlearning rate 0.001"
        node = summary["bowl/sgd"].to_dataset().sel(learning_rate=1e-3).isel(batch_size=0, replicate=2)
        np.testing.assert_array_equal(left.lines[0].get_xydata(), node.parameters.transpose("step", "parameter"))
        assert {tuple(panel.lines[0].get_xydata()[0]) for panel in figure.axes} == {tuple(node.parameters[0].values)}
        assert "start 2 for all; o: the start, +: the end" in " ".join(figure.get_supxlabel().split())
        later = bv.plot.paths(
            summary.map_over_datasets(lambda node: node.isel(step=slice(1, None), missing_dims="ignore"))
        )
        assert "o: step 1, the first recorded" in " ".join(later.get_supxlabel().split())
        bv.plot.paths(summary, at="inside")
        with pytest.raises(bv.BiasvarError, match="at: expected best, inside or labels of each rule, got 'worst'"):
            bv.plot.paths(summary, at="worst")

    def test_what_diverged_is_a_cross_on_the_map(self, summary):
        figure = bv.plot.heat(summary, objective="valley", optimizer="momentum")
        node = summary["valley/momentum"].to_dataset()
        values = node.objective.isel(step=-1, batch_size=0).transpose("momentum", "learning_rate").values
        image = figure.axes[0].images[0].get_array().filled(np.nan)
        drawn = image if figure.axes[0].get_ylabel() == "momentum" else image.T
        np.testing.assert_allclose(drawn, np.where(np.isfinite(values), values, np.nan))
        crosses = figure.axes[0].lines[0].get_xydata()
        assert len(crosses) == (~np.isfinite(values)).sum()

    def test_maps_are_bright_where_they_are_low_and_say_so(self, summary):
        figure = bv.plot.heat(summary, objective="bowl", optimizer="momentum")
        image = figure.axes[0].images[0]
        low, high = (sum(image.to_rgba(extreme(image.get_array()))[:3]) for extreme in (np.nanmin, np.nanmax))
        assert low > high
        assert figure.get_supxlabel().endswith("bright is low")

    def test_where_no_target_is_reached_the_last_objectives_are_drawn(self, summary):
        study = MADE["optimizer"]().replace(targets={"valley": [1e-300], "bowl": [1e-300]}, record=["objective"])
        missed = bv.lazy(study.replace(steps=20, record_steps=[0, 20])).compute()
        figure = bv.plot.learning_rates(missed)
        figure.canvas.draw()
        assert {panel.get_ylabel() for panel in figure.axes} == {"objective J at the end"}
        assert bv.plot.learning_rates(summary).axes[1].get_ylabel() == "gradients to J = 0.1"

    def test_what_there_is_not_is_said(self, summary):
        with pytest.raises(bv.BiasvarError, match="objective: 'hill' is not in the summary; choose from valley, bowl"):
            bv.plot.curves(summary, objective="hill")
        with pytest.raises(bv.BiasvarError, match=r"learning_rate=3 is not in the summary; choose from"):
            bv.plot.curves(summary, learning_rate=3)
        with pytest.raises(bv.BiasvarError, match="value: 'gap' is not in the summary"):
            bv.plot.curves(summary, value="gap")


def test_what_falls_below_zero_is_seen_and_what_all_diverged_is_said():
    study = MADE["optimizer"]().replace(
        objectives={"saddle": bv.Saddle(), "bowl": bv.Quadratic([1, 100])},
        optimizers={"sgd": bv.SGD([0.03, 0.1, 0.3]), "momentum": bv.Momentum([0.03, 0.1], momentum=[0.5, 0.9])},
        targets={},
        initial={},
        record=["objective"],
        record_steps=[100, 300, 1000],
        steps=1000,
    )
    summary = bv.lazy(study).compute()
    for name in ("curves", "learning_rates", "expected_best", "heat"):
        figure = getattr(bv.plot, name)(summary, objective="saddle")
        figure.canvas.draw()
        drawn = [line.get_ydata() for line in figure.axes[0].lines] + [im.get_array() for im in figure.axes[0].images]
        assert any(np.any(values < -1) for values in drawn), name
        assert "within a factor" not in figure.get_suptitle()
        panel = figure.axes[0]
        if panel.get_legend() and panel.get_title():
            assert not panel.get_legend().get_window_extent().overlaps(panel.title.get_window_extent()), name
    diverged = bv.plot.curves(summary, objective="bowl", learning_rate=0.1)
    diverged.canvas.draw()
    assert diverged.get_suptitle() == "Every descent diverged"


@pytest.mark.parametrize("summary", ["classification"], indirect=True)
def test_votes_are_shaded_where_they_go_against_bayes(summary):
    figure = bv.plot.votes(summary, n_train=10)
    cell = summary.sel(loss="zero_one", n_train=10).isel(noise=0)
    assert [panel.get_title() for panel in figure.axes] == [
        f"{label}: bias {float(cell.bias.sel(hypothesis=label)):.3g}" for label in ("line", "means")
    ]
    chance, share = (figure.axes[0].lines[i].get_ydata() for i in (0, 1))
    assert ((chance >= 0) & (chance <= 1)).all()
    seen = np.isin(cell.x.values, figure.axes[0].lines[0].get_xdata())
    np.testing.assert_array_equal(share, cell.centre.sel(hypothesis="line").values[seen])


@pytest.mark.parametrize("summary", ["data"], indirect=True)
def test_another_data_set_has_a_bar_of_its_own(summary):
    panel = bv.plot.decomposition(summary).axes[0]
    names = panel.get_legend_handles_labels()[1]
    assert names == ["bias² + noise", "variance", "expected risk", "another data set"] or "another data set" in names
    (bars,) = next(each for each in panel.containers if each.get_label() == "another data set").lines[2]
    cell = summary.isel(n_train=0)
    lengths = [float(np.ptp(segment[:, 1])) if segment.ndim == 2 else np.nan for segment in bars.get_segments()]
    assert np.isfinite(lengths).any()
    np.testing.assert_allclose(lengths, 2 * cell.expected_risk_se_data)


@pytest.mark.parametrize("summary", ["risk"], indirect=True)
def test_sources_of_error_add_up_to_the_risk(summary):
    panel = bv.plot.sources_of_error(summary, noise=0.0).axes[1]
    tops = np.zeros(2)
    for bars in panel.containers:
        if bars.get_label() in ("noise", "approximation: the set is too poor", "estimation: too few data"):
            tops += [bar.get_height() for bar in bars]
    np.testing.assert_allclose(tops, summary.expected_risk.sel(noise=0.0, n_train=10), rtol=1e-9)


@pytest.mark.parametrize("summary", ["convexity"], indirect=True)
def test_functions_that_are_not_convex_are_named(summary):
    assert bv.plot.witness(summary).get_suptitle() == "1 of 2 functions are not convex: valley"
    planes = bv.plot.plane(summary).axes
    assert {panel.get_aspect() for panel in planes} == {1.0}
    assert bv.plot.plane(summary).get_suptitle().startswith("valley bends down, or is left, at ")


def test_contours_of_a_saddle_cross_where_it_is_flat():
    study = bv.OptimizerStudy(
        name="saddle",
        objectives={"saddle": bv.Saddle()},
        optimizers={"sgd": bv.SGD(learning_rate=[0.1])},
        initial={"saddle": [1.0, 0.01]},
        steps=40,
        replicates=1,
        record=["objective", "parameters"],
        record_steps=range(41),
    )
    panel = bv.plot.paths(bv.lazy(study).compute()).axes[0]
    contours = panel.collections[0]
    zero = contours.get_paths()[list(contours.levels).index(0.0)].vertices
    assert np.abs(np.abs(zero[:, 0]) - np.abs(zero[:, 1])).max() < 0.02
    assert np.hypot(*zero.T).min() < 0.02
