"""The engine on real podman: tiny images, a real registry behind the gateway by its real name."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sandbox.engine import EngineError, HostedContainer, Podman, Pushed, RunContainer, podman
from sandbox.engine.configuration import argument_options, environment_options
from sandbox.tasks.outcome import RunInfo, RunOutcome, RunStatus
from sandbox.tasks.runner.runner import Runner
from sandbox.tasks.taskfile.parser import load_task_file
from sandbox.tests.engine_bench import LOGINS, SERVER, Bench

pytestmark = pytest.mark.containers


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
        assert await bench.build(second, "app", "app:1") == 0, bench.lines
        assert (await second.digests())[image] == pushed.digest
        await second.close()

    bench.run(play())
    assert "built" in bench.lines


def test_an_image_keeps_every_name_that_steps_give_it_at_the_same_time(bench: Bench) -> None:
    async def names() -> list[int]:
        store = await bench.engine.prepare_run("ca1", LOGINS)
        image = await bench.base(store)
        targets = [f"{SERVER}/base:{number}-{part}" for number in range(4) for part in "abc"]
        for at in range(0, len(targets), 3):
            await asyncio.gather(*(store.tag(image, target, bench.out) for target in targets[at : at + 3]))
        codes = [await store.tag(target, f"{target}-kept", bench.out) for target in targets]
        await store.close()
        return codes

    assert set(bench.run(names())) == {0}, bench.lines


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
        variables = "echo $PLAIN; echo $ODD; echo ${TMPDIR-unset}.${ENV-unset}"
        script = f"{variables}; pwd; id -u; ls; cat /proc/net/route | wc -l; exit 7"
        container = RunContainer(
            "step",
            image,
            ("-c", script),
            environment={"PLAIN": "a b", "ODD": 'say "hi"\nthere', "TMPDIR": "", "ENV": ""},
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
    assert bench.lines[:3] == ["a b", 'say "hi" there', "."]
    assert "/workspace" in bench.lines
    assert not list(bench.root.rglob("*.env"))


@pytest.mark.attack("another local user", "to list processes with secrets", "secrets are in no argument")
def test_no_value_of_a_variable_an_argument_or_a_login_is_in_a_process_list(bench: Bench) -> None:
    odd, secret = 'say "s3cret-variable"\nthere', "s3cret-argument"

    async def seen(work: Coroutine[Any, Any, int]) -> str:
        task, found = asyncio.ensure_future(work), ""
        while not task.done():
            found += _command_lines()
            await asyncio.sleep(0.005)
        assert await task == 0, bench.lines
        return found

    async def play() -> str:
        store = await bench.engine.prepare_run("ca1", LOGINS)
        image = await bench.base(store)
        script = ("/bin/sh", "-c", "echo $ODD; /bin/busybox sleep 0.3")
        found = await seen(store.run(RunContainer("odd", image, script, environment={"ODD": odd}), bench.out))
        (bench.context / "app").write_text(f"FROM {image}\nARG TOKEN\nRUN echo is $TOKEN; /bin/busybox sleep 0.3\n")
        arguments = {"TOKEN": secret, "PLAIN": "s3cret-that-nobody-marked"}
        found += await seen(bench.build(store, "app", arguments=arguments, secret=frozenset({"TOKEN"})))
        return found + await seen(_exit_code(store.push(image, bench.out)))

    commands = bench.run(play())
    assert "is s3cret-argument" in bench.lines
    assert any("s3cret-variable" in line for line in bench.lines)
    assert "podman" in commands
    assert "s3cret-variable" not in commands
    assert f"TOKEN={secret}" not in commands
    assert "s3cret-that-nobody-marked" not in commands
    assert "push" in commands
    assert "robot:s3cret" not in commands
    assert base64.b64encode(b"robot:s3cret").decode() not in commands


async def _exit_code(work: Coroutine[Any, Any, Pushed]) -> int:
    return (await work).exit_code


def test_a_build_argument_that_the_engine_would_read_is_an_argument_of_its_process_and_no_secret() -> None:
    arguments = {"HTTPS_PROXY": "http://proxy", "VERSION": "1", "EMPTY": ""}
    options, passed = argument_options(arguments, {"VERSION"})
    assert options == [
        "--build-arg", "HTTPS_PROXY=http://proxy", "--build-arg", "VERSION", "--build-arg", "EMPTY"
    ]  # fmt: skip
    assert passed == {"VERSION": "1", "EMPTY": ""}
    with pytest.raises(EngineError, match="HTTPS_PROXY is no name of a variable"):
        argument_options(arguments, {"HTTPS_PROXY"})


@pytest.mark.attack("a task file", "a variable that the engine reads itself", "the names of variables")
@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "PATH", "CONTAINERS_CONF", "https_proxy", "REGISTRY_AUTH_FILE", "GODEBUG", "GIT_SSH_COMMAND"]
)
def test_a_variable_that_the_engine_itself_would_read_is_refused_and_leaves_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=f"{name} is no name"):
        environment_options(tmp_path / "file", {"PLAIN": "s3cret", name: "two\nlines"})
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    "name", ["GITHUB_TOKEN", "LDAP_PASSWORD", "REGISTRY_PASSWORD", "STORAGE_KEY", "goal", "LISTENER"]
)
def test_any_other_variable_is_passed_on(name: str, tmp_path: Path) -> None:
    options, passed = environment_options(tmp_path / "file", {name: "two\nlines"})
    assert (options, dict(passed)) == (["--env", name], {name: "two\nlines"})


@pytest.mark.parametrize("name", ["ENV", "TMP", "TMPDIR", "PATH", "HTTPS_PROXY", "LD_PRELOAD"])
def test_an_empty_variable_is_set_whatever_its_name(name: str, tmp_path: Path) -> None:
    assert environment_options(tmp_path / "file", {name: ""}) == (["--env", f"{name}="], {})
    assert not (tmp_path / "file").exists()


@pytest.mark.attack("a task file", "an option as the name of a container or a mount path", "the engine checks both")
@pytest.mark.parametrize(
    ("container", "problem"),
    [
        (RunContainer("../../../tmp/x", "base"), "no name of a container"),
        (RunContainer("-v", "base"), "no name of a container"),
        (RunContainer("x", "base", mounts={Path("/tmp"): "/v:O,upperdir=/etc"}), "no absolute path"),
    ],
)
def test_a_name_or_a_path_that_is_more_than_one_is_refused(bench: Bench, container: RunContainer, problem: str) -> None:
    async def play() -> None:
        store = await bench.engine.prepare_run("ca1", {})
        await store.run(container, bench.out)

    with pytest.raises(EngineError, match=problem):
        bench.run(play())


@pytest.mark.attack("a Dockerfile", "ADD http:// of a loopback port of this machine", "a network namespace of builds")
def test_a_build_reaches_the_registry_and_no_port_of_this_machine(bench: Bench) -> None:
    class Counted(BaseHTTPRequestHandler):
        calls = 0

        def do_GET(self) -> None:
            Counted.calls += 1
            self.send_response(200)
            self.end_headers()

    async def play(port: int) -> tuple[int, int]:
        store = await bench.engine.prepare_run("publish", LOGINS)
        assert (await store.push(await bench.base(store), bench.out)).exit_code == 0
        await store.close()
        again = await bench.engine.prepare_run("ca1", LOGINS)
        (bench.context / "pulls").write_text(f"FROM {SERVER}/base:1\n")
        (bench.context / "adds").write_text(f"FROM scratch\nADD http://127.0.0.1:{port}/x /x\n")
        codes = await bench.build(again, "pulls"), await bench.build(again, "adds")
        await again.close()
        return codes

    with HTTPServer(("127.0.0.1", 0), Counted) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        pulled, added = bench.run(play(server.server_port))
        server.shutdown()
        thread.join()
    assert (pulled, Counted.calls) == (0, 0), bench.lines
    assert added != 0
    assert any("connection refused" in line for line in bench.lines), bench.lines


@pytest.mark.attack("a container of a run", "a loopback port of this machine", "a network namespace of the run")
def test_a_container_that_is_online_reaches_the_gateway_and_no_other_port_of_this_machine(bench: Bench) -> None:
    script = """
      ask() { printf 'CONNECT nowhere.example:443 HTTP/1.1\\r\\n\\r\\n' | /bin/busybox nc -w 2 127.0.0.1 $1; }
      ask ${HTTPS_PROXY##*:}
      ask $OTHER
      echo "certificates: $(/bin/busybox grep -c BEGIN $SSL_CERT_FILE), routes: $(/bin/busybox wc -l < /proc/net/route)"
    """
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        async def play() -> None:
            store = await bench.engine.prepare_run("ca1", {})
            image = await bench.base(store)
            bench.lines.clear()
            container = RunContainer("x", image, ("/bin/sh", "-c", script), environment={"OTHER": port}, online=True)
            await store.run(container, bench.out)
            await store.close()

        bench.run(play())
        other.settimeout(0)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert bench.lines[0].startswith("HTTP/1.1 200 Connection established"), bench.lines
    certificates, routes = re.findall(r"\d+", bench.lines[-1])
    assert int(certificates) > 0
    assert routes == "1"  # the heading of the table


@pytest.mark.attack("a task file", "an option in the place of an image", "options end before it")
def test_an_image_that_begins_like_an_option_is_an_image(bench: Bench) -> None:
    async def play() -> int:
        store = await bench.engine.prepare_run("ca1", {})
        image = await bench.base(store)
        return await store.run(RunContainer("x", "--volume=/:/host", (image, "/bin/sh")), bench.out)

    assert bench.run(play()) == 125
    assert any("invalid reference" in line for line in bench.lines), bench.lines


def test_containers_of_one_run_reach_each_other_by_name(bench: Bench) -> None:
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
        await cancel(bench.build(store, "slow", "slow:1"), lambda: said("building"))
        assert not _processes("8888")
        await store.close()

    bench.run(play())


def _command_lines() -> str:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(file.read_text(errors="replace"))
    return "\n".join(one for one in found if "podman" in one)


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
    with pytest.raises(EngineError, match="page"):
        bench.run(host.logs("page"))


def test_a_hosted_container_that_fails_is_restarted_and_one_beside_another_shares_its_network(bench: Bench) -> None:
    async def play() -> None:
        host = bench.engine.host
        store = await bench.engine.prepare_run("ca1", LOGINS)
        image = await bench.base(store)
        assert (await store.push(image, bench.out)).exit_code == 0
        await store.close()
        await host.pull(image, LOGINS[SERVER])
        first = HostedContainer("first", image, ("/bin/busybox", "sleep", "60"), address=host.allocate_address())
        await host.start_container(first)
        peek = ("/bin/sh", "-c", "/bin/busybox ip -4 -o addr; exit 3")
        await host.start_container(HostedContainer("second", image, peek, beside="first", restart="on-failure"))
        while not (state := await host.inspect("second")) or state.restarts < 2:
            await asyncio.sleep(0.05)
        assert first.address
        assert first.address in await host.logs("second")

    bench.run(play())


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


def test_every_start_goes_on_with_the_store_there_is(bench: Bench) -> None:
    async def drivers_and_folder(engine: Podman) -> tuple[set[str], str]:
        store = await engine.prepare_run("ca1", LOGINS)
        await bench.base(store)
        await store.close()
        return {file.name for file in bench.root.glob("cache-*")}, (bench.root / "runtime-folder").read_text()

    seen = [bench.run(drivers_and_folder(bench.engine))]
    bench.run(bench.engine.close())
    for _ in range(2):
        successor = Podman(bench.root, bench.live.instance.key, bench.live.environment)
        bench.run(successor.start())
        try:
            seen.append(bench.run(drivers_and_folder(successor)))
        finally:
            bench.run(successor.close())
    assert len({folder for _, folder in seen}) == 3
    assert [drivers for drivers, _ in seen] == [seen[0][0]] * 3


def test_a_fetch_by_digest_that_a_kill_interrupted_does_not_keep_the_next_start_from_its_store(bench: Bench) -> None:
    async def fetch_and_die() -> set[str]:
        store = await bench.engine.prepare_run("ca1", LOGINS)
        pushed = await store.push(await bench.base(store), bench.out)
        await store.close()
        shared = bench.engine._started().shared
        cache = shared.cache._store.command(shared.podman)
        await cache.check(["pull", "--quiet", "--creds", "robot:s3cret", f"{SERVER}/base@{pushed.digest}"])
        return {file.name for file in bench.root.glob("cache-*")}

    stores = bench.run(fetch_and_die())
    bench.run(bench.engine.close())
    successor = Podman(bench.root, bench.live.instance.key, bench.live.environment)
    bench.run(successor.start())
    try:
        assert {file.name for file in bench.root.glob("cache-*")} == stores
        shared = successor._started().shared
        names = bench.run(shared.cache._store.command(shared.podman).check(["images", "--format", "{{.Repository}}"]))
        assert set(names.split()) == {"<none>"}
    finally:
        bench.run(successor.close())


def test_where_there_is_no_overlay_a_run_builds_and_runs_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podman, "_DRIVERS", ("vfs",))
    bench.run(bench.engine.close())
    bench.engine = Podman(bench.root, bench.live.instance.key, bench.live.environment)
    bench.run(bench.engine.start())

    async def play() -> int:
        store = await bench.engine.prepare_run("ca1", LOGINS)
        image = await bench.base(store)
        assert (await store.push(image, bench.out)).exit_code == 0
        await store.close()
        again = await bench.engine.prepare_run("ca2", LOGINS)
        await again.warm([image])
        code = await again.run(RunContainer("show", image, ("/bin/sh", "-c", "echo is $COLOR")), bench.out)
        await again.close()
        return code

    assert bench.run(play()) == 0, bench.lines
    assert bench.lines[-1] == "is Green"


TASK = """\
version: v1.1.0
steps:
  - id: build
    build: --build-arg FROM={{.Values.FROM}} -f App -t $Registry/import:test .
  - id: validate
    cmd: $Registry/import:test
  - id: pull
    cmd: docker pull {{.Values.FROM}}base:1
  - id: tag
    cmd: docker tag {{.Values.FROM}}base:1 $Registry/node:1-$ID
  - id: push
    push: ["$Registry/node:1-$ID"]
"""


def test_a_task_imports_an_image_that_passes_its_test_and_no_other(bench: Bench) -> None:
    (bench.context / "App").write_text('ARG FROM\nFROM ${FROM}base:1\nCOPY test.sh .\nCMD ["/bin/sh", "./test.sh"]\n')
    (bench.context / "test.sh").write_text("echo the colour is $COLOR; [ $COLOR = Green ]\n")

    async def publish(color: str) -> str:
        dockerfile = bench.context / "Dockerfile"
        dockerfile.write_text(re.sub("COLOR=.*", f"COLOR={color}", dockerfile.read_text()))
        store = await bench.engine.prepare_run("publish", LOGINS)
        pushed = await store.push(await bench.base(store), bench.out)
        await store.close()
        return pushed.digest

    async def play(run_id: str) -> RunOutcome:
        run = RunInfo(id=run_id, registry=SERVER, date=datetime.now(UTC), logins=LOGINS)
        task = load_task_file(TASK, run, {"FROM": f"{SERVER}/"})
        return await Runner(bench.engine).run(task, bench.context, run, bench.out)

    digest = bench.run(publish("Green"))
    outcome = bench.run(play("ca1"))
    assert outcome.status is RunStatus.SUCCEEDED, bench.lines
    assert [(image.tag, image.digest) for image in outcome.output_images] == [("1-ca1", digest)]
    assert [dependency.runtime.digest for dependency in outcome.dependencies if dependency.runtime] == [digest]
    bench.run(publish("Red"))
    outcome = bench.run(play("ca2"))
    assert (outcome.status, outcome.failed_step, outcome.exit_code) == (RunStatus.FAILED, "validate", 1)
    assert "the colour is Red" in bench.lines
