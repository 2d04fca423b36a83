"""Who watches a run sees it from its store alone: as lines, as JSON, as a table that is drawn anew on a terminal."""

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from helpers import PATIENCE, until

from biasvar.cli.watching import _number

# It fits at its leisure, and after forty fits waits until it may go on: so watchers come while it runs, at any load.
USER = """
import os, time
import numpy as np

class Held:
    fits = 0

    def fit_predict(self, x, y, at, rng):
        type(self).fits += 1
        time.sleep(0.05)
        while self.fits > 40 and not os.path.exists("go"):
            time.sleep(0.01)
        return np.repeat(y.mean(axis=1, keepdims=True), at.shape[1], axis=1)
"""
STUDY = """
name: mine
target: Sine
inputs: {Uniform: {low: -1, high: 1}}
hypotheses: {mine: "mine:Held", H0: {Polynomial: {degree: 0}}}
n_train: 4
noise: 0.1
replicates: 4096
block_size: 64
"""


def command(*arguments):
    return [sys.executable, "-m", "biasvar.cli", *arguments]


@pytest.fixture
def held(tmp_path):
    """A run that waits, after the store has told estimates of it."""
    (tmp_path / "mine.py").write_text(USER)
    (tmp_path / "mine.yaml").write_text(STUDY)
    run = subprocess.Popen(
        command("run", "mine.yaml", "--scheduler", "synchronous"), cwd=tmp_path, stdout=subprocess.DEVNULL, text=True
    )
    try:
        until(lambda: estimates(tmp_path))
        yield run
    finally:
        (tmp_path / "go").touch()
        assert run.wait(timeout=PATIENCE) == 0


def estimates(folder):
    arguments = command("status", "--json", "mine.zarr")
    found = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    return json.loads(found.stdout)["estimates"] if found.returncode == 0 else []


def watcher(folder, *arguments, **options):
    whole = command("watch", "--every", "0.1", *arguments, "mine.zarr")
    return subprocess.Popen(whole, cwd=folder, text=True, **options)


@pytest.mark.slow
def test_a_run_is_watched_from_its_store_alone(held, tmp_path):
    watching = watcher(tmp_path, stdout=subprocess.PIPE)
    first = watching.stdout.readline()
    assert f"process {held.pid} of" in first
    for words in ("chunks per second", "s left"):
        assert words in first
    (tmp_path / "go").touch()
    rest, _ = watching.communicate(timeout=PATIENCE)
    assert rest.strip().splitlines()[-1].startswith("mine: complete")


@pytest.mark.slow
def test_who_watches_in_json_gets_estimates_with_their_errors(held, tmp_path):
    watching = watcher(tmp_path, "--json", stdout=subprocess.PIPE)
    first = json.loads(watching.stdout.readline())
    assert not first["complete"]
    assert first["headline"] == "excess risk"
    assert {estimate["cell"] for estimate in first["estimates"]} <= {"mine@0.1", "H0"}
    assert all(estimate["blocks"] >= 1 for estimate in first["estimates"])
    (tmp_path / "go").touch()
    rest, _ = watching.communicate(timeout=PATIENCE)
    assert json.loads(rest.splitlines()[-1])["complete"]


def test_who_watches_on_a_terminal_sees_estimates_that_are_drawn_anew(held, tmp_path):
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 100, 0, 0))
    watching = watcher(tmp_path, stdout=theirs, env=os.environ | {"COLUMNS": "100", "LINES": "20"})
    os.close(theirs)
    seen = b""
    # Reading ends with an error when the last who writes has closed the terminal.
    with contextlib.suppress(OSError):
        while part := os.read(mine, 4096):
            seen += part
            if b"H0" in seen:
                (tmp_path / "go").touch()
    os.close(mine)
    assert watching.wait(timeout=PATIENCE) == 0
    text = seen.decode()
    assert re.search(r"problem +cell +blocks +excess risk", text)
    assert re.search(r"n4 +H0 +\d+ +(\d\.\d+\(\d+\)|\?)", text)
    assert re.search(r"\x1b\[\d+F\x1b\[J", text)
    # The last line, over which nothing is drawn, is told whole.
    assert max(map(len, re.sub(r"\x1b\[\d*[FJ]", "", text).splitlines()[:-1])) < 100
    assert "mine: complete" in text.splitlines()[-1]


def test_an_estimate_without_spread_is_exact_and_one_without_error_unknown():
    assert [_number(0.5, 0.0), _number(0.5, None), _number(None, None)] == ["0.5", "?", "-"]
