"""Parses a Git build context: `https://github.com/owner/repository.git#branch:folder`.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-overview#context-locations
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CONTEXT = re.compile(
    r"https://(?:[^@/]+@)?github\.com/(?P<repository>[\w.-]+/[\w.-]+?)(?:\.git)?/?"
    r"(?:#(?P<ref>[^:]*)(?::(?P<folder>.*))?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class GitContext:
    """A folder in a repository: `repository` is `owner/name` in lower case, `ref` is a branch, tag or commit
    (None: the default branch), `folder` is relative to the root ("": the root itself)."""

    repository: str
    ref: str | None = None
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> GitContext | None:
        """Parse `text`; None if it is not a URL of a GitHub repository.

        A user name or token in the URL is accepted and ignored: every repository here can be read.
        """
        match = _CONTEXT.fullmatch(text)
        if match is None:
            return None
        folder = (match["folder"] or "").strip("/")
        return cls(match["repository"].lower(), match["ref"] or None, folder)
