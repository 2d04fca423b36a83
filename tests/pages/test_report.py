"""Reports of stores: whole, safe, the same bytes, with the store's own numbers."""

import base64
import html
import json
import re
import zlib

import numpy as np
import pytest
import yaml
from helpers import SMALL_STUDIES, command, small_study

import biasvar as bv

MINE = """import numpy as np
open("ran", "a").write(".")


def f(x):
    return x**2


class Zero:
    def fit_predict(self, x, y, at, rng):
        return np.zeros(at.shape)


class Bowl:
    dim = 2

    def value(self, theta):
        return (theta**2).sum(axis=-1)

    def gradient(self, theta):
        return 2 * theta
"""


def descents(**changes):
    fields = {
        "name": "descents",
        "objectives": {"bowl": bv.Quadratic(eigenvalues=[1, 20])},
        "optimizers": {
            "sgd": bv.SGD(learning_rate=[0.01, 0.05, 0.2]),
            "momentum": bv.Momentum(learning_rate=[0.01, 0.05], momentum=[0.5, 0.9]),
        },
        "targets": {"bowl": [1e-2, 1e-6]},
        "steps": 60,
        "record": ["objective", "parameters"],
        "replicates": 2,
    }
    return bv.OptimizerStudy(**{**fields, **changes})


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for study in (small_study(), descents()):
        bv.run(study, folder / f"{study.name}.zarr", scheduler="synchronous")
    return folder


@pytest.fixture(scope="module")
def pages(stores):
    return {
        name: bv.report(stores / f"{name}.zarr", stores / f"{name}.html").read_text() for name in ("small", "descents")
    }


def data_in(page):
    return json.loads(re.search(r'<script type="application/json" id="descents">(.*?)</script>', page)[1])


def unpacked(text, shape):
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(4, -1)
    changes = np.ascontiguousarray(planes.T).view("<i4").reshape(shape)
    return np.cumsum(changes, axis=-1, dtype=np.int32).view("<f4")


@pytest.mark.slow
def test_the_same_store_gives_the_same_bytes(stores, pages, tmp_path):
    for name, page in pages.items():
        assert bv.report(stores / f"{name}.zarr", tmp_path / "deep" / "again.html").read_text() == page


@pytest.mark.parametrize("name", ["small", "descents"])
def test_a_page_asks_for_nothing_and_runs_no_script_but_its_own(pages, name):
    page = pages[name]
    policy = html.unescape(re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)[1])
    assert policy.startswith("default-src 'none'; img-src data:")
    assert "unsafe-inline" not in policy.split("script-src")[1]
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert not re.search(r"\son\w+=", page)
    assert len(page) < 2e6


def test_what_is_flagged_comes_before_what_was_found(pages):
    body = pages["small"].split("<main>")[1]
    assert body.index('class="flag">1 cell with numbers that are infinite') < body.index('class="finding"')


def test_numbers_and_their_errors_are_those_of_show(stores, pages):
    shown = command("show", stores / "small.zarr", "--format", "html", cwd=stores).stdout.strip()
    rows = re.findall(r"<tr>.*?</tr>", shown)
    assert len(rows) == 9
    for row in rows:
        assert row in pages["small"]


def test_the_study_in_the_page_is_the_study(stores, pages, tmp_path):
    for name, page in pages.items():
        text = html.unescape(re.search(r"<pre>(.*?)</pre>", page, re.DOTALL)[1])
        (tmp_path / "study.yaml").write_text(text)
        assert bv.load(tmp_path / "study.yaml") == bv.load(stores / f"{name}.zarr")
        assert bv.digest(stores / f"{name}.zarr") in page


def test_curves_paths_and_costs_are_the_stores(stores, pages):
    tree = bv.open(stores / "descents.zarr").load()
    (objective,) = data_in(pages["descents"])["objectives"].values()
    assert objective["targets"] == [1e-2, 1e-6]
    for label, rule in objective["rules"].items():
        node = tree[f"bowl/{label}"].to_dataset()
        axes = [axis["name"].replace(" ", "_") for axis in rule["axes"]]
        assert rule["shape"] == [node.sizes[axis] for axis in axes]
        fixed = node.isel({name: 0 for name in node.hyperparameter.values if name not in axes})
        for stored, packed in (
            (fixed.objective.transpose(*axes, "step"), rule["curves"]),
            (fixed.parameters.transpose(*axes, "replicate", "parameter", "step"), rule["paths"]),
            (fixed.median_cost_to_target.isel(target=1).transpose(*axes).stack(all=axes), rule["cost"][1]),
        ):
            np.testing.assert_allclose(unpacked(packed, stored.shape), stored.values, rtol=2**-14)
    low, high, bottom, top = objective["view"]
    assert low < 0 < high
    assert bottom < 0 < top
    assert objective["contours"]


