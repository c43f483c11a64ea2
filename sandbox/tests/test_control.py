"""Who the sandbox takes commands from: the owner of its state folder, and nobody else."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest
import requests
from aiohttp import web

from sandbox.control import ControlServer, control_surface
from sandbox.instance import Instance, Settings
from sandbox.lifecycle import SandboxError, control, start
from sandbox.tests.live import LiveGateway
from sandbox.web import Call

_NOBODY = 65534


async def never(call: Call) -> web.StreamResponse:
    raise AssertionError("the gateway's port has served one of the sandbox's own operations")


@pytest.mark.attack(
    "another local user",
    "a command of the sandbox's own, on the gateway's port",
    "commands are taken on a socket alone",
)
def test_the_gateway_s_port_takes_no_command(live: LiveGateway) -> None:
    live.control.operation("GET", "/health", summary="Never reached.")(never)
    answer = requests.get(f"http://127.0.0.1:{live.port}/health", timeout=5)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NotInSandbox")


def test_the_socket_is_its_owner_s_alone(live: LiveGateway) -> None:
    assert stat.S_IMODE(live.instance.control_socket.stat().st_mode) == 0o600


def test_a_state_folder_is_closed_to_other_users(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir(mode=0o755)
    Instance(root).create()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_a_folder_that_is_no_state_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    tmp_path.chmod(0o755)
    with pytest.raises(SandboxError, match=r"is not empty, and no state of a sandbox: use another --state"):
        start(Instance(tmp_path), Settings())
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.attack(
    "another local user", "to own the folder that the secrets will be in", "the start looks at the owner"
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_another_user_made_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir()
    os.chown(root, _NOBODY, _NOBODY)
    with pytest.raises(SandboxError, match=f"belongs to user {_NOBODY}, who could read its secrets"):
        start(Instance(root), Settings())


@pytest.mark.attack("another local user", "to connect to the socket of commands", "the socket's mode, 0600")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_another_user_of_the_machine_cannot_connect(live: LiveGateway) -> None:
    command = ["/usr/bin/test", "-w", str(live.instance.control_socket)]  # a connection needs the right to write
    assert subprocess.run(command, check=False).returncode == 0
    assert subprocess.run(command, check=False, user=_NOBODY, group=_NOBODY, extra_groups=[]).returncode == 1


@pytest.mark.attack(
    "a web page", "a token of the managed identity, from an origin, by DNS rebinding", "Origin and Host are looked at"
)
def test_a_page_in_a_browser_gets_no_token(live: LiveGateway) -> None:
    endpoint, secret = live.environment["IDENTITY_ENDPOINT"], {"X-IDENTITY-HEADER": live.environment["IDENTITY_HEADER"]}
    query = {"resource": "https://management.azure.com/"}
    assert requests.get(endpoint, params=query, headers=secret, timeout=5).status_code == 200
    for page in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}):
        answer = requests.get(endpoint, params=query, headers=secret | page, timeout=5)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "Forbidden")


def test_a_header_that_is_no_text_is_a_wrong_secret(live: LiveGateway) -> None:
    endpoint, query = live.environment["IDENTITY_ENDPOINT"], {"resource": "https://management.azure.com/"}
    answer = requests.get(endpoint, params=query, headers={"X-IDENTITY-HEADER": b"\xff\xfe"}, timeout=5)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "Unauthorized")


@pytest.mark.attack("another local user", "a token of a service principal, by a guess", "the secret of `env`")
def test_a_client_secret_is_checked(live: LiveGateway) -> None:
    form = {
        "scope": "https://management.azure.com/.default",
        "client_id": "someone",
        "grant_type": "client_credentials",
    }
    url = "https://login.microsoftonline.com/contoso/oauth2/v2.0/token"
    for secret in ({}, {"client_secret": "guessed"}):
        answer = requests.post(url, data=form | secret, timeout=5)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_client")
    owner = form | {"client_secret": live.environment["IDENTITY_HEADER"]}
    assert requests.post(url, data=owner, timeout=5).json()["token_type"] == "Bearer"


def test_a_deep_state_folder_has_a_socket_too_and_a_killed_sandbox_s_is_replaced(
    live: LiveGateway, tmp_path: Path
) -> None:
    instance = Instance(tmp_path / ("deep" * 30))
    instance.create()
    with socket.socket(socket.AF_UNIX) as left, pytest.raises(OSError, match="too long"):
        left.bind(str(instance.control_socket))
    instance.control_socket.touch()
    server = ControlServer(control_surface(), instance.control_socket)
    live.run(server.start())
    with pytest.raises(SandboxError, match="NotInSandbox"):
        control(instance, "GET", "/anything", answer=object)
    live.run(server.stop())
    assert not instance.control_socket.exists()
