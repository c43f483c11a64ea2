"""What docs/deploy.md says is granted, set and shipped is what the app needs."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from shared.adapters.listeners import KINDS
from shared.interface import Role
from shared.settings import HINT_QUEUE, WORK_QUEUE, setting_names
from tests.architecture.test_documents import NEEDED_TO_RUN

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
_ADVICE = re.compile(r"give the app ([A-Z][A-Za-z]+(?: [A-Z]\w+| and(?= [A-Z])){0,7})")


def advised_roles() -> set[str]:
    """The roles that errors advise to give."""
    texts = (
        node.value
        for file in (ROOT / "shared/adapters").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return {role for text in texts for role in _ADVICE.findall(text)}


def test_every_role_that_an_error_advises_is_listed() -> None:
    roles = advised_roles()
    assert len(roles) > 5
    assert {role for role in roles if role not in TEXT} == set()


def test_every_setting_is_in_the_table_of_settings() -> None:
    table = TEXT.split("## Settings", 1)[1].split("## ", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(setting_names(KINDS))


def test_the_commands_ship_what_the_app_needs_and_make_its_queues() -> None:
    shipped = re.findall(r"^zip -qr basegate.zip (.+) -x ", TEXT, re.MULTILINE)[0].split()
    assert sorted(shipped) == sorted(NEEDED_TO_RUN)
    assert f"for queue in {WORK_QUEUE} {HINT_QUEUE}; do" in TEXT


@pytest.mark.parametrize("document", ["README.md", "docs/deploy.md", "docs/outcomes.md", "docs/registries.md"])
def test_the_commands_are_shell(document: str) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        parsed = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
        assert parsed.stderr == "", block


def test_every_app_role_is_listed() -> None:
    assert re.findall(r"^\| `(Basegate\.\w+)` \|", TEXT, re.MULTILINE) == [role.value for role in Role]
