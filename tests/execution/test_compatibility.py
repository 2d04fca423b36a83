"""Stores know what they hold: blocks of other arithmetic or another layout can be read and shown, and not added to."""

import json

import numpy as np
import pytest
import zarr
from helpers import command, small_study

import biasvar as bv
from biasvar.errors import StoreError
from biasvar.execution import attributes
from biasvar.execution import store as stores
from biasvar.execution.backends import Location
from biasvar.execution.status import store_status
from biasvar.studies.numerics import NUMERICS
from biasvar.studies.risk import RiskStudy


@pytest.fixture
def stored(store):
    bv.run(small_study(), store, scheduler="synchronous")
    return store


def edit_attributes(store, edit):
    at = Location.of(store)
    for key in ("zarr.json", "blocks/zarr.json"):
        metadata = json.loads(at.read(key))
        edit(metadata["attributes"])
        at.write(key, json.dumps(metadata).encode())


def contents(store):
    return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


def refuse(store, words):
    """Whatever adds to the store is refused in one line, and changes nothing; whatever reads it goes on."""
    before, digest = contents(store), bv.digest(store)
    for study in (small_study(), small_study(replicates=32 * 64), small_study(n_train=[2, 10, 20])):
        with pytest.raises(StoreError, match=words) as refused:
            bv.run(study, store, scheduler="synchronous")
        assert "\n" not in str(refused.value)
        assert "run into a new store, or install the version that made it, biasvar 0." in str(refused.value)
    assert contents(store) == before
    assert bv.open(store).load().sizes["n_train"] == 2
    assert bv.verify(store).ok
    assert store_status(store).complete
    assert bv.digest(store) == digest


def test_blocks_of_other_arithmetic_are_read_and_not_added_to(stored, monkeypatch):
    monkeypatch.setattr(stores, "NUMERICS", NUMERICS + 1)
    refuse(stored, f"its blocks were made by arithmetic {NUMERICS}, this version's is {NUMERICS + 1}")


def test_an_unfinished_store_of_other_arithmetic_is_not_resumed(store, monkeypatch):
    class KilledError(Exception):
        pass

    def killed(progress):
        if progress.done:
            raise KilledError

    with pytest.raises(KilledError):
        bv.run(small_study(), store, scheduler="synchronous", blocks_per_chunk=4, progress=killed)
    monkeypatch.setattr(stores, "NUMERICS", NUMERICS + 1)
    done = store_status(store).done
    with pytest.raises(StoreError, match=f"arithmetic {NUMERICS}, this version's is {NUMERICS + 1}"):
        bv.run(small_study(), store, scheduler="synchronous")
    assert store_status(store).done == done == 1


def test_the_command_line_refuses_in_a_line_and_shows_all_the_same(stored, tmp_path):
    edit_attributes(stored, lambda attributes: attributes.update(numerics=7))
    shown = command("show", stored, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    (tmp_path / "small.yaml").write_text(json.dumps(small_study().to_json()))
    refused = command("run", "small.yaml", "--store", stored, cwd=tmp_path)
    assert refused.returncode == 2
    assert f"its blocks were made by arithmetic 7, this version's is {NUMERICS}" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_stores_without_a_number_were_made_by_the_first(stored, monkeypatch):
    for module in (stores, attributes):
        monkeypatch.setattr(module, "NUMERICS", 1)
    digest = bv.digest(stored)
    edit_attributes(stored, lambda attributes: attributes.pop("numerics"))
    bv.run(small_study(), stored, scheduler="synchronous")
    assert bv.digest(stored) == digest
    bv.run(small_study(replicates=32 * 64), stored, scheduler="synchronous")
    assert bv.verify(stored).ok
    assert json.loads(Location.of(stored).read("zarr.json"))["attributes"]["numerics"] == 1


def test_records_of_another_size_are_not_added_to(stored, monkeypatch):
    ours = RiskStudy.record_coordinates

    def longer(self, group):
        found = ours(self, group)
        return {"moment": np.append(found["moment"], "kurtosis"), "place": np.append(found["place"], 0)}

    monkeypatch.setattr(RiskStudy, "record_coordinates", longer)
    study = small_study()
    size = len(ours(study, study.groups()[0])["moment"])
    refuse(stored, rf"a record of blocks/n10/H0\+H1 has {size} numbers, this version's has {size + 1}")


def test_records_in_another_order_are_not_added_to(stored, monkeypatch):
    ours = RiskStudy.record_coordinates

    def turned(self, group):
        return {name: values[::-1] for name, values in ours(self, group).items()}

    study = small_study()
    names = list(zip(*ours(study, study.groups()[0]).values(), strict=True))
    first, last = (rf"{moment}\[{place}\]" for moment, place in (names[0], names[-1]))
    monkeypatch.setattr(RiskStudy, "record_coordinates", turned)
    refuse(stored, rf"number 0 of a record of blocks/n10/H0\+H1 is {first}, this version's is {last}")


@pytest.mark.parametrize("damage", ["torn", "lost"])
@pytest.mark.parametrize("name", ["cell", "moment"])
def test_damaged_coordinates_are_no_other_layout_and_are_repaired(name, damage, stored):
    chunk = stored / "blocks/n2/H0+H1" / name / "c/0"
    chunk.unlink() if damage == "lost" else chunk.write_bytes(b"torn")
    assert bv.verify(stored).problems == ("coordinates of blocks/n2/H0+H1 are damaged",)
    bv.run(small_study(), stored, scheduler="synchronous")
    assert bv.verify(stored).ok
    group = zarr.open_group(stored / "blocks/n2/H0+H1", mode="r")
    assert list(group["cell"][:]) == ["H0", "H1"]
    assert group["moment"][0] == "mean"


def test_a_changed_function_of_a_user_is_told_as_such(store):
    bv.run(small_study(target=lambda x: np.sin(3 * x)), store, scheduler="synchronous")
    with pytest.raises(StoreError, match="holds a different study") as refused:
        bv.run(small_study(target=lambda x: np.sin(3 * x) + 1), store, scheduler="synchronous")
    assert "arithmetic" not in str(refused.value)
