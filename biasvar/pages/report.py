"""The report of a store: one file that says what was found, how sure it is, why learning errs, and how to repeat it."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import starmap
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from biasvar.errors import BiasvarError, several, writing
from biasvar.execution.backends import Place
from biasvar.execution.digest import digested
from biasvar.execution.reading import Reading, read_through
from biasvar.execution.store import Store
from biasvar.execution.verify import Verification, verified
from biasvar.fields import Json
from biasvar.notation import rounded
from biasvar.pages import explorer, html
from biasvar.rows import Table, as_html
from biasvar.studies.base import Summary, error_name, nodes_of
from biasvar.studies.catalog import in_order
from biasvar.studies.origins import as_stated
from biasvar.studies.study import Study
from biasvar.studies.text import as_yaml
from biasvar.views import plot
from biasvar.views.conclusions import findings, flags
from biasvar.views.diagnosis import diagnosed
from biasvar.views.findings import labelled, short
from biasvar.views.plot.cells import as_named
from biasvar.views.plot.precision import falling
from biasvar.views.plot.studies import study_of
from biasvar.views.tables import columns_of, counts, heading, tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 250  # of a table in a page


def report(store: Place, out: str | PathLike[str] | None = None) -> Path:
    """Write what a store holds as one file of HTML, which needs no network and no biasvar.

    What failed or is infinite comes first; then what was found, in sentences with paired 95 % intervals; the main
    figure; tables that are sorted by a click; which error dominates each cell and what would lower it; further figures;
    every stored descent under the reader's sliders, where there are descents; how sure all that is; and the study, to
    copy and to run again. The same store gives the same bytes. Code of the user's own is not run.

    Parameters
    ----------
    store : path-like or str
        A store made by :func:`~biasvar.run`.
    out : path-like, optional
        The file; unless given, the store's name with the ending ``.html``, in the current folder.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    StoreError
        If the store is none, or its run has not finished.
    BiasvarError
        If the file cannot be written.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import biasvar as bv, os, tempfile
    >>> study = bv.RiskStudy(
    ...     name="mean", target=bv.Sine(), inputs=bv.Uniform(-1, 1), hypotheses={"H0": bv.Polynomial(0)}, n_train=[4],
    ...     replicates=256, block_size=16,
    ... )
    >>> folder = tempfile.mkdtemp()
    >>> summary = bv.run(study, os.path.join(folder, "mean.zarr"), scheduler="synchronous")
    >>> page = bv.report(os.path.join(folder, "mean.zarr"), os.path.join(folder, "mean.html"))
    >>> "Of 1 cell, bias2 dominates in 1" in page.read_text()
    True
    """
    target = Store(store)
    summary = target.summary().load()
    stated = target.attributes()
    study = in_order(json.loads(stated["study"]), stated.get("supplement", {}))
    path = Path(out) if out is not None else Path(f"{Path(str(target.location)).name.removesuffix('.zarr')}.html")
    own = study_of(nodes_of(summary)[""])
    read = read_through(target, own)
    digest = digested(target, summary, read)
    figures, diagnoses = plot.figures_of(summary), diagnosed(summary)
    descents = explorer.descents_of(summary)
    found = findings(summary, diagnoses)
    # What is said above is not said again below.
    laid_out = [replace(table, notes=[note for note in table.notes if note not in found]) for table in tables(summary)]
    body = [
        html.element("h1", html.text(str(study["name"]))),
        html.element("p", html.text(_about(study)), class_="about"),
        *(html.element("p", html.text(sentence), class_="flag") for sentence in flags(summary)),
        *(html.element("p", html.text(sentence), class_="finding") for sentence in found),
        *(_figure(summary, name) for name in figures[:1]),
        html.section("Numbers", *map(_table, laid_out)),
        html.section("Why it errs, and what would help", *starmap(_diagnosis, diagnoses.items())),
        explorer.section(descents),
        html.section("Further figures", *(_folded(name, _figure(summary, name)) for name in figures[1:])),
        html.section("How sure", *_sure(summary), _precision(own, read)),
        html.section("To repeat it", *_provenance(stated, study, digest, verified(target, read, summary))),
    ]
    scripts = ["page.js", *(["packed.js", "drawings.js", "explore.js"] if descents else [])]
    styles = ["page.css", *(["explore.css"] if descents else [])]
    page = html.page(str(study["name"]), body, scripts=scripts, styles=styles)
    with writing(path):
        path.write_text(page, encoding="utf-8")
    return path


def _about(study: Mapping[str, object]) -> str:
    return f"{study['kind']} study, by biasvar".capitalize()


def _figure(summary: Summary, name: str) -> str:
    return _drawn(name, lambda: getattr(plot, name)(summary))


def _precision(study: Study[Any] | None, read: Reading) -> str:
    """Draw how standard errors fell, of a study that can be made without code of the user's own."""
    return _folded("precision", _drawn("precision", lambda: falling(study, read.headlines))) if study else ""


