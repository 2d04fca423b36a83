"""Tables: what is printed where a number, or its standard error, does not exist."""

import csv
import html
import io
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from helpers import two_point_study
from scipy import stats

import biasvar as bv
from biasvar.accessor import Results
from biasvar.errors import StudyError
from biasvar.notation import with_error
from biasvar.rows import FORMS, Table
from biasvar.studies.blocks import run_in_memory
from biasvar.views.tables import cell_table, results, tables


@pytest.mark.parametrize("value", [-118.3, 0.5, 0.0])
def test_a_number_of_unknown_error_is_not_printed(value):
    assert with_error(value, np.nan) == "?"
    assert with_error(np.inf, np.nan) == "inf"
    assert with_error(np.nan, np.nan) == "-"


def test_a_table_shows_no_squared_bias_without_an_error():
    summary = run_in_memory(two_point_study(noise=[0.5], replicates=256, block_size=16))
    assert summary.status.sel(hypothesis="H1") == "infinite"
    summary["bias2"][:], summary["bias2_se"][:] = -118.3, np.nan
    table = cell_table(summary)
    assert "118" not in table
    row = next(line for line in table.splitlines() if " H1 " in line).split()
    assert row[3:7] == ["?", "inf", "0.25", "inf"]


def described(**attributes):
    """A summary of no kind that the package knows, which says itself what it is."""
    value = ("size", [1.0, 2.0], {"column": 1, "short_name": "val", **attributes})
    return xr.Dataset(
        {
            "value": value,
            "value_se": ("size", [0.1, 0.1]),
            "draws": ("size", [40, 50], {"counted": "draws"}),
            "status": ("size", np.array(["ok", "ok"], object)),
            "status_reason": ("size", np.array(["", ""], object)),
        },
        {"size": [3, 4]},
    )


def test_any_tree_whose_nodes_have_a_status_is_printed_node_by_node():
    tree = xr.DataTree.from_dict({"/": xr.Dataset(), "/one": described(), "/none": xr.Dataset({"x": 1.0})})
    lines = results(tree).splitlines()
    assert lines[0] == "one"
    assert lines[1].split() == ["size", "val", "status"]
    assert lines[-1] == "40 to 50 draws per cell"
    assert results(described()) == "\n".join(lines[1:])


def test_an_interval_has_as_many_degrees_of_freedom_as_the_variable_says():
    def half(summary):
        bounds = bv.confidence_interval(summary, "value")
        return (bounds.high - summary.value) / summary.value_se

    np.testing.assert_allclose(half(described(blocks="draws")), stats.t.ppf(0.975, [39, 49]))
    np.testing.assert_allclose(half(described(blocks="draws", at_most=16)), stats.t.ppf(0.975, 15))
    np.testing.assert_allclose(half(described(blocks="size")), stats.t.ppf(0.975, 1))
    for attributes in ({}, {"blocks": "gone"}):
        with pytest.raises(StudyError, match="give it an attribute 'blocks'"):
            half(described(**attributes))


def test_an_interval_is_of_the_error_that_the_variable_names_or_that_is_asked_for():
    summary = described(blocks="draws", error="value_se_wide")
    summary["value_se_wide"] = "size", [0.3, np.nan], {"blocks": "size"}
    wide = bv.confidence_interval(summary, "value")
    np.testing.assert_allclose(wide.high - summary.value, [0.3 * stats.t.ppf(0.975, 1), np.nan])
    narrow = bv.confidence_interval(summary, "value", error="value_se")
    np.testing.assert_allclose(narrow.high - summary.value, 0.1 * stats.t.ppf(0.975, [39, 49]))
    assert (wide.error, narrow.error) == ("value_se_wide", "value_se")
    for variable, error, said in (
        ("value", "gone", "error: 'gone' is not in this summary"),
        ("gone", None, "variable: 'gone' is not in this summary"),
        ("draws", None, "variable: 'draws' has no standard error in this summary"),
    ):
        with pytest.raises(StudyError, match=said):
            bv.confidence_interval(summary, variable, error=error)


def test_a_table_says_why_an_error_is_unknown_once_for_all_cells_of_that_reason():
    summary = described()
    summary["value_se_wide"] = "size", [0.3, 0.4], {"column": 2, "short_name": "wide", "reason": "why"}
    summary["why"] = "size", np.array(["few", "few"], object)
    assert "few" not in cell_table(summary)
    summary.value_se_wide[:] = np.nan
    assert cell_table(summary).splitlines()[-2] == "size=3, and 1 other: few"
    summary["why"][:] = np.array(["few", "none"], object)
    assert cell_table(summary).splitlines()[-3:-1] == ["size=3: few", "size=4: none"]


def compared(risk, differences, errors):
    """A summary of sets a, b, c at two sizes, with paired differences (set, versus) that are the same at both."""
    at_both = ("set", "versus", "size")
    sets = list("abc")[: len(risk)]
    return xr.Dataset(
        {
            "risk": (("set", "size"), risk, {"column": 1, "short_name": "risk", "compared_by": "more"}),
            "risk_se": (("set", "size"), np.full((3, 2), 0.1)),
            "more": (at_both, np.repeat(np.array(differences)[..., None], 2, axis=2)),
            "more_se": (at_both, np.repeat(np.array(errors)[..., None], 2, axis=2)),
            "status": (("set", "size"), np.full((3, 2), "ok", object), {"rows": "size set"}),
            "status_reason": (("set", "size"), np.full((3, 2), "", object)),
        },
        {"set": sets, "versus": sets, "size": [3, 4]},
    )


