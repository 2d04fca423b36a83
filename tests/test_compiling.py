"""Code that is put together of parts is compiled once into a folder that many share, whatever else lies there."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from biasvar import compiling

ROOT = Path(__file__).parent.parent
PART = "from biasvar.compiling import njit\n\n@njit\ndef part(x):\n    return x + {}\n"
TEXT = "from numba import njit\nfrom made_of import part\n\n@njit(cache=True)\ndef whole(x):\n    return part(x)\n"
# Says how it went: what was found, and how many kernels were compiled here.
DESCEND = """
import hashlib, numpy as np, biasvar as bv
from biasvar.optimization import kernels
from biasvar.optimization.descent import Descent
from biasvar.optimization.trajectories import run
rule, objective = bv.Momentum(), bv.Saddle()
hyper = {"learning_rate": np.full(3, 0.1), "momentum": np.full(3, 0.5)}
found = run(Descent(objective, rule, 2, 30, (30,)), np.ones(2), hyper, None)
kernel = kernels._module(rule.arithmetic, objective.slope.function).descend
print(hashlib.sha256(found.records.tobytes()).hexdigest(), sum(kernel.stats.cache_misses.values()))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for what is generated, and one to import from."""
    monkeypatch.setattr(compiling, "_FOLDER", tmp_path / "kept")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("biasvar_test_")] + ["made_of"]:
        sys.modules.pop(name, None)


def made_of(folder, number):
    """Write and import a part that adds a number."""
    path = folder / "made_of.py"
    path.write_text(PART.format(number))
    sys.modules.pop("made_of", None)
    importlib.invalidate_caches()
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    return importlib.import_module("made_of").part


def forget():
    for name in [name for name in sys.modules if name.startswith("biasvar_test_")]:
        del sys.modules[name]


def test_other_sources_of_parts_are_another_module(folder):
    first = compiling.generated("test_whole", TEXT, [made_of(folder, 1)])
    assert first.whole(1) == 2
    second = compiling.generated("test_whole", TEXT, [made_of(folder, 20)])
    assert second.whole(1) == 21
    assert first.__file__ != second.__file__
    assert {Path(each.__file__) for each in (first, second)} == set((folder / "kept").glob("*.kernel"))


def test_a_damaged_module_is_written_again(folder):
    part = made_of(folder, 1)
    path = Path(compiling.generated("test_whole", TEXT, [part]).__file__)
    path.write_text("raise RuntimeError\n")
    forget()
    assert compiling.generated("test_whole", TEXT, [part]).whole(1) == 2
    assert path.read_text() == TEXT


def test_a_module_that_is_there_is_not_written_again(folder):
    part = made_of(folder, 1)
    path = Path(compiling.generated("test_whole", TEXT, [part]).__file__)
    before = path.stat()
    forget()
    compiling.generated("test_whole", TEXT, [part])
    assert (path.stat().st_ino, path.stat().st_mtime) == (before.st_ino, before.st_mtime)


def test_a_folder_that_cannot_be_written_is_said(folder):
    (folder / "kept").touch()  # no one can write into a file, not even root
    with pytest.raises(compiling.BiasvarError, match=r"test_whole.*cannot be written.*NUMBA_CACHE_DIR"):
        compiling.generated("test_whole", TEXT, [made_of(folder, 1)])


def descends(cwd, **env):
    known = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    return subprocess.Popen(
        [sys.executable, "-c", DESCEND], cwd=cwd, env=known | env, stdout=subprocess.PIPE, text=True
    )


def told(process):
    out, _ = process.communicate()
    assert process.returncode == 0
    digest, misses = out.split()
    return digest, int(misses)


@pytest.mark.slow
def test_many_processes_may_compile_into_one_folder_at_once(tmp_path):
    env = {"NUMBA_CACHE_DIR": str(tmp_path)}
    together = [told(process) for process in [descends(tmp_path, **env) for _ in range(3)]]
    afterwards = told(descends(tmp_path, **env))
    assert len({digest for digest, _ in (*together, afterwards)}) == 1
    assert afterwards[1] == 0
    assert len(list(tmp_path.rglob("biasvar_momentum_*.kernel"))) == 1
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".kernel", ".nbi", ".nbc"}


@pytest.mark.slow
def test_without_a_usual_folder_code_is_kept_in_a_temporary_one(tmp_path):
    package = tmp_path / "lib" / "biasvar"
    shutil.copytree(ROOT / "biasvar", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data", tmp_path / "lib" / "data")
    for place in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (place / "__pycache__").touch()
    (tmp_path / "tmp").mkdir()
    env = {"HOME": "/proc", "TMPDIR": str(tmp_path / "tmp")}
    first, second = told(descends(package.parent, **env)), told(descends(package.parent, **env))
    assert first[0] == second[0]
    assert (first[1], second[1]) == (1, 0)
    assert len(list((tmp_path / "tmp").rglob("biasvar_momentum_*.kernel"))) == 1
