"""The engine on real podman: tiny images, a real registry behind the gateway by its real name."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web

from sandbox.engine import EngineError, HostedContainer, Login, Podman, RunContainer
from sandbox.engine.mounts import mounts_below
from sandbox.forward import Backend
from sandbox.tests.live import LiveGateway
from sandbox.web import Call, Fault, Surface

pytestmark = pytest.mark.containers
T = TypeVar("T")
SERVER = "contoso.azurecr.io"
LOGINS = {SERVER: Login("robot", "s3cret")}


class Bench:
    """A podman engine on the gateway's loop, a registry behind the gateway, and a build context."""

    def __init__(self, live: LiveGateway, folder: Path) -> None:
        self.live, self.context = live, folder / "context"
        self.lines: list[str] = []
        self.root = live.instance.folder("engine")
        self.engine = Podman(self.root, live.instance.key, live.environment)
        self.context.mkdir()
        shutil.copy("/bin/busybox", self.context / "busybox")
        (self.context / "Dockerfile").write_text(
            "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nENV COLOR=Green\n"
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.live.run(work)

    async def out(self, line: str) -> None:
        self.lines.append(line)

    async def base(self, store: Any, tag: str = "1") -> str:
        image = f"{SERVER}/base:{tag}"
        assert await store.build(["-t", image, "."], self.context, self.out) == 0, self.lines
        return image


@pytest.fixture
def bench(live: LiveGateway, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(live, tmp_path)
    backend, stop = _registry(live)
    try:
        live.run(bench.engine.start())
        yield bench
    finally:
        live.run(bench.engine.close())
        live.run(backend.close())
        stop()
    assert mounts_below(bench.root) == []


def _registry(live: LiveGateway) -> tuple[Backend, Callable[[], None]]:
    folder = Path(tempfile.mkdtemp(prefix="bg-reg-"))
    (folder / "config.yml").write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{net: unix, addr: {folder}/socket, secret: s}}\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], env=environment)
    while not (folder / "socket").exists():
        time.sleep(0.01)
    backend = Backend(folder / "socket")
    surface = Surface("registry", r"contoso\.azurecr\.io", authorize=_authorize)

    async def forward(call: Call) -> web.StreamResponse:
        return await backend.forward(call.request, drop=["authorization"], add={"X-Forwarded-Proto": "https"})

    for method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"):
        surface.operation(method, "/v2/")(forward)
        surface.operation(method, "/v2/{rest:rest}")(forward)
    live.gateway.add(surface)

    def stop() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(folder)

    return backend, stop


def _authorize(request: web.BaseRequest, host: str, params: Mapping[str, str]) -> Mapping[str, Any]:
    wanted = "Basic " + base64.b64encode(b"robot:s3cret").decode()
    if request.headers.get("Authorization") != wanted:
        raise Fault(401, "UNAUTHORIZED", "log in", {"WWW-Authenticate": f'Basic realm="{host}"'})
    return {}


def test_a_run_builds_pushes_and_runs_and_the_next_run_sees_only_what_was_pushed(bench: Bench) -> None:
    async def play() -> None:
        first = await bench.engine.prepare_run("ca1", LOGINS)
        image = await bench.base(first)
        pushed = await first.push(image, bench.out)
        assert pushed.exit_code == 0, bench.lines
        assert pushed.digest.startswith("sha256:")
        assert await first.tag(image, f"{SERVER}/base:local", bench.out) == 0
        await first.close()

        second = await bench.engine.prepare_run("ca1", LOGINS)
        assert await second.run(RunContainer("gone", f"{SERVER}/base:local"), bench.out) == 125
        await second.warm([image])
        (bench.context / "app").write_text(f"FROM {image}\nRUN echo built\n")
        assert await second.build(["-f", "app", "-t", "app:1", "."], bench.context, bench.out) == 0, bench.lines
        assert (await second.digests())[image] == pushed.digest
        await second.close()

    bench.run(play())
    assert "built" in bench.lines


def test_layers_are_kept_but_a_moved_tag_is_seen_at_once(bench: Bench) -> None:
    async def color(run: str) -> str:
        store = await bench.engine.prepare_run(run, LOGINS)
        await store.warm([f"{SERVER}/base:1"])
        bench.lines.clear()
        await store.run(RunContainer("show", f"{SERVER}/base:1", ("/bin/sh", "-c", "echo is $COLOR")), bench.out)
        await store.close()
        return bench.lines[-1]

    async def publish() -> None:
        store = await bench.engine.prepare_run("publish", LOGINS)
        assert (await store.push(await bench.base(store), bench.out)).exit_code == 0
        await store.close()

    bench.run(publish())
    assert bench.run(color("ca1")) == "is Green"
    dockerfile = bench.context / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("Green", "Red"))
    bench.run(publish())
    assert bench.run(color("ca2")) == "is Red"