def test_the_least_of_each_group_is_marked_and_what_paired_errors_cannot_tell_from_it():
    more = np.array([[0.0, -0.1, -0.3], [0.1, 0.0, -0.2], [0.3, 0.2, 0.0]])
    risk = np.array([[1.0, 2.0], [1.1, 2.1], [1.3, np.inf]])
    table = tables(compared(risk, more, np.full((3, 3), 0.01)))[0]
    assert table.leading == {(0, 2), (3, 2)}  # a alone: 0.1 is ten standard errors
    table = tables(compared(risk, more, np.full((3, 3), 0.06)))[0]
    assert table.leading == {(0, 2), (1, 2), (3, 2), (4, 2)}  # b too, at 1.7; c, at 5 or infinite, never
    assert table.meaning == "least risk of each size, or not told from it (paired difference, 95 %)"
    unknown = tables(compared(np.full((3, 2), np.nan), more, np.full((3, 3), 0.06)))[0]
    assert unknown.leading == set()


def test_marks_survive_every_order_of_dimensions():
    more = np.array([[0.0, 0.1, 0.3], [-0.1, 0.0, 0.2], [-0.3, -0.2, 0.0]])
    summary = compared(np.array([[1.3, 1.0], [1.2, 1.1], [1.0, 1.3]]), more, np.full((3, 3), 0.01))
    for dims in (("set", "size"), ("size", "set")):
        table = tables(summary.assign(risk=summary.risk.transpose(*dims)))[0]
        assert {table.rows[row][1] + table.rows[row][0] for row, _ in table.leading} >= {"c3"}


@pytest.mark.parametrize("form", ["text", "md", "latex", "html"])
def test_no_form_lets_a_label_be_anything_but_text(form):
    label = "<script>|\\&_% k"
    summary = described().assign_coords(size=[label, "b"])
    written = results(summary, form)
    forms = {
        "text": label,
        "md": r"&lt;script>\|\\&amp;\_% k",
        "latex": r"\textless{}script\textgreater{}\textbar{}\textbackslash{}\&\_\% k",
        "html": html.escape(label),
    }
    assert forms[form] in written
    assert ("<script>" in written) == (form == "text")


@pytest.mark.parametrize("form", ["md", "latex", "html"])
def test_no_form_lets_words_about_a_table_be_anything_but_text(form):
    # As a message of a user's error may be: of several lines.
    written = FORMS[form](Table(["n_train"], [["5"]], title="a\nb", notes=["<script>\n\\input{x} *y*"]))
    notes = {"md": "\n\n&lt;script> \\\\input{x} \\*y\\*", "latex": "\n% <script> \\input{x} *y*"}
    assert notes.get(form, "&lt;script&gt;\n\\input{x} *y*") in written
    assert ("n_train" in written) == (form != "latex")


def test_records_and_csv_have_all_numbers_in_full():
    summary = run_in_memory(two_point_study(noise=[0.0, 0.5], replicates=256, block_size=16))
    frame = summary.biasvar.records().set_index(list(summary.status.dims))
    for name in ("bias2", "bias2_se", "expected_risk"):
        there = frame[name].to_xarray().sel(summary[name].coords)
        np.testing.assert_array_equal(there.transpose(*summary[name].dims), summary[name])
    rows = list(csv.DictReader(io.StringIO(Results(summary).to_text("csv"))))
    assert [row["variance_se"] for row in rows] == [str(value) for value in frame.variance_se]
    assert "infinite" in {row["status"] for row in rows}


def test_a_summary_gives_its_table_as_a_frame_and_shows_itself():
    summary = run_in_memory(two_point_study(noise=[0.0], replicates=256, block_size=16))
    table = summary.biasvar.table(["hypothesis", "expected risk"])
    assert list(table["hypothesis"]) == ["H0", "H1"]
    assert table["expected risk"][0] in cell_table(summary)
    assert summary.biasvar._repr_html_().count("<tr>") == 3


@pytest.mark.parametrize("labels", [{"n_train": 10}, {"hypothesis": "H1", "noise": 0.5}])
def test_what_is_selected_by_a_label_has_a_table_and_one_that_is_dropped_too(labels):
    summary = run_in_memory(two_point_study(n_train=[2, 10], noise=[0.0, 0.5], replicates=256, block_size=16))
    chosen = summary.sel(labels)
    frame = summary.biasvar.table()
    rows = np.logical_and.reduce([frame[axis] == str(label) for axis, label in labels.items()])
    assert chosen.biasvar.table().equals(frame[rows].reset_index(drop=True))
    dropped = summary.sel(labels, drop=True).biasvar.table()
    assert list(dropped["expected risk"]) == list(frame["expected risk"][rows])


def test_records_of_what_is_not_loaded_are_those_of_what_is():
    summary = run_in_memory(two_point_study(noise=[0.0], replicates=256, block_size=16))
    assert summary.chunk().biasvar.records().equals(summary.biasvar.records())


@pytest.mark.parametrize(
    "imports",
    [
        ["import biasvar", "import xarray as xr"],
        ["import xarray as xr", "import biasvar"],
        ["import biasvar", "from importlib.util import find_spec; assert find_spec('xarray')", "import xarray as xr"],
    ],
)
def test_what_xarray_opens_has_tables_once_biasvar_is_imported(imports, tmp_path):
    study = two_point_study(noise=[0.5], replicates=256, block_size=16)
    summary = bv.run(study, tmp_path / "study.zarr", scheduler="synchronous", progress=False)
    code = [*imports, "import sys", f"opened = xr.open_zarr({str(tmp_path / 'study.zarr')!r})"]
    code += ["print(len(opened.biasvar.table()), type(opened.biasvar.plot).__name__)"]
    code += ["print(hasattr(xr.DataTree, 'biasvar'), [f for f in sys.meta_path if 'biasvar' in repr(f)])"]
    done = subprocess.run([sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{len(Results(summary).table())} Plots", "True []"]
