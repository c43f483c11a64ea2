"""Rendering of task files."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.tasks.outcome import RunInfo


def render(text: str, run: RunInfo, values: Mapping[str, str]) -> str:
    """Fill in `{{…}}` and `$Alias`."""
    raise NotImplementedError
