"""Fixtures of the sandbox's own tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.tests.live import LiveGateway


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveGateway]:
    """A running gateway; this process's environment points at it."""
    gateway = LiveGateway(tmp_path)
    for name, value in gateway.environment.items():
        monkeypatch.setenv(name, value)
    yield gateway
    gateway.close()
