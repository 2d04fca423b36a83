"""What a run tells the dashboard of a real scheduler, and the page that shows it."""

import json
from urllib.request import urlopen

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster
from helpers import PATIENCE, small_study

import biasvar as bv
from biasvar.execution.dashboard import add_page
from biasvar.execution.live import TOPIC, Broadcast
from biasvar.execution.live_page import PATH, TROUBLE, falling, head, known_digits, written
from biasvar.execution.progress import Progress
from biasvar.studies.base import Group


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def ran(client, tmp_path_factory):
    """A study that ran on that scheduler, and its last snapshot."""
    store = tmp_path_factory.mktemp("live") / "s.zarr"
    summary = bv.run(small_study(), store, scheduler=client, progress=False)
    return summary, client.get_events(TOPIC)[-1][1]


def fetched(client, path):
    with urlopen(client.dashboard_link.replace("/status", path), timeout=PATIENCE) as answer:
        return answer.status, answer.read().decode()


def test_the_last_snapshot_has_the_numbers_of_the_summary(ran):
    summary, now = ran
    assert (now["study"], now["stage"], now["headline"]) == ("small", "done", "excess risk")
    assert now["done"] == now["total"] > 0
    assert len(json.dumps(now, allow_nan=False)) < 2000
    study = small_study()
    assert [row[1:] for row in now["blocks"]] == [(study.replicates // study.block_size,) * 2] * len(study.n_train)
    cells = {(problem, cell): (mean, error) for problem, cell, _, mean, error in now["cells"]}
    assert len(cells) == len(study.n_train) * len(study.hypotheses)
    # A line through two points has no finite risk with noise: its number is another's than theirs beside it.
    assert {("n2", "H1 \N{GREEK SMALL LETTER SIGMA}=0"), ("n10", "H1 \N{GREEK SMALL LETTER SIGMA}=0.5")} < set(cells)
    for (problem, cell), (mean, error) in cells.items():
        hypothesis, _, noise = cell.partition(" \N{GREEK SMALL LETTER SIGMA}=")
        one = summary.sel(hypothesis=hypothesis, n_train=int(problem[1:]), noise=float(noise))
        assert abs(mean - float(one.excess_risk)) < 3 * error
        assert error == pytest.approx(float(one.excess_risk_se), rel=0.5)


def test_the_page_is_in_the_dashboard_once_with_a_tab(client, ran):
    add_page(client)
    add_page(client)
    status, text = fetched(client, PATH)
    assert status == 200
    assert "bokeh" in text
    assert fetched(client, "/workers")[1].lower().count('href="biasvar"') == 1
    assert not client.get_events(TROUBLE)


def test_the_run_says_where_the_page_is_unless_it_is_switched_off(client):
    assert add_page(client).endswith(PATH)
    with dask.config.set({"biasvar.dashboard-page": False}):
        assert add_page(client).endswith("/status")


def test_what_goes_wrong_in_telling_disturbs_no_run():
    class Lost:
        def log_event(self, topic, message):
            raise OSError("gone")

        @property
        def dashboard_link(self):
            return "http://127.0.0.1:1/status"

        def register_plugin(self, plugin):
            raise TimeoutError

    Broadcast(small_study(), "s.zarr").tell(Lost(), Progress(), {}, complete=True)
    assert add_page(Lost()) == "http://127.0.0.1:1/status"


def test_where_bokeh_is_missing_the_line_says_so():
    class Bare:
        dashboard_link = "http://127.0.0.1:1/status"

        def register_plugin(self, plugin):
            pass

        def get_events(self, topic):
            return [(0.0, {"error": "ModuleNotFoundError: No module named 'bokeh'"})]

    assert add_page(Bare()).endswith("/status (needs bokeh on the scheduler: pip install 'biasvar[cluster]')")


def test_of_many_cells_the_least_is_told_and_how_many_have_none():
    progress, cells = Progress(total=2), tuple(f"rate={i}" for i in range(100))
    group = Group("bowl", cells, 1, label="sgd")
    mean = np.arange(100.0) + 1
    mean[50:] = np.nan
    for shift in (-0.1, 0.1):
        progress.add(group, np.stack([np.full(100, 4.0), mean + shift, np.full(100, 0.02)], axis=1))
    now = Broadcast(small_study(), "s.zarr").snapshot(progress, {"bowl": 8}, complete=False)
    ((problem, cell, blocks, value, error),) = now["cells"]
    assert (problem, cell, blocks) == ("bowl", "sgd: the least", 8)
    assert value == pytest.approx(1.0)
    assert error == pytest.approx(np.sqrt((0.04 + 0.2**2 * 2) / (8 * 7)))
    assert now["least_known"].startswith("least known: bowl rate=")


def test_the_page_writes_names_as_text():
    now = {
        "study": "<script>",
        "store": "a&b",
        "done": 1,
        "total": 3,
        "seconds": 2.0,
        "left": 4.0,
        "stage": "simulating",
    }
    text = head({**now, "least_known": "least known: <b>, +-1"}, workers=1)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "1 of 3 chunks (33%)" in text
    assert "1 worker<" in text
    assert "least known: &lt;b&gt;" in text


def test_lines_start_where_errors_are_known_and_wait_for_new_blocks():
    history = [
        {"unit": 10, "cells": [["n", "H", 1, 0.5, None], ["n", "G", 2, 0.5, 0.2]]},
        {"unit": 10, "cells": [["n", "H", 4, 0.5, 0.1], ["n", "G", 2, 0.5, 0.2]]},
    ]
    assert falling(history) == {("n", "G"): ([20], [0.2]), ("n", "H"): ([40], [0.1])}


@pytest.mark.parametrize(
    ("mean", "error", "digits", "text"), [(0.25, 0.01, 1, "0.250(10)"), (0.5, None, 0, "?"), (None, None, 0, "-")]
)
def test_estimates_are_written_as_in_tables(mean, error, digits, text):
    assert known_digits(mean, error) == digits
    assert written(mean, error) == text
