"""Fixtures of the sandbox's own tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.engine.mounts import unmount_below
from sandbox.registry import Registries, RegistryRecord
from sandbox.tests.apps.running import RunningHost
from sandbox.tests.engine_bench import Bench, engine_bench
from sandbox.tests.eventgrid_client import EventGridClient
from sandbox.tests.live import LiveGateway
from sandbox.tests.registry_support import arm_client, make, running_registries


@pytest.fixture(scope="session", autouse=True)
def no_mounts_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take off what tests that failed or were killed left mounted, in this session and in those before it.

    pytest deletes the folders of older sessions when it ends, and ends in an error where one is a mount.
    """
    yield
    own = tmp_path_factory.getbasetemp()
    unmount_below(own)
    if own.parent.name.startswith(
        "pytest-of-"
    ):  # else `--basetemp` says where, and what lies beside it is not pytest's
        for folder in own.parent.iterdir():
            if folder.is_dir() and not folder.is_symlink() and not _in_use(folder):
                unmount_below(folder)


def _in_use(folder: Path) -> bool:
    """Whether the session that this folder belongs to still runs: pytest keeps its process id there."""
    try:
        os.kill(int((folder / ".lock").read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveGateway]:
    """A running gateway; this process's environment points at it."""
    gateway = LiveGateway(tmp_path)
    for name, value in gateway.environment.items():
        monkeypatch.setenv(name, value)
    yield gateway
    gateway.close()


@pytest.fixture
def registries(live: LiveGateway) -> Iterator[Registries]:
    """Registries behind the gateway; there is none yet."""
    with running_registries(live) as service:
        yield service


@pytest.fixture
def contoso(registries: Registries) -> RegistryRecord:
    """The registry contoso."""
    with arm_client() as arm:
        make(arm, "contoso")
    record = registries.find("contoso")
    assert record
    return record


@pytest.fixture
def bench(live: LiveGateway, tmp_path: Path) -> Iterator[Bench]:
    """The container engine, and images for it."""
    with engine_bench(live, tmp_path) as bench:
        yield bench


@pytest.fixture
def client(live: LiveGateway) -> Iterator[EventGridClient]:
    """Event Grid with seconds made milliseconds."""
    client = EventGridClient(live, time_scale=1000)
    yield client
    client.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """The Functions host with the sample app."""
    running = RunningHost(tmp_path_factory.mktemp("host")).start()
    yield running
    running.stop()
