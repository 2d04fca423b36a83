"""Places that hold something else are left alone; ours open without us."""

import warnings

import numpy as np
import pytest
import xarray as xr

import biasvar as bv
from biasvar.errors import StoreError
from biasvar.execution.store import Store


def test_a_path_that_holds_something_else_is_refused_and_left_alone(study, tmp_path):
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="not a biasvar store"):
        bv.run(study, folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_a_foreign_zarr_store_is_refused_and_left_alone(study, tmp_path):
    path = tmp_path / "foreign.zarr"
    data = xr.Dataset({"a": ("x", np.arange(3.0))})
    data.to_zarr(path, consolidated=False)
    with pytest.raises(StoreError, match="not a biasvar store"):
        bv.run(study, path)
    xr.testing.assert_identical(xr.open_zarr(path, consolidated=False).load(), data)


def test_a_file_is_refused(study, tmp_path):
    path = tmp_path / "file.zarr"
    path.write_text("hello")
    with pytest.raises(StoreError, match="not a biasvar store"):
        bv.run(study, path)
    assert path.read_text() == "hello"


def test_an_unfinished_store_is_not_opened(study, store):
    Store(store).claim(study)
    with pytest.raises(StoreError, match="has not finished"):
        bv.open(store)


def test_a_missing_store_is_told(tmp_path):
    for read in (bv.open, bv.verify, bv.digest):
        with pytest.raises(StoreError, match="does not exist"):
            read(tmp_path / "nowhere.zarr")


def test_plain_xarray_opens_the_root_without_a_warning(study, store):
    summary = bv.run(study, store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xr.open_zarr(store).load()
        tree = xr.open_datatree(store, engine="zarr", consolidated=False)
    for name in summary.data_vars:
        kind = float if summary[name].dtype == float else object
        np.testing.assert_array_equal(opened[name].values.astype(kind), summary[name].values.astype(kind))
    assert opened.attrs["seed"] == 0
    assert tree["blocks/n2/H0+H1"].records.dims == ("cell", "block", "statistic")
    assert (tree["blocks/n2/H0+H1"]["count"] == study.block_size).all()


def test_every_variable_has_a_label_and_a_standard_error(study, store):
    summary = bv.run(study, store)
    for name, variable in summary.data_vars.items():
        assert variable.attrs["long_name"], name
    numbers = [name for name in summary.data_vars if summary[name].dims[:3] == ("hypothesis", "n_train", "noise")]
    without = {"tail_index", "bias2_shift", "quadrature_error", "replicates", "block_count", "status", "status_reason"}
    for name in numbers:
        if not name.endswith("_se") and name not in without:
            assert f"{name}_se" in summary
