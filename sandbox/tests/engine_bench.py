"""Podman with a real registry behind the gateway: what tests of real builds and runs stand on."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from sandbox.engine import BaseImage, ImageBuild, Login, Podman, RunStore
from sandbox.engine.mounts import mounts_below
from sandbox.forward import Backend
from sandbox.tasks.runner.stages import used_images
from sandbox.tests.live import LiveGateway
from sandbox.web import Call, Fault, Surface

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

    async def base(self, store: RunStore, tag: str = "1") -> str:
        image = f"{SERVER}/base:{tag}"
        assert await self.build(store, "Dockerfile", image) == 0, self.lines
        return image

    async def build(self, store: RunStore, dockerfile: str, *tags: str, **options: Any) -> int:
        text = (self.context / dockerfile).read_text()
        used = used_images(text, options.get("arguments", {}), options.get("target", "")).all()
        images = tuple(BaseImage(image.name, image.platform) for image in used)
        return await store.build(ImageBuild(self.context, text, tags, images, **options), self.out)


@contextmanager
def engine_bench(live: LiveGateway, tmp_path: Path) -> Iterator[Bench]:
    """A started engine; afterwards nothing of it may be left."""
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
    assert not _monitors(bench.root)
    assert f"basegate-{live.instance.key}" not in subprocess.check_output(["iptables", "-S"], text=True)


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


def _monitors(root: Path) -> list[str]:
    """Container monitors that still stand over something below `root`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "conmon" in command and f"{root}/" in command:
            found.append(command)
    return found
