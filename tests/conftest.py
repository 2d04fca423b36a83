"""Options, fixtures and collection of all tests."""

import shutil

import pytest
from helpers import small_study
from hypothesis import HealthCheck, settings

# By default an example that takes a fifth of a second is a failure: the first one compiles, and machines are shared.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

collect_ignore = ["optimization/data"]  # a script there needs torch, whose trajectories it stores


def pytest_addoption(parser):
    parser.addoption(
        "--cluster", action="store_true", help="run the tests marked cluster; a missing piece is then a failure"
    )

    parser.addoption("--browser", action="store_true", help="run the tests marked browser, in Chromium")
    parser.addoption("--slow", action="store_true", help="run the tests marked slow")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give a file to one worker: two would compile the same functions, and make the same fixtures, at once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


NEEDS = {
    "cluster": "real schedulers, hosts and containers",
    "browser": "playwright and Chromium",
    "slow": "many repeated studies, or long ones",
}


SLOW_SECONDS = 3600  # of one slow test, on a machine that does much else besides


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))
    for marker, what in NEEDS.items():
        if not config.getoption(f"--{marker}"):
            skip = pytest.mark.skip(reason=f"needs --{marker}: {what}")
            for item in items:
                if item.get_closest_marker(marker):
                    item.add_marker(skip)


@pytest.fixture
def study():
    return small_study()


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store.zarr"


CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    """A real browser, for the pages that are looked at in one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        yield chromium
        chromium.close()
