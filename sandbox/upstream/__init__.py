"""The stand-in for Docker Hub's node:15-alpine: offline, and with the real Node 15 in it."""

from sandbox.upstream.image import UpstreamError, load_upstream

__all__ = ["UpstreamError", "load_upstream"]
