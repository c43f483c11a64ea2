"""What is asked of hosted containers is done whole, also where whoever asked goes away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.engine import HostedContainer
from sandbox.engine.mounts import mounts_below, unmount_below
from sandbox.tests.engine_bench import LOGINS, SERVER, Bench, engine_bench
from sandbox.tests.live import LiveGateway

pytestmark = pytest.mark.containers


@pytest.fixture
def bench(live: LiveGateway, tmp_path: Path) -> Iterator[Bench]:
    with engine_bench(live, tmp_path) as bench:
        yield bench


@pytest.mark.parametrize("command", ["/bin/nonsense", "/bin/busybox"])
def test_a_container_whose_start_is_cancelled_at_any_moment_can_be_removed(bench: Bench, command: str) -> None:
    async def play() -> None:
        host = bench.engine.host
        store = await bench.engine.prepare_run("ca1", LOGINS)
        image = await bench.base(store)
        assert (await store.push(image, bench.out)).exit_code == 0
        await store.close()
        await host.pull(image, LOGINS[SERVER])
        wanted = HostedContainer("left", image, (command, "sleep", "9999"), address=host.allocate_address())
        for hundredths in range(0, 40, 4):
            start = asyncio.create_task(host.start_container(wanted))
            await asyncio.sleep(hundredths / 100)
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
            await host.remove("left")
            assert await host.inspect("left") is None
            assert not [mount for mount in mounts_below(bench.root) if mount.name == "shm"]

    bench.run(play())


def test_a_mount_that_goes_by_itself_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [[tmp_path / "gone"], []]
    monkeypatch.setattr("sandbox.engine.mounts.mounts_below", lambda folder: mounts.pop(0))
    unmount_below(tmp_path)
    assert mounts == []
