"""Stores of parts of one study, merged: the bits of one run, or a line that says what is wrong."""

import hashlib

import pytest
from helpers import Noisy, command, small_study

import biasvar as bv
from biasvar.errors import RunError, StoreError, StudyChangedError, StudyError
from biasvar.execution.store import Store


def descents(**changes):
    fields = {
        "name": "descents",
        "objectives": {"bowl": bv.Quadratic([1, 10])},
        "optimizers": {"sgd": bv.SGD([0.01, 0.1])},
        "steps": 20,
        "replicates": 2,
    }
    return bv.OptimizerStudy(**{**fields, **changes})


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


PRECISE = {"replicates": None, "precision": {"expected_risk": 0.05}}
SETS = {"b": bv.Polynomial(1), "a": bv.Polynomial(0)}


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([small_study(), small_study(n_train=30)], small_study(n_train=[2, 10, 30])),
        ([small_study(n_train=30), small_study(), small_study(n_train=[10, 30])], small_study(n_train=[2, 10, 30])),
        ([small_study(hypotheses={label: SETS[label]}) for label in SETS], small_study(hypotheses=SETS)),
        ([small_study(noise=0.1), small_study(noise=0.3)], small_study(noise=[0.1, 0.3])),
        (
            [
                small_study(
                    hypotheses={"b": SETS["b"], "n": bv.Estimator({"sklearn.dummy:DummyRegressor": {}})}, noise=n
                )
                for n in (0.1, 0.3)
            ],
            small_study(
                hypotheses={"b": SETS["b"], "n": bv.Estimator({"sklearn.dummy:DummyRegressor": {}})}, noise=[0.1, 0.3]
            ),
        ),
        ([small_study(), small_study(replicates=2048)], small_study(replicates=2048)),
        (
            [small_study(n_train=n, **PRECISE) for n in (10, 30)],
            small_study(n_train=[10, 30], **PRECISE),
        ),
        (
            [
                descents(),
                descents(optimizers={"sgd": bv.SGD([0.03]), "adam": bv.Adam([0.1])}),
                descents(optimizers={"adam": bv.Adam([0.1])}, objectives={"steep": bv.Quadratic([1, 50])}),
                descents(optimizers={"sgd": bv.SGD([0.01, 0.03, 0.1])}, objectives={"steep": bv.Quadratic([1, 50])}),
                descents(optimizers={"adam": bv.Adam([0.1])}),
            ],
            descents(
                optimizers={"sgd": bv.SGD([0.01, 0.03, 0.1]), "adam": bv.Adam([0.1])},
                objectives={"bowl": bv.Quadratic([1, 10]), "steep": bv.Quadratic([1, 50])},
            ),
        ),
    ],
    ids=["sizes", "overlapping", "sets", "noise", "simulated noise", "replicates", "precision", "optimizers"],
)
def test_a_merge_has_the_bits_of_one_run(parts, whole, tmp_path):
    places = [tmp_path / f"{i}.zarr" for i in range(len(parts))]
    for i, (part, place) in enumerate(zip(parts, places, strict=True)):
        bv.run(part, place, scheduler="synchronous", blocks_per_chunk=3 + i if part.block_size > 1 else None)
    before = [contents(place) for place in places]
    at_once = bv.run(whole, tmp_path / "once.zarr", scheduler="synchronous")
    try:
        merged = bv.merge(places, tmp_path / "all.zarr")
    except RunError:
        assert whole.replicates == 2048  # of three blocks per chunk, the last of 16 is not whole in 32
        merged = bv.run(bv.load(tmp_path / "all.zarr"), tmp_path / "all.zarr", scheduler="synchronous")
    assert bv.load(tmp_path / "all.zarr") == whole
    assert merged.equals(at_once)
    assert bv.digest(tmp_path / "all.zarr") == bv.digest(tmp_path / "once.zarr")
    assert bv.verify(tmp_path / "all.zarr").ok
    assert [contents(place) for place in places] == before


def two(tmp_path, one, other):
    places = [tmp_path / "a.zarr", tmp_path / "b.zarr"]
    for study, place in zip((one, other), places, strict=True):
        bv.run(study, place, scheduler="synchronous", blocks_per_chunk=4)
    return places