def test_names_with_marks_in_them_are_text(tmp_path):
    evil = '<script>alert("1")<b>'
    study = small_study(hypotheses={evil: bv.Polynomial(0), "a & 'b'": bv.Polynomial(1)})
    bv.run(study, tmp_path / "evil.zarr", scheduler="synchronous")
    page = bv.report(tmp_path / "evil.zarr", tmp_path / "evil.html").read_text()
    assert evil not in page
    assert html.escape(evil) in page
    summary = bv.open(tmp_path / "evil.zarr")
    for shown in (study._repr_html_(), bv.plan(study)._repr_html_(), summary.biasvar._repr_html_()):
        assert "<script" not in shown
    assert html.escape(evil) in summary.biasvar._repr_html_()


def test_a_report_says_first_what_failed(tmp_path):
    class Fails:
        def fit_predict(self, x, y, at, rng):
            raise ArithmeticError("on purpose")

    study = small_study(hypotheses={"H0": bv.Polynomial(0), "bad": Fails()}, noise=[0.0])
    bv.run(study, tmp_path / "failed.zarr", scheduler="synchronous")
    page = bv.report(tmp_path / "failed.zarr", tmp_path / "failed.html").read_text()
    first = re.search(r'<p class="(\w+)">(.*?)</p>', page.split('class="about"')[1])
    assert first.groups() == ("flag", "2 cells that failed, of 4; the first: bad, n_train 2, noise 0.")


def test_large_grids_are_thinned_and_say_so(tmp_path, monkeypatch):
    from biasvar.pages import explorer

    study = descents(optimizers={"sgd": bv.SGD(learning_rate=bv.logspace(1e-3, 1e-1, 40))})
    bv.run(study, tmp_path / "grid.zarr", scheduler="synchronous")
    monkeypatch.setattr(explorer, "MOST_NUMBERS", 2000)
    page = bv.report(tmp_path / "grid.zarr", tmp_path / "grid.html").read_text()
    found = data_in(page)
    (objective,) = found["objectives"].values()
    assert found["thinned"]
    assert "every second value" in page
    rates = objective["rules"]["sgd"]["axes"][0]["values"]
    assert 1 < len(rates) < 40
    assert set(rates) <= set(bv.logspace(1e-3, 1e-1, 40))


RISK = {
    "inputs": {"Uniform": {"low": -1, "high": 1}},
    "hypotheses": {"H0": {"Polynomial": {"degree": 0}}},
    "n_train": 4,
    "replicates": 256,
    "block_size": 16,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"target": "mine:f", **RISK},
        {"target": "Sine", **RISK, "hypotheses": {"mine": "mine:Zero"}},
        {
            "kind": "optimizer",
            "objectives": {"mine": "mine:Bowl"},
            "optimizers": {"sgd": {"SGD": {"learning_rate": [0.1, 0.2]}}},
            "initial": {"mine": [1.0, 1.0]},
            "steps": 10,
            "record": ["objective", "parameters"],
        },
    ],
    ids=["target", "set", "objective"],
)
def test_code_of_the_users_own_is_not_run(fields, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"name": "own", **fields}))
    assert command("run", "own.yaml", "--scheduler", "synchronous", cwd=tmp_path).returncode == 0
    (tmp_path / "ran").unlink()
    done = command("report", "own.zarr", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"own\.html: 0\.\d\d MB\n", done.stdout)
    assert not (tmp_path / "ran").exists()
    assert "mine:" in (tmp_path / "own.html").read_text()
    text = html.unescape(re.search(r"<pre>(.*?)</pre>", (tmp_path / "own.html").read_text(), re.DOTALL)[1])
    (tmp_path / "again.yaml").write_text(text)
    again = command("run", "again.yaml", "--scheduler", "synchronous", "--store", "own.zarr", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_a_file_that_cannot_be_written_is_bad_input(stores, tmp_path):
    (tmp_path / "page.html").mkdir()
    done = command("report", str(stores / "small.zarr"), "--out", "page.html", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "biasvar: page.html: cannot be written (Is a directory); choose another path\n"


def test_what_cannot_be_reported_is_said_in_a_line(tmp_path):
    done = command("report", "nothing.zarr", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "does not exist" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALL_STUDIES))
def test_every_bundled_study_has_a_report(name, tmp_path):
    bv.run(bv.load(name, SMALL_STUDIES[name]), tmp_path / "s.zarr", scheduler="synchronous")
    page = bv.report(tmp_path / "s.zarr", tmp_path / "s.html").read_text()
    assert "<h2>Numbers</h2>" in page
    assert "<h2>To repeat it</h2>" in page
    found = re.findall(r'<p class="finding">(.*?)</p>', page)
    assert found
    assert all(page.count(f">{sentence}<") == 1 for sentence in found)
    assert "data:image/" in page
    assert len(page) < 2e6
    assert ("<h2>Explore the descents</h2>" in page) == (bv.load(name).to_json()["kind"] == "optimizer")
