from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.__main__ import main
from sandbox.arm.surface import ResourceId
from sandbox.control import Health, mount_control
from sandbox.engine.runtime_folder import short_folder
from sandbox.git import GitHub
from sandbox.instance import Instance, Settings
from sandbox.lifecycle import SandboxError, health, resources, running_pid, start, stop
from sandbox.tests.live import LiveGateway

REGISTRY = str(ResourceId("contoso-rg", "Microsoft.ContainerRegistry", "registries", "contoso"))
GROUP = str(ResourceId("web-rg", "Microsoft.ContainerInstance", "containerGroups", "web"))


def sandbox(*arguments: str) -> int:
    return main(arguments)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["sideways"], "invalid choice: 'sideways'"),
        (["up", "--port", "x"], "'x' is not a port: 0 (any) to 65535"),
        (["up", "--port", "65536"], "'65536' is not a port"),
        (["up", "--port", "-1"], "'-1' is not a port"),
        (["up", "--time-scale", "0"], "'0' is not a number above 0"),
        (["up", "--time-scale", "nan"], "'nan' is not a number above 0"),
        (["up", "--time-scale", "fast"], "'fast' is not a number above 0"),
        (["down", "now"], "unrecognized arguments: now"),
    ],
)
def test_wrong_arguments_are_told_and_nothing_is_done(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        sandbox("--state", str(tmp_path / "state"), *arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        sandbox("--help")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"    {name} " in printed for name in ("needs", "up", "down", "status", "env", "events", "task", "logs"))


def test_the_state_folder_may_stand_before_or_after_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ["--state", str(tmp_path)]
    assert sandbox(*state, "status") == sandbox("status", *state) == 1
    assert capsys.readouterr().out == f"no sandbox runs in {tmp_path}\n" * 2


def test_stopping_what_does_not_run_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sandbox("--state", str(tmp_path), "down") == 0
    assert capsys.readouterr().out == f"no sandbox runs in {tmp_path}\n"


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Path]:
    """The temporary folder of an engine whose sandbox, in `tmp_path`, was killed."""
    folder = short_folder()
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "runtime-folder").write_text(str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can remove containers")
def test_what_a_killed_sandbox_left_is_removed_by_down(killed: Path, tmp_path: Path) -> None:
    assert sandbox("--state", str(tmp_path), "down") == 0
    assert not killed.exists()
    assert not (tmp_path / "engine" / "runtime-folder").exists()


def test_down_fails_while_what_a_killed_sandbox_left_is_still_there(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert sandbox("--state", str(tmp_path), "down") == 1
    expected = f"what a killed sandbox left in {tmp_path} cannot be removed: only root can remove containers"
    assert capsys.readouterr().err == f"sandbox: {expected}\n"
    assert killed.exists()


def test_a_daemon_that_is_still_starting_is_stopped(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "read line", "sandbox", "-m", "sandbox.daemon", str(tmp_path), "{}", "tools"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as daemon:
        threading.Thread(target=daemon.wait).start()
        assert stop(Instance(tmp_path))
    assert daemon.returncode == -signal.SIGTERM


def test_env_of_what_does_not_run_prints_nothing_that_a_shell_would_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sandbox("--state", str(tmp_path), "env") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"sandbox: no sandbox runs in {tmp_path}: start one with `python -m sandbox --state {tmp_path} up`\n"
    )


@pytest.mark.parametrize(
    "left", ["", "no number", "999999999", "-1", pytest.param(str(os.getpid()), id="another process")]
)
def test_a_pid_file_that_a_killed_daemon_left_counts_for_nothing(left: str, tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    instance.pid_file.write_text(left)
    assert running_pid(instance) is None


@pytest.mark.parametrize(("root", "is_own"), [("one", True), ("two", False), ("one/inner", False)])
def test_only_the_daemon_of_the_same_folder_counts_as_the_one_of_an_instance(
    root: str, is_own: bool, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "one")
    instance = Instance(tmp_path / "link")
    (tmp_path / "one").mkdir()
    command = ["/bin/sh", "-c", "read line", "sandbox", "-m", "sandbox.daemon", str(tmp_path / root), "{}", "tools"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as daemon:
        instance.pid_file.write_text(str(daemon.pid))
        assert running_pid(instance) == (daemon.pid if is_own else None)


def test_a_port_that_is_taken_is_named_before_anything_starts(listening: int, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=f"port {listening} is not available .*--port 0"):
        start(Instance(tmp_path), Settings(port=listening))
    assert not (tmp_path / "logs").exists()


def test_a_daemon_that_ends_while_it_starts_shows_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SandboxError, match=r"did not start. The end of .*logs/sandbox.log"):
        start(Instance(tmp_path), Settings())


def test_a_daemon_that_this_process_started_leaves_neither_a_warning_nor_a_zombie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, instance = tmp_path / "daemon", Instance(tmp_path / "state")
    program.write_text('#!/bin/sh\necho $$ > "$3/daemon.pid"\nwhile :; do sleep 0.1; done\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    start(instance, Settings())
    gc.collect()  # an object of a child that still runs would warn here
    pid = running_pid(instance)
    assert stop(instance)
    assert not Path(f"/proc/{pid}").exists()


def test_logs_are_listed_and_the_end_of_one_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = Instance(tmp_path).logs
    (logs / "site-basegate.log").write_text("one\ntwo\nthree\n")
    (logs / "azurite.log").write_text("")
    assert sandbox("--state", str(tmp_path), "logs") == 0
    assert capsys.readouterr().out == f"{logs}\n  azurite\n  site-basegate\n"
    assert sandbox("--state", str(tmp_path), "logs", "site-basegate", "--lines", "2") == 0
    assert capsys.readouterr().out == "two\nthree\n"


@pytest.mark.parametrize("name", ["nope", "../secrets/token", "azurite.log"])
def test_a_log_that_is_not_there_is_told_with_those_that_are(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (Instance(tmp_path).logs / "azurite.log").write_text("")
    assert sandbox("--state", str(tmp_path), "logs", name) == 1
    assert capsys.readouterr().err == f"sandbox: there is no log '{name}' in {tmp_path}/logs; existing: azurite\n"


def test_what_there_is_is_listed_with_its_address(live: LiveGateway) -> None:
    live.index.register("registries", lambda: [{"id": REGISTRY, "properties": {"loginServer": "contoso.azurecr.io"}}])
    live.index.register("containerGroups", lambda: [{"id": GROUP, "properties": {"ipAddress": {"ip": "10.0.0.7"}}}])
    mount_control(live.control, GitHub(live.instance.folder("git"), live.issuer.identity_header), live.index)
    listed = [(resource.group, resource.name, resource.address) for resource in resources(live.instance)]
    assert listed == [("contoso-rg", "contoso", "contoso.azurecr.io"), ("web-rg", "web", "10.0.0.7")]


def test_what_this_machine_does_not_allow_is_told(live: LiveGateway) -> None:
    mount_control(
        live.control,
        GitHub(live.instance.folder("git"), live.issuer.identity_header),
        live.index,
        lambda: Health(["There is no iptables."], "All run as root."),
    )
    assert health(live.instance) == Health(["There is no iptables."], "All run as root.")


def test_a_sandbox_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="runs but does not respond"):
        resources(Instance(tmp_path))
