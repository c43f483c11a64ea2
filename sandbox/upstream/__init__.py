"""The offline stand-in for `docker.io/library/node:15-alpine`, and a tiny image for fast tests."""

from sandbox.upstream.fetch import MissingPart
from sandbox.upstream.stand_in import StandIn, node_image, tiny_image

__all__ = ["MissingPart", "StandIn", "node_image", "tiny_image"]
