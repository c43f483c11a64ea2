"""The real Azure CLI in its own virtual environment, isolated from the user's sign-ins and settings."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VERSION = "2.91.0"
_SEAM = ("HTTPS_PROXY", "https_proxy", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
_TIMED_OUT = 124


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a command: exit code (124 on a timeout), seconds, and output."""

    code: int
    seconds: float
    output: str
    errors: str


class AzureCli:
    """Runs `az` in the environment of a sandbox.

    Args:
        folder: the virtual environment, created by `install` if missing.
        config: a folder for sign-ins, settings and logs of `az`.
        environment: the environment variables, including the sandbox's.
    """

    def __init__(self, folder: Path, config: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {
            **environment,
            "AZURE_CONFIG_DIR": str(config),
            "AZURE_EXTENSION_DIR": str(config / "extensions"),
            "AZURE_CORE_COLLECT_TELEMETRY": "0",
            "AZURE_CORE_SURVEY_MESSAGE": "0",
            "AZURE_CORE_NO_COLOR": "1",
        }

    def run(self, arguments: Sequence[str], seconds: float = 60) -> Outcome:
        """Run one command and wait for it, `seconds` at most."""
        started = time.monotonic()
        try:
            done = subprocess.run(
                [str(self._folder / "bin" / "az"), *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(_TIMED_OUT, time.monotonic() - started, "", f"not done after {seconds:.0f} s")
        return Outcome(done.returncode, time.monotonic() - started, done.stdout, done.stderr)


def install(folder: Path) -> bool:
    """Install the Azure CLI (about a minute and 730 MB) if missing; returns whether it was.

    It runs without the sandbox's variables, because the sandbox has no package index.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    marker = folder / f"azure-cli-{VERSION}"
    if marker.exists():
        return False
    environment = {name: value for name, value in os.environ.items() if name not in _SEAM}
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], env=environment, check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"azure-cli=={VERSION}"], env=environment, check=True)
    marker.touch()
    return True
