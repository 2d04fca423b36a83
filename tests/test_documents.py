"""What README and docs say: their code runs, their numbers are the code's, their links lead somewhere."""

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from math import prod

import pytest
import yaml
from helpers import ROOT

import biasvar as bv
from biasvar import errors
from biasvar.cli import main
from biasvar.execution import blocks, schedulers, settings
from biasvar.learning import inputs
from biasvar.studies import components, repeats, tree
from biasvar.views import tables

DOCUMENTS = sorted(
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "workflows")
    for path in folder.glob("*.md" if folder != ROOT / "workflows" else "*/*.md")
)
README, CHANGELOG = (ROOT / "README.md").read_text(), (ROOT / "CHANGELOG.md").read_text()
CLUSTERS, SCALING = (ROOT / "docs" / "clusters.md").read_text(), (ROOT / "docs" / "scaling.md").read_text()


def code(text, *languages):
    """Return the code blocks of a document that are in some languages; in any, unless some are named."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [block for language, block in found if language in languages or not languages]


def numbers(pattern, text):
    """Return what stands before a pattern, as numbers: one at least."""
    found = re.findall(rf"(\d[\d,]*) {pattern}", text)
    assert found, pattern
    return {int(number.replace(",", "")) for number in found}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/extending.md", "docs/matrix-calculus.md"])
def test_their_code_runs(name, tmp_path):
    """All blocks of a document, in order, as one script."""
    script = tmp_path / "script.py"
    script.write_text("\n".join(code((ROOT / name).read_text(), "python")))
    here = os.environ | {"DASK_SCHEDULER": "threads"}  # however slow this machine seems just now
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, env=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_their_links_lead_somewhere_and_their_code_is_narrow(path):
    text = path.read_text()
    for link in re.findall(r"\]\(([^)#]+)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)):
        assert link.startswith("https://") or (path.parent / link).exists(), link
    assert [line for block in code(text) for line in block.splitlines() if len(line) > 120] == []


def test_the_readme_test_command_is_what_ci_runs():
    (test,) = [line for block in code(README, "sh") for line in block.splitlines() if "pytest" in line]
    assert test in (ROOT / ".ci" / "run").read_text()


@pytest.mark.slow
def test_no_numbers_in_the_readme_are_invented(tmp_path):
    """What it shows of tables is what the commands print."""
    risks = tables.results(bv.run(bv.load("two-point-sine"), tmp_path / "risk.zarr"))
    best = tables.results(bv.run(bv.load("ravine"), tmp_path / "best.zarr"))
    shown = [line for block in code(README, "text") for line in block.splitlines() if line.strip()]
    assert len(shown) > 15
    assert [line for line in shown if line not in f"{risks}\n{best}"] == []


def test_every_command_is_in_the_readme_and_every_one_in_it_exists():
    lines = [line for block in code(README, "sh") for line in block.splitlines()]
    named = {line.split()[1] for line in lines if line.startswith("biasvar ")}
    assert named == main.commands.keys()


def test_exit_codes_are_said_alike():
    table = re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)
    assert table == ["0", "1", "2", "3", "4", "70"]
    # What the code returns is held by the tests of the command line.
    assert sorted(re.findall(r"(\d+) [a-z]", main.help.partition("Exit codes:")[2]), key=int) == table


def test_every_bundled_study_and_component_is_named():
    for name in bv.bundled():
        assert f"`{name}`" in README, name
    for known in (
        components.INPUTS,
        components.TARGETS,
        components.HYPOTHESES,
        components.OBJECTIVES,
        components.OPTIMIZERS,
    ):
        for name in known:
            assert re.search(rf"`{name}\b", README), name


def test_how_many_there_are():
    for text in (README, CHANGELOG):
        assert numbers("update rules", text) == {len(components.OPTIMIZERS)}
        assert numbers("kinds of objective", text) == {len(components.OBJECTIVES)}
    study = bv.load("hyperparameter-grid")
    (grid,) = study.grids.values()
    assert numbers("configurations of Adam", README) == {prod(grid.shape)}
    assert f"{prod(grid.shape):,}".replace(",", " ") in study.description


def test_defaults_and_limits():
    study = bv.RiskStudy(
        name="defaults", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)}, n_train=2
    )
    assert numbers("replicates per cell", README) == {study.replicates}
    assert re.search(r"in blocks of ([\d,]+)", README)[1] == f"{study.block_size:,}"
    assert re.search(r"at least (\d+) blocks", README)[1] == str(repeats.MIN_BLOCKS)
    text = " ".join(bv.RiskStudy.__doc__.split())
    for said in (
        f"at least {repeats.MIN_REPLICATES} and a multiple of ``block_size``; {study.replicates} unless",
        f"at least {repeats.MIN_BLOCKS} blocks, and {repeats.MIN_REPLICATES} replicates",
        f"gives up; 2**{repeats.MAX_REPLICATES.bit_length() - 1} unless given",
        f"in one dimension ({inputs.DEFAULT_NODES}), Sobol points in more ({inputs.DEFAULT_TEST_POINTS})",
    ):
        assert said in text, said


def test_settings_are_those_of_the_code():
    table = CLUSTERS.partition("## Settings")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|", table, flags=re.MULTILINE))
    assert {name: yaml.safe_load(default) for name, default in rows.items()} == settings.DEFAULTS
    assert numbers("tasks are with the scheduler at a time", SCALING) == {schedulers.WINDOW}
    assert numbers("at a time.", SCALING) == {schedulers.BATCH}
    assert f"does not fit into {blocks.KEEP_BYTES >> 20} MB" in SCALING
    assert f"A leaf is {tree.LEAF} consecutive blocks" in SCALING
    assert f"of a branch of {tree.LEAF * tree.FAN**2:,} tiny blocks" in SCALING


def test_what_dask_is_said_to_do_it_does():
    import dask
    import distributed  # noqa: F401  # has its defaults known

    for setting, default in re.findall(r"`(distributed\.[a-z.-]+)` \((\w+);", CLUSTERS):
        assert str(dask.config.get(setting, override_with=None)) == default, setting


def pages():
    """Return the module that writes the site's pages."""
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference():
    """Return what the site's reference lists, by the module that each name is asked of."""
    text = pages().reference((ROOT / "biasvar" / "__init__.pyi").read_text())
    found = {}
    for section in text.split(".. currentmodule:: ")[1:]:
        table = section.partition(":nosignatures:")[2]
        found.setdefault(section.split("\n", 1)[0], set()).update(re.findall(r"^   (\w+)$", table, flags=re.MULTILINE))
    return found


def test_each_public_name_has_a_page_and_an_example():
    found = reference()
    modules = {name for name in bv.__all__ if inspect.ismodule(getattr(bv, name))}
    raised = {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and kind.__module__ == errors.__name__
    }
    names = set(bv.__all__) - {"__version__"} - modules - raised
    assert found == {
        "biasvar": names,
        "biasvar.errors": raised,
        **{f"biasvar.{name}": set(getattr(bv, name).__all__) for name in modules},
    }
    public = [getattr(bv, name) for name in names] + [getattr(errors, name) for name in raised]
    public += [getattr(getattr(bv, name), noun) for name in modules for noun in getattr(bv, name).__all__]
    assert [each.__name__ for each in public if ">>> " not in inspect.getdoc(each)] == []


def test_readme_names_and_the_site_runs_each_workflow():
    """By its last two lines: the site puts a call with less to do in their place."""
    workflows = sorted((ROOT / "workflows").glob("*.py"))
    assert sorted(re.findall(r"^\| `workflows/(\w+)\.py`", README, re.MULTILINE)) == [path.stem for path in workflows]
    assert [path.stem for path in workflows] == sorted(pages().RUN)
    for path in workflows:
        assert path.read_text().endswith('if __name__ == "__main__":\n    main()\n'), path
