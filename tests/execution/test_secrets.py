"""Credentials are in no graph, no store and no output."""

import cloudpickle
from helpers import SECRET, command, small_study

from biasvar.execution import graph
from biasvar.execution.backends import Location
from biasvar.execution.store import Store


def test_no_secret_is_in_graph_store_or_output(bucket_place, s3, tmp_path):
    study, at = small_study(), Location.of(bucket_place)
    store, (group, *_) = Store(at), study.groups()
    store.claim(study)
    records = store.create(group, 16, 4, study.record_coordinates(group))
    records.missing()
    tasks = graph.Tasks(graph.PackedStudy(study), graph.Job.of(at, records), [1, 3])
    shipped = cloudpickle.dumps(tasks.__dask_graph__())
    assert bucket_place.encode() in shipped
    done = command("run", "two-point-sine", "--store", f"{bucket_place}-2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lost = command("status", "s3://no-such-bucket/key", cwd=tmp_path)
    assert (lost.returncode, len(lost.stderr.strip().splitlines())) == (2, 1)
    stored = "".join(str(Location.of(f"{bucket_place}-2").read(key)) for key in ("zarr.json", "blocks/zarr.json"))
    for text in (str(shipped), stored, done.stdout, done.stderr, lost.stderr, repr(at), repr(store)):
        assert SECRET not in text
        assert "AKIAEXAMPLE" not in text
        assert s3 not in stored
