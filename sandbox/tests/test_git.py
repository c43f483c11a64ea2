"""The stand-in for github.com, driven by the real git."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
import requests

from sandbox.git import GitContext, GitHub, GitPush
from sandbox.tests.live import LiveGateway
from sandbox.web import Fault

URL = "https://github.com/contoso/app.git"


@pytest.fixture
def github(live: LiveGateway, tmp_path: Path) -> GitHub:
    hub = GitHub(live.instance.folder("git"), live.issuer.identity_header)
    live.gateway.add(hub.surface())
    source = tmp_path / "source"
    (source / "web").mkdir(parents=True)
    (source / "Dockerfile").write_text("FROM node:15-alpine\n")
    (source / "web" / "index.html").write_text("hello\n")
    (source / "loop").symlink_to("loop")
    script = source / "test.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    live.run(hub.create("contoso/app", source))
    return hub


def git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    identity = {f"GIT_{who}_{what}": "dev@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    environment = os.environ | identity | quiet
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, env=environment, check=check, capture_output=True, text=True, timeout=30)


def edit(folder: Path, name: str, content: str | bytes, message: str) -> str:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    git(folder, "add", name)
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD").stdout.strip()


@pytest.mark.parametrize("suffix", ["", ".git"])
def test_a_clone_holds_the_imported_files_with_their_executable_bits(
    github: GitHub, tmp_path: Path, suffix: str
) -> None:
    git(tmp_path, "clone", "-q", f"https://github.com/contoso/app{suffix}", "clone")
    clone = tmp_path / "clone"
    assert (clone / "web" / "index.html").read_text() == "hello\n"
    assert os.access(clone / "test.sh", os.X_OK)
    assert not os.access(clone / "Dockerfile", os.X_OK)
    assert git(clone, "branch", "--show-current").stdout == "main\n"


def test_a_push_is_told_once_with_its_branch_and_commit(github: GitHub, tmp_path: Path) -> None:
    pushes: list[GitPush] = []

    async def listen(push: GitPush) -> None:
        pushes.append(push)

    github.on_push.append(listen)
    git(tmp_path, "clone", "-q", URL, "clone")
    clone = tmp_path / "clone"
    commit = edit(clone, "Dockerfile", "FROM node:16-alpine\n", "Move to node 16\n\nBecause.")
    git(clone, "push", "-q")
    git(clone, "push", "-q")  # nothing new: nothing to tell
    assert pushes == [GitPush("contoso/app", "main", commit, "Move to node 16")]
    git(clone, "push", "-q", "origin", "HEAD:feature/one")
    assert [(push.branch, push.commit) for push in pushes[1:]] == [("feature/one", commit)]
    git(clone, "push", "-q", "origin", ":feature/one")
    assert len(pushes) == 2


def test_a_failing_listener_does_not_keep_the_next_from_hearing(github: GitHub, tmp_path: Path) -> None:
    pushes: list[str] = []

    async def fail(push: GitPush) -> None:
        raise RuntimeError(push.branch)

    async def listen(push: GitPush) -> None:
        pushes.append(push.branch)

    github.on_push += [fail, listen]
    git(tmp_path, "clone", "-q", URL, "clone")
    edit(tmp_path / "clone", "a", "a", "a")
    git(tmp_path / "clone", "push", "-q")
    assert pushes == ["main"]


def test_a_push_larger_than_git_sends_in_one_piece_arrives_whole(
    github: GitHub, live: LiveGateway, tmp_path: Path
) -> None:
    git(tmp_path, "clone", "-q", URL, "clone")
    commit = edit(tmp_path / "clone", "random.bin", os.urandom(3_000_000), "Add noise")  # above http.postBuffer
    git(tmp_path / "clone", "push", "-q")
    git(tmp_path, "clone", "-q", URL, "again")
    assert git(tmp_path / "again", "rev-parse", "HEAD").stdout.strip() == commit
    assert (tmp_path / "again" / "random.bin").stat().st_size == 3_000_000


@pytest.mark.attack("another local user", "a push, which starts tasks", "the secret of `env`")
def test_another_user_who_knows_no_secret_reads_and_cannot_push(
    github: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushes: list[GitPush] = []

    async def listen(push: GitPush) -> None:
        pushes.append(push)

    github.on_push.append(listen)
    monkeypatch.delenv("GIT_CONFIG_COUNT")  # the variables that sign in are in the environment of their owner
    git(tmp_path, "clone", "-q", URL, "clone")
    edit(tmp_path / "clone", "a", "a", "a")
    refused = git(tmp_path / "clone", "push", check=False)
    assert refused.returncode != 0
    assert "could not read Username" in refused.stderr
    guessed = git(tmp_path / "clone", "push", URL.replace("//", "//someone:token@"), "HEAD:main", check=False)
    assert guessed.returncode != 0
    assert "Authentication failed" in guessed.stderr
    for service in ("info/refs?service=git-receive-pack", "git-receive-pack"):
        headers = {"Authorization": "Basic " + base64.b64encode("x:\u00e9".encode("latin-1")).decode()}
        method = "GET" if "?" in service else "POST"
        answer = requests.request(method, f"{URL}/{service}", headers=headers, timeout=5)
        assert answer.status_code == 401
        assert "python -m sandbox env" in answer.text
    assert pushes == []


def test_any_client_pushes_with_the_secret_as_password(
    github: GitHub, live: LiveGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GIT_CONFIG_COUNT")
    git(tmp_path, "clone", "-q", URL.replace("//", f"//someone:{live.issuer.identity_header}@"), "clone")
    commit = edit(tmp_path / "clone", "a", "a", "a")
    git(tmp_path / "clone", "push", "-q")
    assert live.run(github.checkout("contoso/app", None, tmp_path / "checkout")) == commit


def test_an_unknown_repository_is_not_found(github: GitHub, tmp_path: Path) -> None:
    missing = git(tmp_path, "clone", "https://github.com/contoso/absent.git", check=False)
    assert missing.returncode != 0
    assert "not found" in missing.stderr


def test_a_fetch_gets_what_another_clone_pushed(github: GitHub, tmp_path: Path) -> None:
    for name in ("one", "two"):
        git(tmp_path, "clone", "-q", URL, name)
    for number in range(30):  # enough refs and haves that git compresses its request
        git(tmp_path / "two", "commit", "-q", "--allow-empty", "-m", str(number))
    commit = edit(tmp_path / "one", "a", "a", "a")
    git(tmp_path / "one", "push", "-q")
    git(tmp_path / "two", "fetch", "-q")
    assert git(tmp_path / "two", "rev-parse", "origin/main").stdout.strip() == commit


def test_a_checkout_gives_a_branch_and_a_subfolder(github: GitHub, live: LiveGateway, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", URL, "clone")
    commit = edit(tmp_path / "clone", "web/index.html", "branch\n", "Say branch")
    git(tmp_path / "clone", "push", "-q", "origin", "HEAD:next")
    assert live.run(github.checkout("Contoso/App", "next", tmp_path / "context", "web")) == commit
    assert (tmp_path / "context" / "web" / "index.html").read_text() == "branch\n"
    live.run(github.checkout("contoso/app", None, tmp_path / "default"))
    assert (tmp_path / "default" / "web" / "index.html").read_text() == "hello\n"
    live.run(github.checkout("contoso/app", commit[:10], tmp_path / "by-commit"))


@pytest.mark.parametrize(
    ("ref", "subfolder", "named"),
    [("absent", "", "absent"), ("main", "nowhere", "nowhere"), ("main", "../..", "../.."), ("main", "loop", "loop")],
)
def test_a_checkout_names_what_is_missing(
    github: GitHub, live: LiveGateway, tmp_path: Path, ref: str, subfolder: str, named: str
) -> None:
    with pytest.raises(Fault, match=f"'{named}'"):
        live.run(github.checkout("contoso/app", ref, tmp_path / "context", subfolder))


def test_the_same_files_give_the_same_commit_and_a_name_is_taken_once(
    github: GitHub, live: LiveGateway, tmp_path: Path
) -> None:
    live.run(github.create("contoso/copy", tmp_path / "source"))
    commits = {live.run(github.checkout(f"contoso/{n}", "main", tmp_path / n)) for n in ("app", "copy")}
    assert len(commits) == 1
    with pytest.raises(Fault, match="exists already"):
        live.run(github.create("contoso/copy", tmp_path / "source"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://github.com/Contoso/app.git#main:web/site", GitContext("contoso/app", "main", "web/site")),
        ("https://github.com/contoso/app.git#main", GitContext("contoso/app", "main")),
        ("https://github.com/contoso/app#:web", GitContext("contoso/app", None, "web")),
        ("https://token@github.com/contoso/app.js.git", GitContext("contoso/app.js")),
        ("https://example.com/contoso/app.git", None),
        ("source/202602130000/upload.tar.gz", None),
    ],
)
def test_a_context_is_read_as_repository_ref_and_folder(text: str, expected: GitContext | None) -> None:
    assert GitContext.parse(text) == expected
