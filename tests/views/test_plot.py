"""Figures: their words, what they draw of the numbers, and what they refuse. Pixels are for people to look at."""

import itertools
import sys

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import biasvar as bv
from biasvar.errors import BiasvarError, MissingDependencyError, StudyError
from biasvar.studies.base import Group
from biasvar.views import figures
from biasvar.views.findings import leaders, who_leads
from biasvar.views.plot.cells import as_named, shown
from biasvar.views.plot.precision import falling

LINES = {"H0": bv.Polynomial(0), "H1": bv.Polynomial(1), "mean": bv.NearestNeighbors(2)}
PLANE = {"inputs": bv.Uniform(-1, 1, dim=2), "target": bv.Linear([1, 2]), "test_points": 32, "n_train": [4, 8]}


def study(**changes):
    fields = {
        "name": "figures",
        "target": bv.Sine(),
        "inputs": bv.Uniform(-1, 1),
        "hypotheses": LINES,
        "n_train": [2, 4, 8],
        "noise": [0.0, 0.5],
        "replicates": 2**10,
        "block_size": 2**6,
    }
    return bv.RiskStudy(**{**fields, **changes})


@pytest.fixture(scope="module")
def summary():
    return bv.lazy(study()).compute()


def panel_titles(figure):
    return [panel.get_title() for panel in figure.axes]


def texts(figure):
    return [text.get_text() for panel in figure.axes for text in panel.texts]


@pytest.mark.parametrize("sampler", ["random", "sobol"])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_replicates_are_the_training_sets_of_the_run_and_their_fits(sampler, noise):
    made = study(sampler=sampler, hypotheses={"H1": bv.Polynomial(1)}, n_train=[4])
    drawn = bv.replicates(made, noise=noise, count=made.block_size)
    for i in range(made.block_size):
        line = np.polynomial.Polynomial.fit(drawn.x[i], drawn.y[i], 1)
        np.testing.assert_allclose(drawn.prediction[0, i], line(drawn["at"].values), rtol=1e-9, atol=1e-9)
    if noise == 0:
        np.testing.assert_allclose(drawn.y, np.sin(np.pi * drawn.x), atol=1e-15)
        (group,) = made.groups()
        parts = made._record("H1").unpack(made.simulate(group, 0).records)
        mean = np.polynomial.Polynomial.fit(drawn["at"], drawn.prediction[0].mean("replicate"), 1)
        tolerance = 1e-9 if sampler == "random" else 0.02  # Sobol's replicates have weights, a little off 1 / K
        np.testing.assert_allclose(np.ravel(parts["mean"]), mean(made.problem.test.x), atol=tolerance)


def test_replicates_of_labels_and_of_planes():
    classes = bv.ClassificationStudy(
        name="labels",
        inputs=bv.GaussianClasses(means=[-1, 1], stds=[1, 1]),
        hypotheses={"line": bv.LinearClassifier(degree=1, loss="logistic", penalty=0.1)},
        losses=["zero_one"],
        n_train=[10],
        replicates=256,
        block_size=16,
    )
    drawn = bv.replicates(classes, count=5)
    assert set(np.unique(drawn.y)) == {-1, 1}
    plane = study(**PLANE, hypotheses={"H1": LINES["H1"]})
    drawn = bv.replicates(plane, n_train=8, count=3)
    assert drawn.place.dims == ("at", "coordinate")
    np.testing.assert_allclose(drawn.prediction[0], np.broadcast_to(drawn.target, (3, 32)), atol=1e-9)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n_train": 3}, "n_train: 3 is not of the study; choose from 2, 4, 8"),
        ({"noise": 0.1}, "noise: 0.1 is not of the study; choose from 0.0, 0.5"),
        ({"count": 65}, "count: expected 1 to 64, the study's block_size, got 65"),
        ({"count": 0}, "count: expected 1 to 64"),
    ],
)
def test_replicates_that_there_are_none_of_are_refused(given, said):
    with pytest.raises(StudyError, match=said):
        bv.replicates(study(), **given)
    with pytest.raises(StudyError, match="study: expected one of hypothesis sets"):
        bv.replicates(None, **given)