def test_a_container_gets_its_variables_user_folder_and_mounts_and_no_network(bench: Bench) -> None:
    async def play() -> int:
        store = await bench.engine.prepare_run("ca1", {})
        image = await bench.base(store)
        script = "echo $PLAIN; echo $ODD; pwd; id -u; ls; cat /proc/net/route | wc -l; exit 7"
        container = RunContainer(
            "step",
            image,
            ("-c", script),
            environment={"PLAIN": "a b", "ODD": 'say "hi"\nthere'},
            entrypoint="/bin/sh",
            user="7",
            workdir="/workspace",
            mounts={bench.context: "/workspace"},
        )
        bench.lines.clear()
        (bench.context / "tools").mkdir()
        script_links = " && ".join(f"/bin/busybox ln -s /bin/busybox /workspace/tools/{n}" for n in ("id", "ls"))
        assert (
            await store.run(
                RunContainer("links", image, ("/bin/sh", "-c", script_links), mounts={bench.context: "/workspace"}),
                bench.out,
            )
            == 0
        )
        return await store.run(container, bench.out)

    assert bench.run(play()) == 7
    assert bench.lines[:2] == ["a b", 'say "hi" there']
    assert "/workspace" in bench.lines
    assert not list(bench.root.rglob("*.env"))


def test_containers_of_one_run_reach_each_other_by_name_and_nothing_else(bench: Bench) -> None:
    async def play() -> list[str]:
        store = await bench.engine.prepare_run("ca1", {})
        image = await bench.base(store)
        server, client = store.allocate_address(), store.allocate_address()
        (bench.context / "index.html").write_text("hello from the server\n")
        mounts = {bench.context: "/srv"}
        page = ("/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/srv")
        assert (
            await store.run(RunContainer("server", image, page, address=server, mounts=mounts, detach=True), bench.out)
            == 0
        )
        bench.lines.clear()
        fetch = "until /bin/busybox wget -q -O - http://server/; do /bin/busybox sleep 0.05; done"
        hosts = {"server": server}
        await store.run(RunContainer("client", image, ("/bin/sh", "-c", fetch), address=client, hosts=hosts), bench.out)
        await store.close()
        return bench.lines

    assert "hello from the server" in bench.run(play())


def test_a_cancelled_run_ends_its_container_and_a_cancelled_build_its_command(bench: Bench) -> None:
    async def cancel(work: Coroutine[Any, Any, Any], ready: Callable[[], Awaitable[bool]]) -> None:
        task = asyncio.ensure_future(work)
        while not await ready():
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def said(word: str) -> bool:
        return word in bench.lines

    async def play() -> None:
        store = await bench.engine.prepare_run("ca1", {})
        image = await bench.base(store)
        sleeper = ("/bin/sh", "-c", "echo running; exec /bin/busybox sleep 7777")
        await cancel(store.run(RunContainer("sleeper", image, sleeper), bench.out), lambda: said("running"))
        assert not _processes("7777")
        (bench.context / "slow").write_text(f"FROM {image}\nRUN echo building; exec /bin/busybox sleep 8888\n")
        slow = ["-f", "slow", "-t", "slow:1", "."]
        await cancel(store.build(slow, bench.context, bench.out), lambda: said("building"))
        assert not _processes("8888")
        await store.close()

    bench.run(play())


def _processes(argument: str) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if argument.encode() in words:
            found.append(str(file))
    return found


def test_a_hosted_container_answers_on_its_address_and_tells_its_state(bench: Bench) -> None:
    async def play() -> str:
        store = await bench.engine.prepare_run("ca1", LOGINS)
        image = await bench.base(store)
        assert (await store.push(image, bench.out)).exit_code == 0
        await store.close()
        host = bench.engine.host
        with pytest.raises(EngineError, match=r"unauthorized|log in"):
            await host.pull(image)
        await host.pull(image, LOGINS[SERVER])
        address = host.allocate_address()
        page = ("/bin/sh", "-c", "echo up; exec /bin/busybox httpd -f -p 80 -h /bin")
        await host.start_container(
            HostedContainer("page", image, page, {"SECRET": "x"}, address=address, memory_gb=0.1, cpu=0.5)
        )
        state = await host.inspect("page")
        assert state
        assert (state.status, state.exit_code, state.address, state.finished) == ("running", None, address, None)
        assert "up" in await host.logs("page", tail=1)
        await host.restart("page")
        return address

    address = bench.run(play())
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://{address}/busybox", timeout=0.3) as answer:
                assert answer.status == 200
                break
        except OSError:
            time.sleep(0.05)
    else:
        pytest.fail("the page never answered")
    host = bench.engine.host
    bench.run(host.stop("page"))
    state = bench.run(host.inspect("page"))
    assert state
    assert state.status == "exited"
    bench.run(host.remove("page"))
    assert bench.run(host.inspect("page")) is None


def test_the_next_start_removes_what_a_killed_process_left(bench: Bench) -> None:
    async def play() -> Path:
        store = await bench.engine.prepare_run("ca1", {})
        image = await bench.base(store)
        sleeper = ("/bin/busybox", "sleep", "9999")
        await store.run(RunContainer("left", image, sleeper, detach=True), bench.out)
        return Path((bench.root / "runtime-folder").read_text())

    left = bench.run(play())
    assert _processes("9999")
    successor = Podman(bench.root, "other", bench.live.environment)
    bench.run(successor.start())
    assert not _processes("9999")
    assert not left.exists()
    bench.run(successor.close())
