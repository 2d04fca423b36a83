"""Arrays as whole files: Zarr and xarray read what is written here, and what Zarr's arrays write is read here."""

import json

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers import Moody, small_study

import biasvar as bv
from biasvar.execution.backends import Location
from biasvar.execution.store import Store
from biasvar.execution.zarr_files import ZarrArray, group_content, whole_array

ARRAYS = {
    "float64": np.array([[1.5, np.nan, -np.inf], [0.0, -0.0, 5e-324]]),
    "float32": np.float32([[0.1, 2.0, np.nan]]),
    "int64": np.array([[[2**62, -1]]]),
    "uint64": np.array([2**64 - 1, 0], np.uint64),
    "int32": np.array([7, -7], np.int32),
    "bool": np.array([True, False, True]),
    "text": np.array(["", "n = 3", "\N{GREEK SMALL LETTER SIGMA}\N{SUPERSCRIPT TWO}\n"], dtype=object),
    "one number": np.array(3.25),
    "one text": np.array("alone", dtype=object),
    "nothing": np.empty((2, 0)),
    "big-endian": np.array([1.0, 2.0], ">f8"),
    "strided": np.arange(12.0).reshape(3, 4)[::2, ::-1],
}


def dims_of(values):
    return ("a", "b", "c")[: values.ndim]


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.filterwarnings("ignore:Consolidated metadata:zarr.errors.ZarrUserWarning")
def test_zarr_and_xarray_read_a_whole_array(name, tmp_path):
    values = ARRAYS[name]
    at = Location.of(tmp_path / "some.zarr")
    files = whole_array("values", dims_of(values), values, {"units": "m", "steps": [1, 2]})
    at.write_all({"zarr.json": group_content({"title": "some"}), **files})
    array = zarr.open_array(tmp_path / "some.zarr", path="values", mode="r")
    np.testing.assert_array_equal(np.asarray(array[...]).astype(values.dtype), values)
    data = xr.open_zarr(tmp_path / "some.zarr", consolidated=False, chunks=None)
    assert data.attrs == {"title": "some"}
    assert data["values"].attrs == {"units": "m", "steps": [1, 2]}
    assert data["values"].dims == dims_of(values)
    np.testing.assert_array_equal(np.asarray(data["values"].values).astype(values.dtype), values)


@pytest.mark.parametrize("compressors", ["auto", None])
@pytest.mark.parametrize("name", ["float64", "int64", "uint64", "bool", "text"])
def test_what_zarr_wrote_is_read_chunk_by_chunk_and_written_back(name, compressors, tmp_path):
    values = np.resize(ARRAYS[name], (3, 7))
    kind = str if name == "text" else values.dtype
    written = zarr.create_array(
        tmp_path / "a", shape=(3, 7), chunks=(3, 2), dtype=kind, compressors=compressors, dimension_names=("a", "b")
    )
    written[...] = values
    at = Location.of(tmp_path)
    array = ZarrArray.parse("a", at.read("a/zarr.json"))
    parts = [array.decode(at.read(array.key((0, i)))) for i in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1)[:, :7], values)
    turned = values[::-1]
    for i in range(4):
        at.write(array.key((0, i)), array.encode(turned[:, 2 * i : 2 * i + 2]))
    assert (np.asarray(written[...]).astype(values.dtype) == turned)[turned == turned].all()
    longer = array.resized("b", 9)
    at.write_all(longer.file())
    assert zarr.open_array(tmp_path / "a", mode="r").shape == (3, 9)
    assert ZarrArray.parse("a", at.read("a/zarr.json")) == longer


@pytest.mark.parametrize(
    "other",
    [
        {"zarr_format": 2},
        {"node_type": "group"},
        {"data_type": "complex128"},
        {"data_type": {"name": "fixed_length_utf32", "configuration": {"length_bytes": 4}}},
        {"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "gzip", "configuration": {}}]},
        {"codecs": [{"name": "transpose", "configuration": {"order": [1, 0]}}]},
        {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}}},
        {"chunk_grid": {"name": "rectilinear", "configuration": {"chunk_shape": [2]}}},
        {"storage_transformers": [{"name": "unknown"}]},
        {"shape": None},
    ],
)
def test_what_would_be_read_wrongly_is_refused(other):
    about = ZarrArray("a", ("block",), (4,), (2,), "float64", 0.0).metadata()
    assert ZarrArray.parse("a", json.dumps(about).encode()).shape == (4,)
    with pytest.raises((ValueError, KeyError, TypeError)):
        ZarrArray.parse("a", json.dumps(about | other).encode())
    with pytest.raises(FileNotFoundError):
        ZarrArray.parse("a", None)


