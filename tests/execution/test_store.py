"""Nothing that a store holds is ever executed."""

import contextlib
import json
import os
import pickle
from pathlib import Path

import numcodecs.pickles
import pytest
import zarr
from helpers import small_study

import biasvar as bv
from biasvar.errors import StoreError
from biasvar.execution.status import store_status


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def plant(folder, marker):
    """Make of a folder an array of Zarr format 2 whose codec unpickles what is stored."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zarr.json").unlink(missing_ok=True)
    about = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "fill_value": "", "order": "C"}
    codecs = {"compressor": None, "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}]}
    (folder / ".zarray").write_text(json.dumps(about | codecs))
    (folder / "0").write_bytes(pickle.dumps(Payload(marker)))


@pytest.mark.filterwarnings("ignore:Object at:zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("where", ["", "blocks", "bias2", "blocks/n2/H0+H1/records", "blocks/n2/H0+H1/moment"])
def test_a_store_with_a_pickle_inside_does_not_run_it(where, store, tmp_path, monkeypatch):
    # Newer versions of numcodecs have a guard of their own; what is looked at here does without.
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    marker = str(tmp_path / "was run")
    plant(tmp_path / "bait", marker)
    with pytest.raises((TypeError, ValueError, AttributeError)):
        zarr.open_array(tmp_path / "bait", mode="r")[:]
    Path(marker).rmdir()  # so the bait is good

    bv.run(small_study(), store, scheduler="synchronous")
    plant(store / where, marker)
    for look in (
        lambda at: bv.open(at).load(),
        bv.verify,
        store_status,
        bv.digest,
        lambda at: bv.run(small_study(), at, scheduler="synchronous"),
    ):
        with contextlib.suppress(StoreError):
            look(store)
    assert not Path(marker).exists()
