"""Checks of derivatives as a table and as a figure."""

import numpy as np

import biasvar as bv
from biasvar.views import derivatives


class Wrong:
    dim = 2

    def value(self, theta):
        return (theta**4).sum(axis=-1)

    def gradient(self, theta):
        return 4 * theta**3 * np.array([1, 1.1])


def checks():
    return {"valley": bv.check_derivatives(bv.Rosenbrock()), "own": bv.check_derivatives(Wrong())}


def test_the_table_has_a_row_per_comparison_and_says_what_is_wrong_below():
    lines = derivatives.table(checks()).splitlines()
    assert [line.split()[:2] for line in lines[2:8]] == [
        ["valley", "gradient"],
        ["valley", "hessian_product"],
        ["valley", "symmetry"],
        ["valley", "minimizer"],
        ["valley", "minimum"],
        ["own", "gradient"],
    ]
    assert lines[8].startswith("own.gradient: component 1 is ")
    assert len(lines) == 9


def test_the_figure_draws_each_remainder_its_slope_and_the_floor(tmp_path):
    found = checks()
    figure = bv.plot.remainders(found)
    assert figure.get_suptitle() == "Derivatives of own are wrong"
    figure.savefig(tmp_path / "remainders.png")
    left, right = figure.axes
    assert left.get_title() == "valley: agrees"
    assert right.get_title() == "own: wrong"
    # Three remainders and two, a guide for each, and the floor.
    assert [len(panel.lines) for panel in (left, right)] == [7, 5]
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert [label.split("slope ")[1] for label in labels[:3]] == ["1.00", "2.00", "3.00"]
    np.testing.assert_array_equal(left.lines[0].get_ydata(), found["valley"].remainder.sel(order=1))
