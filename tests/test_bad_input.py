"""What cannot be done is said in one line, with the right exit code or error, and disturbs no store."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pytest
from click.testing import CliRunner
from helpers import ROOT, command, small_study

import biasvar as bv
from biasvar.cli import main
from biasvar.errors import BiasvarError, SchedulerError, SettingError, StoreError, StudyError

MODULE = """
import math
import numpy as np

def branches(x):
    return 1.0 if x > 0 else 0.0

def scalar_sine(x):
    return math.sin(x)

def random(x):
    return np.random.default_rng().random(x.shape)

def complex(x):
    return x + 1j
"""
FILES = {
    "broken.yaml": "name: [",
    "list.yaml": "- 1\n- 2",
    "empty.yaml": "",
    "text.yaml": "just text",
    "kind.yaml": "kind: mystery\nname: x",
    "lacks.yaml": "name: x",
    "binary.yaml": b"\xff\xfe\x00name",
    "tag.yaml": "name: !!python/object/apply:os.system ['touch pwned']",
    "address.json": '{"address": 5}',
    "dashboard.json": '{"address": "http://127.0.0.1:8787"}',
    "portless.json": '{"address": "tcp://127.0.0.1"}',
}


def bytes_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def neighbour(tmp_path_factory):
    """A folder with a good store in it, which still verifies at the end, with the same digest."""
    folder = tmp_path_factory.mktemp("neighbour")
    bv.run(small_study(), folder / "good.zarr", scheduler="synchronous", progress=False)
    before = bv.digest(folder / "good.zarr")
    (folder / "mine.py").write_text(MODULE)
    for name, content in FILES.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "folder").mkdir()
    (folder / "folder" / "note.txt").write_text("not a store")
    (folder / "dangling.zarr").symlink_to(folder / "nowhere" / "x.zarr")
    yield folder
    assert bv.verify(folder / "good.zarr").ok
    assert bv.digest(folder / "good.zarr") == before


@pytest.fixture(autouse=True)
def undisturbed(neighbour, monkeypatch):
    """Every test works beside the good store, and leaves everything as it was."""
    monkeypatch.chdir(neighbour)
    monkeypatch.syspath_prepend(neighbour)
    before = bytes_of(neighbour)
    yield
    assert bytes_of(neighbour) == before
    assert {path.name for path in neighbour.iterdir()} - {"__pycache__"} == {
        "good.zarr", "mine.py", "folder", "dangling.zarr", *FILES,
    }  # fmt: skip


def refused(call, kind, *words):
    with pytest.raises(kind) as caught:
        call()
    told = str(caught.value)
    assert len(told.splitlines()) == 1, told
    assert len(told) < 1000
    for word in words:
        assert word in told
    return told


# Python: studies

FUNCTIONS: dict = {}
exec(MODULE, FUNCTIONS)

RISK_FIELDS = [
    ({"name": ""}, ["name"]),
    ({"name": "a/b"}, ["name", "a/b"]),
    ({"name": "a\nb"}, ["name"]),
    ({"name": "a" * 5000}, ["name", "200"]),
    ({"name": 3}, ["name", "3"]),
    ({"seed": -1}, ["seed", "-1"]),
    ({"seed": "0"}, ["seed", "'0'"]),
    ({"seed": 0.5}, ["seed", "0.5"]),
    ({"seed": None}, ["seed", "None"]),
    ({"seed": True}, ["seed", "True"]),
    ({"replicates": -1024}, ["replicates", "-1024"]),
    ({"replicates": 0}, ["replicates", "0"]),
    ({"replicates": 1000}, ["replicates", "1000", "1024"]),
    ({"replicates": 1056}, ["replicates", "multiple"]),
    ({"replicates": 1024.0}, ["replicates"]),
    ({"replicates": [1024]}, ["replicates"]),
    ({"block_size": 0}, ["block_size"]),
    ({"block_size": 100}, ["block_size", "64 or 128"]),
    ({"block_size": 2**32, "replicates": 2**40}, ["block_size", "GB", "smaller"]),
    ({"n_train": []}, ["n_train"]),
    ({"n_train": [0]}, ["n_train", "0"]),
    ({"n_train": [2, 2]}, ["n_train", "twice"]),
    ({"n_train": [2.5]}, ["n_train", "2.5"]),
    ({"n_train": "2"}, ["n_train", "'2'"]),
    ({"n_train": [10**8], "sampler": "random"}, ["n_train=100000000", "GB"]),
    ({"n_train": [10**8]}, ["sampler", "random"]),
    ({"noise": [-1]}, ["noise", "-1"]),
    ({"noise": [np.nan]}, ["noise", "nan"]),
    ({"noise": [np.inf]}, ["noise", "inf"]),
    ({"noise": [0.5, 0.5]}, ["noise", "twice"]),
    ({"noise": ["a"]}, ["noise", "'a'"]),
    ({"sampler": "grid"}, ["sampler", "grid"]),
    ({"precision": {"bias2": 0.1}}, ["precision", "replicates"]),
    ({"precision": {"luck": 0.1}, "replicates": None}, ["precision", "luck", "bias2"]),
    ({"precision": {"bias2": 0}, "replicates": None}, ["precision", "0"]),
    ({"precision": 0.1, "replicates": None}, ["precision", "0.1"]),
    ({"max_replicates": 2048}, ["max_replicates", "precision"]),
    ({"test_points": 10**9}, ["test_points", "1000000000"]),
    ({"test_points": 10**9, "inputs": bv.Normal(0, 1, dim=5), "target": bv.Linear([1] * 5)}, ["test_points", "GB"]),
    ({"test_points": 0}, ["test_points", "0"]),
    ({"target": 3}, ["target", "callable", "3"]),
    ({"target": "Sinus"}, ["target", "Sinus", "Sine"]),
    ({"target": FUNCTIONS["branches"]}, ["target", "branches", "vectorise it", "np.where"]),
    ({"target": FUNCTIONS["scalar_sine"]}, ["target", "scalar_sine", "vectorise it", "np.sin"]),
    ({"target": FUNCTIONS["random"]}, ["target", "random", "different values"]),
    ({"target": FUNCTIONS["complex"]}, ["target", "complex"]),
    ({"target": lambda x: x[:3]}, ["target", "(3,)", "vectorised"]),
    ({"target": lambda x: x / 0 * 0}, ["target", "not finite"]),
    ({"target": lambda x: {}[1]}, ["target", "KeyError"]),
    ({"inputs": 3}, ["inputs", "Uniform"]),
    ({"inputs": bv.Uniform}, ["inputs"]),
    ({"inputs": "Cauchy"}, ["inputs", "Cauchy", "Normal"]),
    ({"hypotheses": {}}, ["hypotheses", "empty"]),
    ({"hypotheses": {"a/b": bv.Polynomial(0)}}, ["hypotheses", "a/b", "label"]),
    ({"hypotheses": {"a\nb": bv.Polynomial(0)}}, ["hypotheses", "line breaks"]),
    ({"hypotheses": {"a" * 5000: bv.Polynomial(0)}}, ["hypotheses", "too long"]),
    ({"hypotheses": {"": bv.Polynomial(0)}}, ["hypotheses", "label"]),
    ({"hypotheses": {".a": bv.Polynomial(0)}}, ["hypotheses", "label"]),
    ({"hypotheses": {"H": 3}}, ["hypotheses.H", "3"]),
    ({"hypotheses": {"H": bv.Polynomial}}, ["hypotheses.H", "class"]),
    ({"hypotheses": {"H": "Spline"}}, ["hypotheses.H", "Spline", "Polynomial"]),
    ({"hypotheses": {"H": {"Polynomial": {"degree": -1}}}}, ["hypotheses.H", "degree", "-1"]),
    ({"hypotheses": {"H": {"Polynomial": {}}}}, ["hypotheses.H", "degree", "missing"]),
    ({"hypotheses": {"H": bv.Polynomial(10**6)}}, ["hypotheses.H", "1000001 coefficients", "TB"]),
    ({"hypotheses": {"H": bv.Ridge(10**6, 1.0)}}, ["hypotheses.H", "coefficients", "TB"]),
    (
        {
            "hypotheses": {"H": bv.Polynomial(20)},
            "inputs": bv.Normal(0, 1, dim=10),
            "target": bv.Linear([1] * 10),
            "sampler": "random",
        },
        ["hypotheses.H", "30045015 coefficients", "PB"],
    ),
    ({"hypotheses": [bv.Polynomial(0)]}, ["hypotheses"]),
    ({"colour": "red"}, ["colour", "red"]),
]


@pytest.mark.parametrize(("changes", "words"), RISK_FIELDS, ids=[str(i) for i in range(len(RISK_FIELDS))])
def test_a_risk_study_that_cannot_be(changes, words):
    refused(lambda: small_study(**changes), StudyError, *words)


def descent(**changes):
    fields = {
        "name": "descent",
        "objectives": {"bowl": bv.Quadratic(eigenvalues=[1, 10])},
        "optimizers": {"sgd": bv.SGD(learning_rate=[0.01, 0.1])},
        "steps": 10,
        "replicates": 2,
    }
    return bv.OptimizerStudy(**{**fields, **changes})


DESCENT_FIELDS = [
    ({"steps": 0}, ["steps", "0"]),
    ({"steps": "ten"}, ["steps", "ten"]),
    ({"replicates": 0}, ["replicates", "0"]),
    ({"tolerance": -1}, ["tolerance", "-1"]),
    ({"order": "sorted"}, ["order", "sorted"]),
    ({"objectives": {}}, ["objectives", "empty"]),
    ({"objectives": {"a b": bv.Quadratic(eigenvalues=[1])}}, ["objectives", "a b"]),
    ({"objectives": {"a" * 5000: bv.Quadratic(eigenvalues=[1])}}, ["objectives", "too long"]),
    ({"objectives": {"bowl": 3}}, ["objectives.bowl", "3"]),
    ({"objectives": {"bowl": "Bowl"}}, ["objectives.bowl", "Bowl"]),
    ({"optimizers": {}}, ["optimizers", "empty"]),
    ({"optimizers": {"sgd": 3}}, ["optimizers.sgd", "3"]),
    ({"optimizers": {"sgd": "Sgd"}}, ["optimizers.sgd", "Sgd"]),
    ({"optimizers": {"a\nb": bv.SGD(learning_rate=0.1)}}, ["optimizers", "label"]),
    ({"batch_size": [8]}, ["batch_size", "8"]),
    ({"batch_size": [None, None]}, ["batch_size", "twice"]),
    ({"initial": {"other": [0, 0]}}, ["initial", "other"]),
    ({"initial": {"bowl": "there"}}, ["initial", "there"]),
    ({"initial": {"bowl": [np.nan, 0]}}, ["initial", "finite"]),
    ({"targets": {"other": [1]}}, ["targets", "other"]),
    ({"targets": {"bowl": []}}, ["targets"]),
    ({"record": ["speed"]}, ["record", "speed"]),
    ({"record_steps": [100]}, ["record_steps", "100"]),
    ({"record_steps": [-1]}, ["record_steps", "-1"]),
    ({"colour": "red"}, ["colour", "red"]),
]


@pytest.mark.parametrize(("changes", "words"), DESCENT_FIELDS, ids=[str(i) for i in range(len(DESCENT_FIELDS))])
def test_an_optimizer_study_that_cannot_be(changes, words):
    refused(lambda: descent(**changes), StudyError, *words)


# Python: calls


class Bowl:
    dim = 2

    def value(self, theta):
        return float(theta[0] ** 2)

    def gradient(self, theta, batch=None):
        return 2 * theta


CALLS = {
    "plan None": (lambda: bv.plan(None), StudyError, ["study", "None", "load"]),
    "plan 3": (lambda: bv.plan(3), StudyError, ["study", "3"]),
    "plan class": (lambda: bv.plan(bv.RiskStudy), StudyError, ["study", "RiskStudy"]),
    "lazy 3": (lambda: bv.lazy(3), StudyError, ["study", "3"]),
    "lazy precise": (
        lambda: bv.lazy(small_study(replicates=None, precision={"bias2": 1})),
        StudyError,
        ["precision", "replicates"],
    ),
    "run None": (lambda: bv.run(None, "x.zarr"), StudyError, ["study", "None"]),
    "run name": (lambda: bv.run("two-point-sine", "x.zarr"), StudyError, ["study", "biasvar.load"]),
    "run class": (lambda: bv.run(bv.RiskStudy, "x.zarr"), StudyError, ["study"]),
    "load None": (lambda: bv.load(None), StudyError, ["None"]),
    "load 3": (lambda: bv.load(3), StudyError, ["3"]),
    "load nosuch": (lambda: bv.load("nosuch"), StudyError, ["nosuch", "two-point-sine"]),
    "load folder": (lambda: bv.load("folder"), BiasvarError, ["folder"]),
    "open nothing": (lambda: bv.open("none.zarr"), StoreError, ["none.zarr", "does not exist"]),
    "open folder": (lambda: bv.open("folder"), StoreError, ["not a biasvar store"]),
    "open 3": (lambda: bv.open(3), StoreError, ["store", "3"]),
    "verify nothing": (lambda: bv.verify("none.zarr"), StoreError, ["none.zarr", "does not exist"]),
    "verify file": (lambda: bv.verify("mine.py"), StoreError, ["mine.py", "not a biasvar store"]),
    "digest nothing": (lambda: bv.digest("none.zarr"), StoreError, ["none.zarr"]),
    "digest link": (lambda: bv.digest("dangling.zarr"), StoreError, ["dangling.zarr", "link", "does not exist"]),
    "store None": (lambda: bv.run(small_study(), None), StoreError, ["store", "None"]),
    "store root": (lambda: bv.run(small_study(), "/"), StoreError, ["root of the file system"]),
    "store line break": (lambda: bv.run(small_study(), "a\nb.zarr"), StoreError, ["line breaks"]),
    "store link": (lambda: bv.run(small_study(), "dangling.zarr"), StoreError, ["link", "does not exist"]),
    "store folder": (lambda: bv.run(small_study(), "folder"), StoreError, ["not a biasvar store"]),
    "store file": (lambda: bv.run(small_study(), "mine.py"), StoreError, ["mine.py"]),
    "store inside": (lambda: bv.run(small_study(), "good.zarr/x.zarr"), StoreError, ["inside", "good.zarr"]),
    "store in blocks": (lambda: bv.run(small_study(), "good.zarr/blocks/x.zarr"), StoreError, ["inside", "good.zarr"]),
    "store http": (lambda: bv.run(small_study(), "http://host/x.zarr"), StoreError, ["s3://BUCKET/KEY"]),
    "store s3": (lambda: bv.run(small_study(), "s3://"), StoreError, ["s3://BUCKET/KEY"]),
    "store secret": (lambda: bv.run(small_study(), "s3://key:secret@bucket/x"), StoreError, ["credentials"]),
    "store memory": (lambda: bv.run(small_study(), "memory://"), StoreError, ["name"]),
    "store path of URL": (lambda: bv.run(small_study(), Path("s3://bucket/x")), StoreError, ["as text"]),
    "memory elsewhere": (
        lambda: bv.run(small_study(), "memory://x", scheduler="processes"),
        StudyError,
        ["other processes"],
    ),
    "another study": (
        lambda: bv.run(small_study(seed=1), "good.zarr", scheduler="synchronous"),
        StoreError,
        ["different study", "seed"],
    ),
    "blocks_per_chunk 0": (lambda: bv.run(small_study(), "x.zarr", blocks_per_chunk=0), StudyError, ["blocks_per"]),
    "blocks_per_chunk text": (lambda: bv.run(small_study(), "x.zarr", blocks_per_chunk="4"), StudyError, ["'4'"]),
    "progress": (lambda: bv.run(small_study(), "x.zarr", progress="yes"), StudyError, ["progress", "'yes'"]),
    "replicates 2**60": (lambda: bv.plan(small_study(replicates=2**60)), StudyError, ["records", "EB", "fewer"]),
    "replicates 2**66": (lambda: bv.run(small_study(replicates=2**66), "x.zarr"), StudyError, ["records", "EB"]),
    "replicates 10**40": (
        lambda: bv.run(small_study(replicates=10**40, sampler="random", block_size=1000), "x.zarr"),
        StudyError,
        ["records", "fewer"],
    ),
    "objective of one point": (
        lambda: bv.run(descent(objectives={"bowl": Bowl()}), "x.zarr"),
        StudyError,
        ["objectives.bowl", "vectorise it"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLS)
def test_a_call_that_cannot_be(case):
    call, kind, words = CALLS[case]
    refused(call, kind, *words)


ADDRESSES = {
    "fast": ["fast", "threads"],
    "tcp://": ["host and a port", "tcp://127.0.0.1:8786"],
    "tcp://127.0.0.1": ["host and a port"],
    "tls://host": ["host and a port"],
    "tcp://127.0.0.1:99999": ["host and a port"],
    "tcp://127.0.0.1:port": ["host and a port"],
    "127.0.0.1:": ["host and a port"],
    "http://127.0.0.1:8787": ["dashboard"],
    "https://127.0.0.1:8787/status": ["dashboard"],
    "quic://127.0.0.1:8786": ["protocol", "quic", "tcp"],
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_is_none(address):
    refused(lambda: bv.run(small_study(), "x.zarr", scheduler=address), StudyError, address, *ADDRESSES[address])


@pytest.mark.parametrize("address", ["127.0.0.1:9", "tcp://127.0.0.1:9"])
def test_an_address_where_no_one_answers(address):
    with dask.config.set({"biasvar.connect-timeout": "100ms"}):
        told = refused(lambda: bv.run(small_study(), "x.zarr", scheduler=address), SchedulerError, "is it running?")
    assert "tcp://127.0.0.1:9" in told


SETTINGS = [
    *((name, value) for name in ("task-seconds", "retry-wait", "lease") for value in ("banana", "-3s", 0, None, [1])),
    *((name, value) for name in ("tries", "attempts", "jobs") for value in (0, -1, 1.5, "x", True, None)),
    ("no-workers-timeout", "soon"),
    ("queue-timeout", "1 fortnight"),
    ("connect-timeout", "nan"),
]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_a_setting_that_is_wrong(name, value):
    with dask.config.set({f"biasvar.{name}": value}):
        refused(lambda: bv.run(small_study(), "x.zarr"), SettingError, f"biasvar.{name}", repr(value))
        refused(lambda: bv.plan(small_study()), SettingError, f"biasvar.{name}")


def test_a_setting_that_is_unknown():
    with dask.config.set({"biasvar.nosuch": 1}):
        refused(lambda: bv.run(small_study(), "x.zarr"), SettingError, "nosuch", "tries")


def test_settings_have_their_defaults_after_a_set_in_which_they_became_known():
    code = (
        "import dask\n"
        "with dask.config.set({'biasvar.tries': 5}):\n"
        "    from biasvar.execution import settings\n"
        "    assert settings.count('tries') == 5\n"
        "settings.check()\n"
        "assert settings.count('tries') == settings.DEFAULTS['tries']\n"
        "assert settings.is_on('dashboard-page')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# The command line

RUN = ["run", "two-point-sine", "--store", "x.zarr"]
LINES = [
    (["frobnicate"], ["frobnicate", "--help"]),
    (["--colour"], ["--colour", "--help"]),
    (["run"], ["which study"]),
    (["run", "nosuch"], ["nosuch", "two-point-sine"]),
    (["run", "missing.yaml"], ["missing.yaml", "no such file"]),
    (["run", "broken.yaml"], ["broken.yaml", "YAML"]),
    (["run", "list.yaml"], ["list.yaml", "fields"]),
    (["run", "empty.yaml"], ["empty.yaml", "fields"]),
    (["run", "text.yaml"], ["text.yaml", "fields"]),
    (["run", "kind.yaml"], ["kind.yaml", "mystery", "risk"]),
    (["run", "lacks.yaml"], ["target", "missing"]),
    (["run", "binary.yaml"], ["binary.yaml"]),
    (["run", "tag.yaml"], ["tag.yaml", "YAML"]),
    (["plan", "nosuch"], ["nosuch"]),
    (["plan", "two-point-sine", "--set", "replicates=1152921504606846976"], ["records", "fewer"]),
    (["plan", "two-point-sine", "--set", "test_points=1000000000"], ["test_points"]),
    (["plan", "two-point-sine", "--set", "hypotheses.H.Polynomial.degree=1000000"], ["coefficients", "TB"]),
    (["plan", "two-point-sine", "--set", "novalue"], ["novalue", "key=value"]),
    (["plan", "two-point-sine", "--set", "name.a=1"], ["name"]),
    (["plan", "two-point-sine", "--set", "n_train=[1"], ["n_train", "YAML"]),
    ([*RUN, "--set", "target=mine:branches"], ["mine:branches", "vectorise it"]),
    ([*RUN, "--set", "target=mine:scalar_sine"], ["mine:scalar_sine", "vectorise it"]),
    ([*RUN, "--set", "target=mine:nothing"], ["mine:nothing", "imported"]),
    ([*RUN, "--set", "target=nowhere:f"], ["nowhere", "PYTHONPATH"]),
    ([*RUN, "--workers", "0"], ["--workers", "0"]),
    ([*RUN, "--workers", "many"], ["--workers", "many"]),
    ([*RUN, "--workers", "9999999"], ["9999999", "cores"]),
    ([*RUN, "--workers", "2", "--memory-limit", "1MB"], ["1MB", "256MiB"]),
    ([*RUN, "--workers", "2", "--memory-limit", "banana"], ["banana", "2GiB"]),
    ([*RUN, "--scheduler", "fast"], ["fast", "threads"]),
    ([*RUN, "--scheduler", "tcp://127.0.0.1"], ["port"]),
    ([*RUN, "--scheduler", "tcp://"], ["port"]),
    ([*RUN, "--scheduler", "http://127.0.0.1:8787"], ["dashboard"]),
    ([*RUN, "--scheduler", "threads", "--workers", "2"], ["one way"]),
    ([*RUN, "--scheduler-file", "address.json"], ["address.json", "5"]),
    ([*RUN, "--scheduler-file", "dashboard.json"], ["dashboard.json", "dashboard"]),
    ([*RUN, "--scheduler-file", "portless.json"], ["portless.json", "port"]),
    ([*RUN, "--cluster", "pbs"], ["pbs", "slurm"]),
    ([*RUN, "--cluster", "slurm"], ["sbatch"]),
    ([*RUN, "--jobs", "2"], ["--jobs", "--cluster"]),
    ([*RUN, "--tls-ca-file", "mine.py"], ["--tls"]),
    (["run", "two-point-sine", "--store", "/"], ["root of the file system"]),
    (["run", "two-point-sine", "--store", "a\nb.zarr"], ["line breaks"]),
    (["run", "two-point-sine", "--store", "dangling.zarr"], ["link", "does not exist"]),
    (["run", "two-point-sine", "--store", "good.zarr/blocks/x.zarr"], ["inside"]),
    (["run", "two-point-sine", "--store", "good.zarr"], ["different study"]),
    (["show"], ["STORE"]),
    *(
        [[verb, "none.zarr"], ["none.zarr", "does not exist"]]
        for verb in ("show", "status", "watch", "verify", "digest")
    ),
    *([[verb, "folder"], ["not a biasvar store"]] for verb in ("show", "status", "watch", "verify", "digest")),
    *([[verb, "/"], ["root of the file system"]] for verb in ("show", "status", "watch", "verify", "digest")),
    (["watch", "good.zarr", "--every", "0"], ["--every", "0"]),
    (["watch", "good.zarr", "--every", "often"], ["--every", "often"]),
]


@pytest.mark.parametrize(("arguments", "words"), LINES, ids=[" ".join(line[0])[:60] for line in LINES])
def test_a_command_that_cannot_be(arguments, words, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)  # also where there is SLURM
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("importing ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_what_was_not_foreseen_is_a_bug_in_a_line_and_has_its_own_exit_code(monkeypatch):
    def surprise(*_):
        raise ZeroDivisionError("never\nthought of")

    monkeypatch.setattr("biasvar.studies.catalog.bundled", surprise)
    done = CliRunner().invoke(main, ["studies"])
    assert (done.exit_code, done.stdout) == (70, "")
    (line,) = done.stderr.strip().splitlines()
    assert "bug in biasvar: ZeroDivisionError: never thought of" in line
    monkeypatch.setenv("BIASVAR_TRACEBACK", "1")
    traced = CliRunner().invoke(main, ["studies"])
    assert (traced.exit_code, "in surprise" in traced.stderr) == (70, True)


# In processes of their own


@pytest.mark.slow
@pytest.mark.parametrize("optimize", ["1", "2"])
def test_python_without_assertions_is_refused(optimize, neighbour):
    done = command("verify", "good.zarr", cwd=neighbour, env=os.environ | {"PYTHONOPTIMIZE": optimize})
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr
    assert "without assertions" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("biasvar verify good.zarr 2>&-", "0"),
        ("biasvar verify good.zarr >&-", "0"),
        ("biasvar verify good.zarr <&-", "0"),
        ("biasvar verify good.zarr >&- 2>&- <&-", "0"),
        ("biasvar verify none.zarr 2>&-", "2"),
        ("biasvar studies | head -n 1 > /dev/null", "0 0"),
        ("biasvar show --json good.zarr | head -c 10 > /dev/null", "0 0"),
        ("biasvar show good.zarr | true", "0 0"),
        ("biasvar --help | true", "0 0"),
        ("biasvar verify none.zarr 2>&1 | true", "2 0"),
    ],
)
def test_closed_and_unread_streams_disturb_nothing(line, codes, neighbour):
    text = line.replace("biasvar", f"{sys.executable} -m biasvar.cli", 1)
    script = f"exec 9>&1; {text}; echo ${{PIPESTATUS[*]}} >&9"
    done = subprocess.run(["bash", "-c", script], cwd=neighbour, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == codes, done.stderr
    assert done.stderr == ""


@pytest.mark.slow
def test_a_setting_in_the_environment_is_refused(neighbour):
    env = os.environ | {"DASK_BIASVAR__TASK_SECONDS": "banana"}
    done = command("run", "two-point-sine", "--store", "x.zarr", cwd=neighbour, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert "biasvar.task-seconds" in line
    assert "'banana'" in line


@pytest.mark.slow
def test_without_a_folder_to_cache_in_a_temporary_one_is_used_and_said_once(tmp_path, neighbour):
    package = tmp_path / "lib" / "biasvar"
    shutil.copytree(ROOT / "biasvar", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data", tmp_path / "lib" / "data")
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()  # no one can write into a file, not even root
    (tmp_path / "tmp").mkdir()
    env = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    env |= {"HOME": "/proc", "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(tmp_path / "lib")}
    done = command("studies", cwd=neighbour, env=env)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert str(tmp_path / "tmp") in line
    assert "NUMBA_CACHE_DIR" in line
