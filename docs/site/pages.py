"""Write the pages and scripts that Sphinx reads but nobody writes: of the public names, the README and the workflows.

All of it goes to ``docs/made``.
"""

import inspect
import re
import shutil
from pathlib import Path

import biasvar
from biasvar import errors

#: Rooms of the package in the order in which a reader needs them, and what each is called there.
ROOMS = {
    "studies": "Studies",
    "execution": "Running, storing, reading",
    "views": "Results",
    "pages": "Reports",
    "learning": "Laws, targets, hypothesis sets, losses",
    "optimization": "Objectives, update rules, schedules, convex sets",
}
#: With what each workflow is run for its page, so that all together take a minute or two.
RUN = {
    "adaptive_methods": ["--replicates", "16"],
    "bagging": ["--replicates", "256"],
    "constrained": ["--steps", "500"],
    "convexity": ["--segments", "1024"],
    "edge_of_stability": ["--replicates", "1", "--steps", "300"],
    "extremes": [],
    "hyperparameter_grid": ["--replicates", "2"],
    "matrix_calculus": [],
    "online_vs_batch": ["--steps", "10"],
    "race": ["--rates", "10", "--sets", "30", "--replicates", "65536"],
    "ravine": ["--replicates", "4"],
    "real_data": ["--n-train", "50", "--sets", "ridge", "10-NN", "logistic", "5-NN"],
    "scale": ["--replicates", "256"],
    "surrogates": ["--replicates", "2048"],
    "tradeoff": ["--replicates", "16384"],
    "two_point_sine": ["--replicates", "65536"],
}
#: Tutorials in the order in which they are read.
TUTORIALS = ("first_study", "reading_a_summary", "your_own_set", "grid", "cluster")


class Order:
    """What sphinx-gallery sorts a folder's scripts by: tutorials as they are read, workflows by name."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, name: str) -> tuple[int, str]:
        """Return the place of a script."""
        stem = Path(name).stem
        return (TUTORIALS.index(stem) if stem in TUTORIALS else len(TUTORIALS), name)


def names_by_room(stub: str) -> dict[str, list[str]]:
    """Return the public names of a stub, by the room that each is imported from; errors are told apart."""
    found: dict[str, list[str]] = {room: [] for room in ROOMS}
    for room, name in re.findall(r"^from \.(\w+)[\w.]* import (\w+) as \2", stub, flags=re.MULTILINE):
        if room != "errors":
            found[room].append(name)
    return found


def bases() -> list[str]:
    """Return the public classes that others are made of."""
    return [name for name in biasvar.__all__ if inspect.isabstract(getattr(biasvar, name))]


def raised() -> list[str]:
    """Return the names of the errors and warnings."""
    return [
        name for name, kind in vars(errors).items() if isinstance(kind, type) and kind.__module__ == errors.__name__
    ]


def section(title: str, module: str, names: list[str], about: str = "") -> str:
    """Write a table of names, with a page for each, below what is said about them."""
    table = "\n".join(f"   {name}" for name in names)
    head = f"\n{title}\n{'-' * len(title)}\n\n.. currentmodule:: {module}\n\n"
    return f"{head}{about}.. autosummary::\n   :toctree: reference\n   :nosignatures:\n\n{table}\n"


def reference(stub: str) -> str:
    """Write the list of all public names, room by room."""
    text = "Reference\n=========\n\nThe public names, room by room, and what they raise.\n"
    modules = {}
    for room, names in names_by_room(stub).items():
        modules |= {name: getattr(biasvar, name) for name in names if type(getattr(biasvar, name)) is type(biasvar)}
        text += section(ROOMS[room], "biasvar", [name for name in names if name not in modules])
    for name, module in modules.items():
        about = f"Functions of biasvar.{name}"
        text += section(about, f"biasvar.{name}", module.__all__, f".. automodule:: biasvar.{name}\n\n")
    return text + section("Errors", "biasvar.errors", raised())


def script(text: str, options: list[str]) -> str:
    """Turn a script into one of the gallery, which has a heading, and a cell of its own for what it says.

    The first line of its docstring becomes the heading.
    """
    text = re.sub(r'\A"""(.*?)\.?(\n|""")', lambda found: f'"""\n{found[1]}\n{"=" * len(found[1])}\n{found[2]}', text)
    call = f"main({options})".replace("'", '"')
    said = f"What it says, when run with ``{' '.join(options)}``" if options else "What it says"
    return text.replace('if __name__ == "__main__":\n    main()\n', f"# %%\n# {said}\n{call}\n")


def at_home(text: str) -> str:
    """Make links of the README, and of guides to what is beside them, those of the site; what it lacks is text."""
    code = r"(^```.*?^```)"
    parts = re.split(code, text, flags=re.DOTALL | re.MULTILINE)
    whole = "".join(part if part.startswith("```") else relinked(part) for part in parts)
    return whole.replace("```mermaid", "```text")  # to draw it takes a script from elsewhere


def relinked(text: str) -> str:
    """Do that where there is no code."""
    text = re.sub(r"\]\((?:\.\./)?workflows/(\w+)/README\.md", r"](/made/\1.md", text)
    text = re.sub(r"\]\((?:\.\./)?workflows/(\w+)\.py\)", r"](/made/gallery/\1.rst)", text)
    text = re.sub(r"\]\((?:\.\./)*CONTRIBUTING\.md", "](/made/contributing.md", text)
    text = re.sub(r"\]\(\.\./README\.md", "](/made/readme.md", text)
    text = re.sub(r"\]\((?:\.\./\.\./)?docs/", "](/", text)
    return re.sub(r"\[([^]]*)\]\((?!https:|/|#|\w[\w-]*\.(?:md|png)\b)[^)]*\)", r"\1", text)


def write(root: Path) -> None:
    """Write all pages of a checkout."""
    made = root / "docs" / "made"
    shutil.rmtree(made / "scripts", ignore_errors=True)
    for kind, heading in (("tutorials", "Tutorials"), ("gallery", "Gallery")):
        folder = root / "workflows" if kind == "gallery" else root / "docs" / "tutorials"
        into = made / "scripts" / kind
        into.mkdir(parents=True)
        for path in sorted(folder.glob("*.py")):
            (into / path.name).write_text(script(path.read_text(), RUN.get(path.stem, [])))
        (into / "GALLERY_HEADER.rst").write_text(f"{heading}\n{'=' * len(heading)}\n")
    (made / "reference.rst").write_text(reference((root / "biasvar" / "__init__.pyi").read_text()))
    for name, path in (("readme", "README.md"), ("changes", "CHANGELOG.md"), ("contributing", "CONTRIBUTING.md")):
        (made / f"{name}.md").write_text(at_home((root / path).read_text()))
    for readme in (root / "workflows").glob("*/README.md"):
        (made / f"{readme.parent.name}.md").write_text(at_home(readme.read_text()))