@pytest.mark.parametrize("harm", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"", lambda b: b"\xff" * len(b)])
@pytest.mark.parametrize("compressed", [False, True])
def test_torn_text_is_no_text(harm, compressed):
    array = ZarrArray("a", ("block",), (3,), (3,), "string", "", compressed=compressed)
    content = array.encode(ARRAYS["text"])
    assert array.decode(content).tolist() == ARRAYS["text"].tolist()
    with pytest.raises((ValueError, RuntimeError)):
        array.decode(harm(content))


def test_values_of_other_kinds_are_refused():
    with pytest.raises(TypeError, match="a/b: expected numbers or text, got datetime64"):
        whole_array("a/b", ("t",), np.array(["2026-11-24"], "datetime64[s]"), {})


def test_zarr_reads_the_records_of_a_store(store):
    study = small_study(hypotheses={"H1": bv.Polynomial(1), "moody": Moody()})
    bv.run(study, store, scheduler="synchronous", blocks_per_chunk=5)
    seen = set()
    for group, records in Store(store).groups().items():
        stored = zarr.open_group(store, path=f"blocks/{group.path}", mode="r", use_consolidated=False)
        chunks = list(records.read_all())
        mine = np.concatenate([chunk.records for chunk in chunks], axis=1)
        np.testing.assert_array_equal(stored["records"][...], mine)
        failures = np.concatenate([chunk.failures for chunk in chunks], axis=1)
        assert stored["failure"][...].tolist() == failures.tolist()
        seen |= set(failures.ravel())
        assert (stored["count"][...] == study.block_size).all()
        assert stored["cell"][...].tolist() == list(group.cells)
        assert len(stored["moment"][...]) == group.record_size
    assert len(seen) == 2  # some blocks failed, and some did not


def test_a_store_whose_chunks_are_compressed_is_read_and_extended(store, tmp_path):
    """As stores of before are: Zarr's arrays wrote them."""
    bv.run(small_study(), store, scheduler="synchronous", blocks_per_chunk=4)
    for records in Store(store).groups().values():
        for name in ("records", "failure", "checksum", "traceback", "count"):
            at = store / "blocks" / records.group.path / name
            plain = zarr.open_array(at, mode="r")
            values, about = plain[...], {"shape": plain.shape, "chunks": plain.chunks, "fill_value": plain.fill_value}
            names = plain.metadata.dimension_names
            dtype = str if values.dtype.kind == "T" else values.dtype
            stored = name != "failure" and name != "traceback"
            again = zarr.create_array(at, dtype=dtype, dimension_names=names, overwrite=True, **about)
            assert [type(codec).__name__ for codec in again.compressors] == ["ZstdCodec"]
            if stored:
                again[...] = values
    more = small_study(replicates=20 * 64)
    bv.run(more, store, scheduler="synchronous")
    bv.run(more, tmp_path / "plain.zarr", scheduler="synchronous")
    assert bv.digest(store) == bv.digest(tmp_path / "plain.zarr")
    assert bv.verify(store).ok


def an_optimizer_study():
    return bv.OptimizerStudy(
        name="tree",
        objectives={"bowl": bv.Quadratic([1.0, 4.0])},
        optimizers={"sgd": bv.SGD(learning_rate=[0.1, 0.2, 10.0])},
        steps=20,
    )


@pytest.mark.parametrize("make", [small_study, an_optimizer_study])
@pytest.mark.filterwarnings("ignore:Consolidated metadata:zarr.errors.ZarrUserWarning")
def test_the_summary_is_what_xarray_and_zarr_would_have_written(make, store, tmp_path):
    summary = bv.run(make(), store, scheduler="synchronous")
    other = tmp_path / "other.zarr"
    summary.to_zarr(other, zarr_format=3, consolidated=True)
    is_tree = isinstance(summary, xr.DataTree)
    if is_tree:
        mine, theirs = (xr.open_datatree(place, engine="zarr") for place in (store, other))
        mine = mine.filter(lambda node: not node.path.startswith("/blocks"))
        assert {node.path for node in mine.subtree} == {node.path for node in theirs.subtree}
        mine, theirs = ({node.path: node.to_dataset() for node in tree.subtree} for tree in (mine, theirs))
    else:
        mine, theirs = ({"/": xr.open_zarr(place)} for place in (store, other))
    for path, node in theirs.items():
        kept = set(node.attrs)
        found = mine[path].assign_attrs({name: mine[path].attrs[name] for name in kept})
        xr.testing.assert_identical(found.load(), node.load())
    said = json.loads((store / "zarr.json").read_bytes())
    assert "records" in str(sorted(said["consolidated_metadata"]["metadata"]))
    zarr.consolidate_metadata(store)
    assert json.loads((store / "zarr.json").read_bytes()) == said
