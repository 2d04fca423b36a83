"""Pictures of the gallery's scripts: those that they save, and those that a tutorial only names."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

KINDS = (".png", ".gif")  # what a page can show as a picture
_written: dict[str, None] = {}  # pictures that this process has written and no page shows yet, in their order


def _heed(event: str, arguments: tuple[Any, ...]) -> None:
    """Note which pictures are written here: scripts of other processes write into the same folder meanwhile."""
    if event == "open" and isinstance(arguments[0], str | os.PathLike) and "w" in str(arguments[1]):
        path = os.path.abspath(arguments[0])
        if path.endswith(KINDS):
            _written[path] = None


sys.addaudithook(_heed)


def saved(block: tuple[Any, ...], variables: dict[str, Any], conf: dict[str, Any]) -> str:
    """Show what a script has saved into ``figures`` where it runs."""
    folder = Path(variables["src_file"]).absolute().parent / "figures"
    shown = []
    for picture in [path for path in map(Path, _written) if path.parent == folder]:
        shown.append(Path(next(variables["image_path_iterator"])).with_suffix(picture.suffix))
        shutil.move(picture, shown[-1])
    _written.clear()
    return _below_each_other(shown, conf)


def unsaved(block: tuple[Any, ...], variables: dict[str, Any], conf: dict[str, Any]) -> str:
    """Show the figures, none of which pyplot knows, that a cell binds to a name."""
    known, shown = variables.setdefault("known_figures", set()), list[Path]()
    for value in list(variables["example_globals"].values()):
        if isinstance(value, Figure) and id(value) not in known:
            known.add(id(value))
            shown.append(Path(next(variables["image_path_iterator"])))
            value.savefig(shown[-1], dpi=110)
    return _below_each_other(shown, conf)


def _below_each_other(shown: list[Path], conf: dict[str, Any]) -> str:
    """Show each picture as wide as the page: side by side nobody could read them."""
    return "".join(figure_rst([str(path)], conf["src_dir"]) for path in shown)


def both(block: tuple[Any, ...], variables: dict[str, Any], conf: dict[str, Any]) -> str:
    """Show all."""
    return saved(block, variables, conf) + unsaved(block, variables, conf)


def _get_sg_image_scraper() -> Any:
    """Return what sphinx-gallery asks for, knowing the module's name."""
    return both
