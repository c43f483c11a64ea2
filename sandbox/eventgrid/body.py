"""The base of what ARM bodies are made of."""

from __future__ import annotations

import msgspec


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True, omit_defaults=True):
    """A part of a request body: an unknown field in it is an error that names it. Written back as it was sent."""
