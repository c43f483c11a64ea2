"""ACR Tasks: task files, and the runs that carry them out."""

from __future__ import annotations

from sandbox.tasks.model import SecretReference, Step, StepKind, TaskFile, TaskFileError
from sandbox.tasks.outcome import ImageDependency, ImageReference, RunInfo, RunOutcome, RunStatus
from sandbox.tasks.runner import Runner
from sandbox.tasks.taskfile import declared_secrets, load_task_file, parse_task_file
from sandbox.tasks.template import render

__all__ = [
    "ImageDependency",
    "ImageReference",
    "RunInfo",
    "RunOutcome",
    "RunStatus",
    "Runner",
    "SecretReference",
    "Step",
    "StepKind",
    "TaskFile",
    "TaskFileError",
    "declared_secrets",
    "load_task_file",
    "parse_task_file",
    "render",
]
