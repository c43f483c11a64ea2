"""The firewall rules of an instance: complete, replaced, removed, and nobody else's touched."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sandbox.engine import Podman, RunContainer, firewall
from sandbox.tests.engine_bench import Bench

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")

_PLAY = """
from subprocess import check_output, run
from sandbox.engine.firewall import Firewall

def rules():
    return [check_output([program, "-S"], text=True) for program in ("iptables", "ip6tables")]

run(["iptables", "-A", "INPUT", "-i", "eth7", "-j", "ACCEPT"], check=True)
before = rules()
one, other = Firewall("basegate-1", ("bg1", "b1+")), Firewall("basegate-2", ("bg2",))
one.start()
with_one = rules()
assert all("-A INPUT -i bg1 -j basegate-1" in text and "-A INPUT -i b1+ -j basegate-1" in text for text in with_one)
Firewall("basegate-1", ("bg1", "b1+")).start()  # after a kill
assert rules() == with_one
other.start()
other.close()
assert rules() == with_one
one.close()
one.close()
assert rules() == before
print("as it was")
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A service of this machine that listens on all addresses."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        listener.setblocking(False)
        yield listener


def test_rules_are_replaced_after_a_kill_removed_at_the_end_and_no_other_is_touched() -> None:
    play = [sys.executable, "-c", _PLAY]
    done = subprocess.run(["unshare", "--net", *play], capture_output=True, text=True, check=False)
    assert done.stdout == "as it was\n", done.stderr


@pytest.mark.attack("a task's container", "a service of this machine on all addresses", "firewall rules")
@pytest.mark.containers
def test_a_task_s_container_reaches_no_service_of_this_machine(bench: Bench, listener: socket.socket) -> None:
    async def play() -> int:
        store = await bench.engine.prepare_run("ca1", {})
        image, address = await bench.base(store), store.allocate_address()
        machine, port = address.rsplit(".", 1)[0] + ".1", str(listener.getsockname()[1])
        command = ("/bin/busybox", "nc", "-w", "5", machine, port)
        code = await store.run(RunContainer("curious", image, command, address=address), bench.out)
        await store.close()
        return code

    assert bench.engine.warnings == ()
    assert bench.run(play()) == 1
    assert any("Connection refused" in line for line in bench.lines), bench.lines
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.containers
def test_a_machine_without_iptables_is_told_and_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run(bench.engine.close())
    monkeypatch.setattr(firewall, "find_program", {}.get)
    successor = Podman(bench.root, bench.live.instance.key, bench.live.environment)
    bench.run(successor.start())
    try:
        (warning,) = successor.warnings
        assert "listen on all addresses" in warning
        assert "iptables is not installed" in warning
    finally:
        bench.run(successor.close())
