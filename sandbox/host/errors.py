"""The error of an app that cannot be served."""

from __future__ import annotations


class Misconfigured(Exception):
    """The app, its settings or its host.json cannot be served; the message names the problem and its location."""
