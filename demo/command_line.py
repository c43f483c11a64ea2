"""The operator at a terminal: runs the real command line as a separate process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from demo import scenario
from demo.client import StoryError

_NAME = "an operator"
_TIMEOUT_SECONDS = 60


class CommandLine:
    """`basegate`, configured for one app with its key."""

    def __init__(self, url: str, key: str) -> None:
        self._environment = {"BASEGATE_URL": url, "BASEGATE_KEY": key}

    @property
    def invocation(self) -> str:
        """The same command for a person's shell. The key is valid for this sandbox only."""
        settings = " ".join(f"{name}={value}" for name, value in self._environment.items())
        return f"{settings} .venv/bin/python -m basegate_cli"

    def read(self, *arguments: str) -> Any:
        """Run a command and return its JSON output.

        Raises:
            StoryError: it fails.
        """
        program = (sys.executable, "-m", "basegate_cli", "--json", "--actor", _NAME, *arguments)
        done = subprocess.run(
            program,
            cwd=scenario.ROOT,
            env=os.environ | self._environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise StoryError(f"basegate {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
        return json.loads(done.stdout)

    def act(self, *arguments: str, reason: str) -> str:
        """Run an acting command with a reason; returns the id of the record to read next."""
        answer = self.read(*arguments, "--reason", reason, "--yes")
        return str(answer["see"]).rpartition("/")[2]
