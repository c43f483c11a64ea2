"""Fixtures of the sandbox's own tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.engine.mounts import unmount_below
from sandbox.tests.live import LiveGateway


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
