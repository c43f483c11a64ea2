"""A folder for a sandbox, and the check that nothing of it is left on the machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.testing import unavailable
from tests.e2e.house import House

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.containers)


@pytest.fixture
def house() -> Iterator[House]:
    """A house that must be empty at the end, or the test fails."""
    with house_in() as house:
        yield house


@pytest.fixture
def next_house() -> Iterator[House]:
    """A second house beside the first."""
    with house_in() as house:
        yield house


@contextmanager
def house_in() -> Iterator[House]:
    """A house that must be empty at the end, or an AssertionError lists what is left."""
    if reason := unavailable():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="e2e"))
    house = House(folder)
    try:
        yield house
        house.down()
        assert house.leftovers() == []
    finally:
        house.down()
        shutil.rmtree(folder, ignore_errors=True)