def test_single_fits_are_drawn_with_their_mean_and_the_points_of_two():
    figure = bv.plot.fits(study(), n_train=2, noise=0.5, count=20)
    assert panel_titles(figure) == ["H0", "H1", "mean"]
    assert figure.get_suptitle() == "20 training sets of 2 examples, 20 fits: none is their mean"
    drawn = bv.replicates(study(), n_train=2, noise=0.5, count=20)
    (fits,), lines = figure.axes[1].collections, figure.axes[1].get_lines()
    assert len(fits.get_segments()) == 20
    assert len(lines) == 1 + 1 + 2 + 2 * 2
    np.testing.assert_array_equal(fits.get_segments()[7][:, 1], drawn.prediction.sel(hypothesis="H1")[7])
    np.testing.assert_array_equal(lines[-3].get_xdata(), drawn.x[0])
    with pytest.raises(BiasvarError, match="fits: needs inputs of one coordinate, got 2"):
        bv.plot.fits(study(**PLANE), count=4)


def test_what_is_infinite_or_unknown_looks_so(summary):
    figure = bv.plot.along_x(summary, n_train=2, noise=0.5)
    assert panel_titles(figure)[1].splitlines() == ["H1", "bias² ? + variance inf"] or "inf" in panel_titles(figure)[1]
    assert "none where hollow, ? or infinite" in figure.get_supxlabel()
    bars = bv.plot.decomposition(summary, noise=0.5)
    assert panel_titles(bars) == ["2 examples", "4 examples", "8 examples"]
    assert "inf →" in texts(bars)
    curves = bv.plot.learning_curves(summary, noise=0.5)
    assert set(texts(curves)) == {"H0", "H1", "mean", "1/n", "H1 inf →"}
    away = bv.plot.noise_curves(summary, n_train=2)
    assert [text for text in texts(away) if text.endswith("→")] == ["H1 inf →"]
    hollow = [line for line in curves.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    unknown = np.isfinite(summary.excess_risk) & np.isnan(summary.excess_risk_se)
    assert sum(line.get_xdata().size for line in hollow) == int(unknown.sel(noise=0.5).sum())
    states = bv.plot.status_map(summary)
    assert sum("infinite" in text for text in texts(states)) == int((summary.status == "infinite").sum()) > 0


def test_titles_say_what_paired_errors_bear_out(summary):
    cells = summary.sel(n_train=8, noise=0.0)
    least = str(cells.hypothesis[int(cells.expected_risk.argmin("hypothesis"))].item())
    assert int(leaders(cells, "expected_risk").sum()) == 1
    assert who_leads(cells).startswith(f"{least} errs least: ")
    assert bv.plot.differences(summary, n_train=8, noise=0.0).get_suptitle() == who_leads(cells)
    one_another = cells.assign(
        {name: cells[name] * 1e6 for name in ("excess_risk_difference_se",)}
    )  # no difference is known any more
    assert who_leads(one_another) == "H0, H1 and mean cannot be told apart"
    assert bv.plot.learning_curves(summary, noise=0.0, title="mine").get_suptitle() == "mine"


def test_differences_are_paired_and_have_95_percent_bars(summary):
    figure = bv.plot.differences(summary, n_train=8, noise=0.5)
    cells = summary.sel(n_train=8, noise=0.5).sortby("expected_risk")
    (container,) = figure.axes[0].containers
    drawn = container.lines[0].get_xdata()
    pairs = cells.isel(hypothesis=slice(1, None)).sel(versus=cells.hypothesis.values[0])
    np.testing.assert_array_equal(drawn, pairs.excess_risk_difference)
    (bars,) = container.lines[2]
    lengths = [segment[1, 0] - segment[0, 0] for segment in bars.get_segments()]
    np.testing.assert_allclose(lengths, 2 * 1.96 * pairs.excess_risk_difference_se)


def test_noise_curves_are_straight(summary):
    figure = bv.plot.noise_curves(summary, n_train=8)
    line = next(line for line in figure.axes[0].get_lines() if line.get_label() == "_child0")
    np.testing.assert_array_equal(line.get_xdata(), [0, 0.25])
    np.testing.assert_array_equal(line.get_ydata(), summary.expected_risk.sel(hypothesis="H0", n_train=8))
    assert "noise alone" in texts(figure)


def test_figures_go_into_axes_of_ones_own(summary):
    own = Figure()
    panel = own.subplots()
    assert bv.plot.learning_curves(summary, noise=0.0, ax=panel) is own
    assert panel.get_title().startswith("H0 errs least") or "errs least" in panel.get_title()
    with pytest.raises(BiasvarError, match="ax: is one panel, and 3 are drawn"):
        bv.plot.decomposition(summary, noise=0.0, ax=panel)
    bv.plot.decomposition(summary, noise=0.0, n_train=8, ax=Figure().subplots())


def test_figures_are_methods_of_a_summary(summary):
    assert summary.biasvar.plot.learning_curves(noise=0.0).get_suptitle() == who_leads(summary.sel(noise=0.0))
    assert dir(summary.biasvar.plot) == sorted(bv.plot.figures_of(summary))
    with pytest.raises(AttributeError, match="no figure 'pie' of these numbers; choose from decomposition, along_x"):
        summary.biasvar.plot.pie()


def test_what_cannot_be_drawn_is_said(summary, monkeypatch):
    with pytest.raises(BiasvarError, match=r"noise=0.3 is not in the summary; choose from \[0.0, 0.5\]"):
        bv.plot.learning_curves(summary, noise=0.3)
    with pytest.raises(BiasvarError, match="size: is no dimension of the summary; choose from"):
        bv.plot.learning_curves(summary, size=3)
    plane = summary.rename(x="point").assign_coords(x=(("point", "coordinate"), np.zeros((summary.sizes["x"], 2))))
    with pytest.raises(BiasvarError, match="needs inputs of one coordinate, got 2"):
        bv.plot.along_x(plane, n_train=2, noise=0.0)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'biasvar\[figures\]'"):
        bv.plot.learning_curves(summary, noise=0.0)


def test_a_figure_is_saved_where_no_folder_is_yet(summary, tmp_path):
    path = figures.save(bv.plot.differences(summary, n_train=8, noise=0.5), tmp_path / "new" / "folder" / "f.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_figures_are_offered_where_their_numbers_are(summary):
    along = ["along_x", "fits"]
    sizes, levels = ["learning_curves"], ["noise_curves"]
    rest = ["differences", "status_map", "digits"]
    assert bv.plot.figures_of(summary) == ["decomposition", *along, *sizes, "sources_of_error", *levels, *rest]
    one = summary.isel(noise=[0], n_train=[0])
    assert bv.plot.figures_of(one) == ["decomposition", *along, "sources_of_error", *rest]
    outside = summary.drop_dims("x")
    assert bv.plot.figures_of(outside) == ["decomposition", *sizes, "sources_of_error", *levels, *rest]
    assert bv.plot.figures_of(summary[["x_weight"]]) == []


def test_of_one_size_nothing_is_said_of_every_size(summary):
    one = summary.sel(n_train=[8], noise=0.5)
    assert who_leads(one) == who_leads(summary.sel(n_train=8, noise=0.5))
    assert " errs least: " in who_leads(one)


def test_what_nobody_chose_is_said(summary):
    # A line through two points has no finite risk with noise: a third of all cells of lines at the highest level.
    figure = bv.plot.along_x(summary, hypothesis=["H1"])
    assert f"2 examples (of 2, 4, 8), noise {figures.SIGMA} = 0 (of 0, 0.5)" in flat(figure.get_supxlabel())
    figure = bv.plot.along_x(summary, hypothesis=["H0", "mean"])
    assert f"2 examples (of 2, 4, 8), noise {figures.SIGMA} = 0.5 (of 0, 0.5)" in flat(figure.get_supxlabel())
    assert "(of" not in bv.plot.along_x(summary, n_train=8, noise=0.5).get_supxlabel()


def test_fits_are_made_of_a_summary_too_where_no_foreign_code_is_needed(tmp_path):
    ours, theirs = study(), study(target=np.sin)
    summaries = [bv.run(each, tmp_path / f"{i}.zarr", scheduler="synchronous") for i, each in enumerate((ours, theirs))]
    assert ["fits" in bv.plot.figures_of(summary) for summary in summaries] == [True, False]
    where = {"n_train": 4, "noise": 0.5, "count": 8}
    again, first = bv.plot.fits(summaries[0], **where), bv.plot.fits(ours, **where)
    for one, other in zip(again.axes, first.axes, strict=True):
        for line, same in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), same.get_xydata())
    with pytest.raises(BiasvarError, match="fits: parts of the study are not biasvar's own; give the study"):
        bv.plot.fits(summaries[1])


