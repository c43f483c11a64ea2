"""`python -m sandbox`: instances side by side, a shell's environment, a daemon that is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from demo import scenario
from sandbox.testing import SandboxError, shell_image, until
from shared.adapters.containers_aci import AciContainerRunner
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.domain.rollout import BuiltImage
from shared.domain.targets.aci import AciRule
from tests.contract.place import VAULT_URL, Place
from tests.e2e.house import House


def environment(house: House) -> dict[str, str]:
    variables: dict[str, str] = json.loads(house.sandbox("env", "--json"))
    return variables


def health(house: House) -> Any:
    return house.instance.request("GET", "/health")["status"]


def test_two_sandboxes_stand_side_by_side_and_go_one_by_one(house: House, next_house: House) -> None:
    for one in (house, next_house):
        assert "sandbox runs" in one.sandbox("up")
        assert one.leftovers()
    assert house.instance.url != next_house.instance.url
    assert [health(one) for one in (house, next_house)] == ["ready"] * 2

    house.down()
    assert house.leftovers() == []
    with pytest.raises(SandboxError):
        health(house)
    assert health(next_house) == "ready"
    assert house.run(sys.executable, "-m", "sandbox", "--state", str(house.state), "status").returncode == 1
    assert "sandbox runs" in next_house.sandbox("status")

    assert "sandbox runs" in house.sandbox("up")
    assert health(house) == "ready"


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not on this machine")
def test_a_shell_that_takes_the_environment_reaches_docker_hub_s_stand_in(house: House) -> None:
    house.sandbox("up")
    script = f'eval "$({sys.executable} -m sandbox --state {house.state} env)" && skopeo list-tags "$0"'
    done = house.run("sh", "-c", script, "docker://docker.io/library/node")
    assert done.returncode == 0, done.stderr
    assert scenario.STABLE in json.loads(done.stdout)["Tags"]


def test_a_killed_daemon_leaves_nothing_once_the_next_one_has_gone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.sandbox("up")
    rule = start_page(house, monkeypatch)
    pid = house.pid()
    os.kill(pid, signal.SIGKILL)
    await_end(pid)
    assert house.run(sys.executable, "-m", "sandbox", "--state", str(house.state), "status").returncode == 1

    house.sandbox("up")
    for name, value in environment(house).items():
        monkeypatch.setenv(name, value)
    place = Place(house.instance)
    runner = AciContainerRunner(place.credential, VaultCredentials(VAULT_URL, place.credential))
    until(lambda: (state := runner.get(rule)) and state.running)
    place.close()


def start_page(house: House, monkeypatch: pytest.MonkeyPatch) -> AciRule:
    """Have a container run in a sandbox."""
    for name, value in environment(house).items():
        monkeypatch.setenv(name, value)
    place = Place(house.instance)
    place.provision()
    deploy = place.rules.apps["hello-world"].deploy
    assert isinstance(deploy, AciRule)
    rule = msgspec.structs.replace(deploy, cpu=0.5, memory_gb=0.25)
    digest = place.push(place.team, "hello-world", "c1", shell_image())
    image = BuiltImage(
        login_server=place.team.login_server,
        repository="hello-world",
        tag="c1",
        digest=digest,
        built_at=datetime.now(UTC),
    )
    runner = AciContainerRunner(place.credential, VaultCredentials(VAULT_URL, place.credential))
    runner.put(rule, image, place.team)
    until(lambda: (state := runner.get(rule)) and state.running)
    place.close()
    return rule


def await_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)
