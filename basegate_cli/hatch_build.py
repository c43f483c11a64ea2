"""Build hooks of hatchling for the wheel: its dependencies, and the part of `shared` that it contains.

A top-level package `shared` in a wheel would clash with any other of that name. So the modules that the command line
imports are packaged as `basegate_cli._vendor.shared`, with rewritten imports.

Source: https://hatch.pypa.io/latest/plugins/build-hook/custom/
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

VENDORED = ("interface", "domain", "findings", "rules", "checks", "attestation", "signatures", "ports.py")
"""The packaged part of `shared`. It imports nothing of the rest."""

_HERE = Path(__file__).resolve().parent
_SHARED = _HERE.parent / "shared"
_IMPORT = re.compile(r"^(\s*from )(?=shared\b)", re.MULTILINE)


class Dependencies(MetadataHookInterface):
    """Reads the dependencies from requirements.in."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add them to the metadata."""
        lines = (_HERE / "requirements.in").read_text(encoding="utf-8").splitlines()
        metadata["dependencies"] = [line for line in lines if line and not line.startswith("#")]


class Vendoring(BuildHookInterface[Any]):
    """Packages the modules, with rewritten imports."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Select the modules.

        Raises:
            FileNotFoundError: this folder is not in the repository.
        """
        self._made = TemporaryDirectory()
        package = Path(self._made.name)
        own = [file for file in _HERE.glob("*.py") if file != Path(__file__).resolve()]
        vendored = [_SHARED / "__init__.py", *(file for part in VENDORED for file in _modules(_SHARED / part))]
        for file in own:
            _write(file, package / file.name)
        for file in vendored:
            _write(file, package / "_vendor" / file.relative_to(_SHARED.parent))
        (package / "_vendor/__init__.py").write_text("", encoding="utf-8")
        build_data["force_include"][str(package)] = "basegate_cli"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary files of the build."""
        self._made.cleanup()


def _modules(part: Path) -> list[Path]:
    return [part] if part.is_file() else sorted(part.rglob("*.py"))


def _write(file: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    text = file.read_text(encoding="utf-8")
    place.write_text(_IMPORT.sub(r"\1basegate_cli._vendor.", text), encoding="utf-8")
