"""What is asked of hosted containers is done whole, also where whoever asked goes away meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.engine import HostedContainer, Podman
from sandbox.engine.mounts import mounts_below, remove_tree, unmount_below
from sandbox.engine.networks import Subnet, claim_subnet
from sandbox.tests.engine_bench import LOGINS, SERVER, Bench

pytestmark = pytest.mark.containers


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


def test_the_next_start_ends_what_a_killed_process_left_also_where_somebody_cleared_its_temporary_folder(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed: list[Subnet] = []

    def claim(seed: str) -> Subnet:
        claimed.append(claim_subnet(seed))
        return claimed[-1]

    monkeypatch.setattr("sandbox.engine.networks.claim_subnet", claim)
    before = bench.run(serve(bench, bench.engine))
    left = Path((bench.root / "runtime-folder").read_text())
    remove_tree(left)
    claimed[0].release()  # as the end of its process does
    successor = Podman(bench.root, bench.live.instance.key, bench.live.environment)
    bench.run(successor.start())
    try:
        assert not served_below(bench.root)
        assert mounts_below(bench.root / "groups") == []
        address = bench.run(serve(bench, successor))
        assert address == before  # podman still counts it as the lost container's
        until(lambda: responses(address))
    finally:
        bench.run(successor.close())


async def serve(bench: Bench, engine: Podman) -> str:
    """Run a container group's web server, and return its address."""
    store = await engine.prepare_run("ca1", LOGINS)
    image = await bench.base(store)
    assert (await store.push(image, bench.out)).exit_code == 0
    await store.close()
    await engine.host.pull(image, LOGINS[SERVER])
    command = ("/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/bin")
    address = engine.host.allocate_address()
    await engine.host.start_container(HostedContainer("page", image, command, address=address))
    return address


def test_what_a_killed_process_left_can_be_removed_without_another_start(bench: Bench) -> None:
    bench.run(serve(bench, bench.engine))
    left = Path((bench.root / "runtime-folder").read_text())
    assert mounts_below(bench.root)
    bench.run(Podman(bench.root, bench.live.instance.key, {}).recover())
    assert mounts_below(bench.root) == []
    assert not served_below(bench.root)
    assert not left.exists()
    assert not (bench.root / "runtime-folder").exists()
    assert f"basegate-{bench.live.instance.key}" not in subprocess.check_output(["iptables", "-S"], text=True)


def served_below(root: Path) -> list[str]:
    """The processes whose root file system lies in a store below `root`."""
    found = []
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if f"{root}/groups/" in mounts.read_text() and "httpd" in (mounts.parent / "cmdline").read_text():
                found.append(mounts.parent.name)
        except OSError:
            continue
    return found


def responses(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/busybox", timeout=0.3) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def test_a_mount_that_goes_by_itself_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [[tmp_path / "gone"], []]
    monkeypatch.setattr("sandbox.engine.mounts.mounts_below", lambda folder: mounts.pop(0))
    unmount_below(tmp_path)
    assert mounts == []


def test_a_mount_is_found_whatever_the_name_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "Jürgen's \\ box"
    (folder / "mount").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder / "mount"], check=True)
    try:
        assert mounts_below(folder) == [folder / "mount"]
    finally:
        subprocess.run(["umount", folder / "mount"], check=True)