def test_fits_of_a_summary_are_those_whose_errors_other_figures_show(tmp_path):
    many = study(hypotheses={f"d{d}": bv.Polynomial(d) for d in range(8)}, n_train=[20])
    summary = bv.run(many, tmp_path / "many.zarr", scheduler="synchronous")
    fits, errors = bv.plot.fits(summary, count=8), bv.plot.along_x(summary)
    assert panel_titles(fits) == [title.splitlines()[0] for title in panel_titles(errors)[:5]]
    assert f"noise {figures.SIGMA} = 0.5" in flat(fits.get_supxlabel())


def test_where_no_risk_is_finite_what_is_finite_is_drawn(summary):
    cells = summary.sel(hypothesis=["H1"], n_train=[2], noise=[0.5])
    assert np.isinf(cells.expected_risk)
    for name in bv.plot.figures_of(cells):
        getattr(bv.plot, name)(cells).canvas.draw()
    least, top = bv.plot.decomposition(cells).axes[0].get_ylim()
    assert least <= 0
    assert 0.25 + cells.bias2.item() < top < 2


def test_logarithmic_axes_of_few_powers_of_ten_have_plain_numbers(summary):
    figure = bv.plot.learning_curves(summary.sel(n_train=[4, 8]), noise=0.0, hypothesis=["H0", "mean"])
    figure.canvas.draw()
    written = [label.get_text() for label in figure.axes[0].get_yticklabels(which="both") if label.get_text()]
    assert written
    assert all("$" not in words for words in written)
    low, high = figure.axes[0].get_ylim()
    assert any(low <= float(words) <= high for words in written)


