"""Summaries leave for netCDF and come back equal, whoever opened them."""

import json
from functools import partial

import pytest
import xarray as xr
from helpers import SMALL_STUDIES, small_study

import biasvar as bv
from biasvar.execution.status import store_status
from biasvar.execution.store import Store

ENGINES = ("scipy", "h5netcdf", "netcdf4")
TREE_ENGINES = ("h5netcdf", "netcdf4")  # the third version of netCDF knows no groups


def small_tree(**changes):
    fields = {
        "name": "small",
        "objectives": {"bowl": bv.Quadratic([1, 10])},
        "optimizers": {"sgd": bv.SGD([0.01, 0.1]), "momentum": bv.Momentum([0.01, 1e9], momentum=0.9)},
        "steps": 5,
        "replicates": 3,
        "targets": {"bowl": [0.1]},
        "record": ["objective", "gradient_norm", "distance", "parameters"],
        "record_steps": [0, 1, 5],
    }
    return bv.OptimizerStudy(**{**fields, **changes})


@pytest.fixture(scope="module", params=["risk", "optimizer"])
def ways(request, tmp_path_factory):
    """What a run returns, what opening it gives, with our help and without, and the study without a store."""
    store = tmp_path_factory.mktemp(request.param) / "s.zarr"
    if request.param == "risk":
        # One set that works, one that is infinite, and one that fails at one size: all that a summary can hold.
        study = small_study(hypotheses={"H1": bv.Polynomial(1), "H9": bv.Polynomial(9), "far": bv.Polynomial(20)})
        bring = xr.open_zarr
    else:
        study, bring = small_tree(), partial(xr.open_datatree, engine="zarr", consolidated=False)
    return {
        "run": bv.run(study, store),
        "open": bv.open(store),
        "plain": bring(store),
        "lazy": bv.lazy(study).compute(),
    }


def there_and_back(summary, path, engine):
    summary.to_netcdf(path, engine=engine)
    opener = xr.open_dataset if isinstance(summary, xr.Dataset) else xr.open_datatree
    with opener(path, engine=engine) as found:
        return found.load()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_summary_goes_to_netcdf_and_back(engine, ways, tmp_path):
    for way, summary in ways.items():
        if isinstance(summary, xr.DataTree) and engine not in TREE_ENGINES:
            summary = summary["bowl/momentum"].to_dataset()
        xr.testing.assert_identical(there_and_back(summary, tmp_path / f"{way}.nc", engine), summary.load())


@pytest.mark.slow
@pytest.mark.parametrize("name", bv.bundled())
def test_bundled_studies_go_to_netcdf_and_back(name, tmp_path):
    summary = bv.run(bv.load(name, SMALL_STUDIES[name]), tmp_path / "s.zarr", scheduler="synchronous")
    for engine in ENGINES if isinstance(summary, xr.Dataset) else TREE_ENGINES:
        xr.testing.assert_identical(there_and_back(summary, tmp_path / f"{engine}.nc", engine), summary)


def test_attributes_are_text_or_small_integers(tmp_path):
    for study in (small_study(), small_study(name="large", seed=2**70), small_tree()):
        attributes = bv.run(study, tmp_path / f"{study.name}-{study.seed % 7}-{type(study).__name__}").attrs
        assert json.loads(attributes["study"])["seed"] == int(attributes["seed"]) == study.seed
        assert json.loads(attributes["versions"])["biasvar"] == bv.__version__
        assert json.loads(attributes["complete"]) is True
        assert all(type(value) in (str, int) for value in attributes.values())


def as_it_was(store):
    """Write a store's attributes as older versions of biasvar did: structures, not text."""
    for path in ("zarr.json", "blocks/zarr.json"):
        text = json.loads((store / path).read_text())
        attributes = text["attributes"]
        for name in ("cells", "complete", "evidence", "nodes", "versions"):
            if name in attributes:
                attributes[name] = json.loads(attributes[name])
        (store / path).write_text(json.dumps(text))


@pytest.mark.parametrize("study", [small_study(), small_tree()], ids=["risk", "optimizer"])
def test_stores_of_older_versions_are_read_resumed_and_extended(study, tmp_path):
    store, fresh = tmp_path / "old.zarr", tmp_path / "new.zarr"
    ran = bv.run(study, store)
    as_it_was(store)
    assert bv.verify(store).ok
    assert store_status(store).complete
    assert Store(store).attributes()["complete"] is True
    assert bv.digest(store) == bv.digest(bv.run(study, fresh) and fresh)
    opened = bv.open(store).load()
    assert opened.attrs == ran.attrs
    opened.to_netcdf(tmp_path / "old.nc", engine="h5netcdf")
    xr.testing.assert_identical(bv.run(study, store), ran)

    as_it_was(store)
    more = small_study(replicates=2 * study.replicates) if isinstance(study, bv.RiskStudy) else small_tree(replicates=6)
    extended = bv.run(more, store)
    xr.testing.assert_identical(extended, bv.run(more, tmp_path / "more.zarr"))
