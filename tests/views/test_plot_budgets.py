"""Figures of tradeoff studies: what they draw of the numbers, their words, and what they refuse."""

import numpy as np
import pytest

import biasvar as bv
from biasvar.errors import BiasvarError


@pytest.fixture(scope="module")
def tree():
    study = bv.TradeoffStudy(
        name="figures",
        target=bv.Sine(),
        inputs=bv.Uniform(-1, 1),
        model=bv.Polynomial(3),
        noise=[0.5],
        n_train=[5, 20, 100],
        optimizers={"sgd": bv.SGD(learning_rate=[0.1]), "momentum": bv.Momentum(learning_rate=[0.02, 0.05])},
        batch_size=[None, 1],
        budgets=[100, 1000, 4000],
        replicates=512,
        block_size=32,
    )
    return bv.lazy(study).compute()


def texts(panel):
    return [text.get_text() for text in panel.texts]


def test_each_budget_has_a_curve_and_the_best_sizes_are_joined(tree):
    figure = bv.plot.budget_curves(tree)
    node = tree["sgd"].to_dataset().isel(learning_rate=0, noise=0)
    assert [panel.get_title() for panel in figure.axes] == ["all examples per step", "one example per step"]
    for panel, size in zip(figure.axes, (0, 1), strict=True):
        cells = node.sel(batch_size=size)
        drawn = [container.lines[0].get_ydata() for container in panel.containers]
        np.testing.assert_array_equal(drawn, cells.excess_risk.transpose("budget", "n_train"))
        (joined,) = [line for line in panel.get_lines() if line.get_label() == "best n for a budget"]
        np.testing.assert_array_equal(joined.get_xdata(), cells.best_n_train)
        assert texts(panel) == ["100", "1000", "4000"]
    best = node.best_n_train.sel(batch_size=0).values
    assert (
        f"From 100 to 4000 gradients, all examples per step: best n {best[0]:.0f} to {best[-1]:.0f}"
        in figure.get_suptitle()
    )


def test_the_three_errors_are_stacked_where_least_squares_has_a_risk(tree):
    figure = bv.plot.three_errors(tree, n_train=20, batch_size=0)
    node = tree["sgd"].to_dataset().isel(learning_rate=0, noise=0).sel(n_train=20, batch_size=0)
    helps = node.budget.values[(node.optimization_error + 2 * node.optimization_error_se < 0).values]
    assert helps.size == 1
    assert figure.get_suptitle() == f"Stopping helps at {helps[0]} gradients: a negative optimization error"
    panel = figure.axes[0]
    np.testing.assert_array_equal(panel.containers[0].lines[0].get_ydata(), node.excess_risk)
    labels = panel.get_legend_handles_labels()[1]
    assert labels == ["approximation", "estimation", "optimization", "optimization, empirical", "excess"]
    # Where its sign changes, the last error is nothing, on both sides.
    x, extra = panel.collections[3].get_paths()[0].vertices.T
    between = ~np.isin(x, node.budget)
    assert between.any()
    assert (extra[between] == 0).all()
    with pytest.raises(BiasvarError, match="n_train=5: least squares has no known risk there"):
        bv.plot.three_errors(tree, n_train=5, batch_size=0)


def test_what_nobody_chose_is_the_first_and_said(tree):
    figure = bv.plot.budget_curves(tree, optimizer="momentum")
    assert "learning rate 0.02 (of 0.02, 0.05)" in " ".join(figure.get_supxlabel().split())
    # Five examples are too few for a cubic's least squares, twenty are not.
    figure = bv.plot.three_errors(tree)
    assert "all examples per step (of 0, 1); 20 examples (of 5, 20, 100)" in " ".join(figure.get_supxlabel().split())
    assert bv.plot.figures_of(tree)[:2] == ["budget_curves", "three_errors"]


def test_what_is_not_there_is_said(tree):
    with pytest.raises(BiasvarError, match="optimizer: 'adam' is not in the summary"):
        bv.plot.budget_curves(tree, optimizer="adam")
    with pytest.raises(BiasvarError, match=r"noise=0\.3 is not in the summary"):
        bv.plot.budget_curves(tree, noise=0.3)
    one = bv.plot.budget_curves(tree, optimizer="momentum", learning_rate=0.05, batch_size=1)
    assert [panel.get_title() for panel in one.axes] == ["one example per step"]
