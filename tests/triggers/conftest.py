"""A Basegate whose ports are fakes, in the place where the functions look for theirs."""

from __future__ import annotations

import pytest

from shared import bootstrap
from tests.fakes import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The functions work on this world; it answers as a Basegate does."""
    made = World()
    monkeypatch.setattr(bootstrap, "basegate", lambda: made)
    return made
