"""Reading of task files."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.tasks.model import SecretReference, TaskFile
from sandbox.tasks.outcome import RunInfo


def declared_secrets(text: str, run: RunInfo, values: Mapping[str, str]) -> tuple[SecretReference, ...]:
    """The `secrets` a task file declares, before any of them is known. Raises `TaskFileError`."""
    raise NotImplementedError


def load_task_file(text: str, run: RunInfo, values: Mapping[str, str]) -> TaskFile:
    """Render and parse: `{{.Values.x}}` from `values`, `{{.Secrets.x}}` from `run.secrets`. Raises `TaskFileError`."""
    raise NotImplementedError


def parse_task_file(text: str) -> TaskFile:
    """Parse a task file without templates. Raises `TaskFileError`."""
    raise NotImplementedError