def test_powers_of_ten_of_wide_axes_are_text_without_ticks_between_them():
    figure, axes = figures.new_panels(1, 1)
    panel = axes[0, 0]
    panel.set(xscale="log", xlim=(1e-9, 10), yscale="symlog", ylim=(-1e3, 1e3))
    figures.set_title(figure, axes, None, "", "")
    figure.draw_without_rendering()
    written = [label.get_text() for axis in (panel.xaxis, panel.yaxis) for label in axis.get_ticklabels(which="both")]
    assert {"10\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT NINE}", "10\N{SUPERSCRIPT ZERO}", "-10\N{SUPERSCRIPT THREE}"} <= {
        *written
    }
    assert not any("$" in text for text in written)
    assert len(panel.xaxis.get_minorticklocs()) == 0


def test_names_at_ends_of_lines_stay_beside_the_panel():
    curve = xr.DataArray([2.0, 1.0], dims="step", coords={"step": [0, 100]})
    panel = bv.plot.curves({"J": dict.fromkeys("abc", curve)}).axes[0]
    panel.figure.canvas.draw()
    low = panel.get_window_extent().y0
    assert [text.get_text() for text in panel.texts] == ["a", "b", "c"]
    assert all(text.get_window_extent().y0 >= low - 5 for text in panel.texts)


def test_precision_is_how_standard_errors_fell(tmp_path):
    own = study(hypotheses={"H0": bv.Polynomial(0)}, n_train=[4], noise=[0.5], replicates=1024, block_size=32)
    summary = bv.run(own, tmp_path / "own.zarr", scheduler="synchronous").squeeze()
    figure = bv.plot.precision(tmp_path / "own.zarr")
    line, rate = figure.axes[0].lines[:2]
    np.testing.assert_array_equal(line.get_xdata(), [128, 256, 512, 1024])
    # The number that is told while a study runs is not the summary's to the last bit: that has no plain mean.
    assert line.get_ydata()[-1] == pytest.approx(float(summary.excess_risk_se), rel=0.1)
    np.testing.assert_allclose(rate.get_ydata()[0] / rate.get_ydata()[1], np.sqrt(8))
    slope = np.polyfit(np.log(line.get_xdata()), np.log(line.get_ydata()), 1)[0]
    assert f"excess risk {4.0**-slope:.2g} times smaller" in flat(figure.get_suptitle())
    (told,) = [text.get_text() for text in figure.axes[0].get_legend().texts]
    assert told == "1/\N{SQUARE ROOT}n"


