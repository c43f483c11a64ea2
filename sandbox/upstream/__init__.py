"""The offline stand-ins for `docker.io/library/node:15-alpine` and for a scanner, and a tiny image for fast tests."""

from sandbox.upstream.fetch import MissingPart
from sandbox.upstream.scanner import scanner_image
from sandbox.upstream.stand_in import StandIn, node_image, tiny_image

__all__ = ["MissingPart", "StandIn", "node_image", "scanner_image", "tiny_image"]
