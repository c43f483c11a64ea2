"""A stand-in for github.com: real bare repositories behind git's own smart HTTP server."""

from sandbox.git.context import GitContext
from sandbox.git.github import GitHub, GitPush

__all__ = ["GitContext", "GitHub", "GitPush"]
