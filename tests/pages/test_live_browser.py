"""The page of a running study in a real browser: cells appear, numbers end as the summary's, nothing fails."""

import re
import threading

import pytest
from distributed import Client, LocalCluster
from helpers import small_study

import biasvar as bv
from biasvar.execution.dashboard import add_page
from biasvar.execution.live import TOPIC
from biasvar.execution.live_page import Estimates, written

pytestmark = pytest.mark.browser

#: What the page's table holds: the data of the source whose rows have a text and a tip.
CELLS = """() => {
    for (const model of Bokeh.documents[0]?._all_models.values() ?? [])
        if (model.type === "ColumnDataSource" && model.data.tip && model.data.text.length)
            return [model.data.x, model.data.y, model.data.text].map(column => Array.from(column));
    return null;
}"""
HEAD = "() => [...Bokeh.documents[0]._all_models.values()].find(model => model.type === 'Div')?.text ?? ''"
EVIL = "<img src=x onerror=document.title='evil'>\""  # a label has no slash


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def page(browser, client):
    """The page, opened; when all is done, nothing was asked of other hosts and nothing went wrong."""
    troubles, address = [], add_page(client)
    host = re.match(r"http://[^/]+/", address)[0]
    context = browser.new_context()
    context.set_default_timeout(0)  # a state is waited for as long as the test may take
    page = context.new_page()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith((host, "data:")) else troubles.append(asked.url))
    page.goto(address)
    page.wait_for_function("() => window.Bokeh?.documents.length > 0")
    yield page
    context.close()
    assert troubles == []


def test_cells_appear_and_end_with_the_summarys_numbers(page, client, tmp_path):
    study = small_study()
    found = {}
    run = threading.Thread(
        target=lambda: found.update(summary=bv.run(study, tmp_path / "s.zarr", scheduler=client, progress=False))
    )
    run.start()
    page.wait_for_function(CELLS)
    run.join()
    page.wait_for_function(f"() => ({HEAD})().includes('<span>done</span>')")
    table = page.evaluate(CELLS)
    now = client.get_events(TOPIC)[-1][1]
    told = {(problem, cell): written(mean, error) for problem, cell, _, mean, error in now["cells"]}
    assert {(x, y): text for x, y, text in zip(*table, strict=True)} == told
    summary = found["summary"]
    for problem, cell, _, mean, error in now["cells"]:
        size = int(problem.removeprefix("n"))
        hypothesis, _, noise = cell.partition(" \N{GREEK SMALL LETTER SIGMA}=")
        risk = summary.sel(hypothesis=hypothesis, n_train=size, noise=float(noise)).excess_risk
        assert abs(risk - mean) <= 3 * (error or 0) + 1e-9 * abs(mean), (problem, cell)


def test_names_are_text(page, client, tmp_path):
    study = small_study(name="marks", noise=[0.0], hypotheses={EVIL: bv.Polynomial(0), "a & b": bv.Polynomial(1)})
    bv.run(study, tmp_path / "<b>marks.zarr", scheduler=client, progress=False)
    page.wait_for_function(f"() => ({HEAD})().includes('marks')")
    page.wait_for_function(f"() => ({CELLS})()?.[1].some(name => name.includes('evil'))")
    assert page.title() != "evil"
    assert set(page.evaluate(CELLS)[1]) == {EVIL, "a & b"}
    assert "&lt;b&gt;marks.zarr" in page.evaluate(HEAD)
    assert page.locator("img[src=x]").count() == 0


def test_what_the_pointer_shows_is_text(browser, tmp_path):
    from bokeh.embed import file_html
    from bokeh.resources import INLINE

    table = Estimates()
    table.figure.update(sizing_mode=None, width=600)
    table.show({"headline": "risk", "blocks": [("n2", 4, 4)], "cells": [("n2", EVIL, 4, 0.5, 0.1)]})
    (tmp_path / "table.html").write_text(file_html(table.figure, INLINE, "table"))
    page = browser.new_page()
    page.goto((tmp_path / "table.html").as_uri())
    box = page.locator(".bk-Figure").bounding_box()
    shown = page.locator(".bk-tooltip-content").first
    while not shown.is_visible():  # until the figure listens
        for share in (0.6, 0.8):
            page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.6 * box["height"], steps=4)
    assert shown.inner_text() == f"n2 {EVIL}: after 4 blocks"
    assert page.title() == "table"
    assert page.locator("img[src=x]").count() == 0
    page.close()
