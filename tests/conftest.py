"""Studies that many tests use, small enough to run in a blink."""

import subprocess
import sys
from pathlib import Path

import pytest

import biasvar as bv

collect_ignore = ["data"]  # a script there needs torch, whose trajectories it stores

ROOT = Path(__file__).resolve().parent.parent


def small_study(**changes):
    fields = {
        "name": "small",
        "target": bv.Sine(),
        "inputs": bv.Uniform(-1, 1),
        "hypotheses": {"H0": bv.Polynomial(0), "H1": bv.Polynomial(1)},
        "n_train": [2, 10],
        "noise": [0.0, 0.5],
        "replicates": 16 * 64,
        "block_size": 64,
    }
    return bv.RiskStudy(**{**fields, **changes})


def pytest_addoption(parser):
    parser.addoption(
        "--cluster", action="store_true", help="run the tests marked cluster; a missing piece is then a failure"
    )


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--cluster"):
        skip = pytest.mark.skip(reason="needs --cluster: real schedulers, hosts and containers")
        for item in items:
            if item.get_closest_marker("cluster"):
                item.add_marker(skip)


@pytest.fixture
def study():
    return small_study()


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store.zarr"


def command(*arguments, cwd, timeout=120, **options):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "biasvar.cli", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )
