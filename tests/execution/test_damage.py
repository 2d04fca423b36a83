"""Stored bytes that changed are found by verify, and mended by the next run."""

import os
import shutil

import dask
import pytest
from helpers import Moody, small_study

import biasvar as bv
from biasvar.errors import RunError
from biasvar.execution import records


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path):
    path.write_bytes(os.urandom(path.stat().st_size))


def delete(path):
    path.unlink()


def swap(path):
    other = path.with_name(str((int(path.name) + 1) % 2)) if path.name.isdigit() else path
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


CHUNKS = {
    "records": "blocks/n2/H0+H1/records/c/0/1/0",
    "checksum": "blocks/n2/H0+H1/checksum/c/0/1",
    "count": "blocks/n2/H0+H1/count/c/1",
    "metadata": "blocks/n2/H0+H1/records/zarr.json",
    "group": "blocks/n2/H0+H1/zarr.json",
    "summary": "bias2/c/0/0/0",
    "summary metadata": "bias2/zarr.json",
    "root": "zarr.json",
    "blocks": "blocks/zarr.json",
    "problem": "blocks/n2/zarr.json",
    "coordinate": "blocks/n2/H0+H1/moment/zarr.json",
}


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("harm", [truncate, garbage, delete])
def test_verify_finds_damage_and_run_repairs_it(harm, chunk, study, store):
    bv.run(study, store, blocks_per_chunk=8)
    before = bv.digest(store)
    harm(store / CHUNKS[chunk])
    assert not bv.verify(store).ok
    bv.run(study, store)
    assert bv.verify(store).ok
    assert bv.digest(store) == before


@pytest.mark.parametrize("size", [1, 3000, records.SPAN_BYTES])
def test_chunks_read_together_are_the_same_and_damage_is_told_of_the_right_one(
    size, study, store, tmp_path, monkeypatch
):
    bv.run(study, tmp_path / "whole.zarr", blocks_per_chunk=16)
    monkeypatch.setattr(records, "SPAN_BYTES", size)
    bv.run(study, store, blocks_per_chunk=1)
    assert bv.digest(store) == bv.digest(tmp_path / "whole.zarr")
    for chunk in (3, 5):
        garbage(store / f"blocks/n2/H0+H1/checksum/c/0/{chunk}")
    told = bv.verify(store).problems
    assert len(told) == 2
    for problem, chunk in zip(told, (3, 5), strict=True):
        assert f"chunk {chunk} of blocks/n2/H0+H1" in problem


def run_and_lose(lost, store):
    """Run, and delete something after three chunks; return what was said."""
    said = []

    def delete_once(progress):
        place = store / lost
        if progress.done == 3 and not said:
            said.append("three chunks")
            place.unlink() if place.is_file() else shutil.rmtree(place)
        said.extend(progress.messages)

    bv.run(small_study(), store, scheduler="synchronous", blocks_per_chunk=4, progress=delete_once)
    return said


@pytest.mark.parametrize("lost", ["blocks/n2/H0+H1/count/zarr.json", "blocks/n2/H0+H1/zarr.json", "blocks/n2/H0+H1"])
def test_what_is_deleted_during_a_run_is_simulated_again(lost, store, tmp_path):
    bv.run(small_study(), tmp_path / "sound.zarr")
    assert any("metadata of blocks/n2/H0+H1 was lost" in line for line in run_and_lose(lost, store))
    assert bv.verify(store).ok
    assert bv.digest(store) == bv.digest(tmp_path / "sound.zarr")


def test_groups_that_are_deleted_during_a_run_are_told_in_a_line(store, tmp_path):
    bv.run(small_study(), tmp_path / "sound.zarr")
    words = "metadata of blocks/.* is missing or damaged .*the same run goes on from there"
    with dask.config.set({"biasvar.retry-wait": "0.1s"}), pytest.raises(RunError, match=words):
        run_and_lose("blocks", store)
    bv.run(small_study(), store)
    assert bv.digest(store) == bv.digest(tmp_path / "sound.zarr")


def test_a_lost_reason_is_damage(store):
    study = small_study(hypotheses={"moody": Moody()}, n_train=[5])
    bv.run(study, store)
    before = bv.digest(store)
    next(store.glob("blocks/n5/*/failure/c/0/0")).unlink()
    assert not bv.verify(store).ok
    assert set(bv.run(study, store).status.values.ravel()) == {"failed"}
    assert bv.digest(store) == before


def test_chunks_that_changed_places_are_found(study, store):
    bv.run(study, store, blocks_per_chunk=8)
    before = bv.digest(store)
    folder = store / "blocks/n2/H0+H1/records/c/0"
    (folder / "0").rename(folder / "x")
    (folder / "1").rename(folder / "0")
    (folder / "x").rename(folder / "1")
    found = bv.verify(store)
    assert len(found.problems) == 2
    assert "checksum" in found.problems[0]
    bv.run(study, store)
    assert bv.digest(store) == before


def test_a_half_written_file_is_swept_away(study, store, monkeypatch):
    """Wherever it was to go: a set may be called c, as the folders of chunks are."""
    study = study.replace(hypotheses={"c": bv.Polynomial(0)})
    replace = os.replace

    def leave(draft, path):
        if str(draft).endswith(".partial"):
            shutil.copy(draft, draft.replace(".partial", "0.partial"))
        replace(draft, path)

    monkeypatch.setattr(os, "replace", leave)
    bv.run(study, store, scheduler="synchronous", blocks_per_chunk=4)
    monkeypatch.undo()
    left = {file.parent.relative_to(store).as_posix() for file in store.rglob("*.partial")}
    assert {".", "bias2", "blocks/n2", "blocks/n10"} <= left
    bv.run(study, store)
    assert not list(store.rglob("*.partial"))


def test_altered_coordinates_are_found_and_mended(store):
    bv.run(small_study(), store)
    for name in ("place", "moment", "cell"):
        file = next(store.glob(f"blocks/n2/*/{name}/c/0"))
        content = bytearray(file.read_bytes())
        content[-6] ^= 1
        file.write_bytes(content)
        assert "coordinates of blocks/n2/H0+H1 are damaged" in str(bv.verify(store)), name
        bv.run(small_study(), store)
        assert bv.verify(store).ok


def test_a_store_that_was_put_into_another_is_noticed_and_kept(store):
    for inner in (store / "inner.zarr", store / "blocks" / "inner.zarr"):
        bv.run(small_study(), store)
        shutil.copytree(store, store.parent / "copy.zarr")
        shutil.move(store.parent / "copy.zarr", inner)
        assert "another store lies in this one" in str(bv.verify(store))
        bv.run(small_study(), store)
        assert bv.verify(inner).ok
        shutil.rmtree(inner)
        assert bv.verify(store).ok
