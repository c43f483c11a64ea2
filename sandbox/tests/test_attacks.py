"""Another local user, and a function app, before a whole running sandbox, whose state is where everyone can enter.

What needs no root runs as the user nobody there. The other local user is one without a name.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sandbox.testing import ProcessKind, Sandbox, SandboxError, SiteView, unavailable
from sandbox.tests.attacks import Attack, Table

pytestmark = pytest.mark.containers

_USER, _STRANGER = "nobody", 65533
_URL = "https://someone:guess@github.com/contoso/app.git"
_APP = """
import json, os, pathlib, socket
import azure.functions as func

app = func.FunctionApp()

def status(place):
    return dict(line.split(":\\t", 1) for line in open(f"/proc/{place}/status").read().splitlines() if ":\\t" in line)

def read(place):
    return pathlib.Path(place).read_text(errors="replace")

def rename(place):
    os.rename(place, place + ".moved")

def connect(place):
    socket.socket(socket.AF_UNIX).connect(place)

def replace(places):
    place, target = places.split(":")
    if os.path.exists(place):
        os.rename(place, place + ".kept")
    os.symlink(target, place)
    return "done"

def remove(place):
    os.rename(place, place + ".kept")
    return "done"

def restore(place):
    if os.path.exists(place + ".kept"):
        os.rename(place + ".kept", place)
    return "done"

@app.route(route="do", auth_level=func.AuthLevel.FUNCTION)
def do(req: func.HttpRequest) -> str:
    actions = {"status": status, "read": read, "rename": rename, "connect": connect, "list": os.listdir,
        "replace": replace, "remove": remove, "restore": restore}
    try:
        return json.dumps(actions[req.params["action"]](req.params["place"]))
    except OSError as error:
        return json.dumps(type(error).__name__)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    if reason := unavailable():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="bg-") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)
        patch.setattr(sys, "executable", str(reachable_python(Path(folder) / "python")))
        with Sandbox(Path(folder) / "state", user=_USER) as running:
            patch.undo()
            yield running


def reachable_python(folder: Path) -> Path:
    """An interpreter that every user can run, with this one's packages: this one may be in root's home."""
    name, own = f"python3.{sys.version_info.minor}", str(Path(sys.executable).resolve())
    reachable = as_stranger("test", "-x", own).returncode == 0
    base = own if reachable else shutil.which(name, path="/usr/local/bin:/usr/bin")
    assert base, f"the attacks of a function app need a {name} that other users can run: install it"
    packages = folder / "lib" / name / "site-packages"
    packages.parent.mkdir(parents=True)
    packages.symlink_to(Path(msgspec.__file__).parents[1])
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(base).parent}\n")
    return folder / "bin" / "python"


def as_stranger(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "HOME": "/"} | environment,
        user=_STRANGER,
        group=_STRANGER,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def folder_of(sandbox: Sandbox, name: str, **files: str) -> Path:
    """A folder beside the state, with files that everyone can read."""
    folder = sandbox.root.parent / name
    folder.mkdir()
    for file, content in files.items():
        (folder / file.replace("__", ".")).write_text(content)
    return folder


@pytest.fixture(scope="module")
def site(sandbox: Sandbox) -> SiteView:
    app = folder_of(sandbox, "app", function_app__py=_APP, host__json='{"version": "2.0"}')
    return sandbox.start_site("hostile", app, {"SECRET": "of the app"})


def in_the_app(site: SiteView, action: str, place: object) -> Any:
    """What a function of the app gets, or the name of its exception."""
    url = f"http://127.0.0.1:{site.port}/api/do?code={site.host_key}&action={action}&place={place}"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        return json.loads(answer.read())


@pytest.mark.attack(
    "another local user", "to read the secrets, keys and logs of a running sandbox", "the folder's mode"
)
@pytest.mark.parametrize("place", ["secrets/identity-header", "secrets/token.key", "settings.json", "logs/sandbox.log"])
def test_another_user_reads_nothing_of_a_running_sandbox(sandbox: Sandbox, place: str) -> None:
    assert (sandbox.root / place).read_bytes()
    assert "state\n" in as_stranger("ls", str(sandbox.root.parent)).stdout
    refused = as_stranger("cat", str(sandbox.root / place))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Permission denied" in refused.stderr


@pytest.mark.attack("another local user", "a push to a repository of a running sandbox", "the secret of `env`")
def test_another_user_clones_from_a_running_sandbox_and_cannot_push(sandbox: Sandbox) -> None:
    sandbox.create_repository("contoso/app", folder_of(sandbox, "source", file="content"))
    git = {"HTTPS_PROXY": sandbox.url, "GIT_SSL_NO_VERIFY": "1", "GIT_TERMINAL_PROMPT": "0"}
    with tempfile.TemporaryDirectory(prefix="bg-") as folder:
        os.chown(folder, _STRANGER, _STRANGER)
        cloned = as_stranger("git", "clone", "--bare", "--quiet", _URL, f"{folder}/clone", **git)
        assert cloned.returncode == 0, cloned.stderr
        refused = as_stranger("git", "-C", f"{folder}/clone", "push", _URL, "main:stolen", **git)
    assert refused.returncode != 0
    assert "Authentication failed" in refused.stderr
    assert subprocess.check_output(["git", "ls-remote", _URL], env=os.environ | sandbox.environment).count(b"\n") == 2


@pytest.mark.attack("a function app", "to be root, or to become it through sudo", "it runs as the user behind sudo")
def test_an_app_runs_as_the_user_and_gets_no_other_rights(site: SiteView) -> None:
    user = pwd.getpwnam(_USER)
    status = in_the_app(site, "status", "self")
    assert status["Uid"].split() == [str(user.pw_uid)] * 4
    assert status["Gid"].split() == [str(user.pw_gid)] * 4
    assert len(status["Groups"].split()) == 1  # the one that enters the state folder
    assert status["CapEff"] == "0" * 16
    assert status["NoNewPrivs"] == "1"


