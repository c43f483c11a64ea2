"""The operator at a terminal: runs the real command line as a separate process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from demo import scenario
from demo.client import StoryError
from sandbox.testing import SiteView

_NAME = "an operator"
_TIMEOUT_SECONDS = 60


class CommandLine:
    """`basegate`, configured for one app with its key; `site` returns that app as it runs now."""

    def __init__(self, site: Callable[[], SiteView]) -> None:
        self._site = site

    @property
    def invocation(self) -> str:
        """The same command for a person's shell. The key is valid for this sandbox only."""
        settings = " ".join(f"{name}={value}" for name, value in self._environment().items())
        return f"{settings} .venv/bin/python -m basegate_cli"

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with further environment variables."""
        return subprocess.run(
            (sys.executable, "-m", "basegate_cli", *arguments),
            cwd=scenario.ROOT,
            env=os.environ | self._environment() | variables,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )

    def read(self, *arguments: str, actor: str = _NAME) -> Any:
        """Run a command and return its JSON output.

        Raises:
            StoryError: it fails.
        """
        done = self.run("--json", "--actor", actor, *arguments)
        if done.returncode:
            raise StoryError(f"basegate {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
        return json.loads(done.stdout)

    def act(self, *arguments: str, reason: str, actor: str = _NAME) -> str:
        """Run an acting command with a reason; returns the id of the record to read next."""
        answer = self.read(*arguments, "--reason", reason, "--yes", actor=actor)
        return str(answer["see"]).rpartition("/")[2]

    def _environment(self) -> dict[str, str]:
        site = self._site()
        return {"BASEGATE_URL": f"http://127.0.0.1:{site.port}", "BASEGATE_KEY": site.host_key}
