"""The lock files hold what the lists ask for: one version for each Python, by hash, from whatever index is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.tree import ROOT, files, name

PYTHONS = ("3.11", "3.12", "3.13")
LISTS = sorted(files(".in"))
NPM_LOCKS = sorted(files("package-lock.json"))
DEVELOPMENT = ROOT / "requirements-dev.in"
_PIN = re.compile(r"^(\S+==[^\\\n]+?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)
_COMMENT = re.compile(r"^ *#.*\n", re.MULTILINE)


def wanted(requirements: Path) -> Iterator[Requirement]:
    """What a list asks for, with the lists that it includes."""
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            yield from wanted(requirements.parent / line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            yield Requirement(line)


def lock_of(requirements: Path) -> str:
    return requirements.with_suffix(".txt").read_text(encoding="utf-8")


def pins(requirements: Path, python: str) -> dict[str, set[str]]:
    """The versions by package that one Python takes from a lock file."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.1"}
    found: dict[str, set[str]] = {}
    for pin in (Requirement(text) for text, _ in _PIN.findall(lock_of(requirements))):
        if pin.marker is None or pin.marker.evaluate(environment):  # type: ignore[arg-type]
            found.setdefault(canonicalize_name(pin.name), set()).add(str(pin.specifier).removeprefix("=="))
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("requirements", LISTS, ids=name)
def test_every_python_gets_one_version_of_what_a_list_asks_for(requirements: Path, python: str) -> None:
    locked = pins(requirements, python)
    assert {package: versions for package, versions in locked.items() if len(versions) != 1} == {}
    for want in wanted(requirements):
        if want.marker is None or want.marker.evaluate({"python_version": python}):
            (version,) = locked[canonicalize_name(want.name)]
            assert want.specifier.contains(version, prereleases=True), f"{want}: `make lock` has not been run"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("requirements", LISTS, ids=name)
def test_no_lock_file_has_another_version_than_development(requirements: Path, python: str) -> None:
    tested = pins(DEVELOPMENT, python)
    others = {package: versions for package, versions in pins(requirements, python).items() if package in tested}
    assert {package for package, versions in others.items() if versions != tested[package]} == set()


@pytest.mark.parametrize("requirements", LISTS, ids=name)
def test_a_lock_file_is_pins_with_hashes_and_names_no_index(requirements: Path) -> None:
    text = lock_of(requirements)
    assert _COMMENT.sub("", _PIN.sub("", text)) == ""
    assert "://" not in text


@pytest.mark.parametrize("lock", NPM_LOCKS, ids=name)
def test_an_npm_lock_file_has_every_package_by_hash_and_names_no_registry(lock: Path) -> None:
    root, *packages = json.loads(lock.read_text(encoding="utf-8"))["packages"].values()
    package = json.loads(lock.with_name("package.json").read_text(encoding="utf-8"))
    assert root["dependencies"] == package["dependencies"], "`make lock` has not been run"
    assert [one for one in packages if not one.get("integrity", "").startswith("sha512-") or "resolved" in one] == []