def test_what_no_store_has_is_said_and_simulated_by_the_next_run(tmp_path, capsys):
    places = two(tmp_path, small_study(n_train=2), small_study(n_train=30))
    chunk = next((places[0] / "blocks" / "n2").rglob("records/c/0/1/0"))
    data = bytearray(chunk.read_bytes())
    data[-20] ^= 255
    chunk.write_bytes(data)
    with pytest.raises(RunError, match=r"1 chunk and 0 cells are whole in none .* biasvar run --resume"):
        bv.merge(places, tmp_path / "all.zarr")
    assert "blocks 4 to 7 of n2/H0+H1 are damaged; left out" in capsys.readouterr().err
    whole = bv.load(tmp_path / "all.zarr")
    assert sum(len(records.missing()) for records in Store(tmp_path / "all.zarr").groups().values()) == 1
    bv.run(whole, tmp_path / "all.zarr", scheduler="synchronous")
    bv.run(small_study(n_train=[2, 30]), tmp_path / "once.zarr", scheduler="synchronous")
    assert bv.digest(tmp_path / "all.zarr") == bv.digest(tmp_path / "once.zarr")


def test_damage_in_one_store_is_made_good_by_another(tmp_path):
    places = two(tmp_path, small_study(), small_study())
    for place, block in zip(places, (0, 3), strict=True):
        next((place / "blocks" / "n10").rglob(f"count/c/{block}")).unlink()
        next((place / "blocks" / "n10").rglob(f"records/c/0/{block}/0")).unlink()
    bv.merge(places, tmp_path / "all.zarr")
    assert bv.verify(tmp_path / "all.zarr").ok
    bv.run(small_study(), tmp_path / "once.zarr", scheduler="synchronous")
    assert bv.digest(tmp_path / "all.zarr") == bv.digest(tmp_path / "once.zarr")


def test_an_interrupted_merge_is_repeated_and_a_finished_one_extended(tmp_path, monkeypatch):
    from biasvar.execution import merge as module

    places, calls = two(tmp_path, small_study(n_train=2), small_study(n_train=30)), []

    def interrupted(records, *rest):
        if calls:
            raise KeyboardInterrupt
        calls.append(records)
        copy(records, *rest)

    copy = module._copy
    with monkeypatch.context() as patch:
        patch.setattr(module, "_copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bv.merge(places, tmp_path / "all.zarr")
    bv.merge(places, tmp_path / "all.zarr")
    assert bv.verify(tmp_path / "all.zarr").ok
    bv.run(small_study(n_train=10), tmp_path / "c.zarr", scheduler="synchronous")
    bv.merge([tmp_path / "c.zarr"], tmp_path / "all.zarr")
    bv.run(small_study(n_train=[2, 10, 30]), tmp_path / "once.zarr", scheduler="synchronous")
    assert bv.digest(tmp_path / "all.zarr") == bv.digest(tmp_path / "once.zarr")


def test_what_is_not_one_study_is_refused_and_nothing_made(tmp_path):
    places = two(tmp_path, small_study(), small_study(seed=1, target=bv.Step(), n_train=30))
    with pytest.raises(StudyChangedError, match=r"b\.zarr: holds a different study \(seed: .*; target: ") as caught:
        bv.merge(places, tmp_path / "all.zarr")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "all.zarr").exists()
    bv.run(descents(), tmp_path / "c.zarr")
    with pytest.raises(StudyError, match="kind: "):
        bv.merge([places[0], tmp_path / "c.zarr"], tmp_path / "all.zarr")
    for stores, into in (
        (places, places[0]),
        ([], "x.zarr"),
        ("a.zarr", "x.zarr"),
        ([tmp_path / "none.zarr"], "x.zarr"),
    ):
        with pytest.raises(StoreError):
            bv.merge(stores, into)


def test_functions_of_a_script_need_the_study(tmp_path):
    class Own(Noisy):
        pass

    own = small_study(hypotheses={"own": Own()})
    places = two(tmp_path, own, own.replace(n_train=30))
    with pytest.raises(StudyError, match=r"hypotheses.own: .*Own' is of a script"):
        bv.merge(places, tmp_path / "all.zarr")
    merged = bv.merge(places, tmp_path / "all.zarr", study=own.replace(n_train=[2, 10, 30]))
    assert merged.n_train.values.tolist() == [2, 10, 30]


def test_the_command_line_merges(tmp_path):
    two(tmp_path, small_study(), small_study(n_train=30))
    merged = command("merge", "a.zarr", "b.zarr", "--store", "all.zarr", cwd=tmp_path)
    assert merged.returncode == 0, merged.stderr
    assert "stored in all.zarr" in merged.stdout
    refused = command("merge", "a.zarr", "none.zarr", "--store", "x.zarr", cwd=tmp_path)
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