@pytest.mark.attack("a function app", "to read the secrets of the sandbox and of its own registries", "modes, groups")
@pytest.mark.parametrize(
    "place",
    [
        "secrets/identity-header",
        "secrets/token.key",
        "ca/ca.key",
        "storage/account.key",
        "sites/sites.json",
        "registry/registries.json",
        "settings.json",
        "logs/sandbox.log",
        "git/contoso/app.git/HEAD",
    ],
)
def test_an_app_reads_none_of_the_secrets(sandbox: Sandbox, site: SiteView, place: str) -> None:
    if place.startswith("git/"):
        sandbox.create_repository("contoso/app", sandbox.root.parent / "app")
    elif place == "registry/registries.json":
        (sandbox.root / place).touch()
    assert (sandbox.root / place).is_file()
    assert in_the_app(site, "read", sandbox.root / place) == "PermissionError"
    assert len(in_the_app(site, "read", sandbox.root / "ca" / "bundle.pem")) > 1000  # what it needs, it reaches


@pytest.mark.attack("a function app", "to list and to replace what is in the state folder", "the folder is root's")
def test_an_app_changes_nothing_of_the_sandbox(sandbox: Sandbox, site: SiteView) -> None:
    for place in (".", "engine", "engine/config/containers.conf", "sites", "tasks"):
        assert in_the_app(site, "list", sandbox.root / place) in ("PermissionError", "NotADirectoryError")
        assert in_the_app(site, "rename", sandbox.root / place) in ("PermissionError", "OSError")
    assert in_the_app(site, "connect", sandbox.root / "control.sock") == "PermissionError"


@pytest.mark.attack("a function app", "the storage key in Azurite's environment, the registries' socket", "its groups")
def test_an_app_cannot_reach_into_other_processes_of_its_user(sandbox: Sandbox, site: SiteView) -> None:
    sockets = Path((sandbox.root / "registry" / "runtime").read_text())
    assert list(sockets.glob("*.sock"))
    assert in_the_app(site, "list", sockets) == "PermissionError"
    assert in_the_app(site, "connect", next(sockets.glob("*.sock"))) == "PermissionError"
    for kind in (ProcessKind.AZURITE, ProcessKind.REGISTRY, ProcessKind.SANDBOX):
        for pid in sandbox.processes(kind):
            assert in_the_app(site, "read", f"/proc/{pid}/environ") == "PermissionError"


@pytest.mark.attack("a function app", "a file of root, through a link in the place of its keys", "no link is followed")
@pytest.mark.parametrize("file", ["keys.json", "keys.new"])
def test_an_app_cannot_make_root_read_or_write_another_file(sandbox: Sandbox, site: SiteView, file: str) -> None:
    state, kept = sandbox.root / "sites" / "hostile", b"kept as it is"
    target = sandbox.root / "secrets" / "target"
    target.write_bytes(kept)
    assert in_the_app(site, "replace", f"{state / file}:{target}") == "done"
    try:
        if file == "keys.json":
            with pytest.raises(SandboxError, match="keys of the site 'hostile' cannot be read"):
                sandbox.site("hostile")
        else:
            assert in_the_app(site, "remove", state / "keys.json") == "done"
            with pytest.raises(SandboxError, match="keys of the site 'hostile' cannot be read"):
                sandbox.site("hostile")
    finally:
        assert in_the_app(site, "restore", state / "keys.json") == "done"
    assert target.read_bytes() == kept


def test_what_needs_no_root_runs_as_the_user_and_owns_its_data(sandbox: Sandbox, site: SiteView) -> None:
    uid, root = pwd.getpwnam(_USER).pw_uid, sandbox.root
    for kind in (ProcessKind.AZURITE, ProcessKind.REGISTRY, ProcessKind.HOST, ProcessKind.WORKER):
        assert [Path(f"/proc/{pid}").stat().st_uid for pid in sandbox.processes(kind)] == [uid]
    places = [place for name in ("storage/data", "registry/data/*/content", "sites/*/") for place in root.glob(name)]
    assert [place.stat().st_uid for place in places] == [uid] * 3
    assert (
        f"Function apps, registries, git and Azurite run as {_USER} (uid {uid})."
        in sandbox.request("GET", "/health")["rights"]
    )


@pytest.mark.attack("a command of the owner", "a folder that only root reads, as a repository", "git runs as the user")
def test_a_folder_that_the_user_cannot_read_is_no_repository(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("root's")
    tmp_path.chmod(0o700)
    with pytest.raises(SandboxError, match=f"git, which runs as {_USER}, cannot import"):
        sandbox.create_repository("contoso/root", tmp_path)
    assert not (sandbox.root / "git" / "contoso" / "root.git").exists()


@pytest.mark.parametrize(
    ("results", "end", "refused"),
    [
        ({"passed"}, "refused: the mode", True),
        ({"passed", "failed"}, "GOT THROUGH, see above", False),
        ({"passed", "skipped"}, "NOT PLAYED here", False),
        (set(), "NOT PLAYED here", False),
    ],
)
def test_an_attack_counts_as_refused_if_all_its_tests_were_played_and_passed(
    results: set[str], end: str, refused: bool
) -> None:
    table = Table()
    assert not table.refused
    table.attacks["test"] = Attack("somebody", "to read", "the mode", results)
    assert table.attacks["test"].line().endswith(end)
    assert table.refused is refused
