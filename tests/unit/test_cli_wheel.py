"""The wheel of the command line, in an environment of its own, beside another package that is called `shared`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from shared.settings import APP_ROOT

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
IMPORT_ALL = """
import importlib, pkgutil, sys, basegate_cli
names = [module.name for module in pkgutil.walk_packages(basegate_cli.__path__, "basegate_cli.")]
for name in names:
    importlib.import_module(name)
assert "shared" not in sys.modules
print(*names)
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and a stranger; what the wheel requires is that of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-index", "--no-deps")
    run(*PIP, "wheel", *options, "--no-build-isolation", "--wheel-dir", folder, APP_ROOT / "basegate_cli")
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", symlinks=True)
    run(*PIP, "--python", folder / "env", "install", *options, "--root-user-action=ignore", wheel)
    (site,) = folder.glob("env/lib/python*/site-packages")
    installed = {entry.name for entry in site.iterdir()}
    assert {name for name in installed if not name.endswith(".dist-info")} == {"basegate_cli"}
    (site / "required.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    (site / "shared").mkdir()
    (site / "shared/__init__.py").write_text("raise ImportError('this is somebody else')", encoding="utf-8")
    return folder / "env/bin"


def run(*command: str | Path, code: int = 0) -> str:
    """What a program prints. It sees nothing of this repository."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BASEGATE_"))}
    done = subprocess.run(command, cwd="/", env=bare, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_module_of_the_wheel_finds_what_it_imports(programs: Path) -> None:
    names = run(programs / "python", "-c", IMPORT_ALL).split()
    assert {"basegate_cli.remote", "basegate_cli._vendor.shared.rules.parse"} <= set(names)
    assert "basegate_cli.hatch_build" not in names


def test_rules_are_checked_where_there_is_nothing_but_the_wheel(programs: Path, tmp_path: Path) -> None:
    sample, wrong = APP_ROOT / "gates.sample.yaml", tmp_path / "gates.yaml"
    assert "has no errors" in run(programs / "basegate", "rules", "check", sample)
    wrong.write_text(sample.read_text(encoding="utf-8").replace("gate: node", "gate: nodes"), encoding="utf-8")
    assert "line 42, column 12: apps.hello-world.base.gate" in run(
        programs / "basegate", "rules", "check", wrong, code=1
    )


def test_the_commands_of_the_interface_are_there(programs: Path) -> None:
    assert "--hold-all" in run(programs / "basegate", "rebuild-ledger", "--help")
    assert "cannot be reached" in run(programs / "basegate", "--url", "http://127.0.0.1:9", "status", code=3)