def _drawn(name: str, draw: Callable[[], "Figure"]) -> str:
    """Draw a figure, or say why it cannot be drawn."""
    try:
        figure = draw()
    except BiasvarError as error:
        return html.element("p", html.text(f"{_noun(name)}: {error}"))
    return html.element("figure", html.image(figure, as_named(figure.get_suptitle()) or _noun(name)))


def _noun(name: str) -> str:
    return name.replace("_", " ")


def _folded(name: str, figure: str) -> str:
    return html.element("details", html.element("summary", html.text(_noun(name))), figure)


def _table(table: Table) -> str:
    """Return a table that may be wider than the page; of a very long one the first rows, and how many there are."""
    if len(table.rows) <= MOST_ROWS:
        return html.element("div", as_html(table), class_="scroll")
    leading = [(row, column) for row, column in table.leading if row < MOST_ROWS]
    said = f"the first {MOST_ROWS} of {len(table.rows)} rows; all of them: biasvar show --format csv"
    shown = replace(table, rows=table.rows[:MOST_ROWS], notes=[said, *table.notes], leading=leading)
    return html.element("div", as_html(shown), class_="scroll")


def _diagnosis(path: str, node: xr.Dataset) -> str:
    """Tabulate which error dominates each cell, how sure that is, and what would lower it."""
    dims = [str(dim) for dim in node.dominant.dims]
    rows = []
    for at in np.ndindex(node.dominant.shape):
        cell = node.isel(dict(zip(dims, at, strict=True)))
        if not (name := str(cell.dominant.item())):
            continue
        labels = [short(cell[dim].item()) for dim in dims]
        sure = f"{float(cell.lead):.3g} +- {rounded(float(cell.lead_se))}"
        rows.append([*labels, _noun(name), f"{float(cell.share):.0%}", sure, str(cell.remedy.item()).strip(",")])
    left = (*(i for i, dim in enumerate(dims) if node[dim].dtype.kind == "O"), len(dims), len(dims) + 3)
    head = [*dims, "dominant error", "share", "above the next by", "what would lower it"]
    silent = node.dominant.size - len(rows)
    said = f"{several(silent, 'further cell')}: the numbers cannot tell (95 %), or the risk is infinite or failed"
    return _table(Table(head, rows, left, path, [said] if silent else []))


def _sure(summary: Summary) -> Iterator[str]:
    """Say how large standard errors are, where, and how much is behind them."""
    for path, node in nodes_of(summary).items():
        if "status" not in node:
            continue
        rows = [row for name in columns_of(node) if (row := _largest_error(node, name))]
        behind = [line for line in counts(node).splitlines() if line]
        if "tail_index" in node and np.isfinite(node.tail_index).any():
            least = float(node.tail_index.min())
            behind.append(f"the least tail index is {least:.3g}: risks exist above 1, standard errors above 2")
        if rows:
            yield _table(Table(["number", "largest standard error", "relative", "where"], rows, (0, 3), path, behind))


def _largest_error(node: xr.Dataset, name: str) -> list[str]:
    """Return the row of a number's largest standard error; nothing if it has none."""
    error = node.get(error_name(node[name]))
    if error is None or error.dims != node.status.dims or not (np.isfinite(error) & (error > 0)).any():
        return []
    place = np.unravel_index(int(np.where(np.isfinite(error.values), error.values, -1).argmax()), error.shape)
    at = dict(zip(error.dims, place, strict=True))
    cell, value = error.isel(at), float(node[name].isel(at))
    relative = rounded(float(cell) / abs(value)) if value else "-"
    return [heading(node, name), rounded(float(cell)), relative, labelled(cell, error.dims)]


def _provenance(stated: Json, study: Mapping[str, object], digest: str, checked: Verification) -> Iterator[str]:
    """Give the study to copy, the command, and what identifies its numbers."""
    command = "Save this as study.yaml; then: biasvar run study.yaml"
    stated_first = as_stated({name: study[name] for name in ("name", "kind")} | dict(study))
    yield html.element(
        "details", html.element("summary", html.text(command)), html.element("pre", html.text(as_yaml(stated_first)))
    )
    versions = ", ".join(f"{name} {version}" for name, version in stated.get("versions", {}).items())
    yield html.pairs(
        {
            "study hash": str(stated["study_hash"]),
            "digest of all results": digest,
            "checked": str(checked),
            "software": versions,
            "arithmetic": f"number {stated.get('numerics', 1)}",
        }
    )
