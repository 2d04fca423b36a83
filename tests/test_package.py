"""The package as a whole: rooms, imports, wheel."""

import ast
import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from helpers import ROOT

import biasvar as bv

PACKAGE = ROOT / "biasvar"
ROOMS = [
    "errors",
    "adapting",
    "notation",
    "rows",
    "compiling",
    "fields",
    "montecarlo",
    "optimization",
    "learning",
    "studies",
    "execution",
    "views",
    "pages",
    "accessor",
    "cli",
]  # each may import those before it
NOT_BEFORE = {"dask": "execution", "distributed": "execution", "zarr": "execution", "xarray": "studies"}
HEAVY = ["distributed", "sklearn", "matplotlib", "scipy.stats"]
RUN = "from biasvar.cli import main; main(standalone_mode=False, args=['run', '--set'"
LONGEST = 400  # lines of a file
#: Arguments outside of figures that may be anything, and why.
UNTYPED = {
    "cli/commands.py": 1,  # click's options, by name
    "cli/options.py": 2,  # the same
    "cli/shell.py": 1,  # what click hands on to itself
    "errors.py": 1,  # a group of a study, which stands in a room above
    "execution/clusters.py": 1,  # a class that is known when jobs are asked for
    "execution/live_page.py": 1,  # bokeh's settings of a figure
    "optimization/columns.py": 1,  # a state of the same form as the one before it
    "optimization/rules/base.py": 6,  # three methods, so that each rule may name its own hyperparameters
    "studies/study.py": 1,  # JSON of each kind's own shape
    "views/animate/choose.py": 2,  # a study and its summary, of the kind that is found out there
    "views/animate/film.py": 2,  # a canvas, whose methods matplotlib leaves untyped, and Pillow's settings
    "views/figures.py": 1,  # matplotlib's settings of lines
    "views/plot/convexity.py": 1,  # an array of axes
    "views/plot/doors.py": 1,  # fields of a class, by name
}
#: Where objects are asked what they have: one room for users' plain objects, else objects of other libraries.
ASKING = {
    "adapting.py",
    "cli/watching.py",  # a stream
    "execution/live_page.py",  # Dask's dashboard
    "execution/run.py",  # a process
    "execution/schedulers.py",  # a Client
    "learning/hypotheses/estimator.py",  # scikit-learn's
    "learning/hypotheses/specs.py",  # scikit-learn's and scipy's
    "optimization/columns.py",  # named tuples
    "views/tables.py",  # attributes of xarray
    "studies/components.py",  # functions and modules
    "studies/model.py",  # annotations of a class
    "studies/origins.py",  # functions and modules
}
MODULES = sorted(path.relative_to(ROOT) for path in PACKAGE.rglob("*.py"))


def imports(path):
    """Yield all modules that a file imports, lazily or not, but for type checking."""
    tree = ast.parse((ROOT / path).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path):
    return path.parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) != "__init__"], ids=str)
def test_imports_go_down_the_list(path):
    here = ROOMS.index(room(path))
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "biasvar" and len(parts) > 1 and parts[1] != "__version__":
            assert ROOMS.index(parts[1]) <= here, f"{path} imports {module}"
        if parts[0] in NOT_BEFORE:
            assert here >= ROOMS.index(NOT_BEFORE[parts[0]]), f"{path} imports {module}"


def test_there_is_no_import_cycle():
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    edges = {name: {module for module in imports(path) if module in names} - {name} for name, path in names.items()}
    del edges["biasvar"]  # the table of public names
    while edges:
        leaves = {name for name, targets in edges.items() if not targets & edges.keys()}
        assert leaves, f"cycle among {sorted(edges)}"
        edges = {name: targets for name, targets in edges.items() if name not in leaves}


def nodes(path, *kinds):
    return [node for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, kinds)]


def inside(path):
    return str(path.relative_to("biasvar"))


def untyped(path):
    """Count the arguments of a file's functions that may be anything."""
    several = [node.args for node in nodes(path, ast.FunctionDef, ast.AsyncFunctionDef)]
    given = [[*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg] for a in several]
    hints = [ast.unparse(each.annotation) for every in given for each in every if each and each.annotation]
    return sum(hint in ("Any", "Any | None") for hint in hints)


def test_arguments_have_types():
    found = {inside(path): untyped(path) for path in MODULES if untyped(path)}
    assert found == UNTYPED


def test_objects_are_asked_what_they_have_at_one_place():
    calls = {
        inside(path): [node for node in nodes(path, ast.Call) if isinstance(node.func, ast.Name)] for path in MODULES
    }
    asking = {
        path
        for path, found in calls.items()
        if any(call.func.id == "hasattr" or (call.func.id == "getattr" and len(call.args) == 3) for call in found)
    }
    assert asking == ASKING


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_files_are_short(path):
    assert len((ROOT / path).read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import biasvar", ["numpy", "dask", "xarray", "zarr", "numba", "pydantic"]),
        ("import biasvar.learning.simulation", ["dask", "xarray", "zarr", "distributed", "pandas"]),
        ("import biasvar.cli", ["numpy", "dask", "xarray", "zarr"]),
        ("import biasvar as bv; bv.run; bv.RiskStudy; bv.OptimizerStudy", HEAVY),
        # So few that not even a loaded machine asks for worker processes.
        (f"{RUN}, 'replicates=4096', '--set', 'block_size=256', 'two-point-sine'])", HEAVY),
        (f"{RUN}, 'steps=20', 'ravine'])", HEAVY),
    ],
)
def test_imports_stay_light(statement, absent, tmp_path):
    code = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_public_name_exists_and_is_documented():
    for name in bv.__all__:
        if name != "__version__":
            assert getattr(bv, name).__doc__.strip().splitlines()[0].endswith((".", ";")), name
    with pytest.raises(AttributeError, match="attribute nonsense"):
        _ = bv.nonsense


@pytest.mark.slow
def test_a_study_runs_from_an_installed_wheel(tmp_path):
    """Build a wheel, install it without dependencies beside those of this environment, and run from afar."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    # The dependencies are those of this environment, seen through a path file; biasvar itself is the wheel's.
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    paths = [p for p in sys.path if p.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(paths) + "\n")
    where = subprocess.run(
        [python, "-c", "import biasvar; print(biasvar.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert Path(where.stdout.strip()).is_relative_to(tmp_path / "venv")
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "biasvar", "run", "two-point-sine", "--json", "--set", "replicates=65536"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert len(json.loads(done.stdout)["cells"]) == 8
