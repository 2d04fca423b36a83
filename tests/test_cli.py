"""The command line as people and batch jobs use it: in processes of their own."""

import contextlib
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from click.testing import CliRunner
from helpers import command, small_study

import biasvar as bv
from biasvar.cli import main

SMALL = ["--set", "replicates=1024", "--set", "block_size=64"]

USER_MODULE = """
import numpy as np

def parabola(x):
    return x**2

def wrong_shape(x):
    return np.zeros(3)

def not_finite(x):
    return np.log(x)

def hidden_nan(x):
    return np.where((x > 0.5) & (x < 0.5003), np.nan, x)

def raises(x):
    raise RuntimeError("bad day")
"""


def test_run_show_status_verify_and_again(tmp_path):
    first = command("run", "two-point-sine", *SMALL, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "0.50000" in first.stdout or "0.5 " in first.stdout
    assert "infinite" in first.stdout
    assert "tail index is 0.5 (by theory)" in first.stdout
    shown = command("show", "two-point-sine.zarr", cwd=tmp_path)
    assert shown.stdout.splitlines()[:10] == first.stdout.splitlines()[:10]
    assert "complete" in command("status", "two-point-sine.zarr", cwd=tmp_path).stdout
    verified = command("verify", "two-point-sine.zarr", cwd=tmp_path)
    assert (verified.returncode, "all sound" in verified.stdout) == (0, True)
    assert command("run", "two-point-sine", *SMALL, cwd=tmp_path).returncode == 0


def test_json_is_strict_and_equals_the_store(tmp_path):
    done = command("run", "two-point-sine", *SMALL, "--json", cwd=tmp_path)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    result = json.loads(done.stdout, parse_constant=refuse)
    cell = next(c for c in result["cells"] if (c["hypothesis"], c["n_train"], c["noise"]) == ("H1", 2, 0.5))
    assert cell["status"] == "infinite"
    assert cell["expected_risk"] == "inf"
    assert cell["expected_risk_se"] is None
    summary = bv.open(tmp_path / "two-point-sine.zarr")
    stored = float(summary.variance.sel(hypothesis="H0", n_train=10, noise=0.5))
    cell = next(c for c in result["cells"] if (c["hypothesis"], c["n_train"], c["noise"]) == ("H0", 10, 0.5))
    assert cell["variance"] == stored


@pytest.mark.slow
def test_show_writes_tables_in_the_form_that_is_asked_for(tmp_path):
    command("run", "two-point-sine", *SMALL, cwd=tmp_path)
    for form, first in (("md", "| n_train |"), ("latex", r"\begin{tabular}"), ("html", "<table>")):
        assert command("show", "two-point-sine.zarr", "--format", form, cwd=tmp_path).stdout.startswith(first)
    csv = command("show", "two-point-sine.zarr", "--format", "csv", cwd=tmp_path).stdout
    assert len(csv.splitlines()) == 1 + 8
    assert csv.startswith("hypothesis,n_train,noise,")


def test_the_help_of_run_groups_its_options_and_no_command_is_cut_short(tmp_path):
    text = command("run", "--help", cwd=tmp_path).stdout
    places = [text.index(heading) for heading in ("Options:", "Where it runs:", "On jobs of a queue:", "By TLS:")]
    assert places == sorted(places)
    assert "..." not in command("--help", cwd=tmp_path).stdout.split("Commands:")[1]


def test_damage_makes_verify_fail(tmp_path):
    command("run", "two-point-sine", *SMALL, cwd=tmp_path)
    chunk = next((tmp_path / "two-point-sine.zarr").glob("blocks/n2/*/records/c/0/0/0"))
    chunk.write_bytes(b"x" + chunk.read_bytes()[1:])
    verified = command("verify", "two-point-sine.zarr", cwd=tmp_path)
    assert (verified.returncode, verified.stderr) == (1, "")
    assert "is damaged" in verified.stdout
    repaired = command("run", "two-point-sine", *SMALL, cwd=tmp_path)
    assert (repaired.returncode, "simulating it again" in repaired.stderr) == (0, True)


def test_plan_and_studies(tmp_path):
    assert "4 cells, 262144 replicates" in command("plan", "two-point-sine", cwd=tmp_path).stdout
    listed = command("studies", cwd=tmp_path).stdout
    assert all(name in listed for name in bv.bundled())
    assert any(line.split()[:2] == ["ravine", "optimizer"] for line in listed.splitlines())
    assert list(tmp_path.iterdir()) == []


def test_two_forms_of_results_are_refused(tmp_path):
    done = command("show", "nothing.zarr", "--json", "--format", "md", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "biasvar: --format md: says nothing of --json; give one of them\n")


@pytest.mark.slow
def test_studies_say_what_each_takes(tmp_path):
    listed = command("studies", "--cost", cwd=tmp_path).stdout.splitlines()
    assert listed[0].split()[:4] == ["study", "kind", "CPU", "seconds"]
    seconds = {line.split()[0]: float(line.split()[2]) for line in listed[2:]}
    assert seconds.keys() == set(bv.bundled())
    assert min(seconds.values()) > 0


OWN_OBJECTIVE = """
class Bowl:
    dim, factor = 3, 2.0
    def value(self, theta): return (theta**2).sum(axis=-1)
    def gradient(self, theta): return self.factor * theta
class Wrong(Bowl):
    factor = 2.0 + 1e-6
"""
OWN_DESCENT = """
kind: optimizer
name: own
objectives: {bowl: "bowls:Bowl", other: "bowls:Wrong"}
optimizers: {sgd: {SGD: {learning_rate: 0.1}}}
steps: 5
"""


@pytest.mark.slow
def test_check_compares_derivatives_and_its_exit_code_tells(tmp_path):
    right = command("check", "ravine", cwd=tmp_path)
    assert (right.returncode, right.stderr) == (0, "")
    rows = [line.split() for line in right.stdout.splitlines()[2:]]
    assert [row[1] for row in rows] == ["gradient", "hessian_product", "symmetry", "minimizer", "minimum"]
    assert {row[-1] for row in rows} == {"agrees"}
    (tmp_path / "bowls.py").write_text(OWN_OBJECTIVE)
    (tmp_path / "own.yaml").write_text(OWN_DESCENT)
    wrong = command("check", "own.yaml", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "other.gradient: component " in wrong.stdout.splitlines()[-1]
    rows = json.loads(command("check", "own.yaml", "--json", cwd=tmp_path).stdout)
    assert [row["verdict"] for row in rows] == ["agrees", "wrong"]
    refused = command("run", "own.yaml", "--set", "check=true", cwd=tmp_path)
    assert refused.returncode == 2
    assert "objectives.other.gradient: component " in refused.stderr.splitlines()[-1]
    none = command("check", "tradeoff", cwd=tmp_path)
    assert none.returncode == 2
    assert none.stderr == "biasvar: tradeoff: a study of kind risk has no derivatives to check\n"


def test_a_module_beside_the_study_serves_as_target(tmp_path):
    (tmp_path / "mine.py").write_text(USER_MODULE)
    done = command("run", "two-point-sine", *SMALL, "--set", "target=mine:parabola", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


BAD = {
    "nosuch": (["nosuch"], ["nosuch", "two-point-sine"]),
    "unknown key": (["--set", "colour=red"], ["colour", "red"]),
    "wrong type": (["--set", "replicates=many"], ["replicates", "integer", "many"]),
    "boolean": (["--set", "seed=true"], ["seed", "integer", "True"]),
    "unknown hypothesis": (["--set", "hypotheses.H9=Spline"], ["hypotheses.H9", "Spline", "Polynomial"]),
    "unknown field": (["--set", "hypotheses.H1.Polynomial.degre=1"], ["hypotheses.H1.Polynomial.degre", "spelling"]),
    "n_train 0": (["--set", "n_train=[2, 0]"], ["n_train.1", "greater than 0", "got 0"]),
    "negative noise": (["--set", "noise=[-0.5]"], ["noise.0", "-0.5"]),
    "block size": (["--set", "block_size=1000"], ["block_size", "1000", "512 or 1024"]),
    "too few": (["--set", "replicates=4096"], ["replicates", "4096", "at least 65536"]),
    "no multiple": (["--set", "replicates=131073"], ["replicates", "131073", "block_size=4096"]),
    "wrong shape": (["--set", "target=mine:wrong_shape"], ["target", "mine:wrong_shape", "(3,)", "expected (64,)"]),
    "not finite": (["--set", "target=mine:not_finite"], ["target", "not finite", "nan"]),
    "raises": (["--set", "target=mine:raises"], ["target", "RuntimeError", "bad day"]),
    "no module": (["--set", "target=nowhere:f"], ["nowhere", "PYTHONPATH"]),
    "not a store": (["--store", "mine.py"], ["mine.py", "not a biasvar store", "another path"]),
    "unwritable": (["--store", "/proc/nowhere/x.zarr"], ["/proc/nowhere/x.zarr", "cannot be written"]),
    "scheduler": (["--scheduler", "fast"], ["scheduler", "fast", "threads"]),
    "set": (["--set", "novalue"], ["novalue", "key=value"]),
    "inputs": (["--set", "inputs.Uniform.low=3"], ["inputs.Uniform", "low=3"]),
    "both": (
        ["--set", "precision={bias2: 0.1}", "--set", "replicates=131072", "--set", "max_replicates=1"],
        ["max_rep"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line(case, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(USER_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)  # another test's, from another folder
    arguments, words = BAD[case]
    study = [] if arguments[0] == "nosuch" else ["two-point-sine"]
    done = CliRunner().invoke(main, ["run", *study, *arguments])
    assert done.exit_code == 2
    assert done.stdout == ""
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("importing ")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"mine.py", "__pycache__"}  # and leaves nothing behind


def test_a_target_that_fails_only_now_and_then_is_told_and_the_store_is_sound(tmp_path):
    (tmp_path / "mine.py").write_text(USER_MODULE)
    done = command("run", "two-point-sine", "--set", "target=mine:hidden_nan", cwd=tmp_path)
    assert done.returncode == 2
    imported, told = done.stderr.strip().splitlines()
    assert imported.startswith("importing mine:hidden_nan from ")
    assert "not finite at x=0.500" in told
    assert "not finished" in command("status", "two-point-sine.zarr", cwd=tmp_path).stdout


@pytest.mark.parametrize("arguments", [[], ["run"], ["frobnicate"], ["show"], ["run", "two-point-sine", "--colour"]])
def test_usage_errors_are_one_line(arguments, tmp_path):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    if arguments:
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_full_disk_is_told_and_what_is_done_is_kept(tmp_path):
    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    tight = command(
        "run", "two-point-sine", *SMALL, "--scheduler", "synchronous", cwd=tmp_path, preexec_fn=small_files_only
    )
    assert tight.returncode == 2
    assert len(tight.stderr.strip().splitlines()) == 1, tight.stderr
    assert "cannot be written: File too large" in tight.stderr
    assert command("run", "two-point-sine", *SMALL, cwd=tmp_path).returncode == 0
    command("run", "two-point-sine", *SMALL, "--store", "fresh.zarr", cwd=tmp_path)
    assert bv.digest(tmp_path / "two-point-sine.zarr") == bv.digest(tmp_path / "fresh.zarr")


STUDY = """
name: slow
target: Sine
inputs: {Uniform: {low: -1, high: 1}}
hypotheses: {slow: "mine:Slow"}
n_train: [5]
replicates: 1024
block_size: 32
sampler: random
"""
HALTS = """
import glob, os, time, numpy as np
class Slow:
    def fit_predict(self, x, y, at, rng):
        # Once some chunks are stored, no run goes on before it is told to.
        while len(glob.glob("slow.zarr/blocks/*/*/count/c/*")) >= 3 and not os.path.exists("go"):
            time.sleep(0.02)
        return np.repeat(y[:, :1], at.shape[1], axis=1)
"""
ONE_BLOCK_A_TASK = os.environ | {"DASK_BIASVAR__TASK_SECONDS": "1us"}


def halted_run(folder, *options, **how):
    """Start a run that does not end; return its process and its store, which has chunks."""
    (folder / "study.yaml").write_text(STUDY)
    (folder / "mine.py").write_text(HALTS)
    arguments = [sys.executable, "-m", "biasvar.cli", "run", "study.yaml", *options]
    process = subprocess.Popen(
        arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ONE_BLOCK_A_TASK, **how
    )
    while len(list(folder.glob("slow.zarr/blocks/*/*/count/c/*"))) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process, folder / "slow.zarr"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_stopped_run_says_so_and_resumes(how, scheduler, tmp_path):
    heeded = partial(signal.signal, how, signal.SIG_DFL)  # whoever runs the tests in the background ignores Ctrl-C
    process, store = halted_run(tmp_path, "--scheduler", scheduler, preexec_fn=heeded)
    process.send_signal(how)
    if scheduler == "processes":
        # They end the few tasks that they have before the run can end.
        (tmp_path / "go").touch()
    _, stderr = process.communicate()
    assert process.returncode == 3, stderr
    assert "the same command goes on" in stderr
    assert "Traceback" not in stderr
    kept = len(list(store.glob("blocks/*/*/count/c/*")))
    assert 3 <= kept < 32
    (tmp_path / "go").touch()
    again = command("run", "study.yaml", "--scheduler", scheduler, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert bv.verify(store).ok


def test_a_second_run_on_the_command_line_is_refused(tmp_path):
    process, _ = halted_run(tmp_path, "--scheduler", "synchronous")
    second = command("run", "study.yaml", cwd=tmp_path)
    assert (second.returncode, f"process {process.pid} of" in second.stderr) == (2, True)
    shown = command("status", "slow.zarr", cwd=tmp_path).stdout
    process.terminate()
    process.communicate()
    assert process.returncode == 3
    assert f"process {process.pid}" in shown


def test_who_watches_and_is_stopped_says_that_it_was_only_looking(tmp_path):
    process, _ = halted_run(tmp_path, "--scheduler", "synchronous")
    arguments = [sys.executable, "-m", "biasvar.cli", "watch", "slow.zarr"]
    watcher = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    assert "not finished" in watcher.stdout.readline()
    watcher.terminate()
    _, stderr = watcher.communicate()
    assert (watcher.returncode, stderr.strip()) == (3, "biasvar: stopped; it was only looking")
    process.terminate()
    process.communicate()


def test_a_terminal_gets_a_progress_bar_with_the_worst_standard_error(tmp_path):
    parent, child = pty.openpty()
    arguments = [sys.executable, "-m", "biasvar.cli", "run", "two-point-sine", "--set", "replicates=4194304"]
    process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=child)
    os.close(child)
    seen = b""
    # Who writes to a terminal that nobody reads waits for room. Its end is an error.
    with contextlib.suppress(OSError):
        while part := os.read(parent, 4096):
            seen += part
    os.close(parent)
    process.communicate()
    assert process.returncode == 0
    assert b"simulating" in seen
    assert b"least known: " in seen


def test_python_and_yaml_state_the_same_study():
    loaded = bv.load("two-point-sine", ["name=small", "replicates=1024", "block_size=64"])
    assert loaded.to_json() == small_study().to_json()
