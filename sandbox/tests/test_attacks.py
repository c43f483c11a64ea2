"""Another local user before a whole running sandbox, whose state is in a folder that everyone can enter."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.testing import Sandbox, unavailable
from sandbox.tests.attacks import Attack, Table

pytestmark = pytest.mark.containers

_NOBODY = 65534
_URL = "https://someone:guess@github.com/contoso/app.git"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    if reason := unavailable():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="bg-") as folder:
        Path(folder).chmod(0o755)
        with Sandbox(Path(folder) / "state") as running:
            yield running


def as_nobody(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "HOME": "/"} | environment,
        user=_NOBODY,
        group=_NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.attack(
    "another local user", "to read the secrets, keys and logs of a running sandbox", "the folder's mode"
)
@pytest.mark.parametrize("place", ["secrets/identity-header", "secrets/token.key", "settings.json", "logs/sandbox.log"])
def test_another_user_reads_nothing_of_a_running_sandbox(sandbox: Sandbox, place: str) -> None:
    assert (sandbox.root / place).read_bytes()
    assert as_nobody("ls", str(sandbox.root.parent)).stdout == "state\n"
    refused = as_nobody("cat", str(sandbox.root / place))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Permission denied" in refused.stderr


@pytest.mark.attack("another local user", "a push to a repository of a running sandbox", "the secret of `env`")
def test_another_user_clones_from_a_running_sandbox_and_cannot_push(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    sandbox.create_repository("contoso/app", tmp_path)
    git = {"HTTPS_PROXY": sandbox.url, "GIT_SSL_NO_VERIFY": "1", "GIT_TERMINAL_PROMPT": "0"}
    with tempfile.TemporaryDirectory(prefix="bg-") as folder:
        os.chown(folder, _NOBODY, _NOBODY)
        cloned = as_nobody("git", "clone", "--bare", "--quiet", _URL, f"{folder}/clone", **git)
        assert cloned.returncode == 0, cloned.stderr
        refused = as_nobody("git", "-C", f"{folder}/clone", "push", _URL, "main:stolen", **git)
    assert refused.returncode != 0
    assert "Authentication failed" in refused.stderr
    assert subprocess.check_output(["git", "ls-remote", _URL], env=os.environ | sandbox.environment).count(b"\n") == 2


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
