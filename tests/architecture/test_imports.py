"""What is imported when, and under which name."""

from __future__ import annotations

import importlib.machinery
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.architecture.tree import PACKAGES, ROOT, files, name

_AZURE = '[name for name in sys.modules if name.startswith("azure.")]'
_INDEX = "import sys, function_app; function_app.app.get_functions(); print(*sys.modules)"
_EVENT_PATH = f"""
import sys
from functions.registry_events import registry_events
from shared import bootstrap
from shared.adapters import listeners
from shared.settings import read_settings
from tests.events import event_text
from tests.triggers.out import Hints

environment = dict(AzureWebJobsStorage__accountName="x", BASEGATE_GATES="gates.sample.yaml")
app = bootstrap.Basegate(read_settings(environment, listeners.KINDS))
bootstrap.basegate = lambda: app
hints = Hints()
registry_events(event_text("image_pushed"), hints)
assert len(hints.get()) == 1
print(*{_AZURE})
"""


_SIGNATURE_RULES = """
import sys
from shared.rules import parse_gates

text = open("gates.sample.yaml").read()
check = "{signature: {cosign: {key: 'secret:a'}, notation: {certificates: 'secret:b', identities: ['*']}}}"
policy = parse_gates(text.replace("checks:", "checks:\\n      - " + check, 1))
assert [one.kind for one in next(iter(policy.gates.values())).checks][0] == "signature"
print(*sys.modules)
"""


def modules_after(program: str) -> set[str]:
    """The modules that a program prints which runs with an empty environment."""
    bare = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=bare, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def families(modules: set[str]) -> set[str]:
    """`azure.mgmt`, `azure.storage.queue`, …: the packages that modules belong to."""
    return {".".join(module.split(".")[:2]) for module in modules} | modules


HEAVY = {
    "azure.identity",
    "azure.mgmt",
    "azure.storage",
    "azure.data",
    "azure.keyvault",
    "azure.containerregistry",
    "azure.eventgrid",
    "azure.monitor",
}


def test_to_index_the_app_takes_no_setting_no_room_and_no_library_but_that_of_functions() -> None:
    modules = modules_after(_INDEX)
    assert {name for name in modules if name.startswith(("shared.", "functions.web."))} == {
        "shared.bootstrap",
        "shared.domain",
        "shared.domain.errors",
        "shared.interface",
        "shared.settings",
    }
    assert not families(modules) & HEAVY
    assert not modules & {"msgspec", "yaml", "jinja2", "urllib3"}


def test_the_event_path_needs_no_client_of_azure_at_all() -> None:
    assert families(modules_after(_EVENT_PATH)) & HEAVY == set()


def test_rules_with_signatures_need_no_cryptography_before_one_is_verified() -> None:
    assert not modules_after(_SIGNATURE_RULES) & {"cryptography", "sigstore", "requests"}


def test_contracts_of_imports_are_kept() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"]
    result = subprocess.run(
        program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_no_installed_package_has_a_name_of_ours(package: str) -> None:
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), sysconfig.get_path("stdlib")}
    assert importlib.machinery.PathFinder.find_spec(package, sorted(paths)) is None


def test_no_module_of_the_product_has_a_name_of_the_standard_library_or_an_sdk() -> None:
    taken = sys.stdlib_module_names | {"azure", "yaml", "msgspec", "opentelemetry"}
    ours = [file for file in files(".py", "functions", "shared", "function_app.py") if file.stem != "__init__"]
    assert [name(file) for file in ours if file.stem in taken] == []
    folders = {parent.name for file in ours for parent in file.relative_to(ROOT).parents if parent.name}
    assert not folders & taken


def is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def test_every_folder_with_code_is_a_package_up_to_the_root() -> None:
    for package in PACKAGES:
        for file in files(".py", package):
            for folder in file.relative_to(ROOT).parents:
                in_app_of_its_own = (ROOT / folder / "function_app.py").exists()
                if in_app_of_its_own:
                    break
                assert is_package(ROOT / folder) or folder == Path(), name(file)


def test_no_test_folder_is_called_like_a_package() -> None:
    folders = {path.name for path in (ROOT / "tests").rglob("*") if path.is_dir()}
    assert not folders & set(PACKAGES)


def test_the_product_does_not_know_the_sandbox() -> None:
    for file in files(".py", "functions", "shared", "function_app.py"):
        assert "sandbox" not in file.read_text(encoding="utf-8").lower(), name(file)


def test_tests_bring_fakes_and_no_mock_library() -> None:
    banned = ("unittest" + ".mock", "from unittest import " + "mock", "pytest_" + "mock")
    for file in files(".py", "tests", "sandbox"):
        text = file.read_text(encoding="utf-8")
        assert not [word for word in banned if word in text], name(file)