def test_precision_needs_the_study_where_parts_of_it_are_the_users(tmp_path):
    own = study(target=np.sin, replicates=1024, block_size=32)
    bv.run(own, tmp_path / "own.zarr", scheduler="synchronous")
    with pytest.raises(BiasvarError, match="give it as the second argument"):
        bv.plot.precision(tmp_path / "own.zarr")
    assert bv.plot.precision(tmp_path / "own.zarr", own).axes[0].lines


def test_precision_of_what_is_exact_is_not_drawn():
    group = Group("n2", ("H0",), 1)
    with pytest.raises(BiasvarError, match="precision: no cell has a standard error and 8 blocks or more"):
        falling(study(), {group: np.ones((1, 64))})
    with pytest.raises(BiasvarError, match="8 blocks"):
        falling(study(), {group: np.arange(7.0)[None]})


def test_too_many_panels_are_thinned_with_the_best_among_them(summary):
    many = bv.lazy(study(hypotheses={f"d{d}": bv.Polynomial(d) for d in range(8)}, n_train=[20])).compute()
    best = str(many.expected_risk.sel(noise=0.5, n_train=20).idxmin("hypothesis").item())
    figure = bv.plot.along_x(many, noise=0.5)
    shown = [title.splitlines()[0] for title in panel_titles(figure) if title]
    assert best in shown
    assert {"d0", "d7"} <= set(shown)
    assert len(shown) <= 5
    assert f"{len(shown)} of 8 sets" in flat(figure.get_supxlabel())


def flat(words):
    return " ".join(words.split())


def test_dollars_in_names_are_no_mathematics():
    for first in ("$5", "$a$ b"):
        sets = {first: bv.Polynomial(0), "$a_{$ <b>": bv.Polynomial(1)}
        named = bv.lazy(study(hypotheses=sets, n_train=[8, 16], noise=[0.0, 0.5])).compute()
        titles = []
        for name in bv.plot.figures_of(named):
            figure = getattr(bv.plot, name)(named)
            figure.canvas.draw()
            titles.append(as_named(figure.get_suptitle()))
        assert any(first in title for title in titles)


def test_names_stand_at_the_ends_of_lines_that_end_together():
    short = xr.DataArray([2.0, 1.0], dims="step", coords={"step": [0, 5]})
    long = xr.DataArray([3.0, 0.5], dims="step", coords={"step": [0, 100]})
    together = bv.plot.curves({"J": {"a": long, "b": 2 * long}}).axes[0]
    assert [text.get_text() for text in together.texts] == ["a", "b"]
    apart = bv.plot.curves({"J": {"a": short, "b": long}}).axes[0]
    assert [text.get_text() for text in apart.get_legend().get_texts()] == ["a", "b"]
    assert not apart.texts


def test_what_failed_is_not_called_untold(summary):
    hypothesis = summary.hypothesis.values[0]
    parts = ("expected_risk", "bias2", "variance")
    failed = summary.assign({name: summary[name].where(summary.hypothesis != hypothesis) for name in parts})
    untold = summary.assign({name: failed[name] for name in ("bias2", "variance")})
    for cells, there in ((failed, False), (untold, True)):
        names = bv.plot.decomposition(cells, noise=0.0).axes[-1].get_legend_handles_labels()[1]
        assert ("not told apart" in names) == there


def test_no_name_is_passed_over_in_a_legend():
    panel = Figure().subplots()
    panel.plot([0, 1], label=shown("_mine"))
    assert [as_named(text.get_text()) for text in panel.legend().get_texts()] == ["_mine"]


def test_long_names_do_not_meet():
    """Names of sixty letters, turned under a panel, and above panels that stand side by side."""
    names = {f"{degree}, the degree of what somebody has named at length": bv.Polynomial(degree) for degree in range(4)}
    summary = bv.lazy(study(hypotheses=names, n_train=[8], noise=0.5)).compute()
    for noun in ("decomposition", "along_x"):
        figure = getattr(bv.plot, noun)(summary)
        figure.canvas.draw()
        panels = [panel for panel in figure.axes if panel.get_title()]
        titles = [panel.title.get_window_extent() for panel in panels]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(titles, 2)), noun
    for text in (text for panel in bv.plot.decomposition(summary).axes for text in panel.get_xticklabels()):
        assert "…" in text.get_text()
        assert "\n" not in text.get_text()
