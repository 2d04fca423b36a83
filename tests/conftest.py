"""Options, fixtures and collection of all tests."""

import pytest
from helpers import small_study

collect_ignore = ["optimization/data"]  # a script there needs torch, whose trajectories it stores


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
